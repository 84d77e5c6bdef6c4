//! fstab-style options as mount(2) takes them (mount(8), FILESYSTEM-INDEPENDENT MOUNT OPTIONS).

use nix::mount::MsFlags;
use palisade_policy::IdMaps;

use super::MountError;

/// Options taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MountOptions {
    pub(super) flags: MsFlags,
    /// Each applied by a mount(2) of its own, in the order given.
    pub(super) propagation: Vec<MsFlags>,
    /// What the filesystem itself understands or refuses.
    pub(super) filesystem: Vec<String>,
    /// Whose files on the disk are whose.
    pub(super) idmap: Option<IdMaps>,
}

enum Meaning {
    Set(MsFlags),
    Clear(MsFlags),
    Propagate(MsFlags),
    Unsupported(&'static str),
    Mappings,
    Filesystem,
}

/// MS_NOSYMFOLLOW (Linux 5.10), which nix does not name.
const NOSYMFOLLOW: MsFlags = MsFlags::from_bits_retain(256);
const RECURSIVE_BIND: MsFlags = MsFlags::MS_BIND.union(MsFlags::MS_REC);

impl MountOptions {
    /// # Errors
    ///
    /// [`MountError::Option`] for options that ask the mounter for something that it does not do.
    pub(super) fn parse(options: &[String]) -> Result<Self, MountError> {
        let idmap = IdMaps::of_options(options).map_err(|option| MountError::Option {
            option,
            instead: "uidmap and gidmap are each `container-id:host-id:size`, and come together",
        })?;
        let mut parsed = Self { flags: MsFlags::empty(), propagation: Vec::new(), filesystem: Vec::new(), idmap };
        // Instructions between containerd's own parts.
        for option in options.iter().filter(|option| !option.is_empty() && !option.starts_with("X-containerd.")) {
            match meaning(option) {
                Meaning::Set(flag) => parsed.flags.insert(flag),
                Meaning::Clear(flag) => parsed.flags.remove(flag),
                Meaning::Propagate(flag) => parsed.propagation.push(flag),
                Meaning::Unsupported(instead) => {
                    return Err(MountError::Option { option: option.clone(), instead });
                }
                Meaning::Mappings => {}
                Meaning::Filesystem => parsed.filesystem.push(option.clone()),
            }
        }
        Ok(parsed)
    }
}

fn meaning(option: &str) -> Meaning {
    match option {
        "defaults" => Meaning::Set(MsFlags::empty()),
        "bind" => Meaning::Set(MsFlags::MS_BIND),
        "rbind" => Meaning::Set(RECURSIVE_BIND),
        "ro" => Meaning::Set(MsFlags::MS_RDONLY),
        "rw" => Meaning::Clear(MsFlags::MS_RDONLY),
        "nosuid" => Meaning::Set(MsFlags::MS_NOSUID),
        "suid" => Meaning::Clear(MsFlags::MS_NOSUID),
        "nodev" => Meaning::Set(MsFlags::MS_NODEV),
        "dev" => Meaning::Clear(MsFlags::MS_NODEV),
        "noexec" => Meaning::Set(MsFlags::MS_NOEXEC),
        "exec" => Meaning::Clear(MsFlags::MS_NOEXEC),
        "nosymfollow" => Meaning::Set(NOSYMFOLLOW),
        "symfollow" => Meaning::Clear(NOSYMFOLLOW),
        "sync" => Meaning::Set(MsFlags::MS_SYNCHRONOUS),
        "async" => Meaning::Clear(MsFlags::MS_SYNCHRONOUS),
        "dirsync" => Meaning::Set(MsFlags::MS_DIRSYNC),
        "mand" => Meaning::Set(MsFlags::MS_MANDLOCK),
        "nomand" => Meaning::Clear(MsFlags::MS_MANDLOCK),
        "noatime" => Meaning::Set(MsFlags::MS_NOATIME),
        "atime" => Meaning::Clear(MsFlags::MS_NOATIME),
        "nodiratime" => Meaning::Set(MsFlags::MS_NODIRATIME),
        "diratime" => Meaning::Clear(MsFlags::MS_NODIRATIME),
        "relatime" => Meaning::Set(MsFlags::MS_RELATIME),
        "norelatime" => Meaning::Clear(MsFlags::MS_RELATIME),
        "strictatime" => Meaning::Set(MsFlags::MS_STRICTATIME),
        "nostrictatime" => Meaning::Clear(MsFlags::MS_STRICTATIME),
        "lazytime" => Meaning::Set(MsFlags::MS_LAZYTIME),
        "nolazytime" => Meaning::Clear(MsFlags::MS_LAZYTIME),
        "private" => Meaning::Propagate(MsFlags::MS_PRIVATE),
        "rprivate" => Meaning::Propagate(MsFlags::MS_PRIVATE.union(MsFlags::MS_REC)),
        "slave" => Meaning::Propagate(MsFlags::MS_SLAVE),
        "rslave" => Meaning::Propagate(MsFlags::MS_SLAVE.union(MsFlags::MS_REC)),
        "shared" => Meaning::Propagate(MsFlags::MS_SHARED),
        "rshared" => Meaning::Propagate(MsFlags::MS_SHARED.union(MsFlags::MS_REC)),
        "unbindable" => Meaning::Propagate(MsFlags::MS_UNBINDABLE),
        "runbindable" => Meaning::Propagate(MsFlags::MS_UNBINDABLE.union(MsFlags::MS_REC)),
        "remount" => Meaning::Unsupported("a root filesystem is mounted once"),
        "loop" => {
            Meaning::Unsupported("let containerd's mount handlers (2.2) or the snapshotter set up the loop device")
        }
        _ if option.starts_with("uidmap=") || option.starts_with("gidmap=") => Meaning::Mappings,
        _ => Meaning::Filesystem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Result<MountOptions, MountError> {
        MountOptions::parse(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn flags_propagation_and_the_filesystems_own() {
        let parsed =
            parse(&["ro", "nosuid", "lowerdir=/a:/b", "rslave", "X-containerd.mkdir.path=/x", "", "index=off"])
                .unwrap();
        assert_eq!(parsed.flags, MsFlags::MS_RDONLY | MsFlags::MS_NOSUID);
        assert_eq!(parsed.propagation, [MsFlags::MS_SLAVE | MsFlags::MS_REC]);
        assert_eq!(parsed.filesystem, ["lowerdir=/a:/b", "index=off"]);
    }

    #[test]
    fn the_later_of_two_opposites_wins() {
        assert_eq!(parse(&["ro", "rw"]).unwrap().flags, MsFlags::empty());
        assert_eq!(parse(&["rw", "ro"]).unwrap().flags, MsFlags::MS_RDONLY);
        assert_eq!(parse(&["nodev", "dev", "rbind"]).unwrap().flags, MsFlags::MS_BIND | MsFlags::MS_REC);
    }

    #[test]
    fn what_is_not_done_is_refused() {
        for (option, named) in [
            ("loop", "loop"),
            ("remount", "remount"),
            ("uidmap=0:65536:65536", "uidmap without gidmap"),
            ("gidmap=x", "gidmap=x"),
        ] {
            match parse(&["ro", option]) {
                Err(MountError::Option { option: refused, .. }) => assert_eq!(refused, named),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn mappings_are_no_option_of_the_filesystem() {
        let parsed = parse(&["uidmap=0:65536:65536", "gidmap=0:65536:65536", "lowerdir=/a:/b"]).unwrap();
        assert_eq!(parsed.filesystem, ["lowerdir=/a:/b"]);
        assert_eq!(parsed.idmap.unwrap().uids.len(), 1);
        assert_eq!(parse(&["ro"]).unwrap().idmap, None);
    }
}
