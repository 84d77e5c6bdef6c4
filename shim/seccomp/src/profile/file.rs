//! A profile file: what its entries say, with those of the files that it includes.
//!
//! Beyond the OCI keys an entry may have
//!
//! * `comment`: why these calls are allowed, and `reason`: why even those of them that exploits like;
//! * `includes`: the entry counts if all of these capabilities (`caps`) are held, on one of these architectures (`arches`), from this
//!   kernel on (`minKernel`); `excludes`: if none is. As Docker has them;
//! * `low32`: the entry counts if the lower half of each of these arguments is `in` (or not in: `except`) a list of values
//!   and ranges, written as strings (`"0x5412"`, `"0-37"`).
//!
//! `include` names other files, whose entries count as if they stood here. `refused` lists calls that no entry allows, each group with
//! its reason; for the profiles that are built in, it is checked by a test to be complete.

#[cfg(test)]
mod check;

use std::collections::BTreeSet;
use std::sync::Arc;

use oci_spec::runtime::{Capabilities, Capability, LinuxSeccomp};

use super::shape::{Entry, Gate, RefusedGroup, Written};
use super::{KernelVersion, ProfileError, low32};
use crate::filter::{Filter, Flag};
use crate::read::{self, Rules};
use crate::region::Region;
use crate::verdict::Verdict;

/// A profile file with what it includes, read.
#[derive(Debug)]
pub(crate) struct ProfileFile {
    name: String,
    /// `None`: it is there to be included only.
    default: Option<Verdict>,
    pub(super) flags: Option<BTreeSet<Flag>>,
    pub(super) entries: Vec<ReadEntry>,
    refused: Vec<RefusedGroup>,
}

/// An entry that counts on this machine.
#[derive(Debug)]
pub(crate) struct ReadEntry {
    /// The file that it stands in.
    pub(super) file: Arc<str>,
    pub(crate) comment: String,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reader of the file; a test asks for it"))]
    pub(super) reason: String,
    pub(super) names: Vec<String>,
    pub(crate) verdict: Verdict,
    pub(crate) regions: Vec<Region>,
    /// Counts if all of these are held,
    pub(super) with: Vec<Capability>,
    /// and none of these.
    pub(super) without: Vec<Capability>,
}

/// How many files one may include, directly and through others.
const MAX_INCLUDES: usize = 32;

/// Reads files, each with what it includes.
pub(super) struct Reader<'a> {
    /// The text of the file of that name.
    pub(super) text: &'a dyn Fn(&str) -> Option<&'a str>,
    /// `None`: no entry may ask for one.
    pub(super) kernel: Option<KernelVersion>,
}

