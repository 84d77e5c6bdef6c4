//! Mitigations: what is taken from every profile while a weakness of the kernel is open.

use serde::Deserialize;

use super::ProfileError;
use super::file::{ReadEntry, Reader, wrong};
use super::shape::{Arg, Entry, Low32};
use crate::filter::Filter;
use crate::read::Rules;
use crate::verdict::Verdict;
use oci_spec::runtime::LinuxSeccompAction;

macro_rules! shipped {
    ($id:literal) => {
        ($id, include_str!(concat!("../../../../seccomp-profiles/mitigations/", $id, ".json")))
    };
}

/// The mitigations that are part of the program.
pub(super) const SHIPPED: &[(&str, &str)] = &[
    shipped!("bpf"),
    shipped!("copy-fail"),
    shipped!("dirty-frag"),
    shipped!("dirty-pipe"),
    shipped!("fragnesia"),
    shipped!("io-uring"),
    shipped!("keyrings"),
    shipped!("mount-api"),
    shipped!("nf-tables"),
    shipped!("packet"),
    shipped!("ptrace"),
    shipped!("terminal-input"),
    shipped!("user-namespaces"),
    shipped!("userfaultfd"),
    shipped!("vsock"),
];

/// The text of a mitigation that is part of the program.
pub(super) fn shipped(id: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(known, _)| *known == id).map(|(_, text)| *text)
}

/// What is denied while a weakness of the kernel is open.
#[derive(Debug)]
pub struct Mitigation {
    id: String,
    comment: String,
    cve: Vec<String>,
    kernels: String,
    entries: Vec<ReadEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    /// The weaknesses.
    #[serde(default)]
    cve: Vec<String>,
    /// Why.
    comment: String,
    /// Which kernels have them; for the reader, for distributions mend without a new number.
    kernels: String,
    denies: Vec<Denied>,
}

/// Calls that do not run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Denied {
    comment: String,
    names: Vec<String>,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Vec<Arg>,
    #[serde(default)]
    low32: Vec<Low32>,
}

impl Mitigation {
    /// Reads the file of that id.
    pub(super) fn read(id: &str, text: &str) -> Result<Self, ProfileError> {
        let json = |source| ProfileError::Json { file: id.to_owned(), source };
        let written: Written = serde_json::from_str(text).map_err(json)?;
        if written.id != id {
            return Err(wrong(id, "", "its id is not the name of its file"));
        }
        if written.denies.is_empty() {
            return Err(wrong(id, "", "it denies nothing"));
        }
        let reader = Reader { text: &|_| None, kernel: None };
        let file = format!("mitigation {id}").into();
        let mut entries = Vec::new();
        for (at, denied) in written.denies.into_iter().enumerate() {
            entries.extend(reader.entry(denied.into(), at, &file)?);
        }
        let Written { id, cve, comment, kernels, .. } = Written { denies: Vec::new(), ..written };
        Ok(Self { id, comment, cve, kernels, entries })
    }

    /// Its name in a policy file.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Why it is there.
    #[must_use]
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// The weaknesses that it is for.
    #[must_use]
    pub fn cve(&self) -> &[String] {
        &self.cve
    }

    /// Which kernels have them.
    #[must_use]
    pub fn kernels(&self) -> &str {
        &self.kernels
    }

    pub(super) fn entries(&self) -> &[ReadEntry] {
        &self.entries
    }

    /// As a profile that lets everything else run.
    pub(super) fn filter(&self) -> Filter<'_> {
        let mut rules = Rules::default();
        for entry in &self.entries {
            rules.add(entry.verdict, entry.regions.clone(), entry.names.iter().map(String::as_str));
        }
        Filter::new(Verdict::Allow, rules)
    }
}

impl From<Denied> for Entry {
    fn from(denied: Denied) -> Self {
        let Denied { comment, names, errno_ret, args, low32 } = denied;
        let action = LinuxSeccompAction::ScmpActErrno;
        let reason = String::new();
        Self {
            comment,
            reason,
            name: None,
            names,
            action,
            errno_ret,
            args,
            low32,
            includes: Default::default(),
            excludes: Default::default(),
        }
    }
}
