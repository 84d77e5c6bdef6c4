//! `[profiles.X]`: what each one builds on, in whichever order they stand.

use std::collections::BTreeMap;

use palisade_seccomp::Library;
use toml::Spanned;

use super::error::{Place, PolicyError, PolicyFilesError};
use super::shape::{File, ProfileTable};
use super::{Source, set_rule};
use crate::profile::{Builtin, Profile};

/// The profiles of all files by name.
pub(super) struct Profiles<'a> {
    tables: BTreeMap<&'a str, Entry<'a>>,
    library: &'a Library,
}

#[derive(Clone, Copy)]
struct Entry<'a> {
    source: &'a Source<'a>,
    name: &'a Spanned<String>,
    table: &'a ProfileTable,
}

impl<'a> Profiles<'a> {
    /// Collects them; a profile belongs to one file.
    pub(super) fn of(files: &'a [(Source<'a>, File)], library: &'a Library) -> Result<Self, PolicyFilesError> {
        let mut tables = BTreeMap::new();
        for (source, file) in files {
            for (name, table) in &file.profiles {
                if tables.insert(name.get_ref().as_str(), Entry { source, name, table }).is_some() {
                    let key = format!("profiles.{}", name.get_ref());
                    let problem = "is in an earlier file";
                    let mend = "change it there, or give this one another name";
                    return Err(source.error(source.place.wrong(name.span(), &key, problem, mend)));
                }
            }
        }
        Ok(Self { tables, library })
    }

    /// Each profile, complete.
    pub(super) fn read(&self) -> Result<Vec<Profile>, PolicyFilesError> {
        let one = |entry: &Entry<'_>| self.complete(*entry, &mut Vec::new());
        self.tables.values().map(one).collect()
    }

    /// A profile on top of all that it extends. `above` are the profiles that lead here.
    fn complete(&self, entry: Entry<'a>, above: &mut Vec<&'a str>) -> Result<Profile, PolicyFilesError> {
        let name = entry.name.get_ref().as_str();
        above.push(name);
        let base = match self.base(entry, above).map_err(|error| entry.source.error(error))? {
            Base::Builtin(builtin) => Profile::builtin(builtin),
            Base::Other(other) => self.complete(other, above)?,
        };
        let mut profile = base.named(name);
        if let Some(mode) = entry.table.mode {
            profile.set_mode(mode);
        }
        if let Some(learn) = entry.table.learn {
            profile.set_learn(learn);
        }
        let place = entry.source.place.within(&format!("profiles.{name}"));
        for (rule, table) in &entry.table.rules {
            set_rule(&mut profile, rule, table, self.library, &place).map_err(|error| entry.source.error(error))?;
        }
        Ok(profile)
    }

    fn base(&self, entry: Entry<'a>, above: &[&str]) -> Result<Base<'a>, PolicyError> {
        let place: &Place = &entry.source.place;
        let name = entry.name.get_ref().as_str();
        let key = format!("profiles.{name}");
        match (&entry.table.extends, Builtin::named(name)) {
            (None, Some(builtin)) => Ok(Base::Builtin(builtin)),
            (None, None) if name.contains('@') => {
                let mend = "leave the @ out, it names versions of built-in profiles";
                Err(place.wrong(entry.name.span(), &key, "is no name for a profile", mend))
            }
            (None, None) => {
                let mend = format!("add extends, one of {}", self.names(name));
                Err(place.wrong(entry.name.span(), &key, "is not built in and extends nothing", mend))
            }
            (Some(extends), Some(_)) => {
                let mend = "remove extends, or give the profile another name";
                Err(place.wrong(extends.span(), &key, "is built in and extends nothing", mend))
            }
            (Some(extends), None) => {
                let wrong = |problem: &str, mend: String| {
                    Err(place.wrong(extends.span(), &format!("{key}.extends"), problem, mend))
                };
                let wanted = extends.get_ref().as_str();
                // A built-in name always means the profile as it is built in, whatever the file makes of that name.
                if let Some(builtin) = Builtin::versioned(wanted) {
                    return Ok(Base::Builtin(builtin));
                }
                match self.tables.get(wanted) {
                    Some(_) if above.contains(&wanted) => {
                        wrong("leads back to itself", "extend another one".to_owned())
                    }
                    Some(other) => Ok(Base::Other(*other)),
                    None => wrong("names no profile", format!("choose one of {}", self.names(name))),
                }
            }
        }
    }

    /// What a profile other than `name` can extend.
    fn names(&self, name: &str) -> String {
        let builtin = Builtin::ALL.map(|builtin| format!("{}@{}", builtin.name(), Builtin::VERSION));
        let own = self.tables.keys().filter(|known| **known != name && Builtin::named(known).is_none());
        builtin.into_iter().chain(own.map(|known| (*known).to_owned())).collect::<Vec<_>>().join(", ")
    }
}

/// What a profile builds on.
enum Base<'a> {
    Builtin(Builtin),
    Other(Entry<'a>),
}
