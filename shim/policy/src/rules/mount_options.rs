//! `mount.options`.

use crate::draft::Draft;
use crate::rules::Case;
use crate::rules::flags::{self, Flag};
use crate::rules::mount_host_path::listed;
use crate::sheet::{Found, Sheet};
use crate::spec::{is_bind, is_recursive_bind};

/// Flags of mount(8) and of the OCI specification that any mount may carry. `tmpcopyup` is not among them: a tmpfs filled
/// from the image has the image's links, where `root.links` takes it for empty.
const FLAGS: &[&str] = &[
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "rexec",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "unbindable",
    "idmap",
    "ridmap",
];

/// Settings of the filesystems that may be mounted, by name before `=`.
const KEYS: &[&str] = &[
    "gid",
    "hidepid",
    "huge",
    "inode32",
    "inode64",
    "memory_recursiveprot",
    "mode",
    "mpol",
    "newinstance",
    "noswap",
    "nr_blocks",
    "nr_inodes",
    "nsdelegate",
    "ptmxmode",
    "size",
    "subset",
    "uid",
];

/// What a container's own files never need, and what takes it back.
const FORCED: &[Flag] = &[("nosuid", &["suid", "rsuid"]), ("nodev", &["dev", "rdev"])];

/// The same for what the host has mounted below a source, where plain flags do not reach. Source: mount_setattr(2), runc 1.1
/// and the OCI specification's `config.md` "Linux mount options".
const FORCED_BELOW: &[Flag] = &[("rnosuid", &["rsuid"]), ("rnodev", &["rdev"])];
/// And where the policy lets a path be mounted read-only alone.
const READ_ONLY_BELOW: Flag = ("rro", &["rrw"]);

/// Refuses what is not understood; takes set-user-ID programs and device nodes from volumes.
pub(super) fn judge(draft: &mut Draft, case: &Case<'_>, sheet: &mut Sheet) {
    for (i, mount) in draft.mounts.iter_mut().enumerate() {
        let pointer = format!("/mounts/{i}/options");
        for option in mount.options().iter().flatten().filter(|option| !is_known(option)) {
            let found = Found::new(pointer.as_str(), option.as_str(), format!("option {option:?} is not known"));
            sheet.refuses(found, "the options of the OCI specification");
        }
        if is_bind(mount) || matches!(mount.typ().as_deref(), Some("tmpfs")) {
            // /dev holds the container's device nodes, so it keeps them.
            let is_dev = mount.destination() == std::path::Path::new("/dev");
            let flags = FORCED.iter().copied().filter(|(flag, _)| !(is_dev && *flag == "nodev"));
            flags::force(mount, flags, &pointer, "set-user-ID programs or device nodes could be used", sheet);
        }
        if let Some(fact) = case.host.source(i).filter(|fact| !fact.below.is_empty() && is_recursive_bind(mount)) {
            let read_only = listed(fact, case).is_some_and(|entry| entry.read_only);
            let flags = FORCED_BELOW.iter().copied().chain(read_only.then_some(READ_ONLY_BELOW));
            flags::force(mount, flags, &pointer, "mounts of the host below it would keep their own flags", sheet);
        }
    }
}

fn is_known(option: &str) -> bool {
    let key = option.split_once('=').map_or(option, |(key, _)| key);
    let plain = !option.contains([',', '\0', '\n']);
    plain && (FLAGS.contains(&option) || KEYS.contains(&key))
}
