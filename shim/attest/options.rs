//! What the options of a mount take away, and how mounts spread. Source: mount(8), runtime-spec config.md "Linux mount options".

use serde::{Deserialize, Serialize};

/// What a mount takes away, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Flags(u8);

const NAMES: [(u8, &str, &str); 4] =
    [(1, "ro", "rw"), (2, "nosuid", "suid"), (4, "nodev", "dev"), (8, "noexec", "exec")];

impl Flags {
    pub(super) const READ_ONLY: Self = Self(1);
    /// What the tmpfs over the hierarchies of cgroup v1 has; runc leaves it writable, and what is in it is not.
    pub(super) const NO_READ_ONLY: Self = Self(0b1110);

    /// Of `rw,nosuid,…`.
    pub(super) fn of_mountinfo(options: &str) -> Self {
        let bits = NAMES.iter().filter(|(_, name, _)| options.split(',').any(|option| option == *name));
        Self(bits.fold(0, |all, (bit, ..)| all | bit))
    }

    pub(super) fn lacking(self, wanted: Self) -> Self {
        Self(wanted.0 & !self.0)
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl std::fmt::Display for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = NAMES.iter().filter(|(bit, ..)| self.0 & bit != 0).map(|(_, name, _)| *name).collect();
        f.write_str(if names.is_empty() { "rw" } else { "" })?;
        f.write_str(&names.join(","))
    }
}

/// How mounts spread to and from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub(super) enum Spread {
    /// Not at all.
    Private,
    /// From the host.
    Slave,
    /// Nothing was said: not to the host.
    #[default]
    Unsaid,
    /// Both ways.
    Shared,
}

impl Spread {
    /// Of a word such as `rslave`.
    pub(super) fn of_word(word: &str) -> Option<Self> {
        match word {
            "private" | "rprivate" | "unbindable" | "runbindable" => Some(Self::Private),
            "slave" | "rslave" => Some(Self::Slave),
            "shared" | "rshared" => Some(Self::Shared),
            _ => None,
        }
    }
}

/// The options of one mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Options {
    pub(super) flags: Flags,
    /// For what is mounted below as well.
    pub(super) deep: Flags,
    pub(super) spread: Spread,
    pub(super) bind: bool,
    pub(super) recursive: bool,
}

impl Options {
    pub(super) fn of(words: &[String]) -> Self {
        let mut options = Self::default();
        for word in words {
            options.take(word);
        }
        options
    }

    fn take(&mut self, word: &str) {
        self.bind |= matches!(word, "bind" | "rbind");
        self.recursive |= word == "rbind";
        self.spread = Spread::of_word(word).unwrap_or(self.spread);
        for (bit, on, off) in NAMES {
            if word == on {
                self.flags.0 |= bit;
            } else if word == off {
                self.flags.0 &= !bit;
            } else if word.strip_prefix('r') == Some(on) {
                self.flags.0 |= bit;
                self.deep.0 |= bit;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts() {
        let of = |words: &[&str]| Options::of(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let volume = of(&["rbind", "rprivate", "ro", "nosuid"]);
        assert!(volume.bind && volume.recursive && volume.spread == Spread::Private);
        assert_eq!((volume.flags.to_string(), volume.deep.to_string()), ("ro,nosuid".into(), "rw".into()));
        assert_eq!(of(&["ro", "rw"]).flags.to_string(), "rw");
        assert_eq!(of(&["rro"]).deep, Flags::READ_ONLY);
        assert!(of(&["rw", "relatime"]).flags.is_empty());
    }
}