impl Reader<'_> {
    /// The file of that name.
    pub(super) fn read(&self, name: &str) -> Result<ProfileFile, ProfileError> {
        let written = self.parse(name, name)?;
        let refuse = |source| ProfileError::Refused { file: name.to_owned(), source };
        let head = head(&written);
        read::refuse_listener(&head).map_err(refuse)?;
        let flags = read::flags(&head);
        let default =
            written.default_action.map(|action| Verdict::read(action, written.default_errno_ret, &"/defaultAction"));
        let default = default.transpose().map_err(refuse)?;
        if default.is_none() && written.default_errno_ret.is_some() {
            return Err(wrong(name, "", "a defaultErrnoRet needs a defaultAction"));
        }
        let mut file = ProfileFile { name: name.to_owned(), default, flags, entries: Vec::new(), refused: Vec::new() };
        self.take(written, name, &mut vec![name.to_owned()], &mut BTreeSet::new(), &mut file)?;
        Ok(file)
    }

    /// Takes the entries of `written` and of what it includes. `above` are the files that lead here, `taken` those that were included.
    fn take(
        &self,
        written: Written,
        name: &str,
        above: &mut Vec<String>,
        taken: &mut BTreeSet<String>,
        file: &mut ProfileFile,
    ) -> Result<(), ProfileError> {
        let from: Arc<str> = name.into();
        for (at, entry) in written.syscalls.into_iter().enumerate() {
            file.entries.extend(self.entry(entry, at, &from)?);
        }
        file.refused.extend(written.refused);
        for include in written.include.into_iter().chain(written.base_profile_name) {
            if above.contains(&include) {
                return Err(wrong(name, "", "an include leads back to the file itself"));
            }
            if !taken.insert(include.clone()) {
                continue;
            }
            if taken.len() > MAX_INCLUDES {
                return Err(wrong(name, "", "more files are included than any profile needs"));
            }
            let included = self.parse(name, &include)?;
            above.push(include.clone());
            self.take(included, &include, above, taken, file)?;
            above.pop();
        }
        Ok(())
    }

    fn parse(&self, file: &str, name: &str) -> Result<Written, ProfileError> {
        let Some(text) = (self.text)(name) else {
            return Err(ProfileError::Include { file: file.to_owned(), include: name.to_owned() });
        };
        Written::parse(text).map_err(|source| ProfileError::Json { file: name.to_owned(), source })
    }

    /// The entry as it counts here; none if it is for other machines.
    pub(super) fn entry(&self, entry: Entry, at: usize, file: &Arc<str>) -> Result<Option<ReadEntry>, ProfileError> {
        let place = format!("/syscalls/{at}");
        let refuse = |source| ProfileError::Refused { file: file.to_string(), source };
        let place = if entry.comment.is_empty() { place } else { format!("{place} ({:?})", entry.comment) };
        let names = match (entry.name, entry.names) {
            (None, names) if !names.is_empty() => names,
            (Some(name), names) if names.is_empty() => vec![name],
            (Some(_), _) => return Err(wrong(file, &place, "name and names exclude each other")),
            (None, _) => return Err(wrong(file, &place, "it names no system call")),
        };
        let verdict = Verdict::read(entry.action, entry.errno_ret, &place).map_err(refuse)?;
        let regions = match entry.low32.as_slice() {
            [] => {
                let args: Option<Vec<_>> = entry.args.iter().map(super::shape::Arg::read).collect();
                let args = args.ok_or_else(|| wrong(file, &place, "an argument is not understood"))?;
                read::regions(&args, verdict, &place).map_err(refuse)?
            }
            _ if !entry.args.is_empty() => return Err(wrong(file, &place, "args and low32 exclude each other")),
            low32 => low32::regions(low32, file)?,
        };
        let here =
            self.is_on(&entry.includes, true, file, &place)? && self.is_on(&entry.excludes, false, file, &place)?;
        Ok(here.then(|| ReadEntry {
            file: Arc::clone(file),
            comment: entry.comment,
            reason: entry.reason,
            names,
            verdict,
            regions,
            with: entry.includes.caps,
            without: entry.excludes.caps,
        }))
    }

    /// Whether what a gate says of machines holds here (`wanted`), or does not.
    fn is_on(&self, gate: &Gate, wanted: bool, file: &str, place: &str) -> Result<bool, ProfileError> {
        let arch = gate.arches.is_empty() || gate.arches.iter().any(|arch| Some(arch.as_str()) == go_arch()) == wanted;
        let Some(minimum) = &gate.min_kernel else { return Ok(arch) };
        let minimum =
            KernelVersion::of_release(minimum).ok_or_else(|| wrong(file, place, "minKernel is no version"))?;
        let kernel =
            self.kernel.ok_or_else(|| wrong(file, place, "it asks for the kernel, which is not known here"))?;
        Ok(arch && (kernel >= minimum) == wanted)
    }
}

impl ProfileFile {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether what it lets run depends on this capability.
    pub(super) fn asks_for(&self, capability: Capability) -> bool {
        self.entries.iter().any(|entry| entry.names(capability))
    }

    /// Whether it can be chosen, and is not only there to be included.
    pub(super) fn is_profile(&self) -> bool {
        self.default.is_some()
    }

    /// What happens to calls that no entry names.
    ///
    /// # Errors
    ///
    /// The file is there to be included only.
    pub(super) fn default(&self) -> Result<Verdict, ProfileError> {
        self.default.ok_or_else(|| wrong(&self.name, "", "it has no defaultAction: it is a set to include, no profile"))
    }

    /// The filter for a container with these capabilities.
    ///
    /// # Errors
    ///
    /// As [`default`](Self::default).
    pub(super) fn resolve(&self, bounding: &Capabilities) -> Result<Filter<'_>, ProfileError> {
        let mut rules = Rules::default();
        for entry in self.entries.iter().filter(|entry| entry.counts(bounding)) {
            rules.add(entry.verdict, entry.regions.clone(), entry.names.iter().map(String::as_str));
        }
        Ok(Filter::new(self.default()?, rules).with_flags(self.flags.clone()))
    }
}

impl ReadEntry {
    fn names(&self, capability: Capability) -> bool {
        self.with.contains(&capability) || self.without.contains(&capability)
    }

    /// The name of the file that it stands in.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// Whether it counts for a container with these capabilities.
    pub(crate) fn counts(&self, bounding: &Capabilities) -> bool {
        self.with.iter().all(|capability| bounding.contains(capability))
            && !self.without.iter().any(|capability| bounding.contains(capability))
    }
}

/// This architecture as Docker's profiles name it.
fn go_arch() -> Option<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Some("amd64"),
        "aarch64" => Some("arm64"),
        "riscv64" => Some("riscv64"),
        _ => None,
    }
}

/// What a file says beside its entries, in the form that is checked elsewhere.
fn head(written: &Written) -> LinuxSeccomp {
    let mut head = LinuxSeccomp::default();
    head.set_flags(written.flags.clone());
    head.set_listener_path(written.listener_path.clone().map(Into::into));
    head.set_listener_metadata(written.listener_metadata.clone());
    head
}

pub(super) fn wrong(file: &str, comment: &str, reason: &'static str) -> ProfileError {
    let file = file.to_owned();
    match comment {
        "" => ProfileError::Whole { file, reason },
        comment => ProfileError::Entry { file, comment: comment.to_owned(), reason },
    }
}
