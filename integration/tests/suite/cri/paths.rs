//! Masked and read-only paths, and the unmasked /proc.

use k8s_cri::v1 as api;

use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Fault, Stage, secured};

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "a masked file",
        "Security Context: MaskedPaths",
        masked,
        &[("read", "0"), ("kind", "character special file")],
    ),
    scenario(
        "a masked directory",
        "",
        masked_directory,
        &[("entries", "0"), ("write", "sh: can't create /home/new: Read-only file system (1)")],
    ),
    scenario(
        "a read-only path",
        "Security Context: ReadonlyPaths",
        read_only,
        &[("write", "touch: /tmp/new: Read-only file system (1)")],
    ),
    scenario(
        "the paths that kubelet masks",
        "",
        default,
        &[("/proc/keys", "nothing"), ("/proc/sys/kernel/domainname", "read-only")],
    ),
    scenario("an unmasked /proc", "", unmasked, &[("/proc/sys/kernel/domainname", "writable"), ("masks", "none")])
        .restricted(&[("/proc/sys/kernel/domainname", "read-only"), ("/proc/keys", "nothing")]),
];

fn masked(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(
        |config| secured(config, |security| security.masked_paths.push("/etc/group".to_owned())),
        |container, seen| {
            container.note(seen, "read", "cat /etc/group && wc -c < /etc/group")?;
            container.note(seen, "kind", "stat -c %F /etc/group")
        },
    )
}

fn masked_directory(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(
        |config| secured(config, |security| security.masked_paths.push("/home".to_owned())),
        |container, seen| {
            container.note(seen, "entries", "ls -A /home | wc -l")?;
            container.note(seen, "write", "echo > /home/new && echo done")
        },
    )
}

fn read_only(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(
        |config| secured(config, |security| security.readonly_paths.push("/tmp".to_owned())),
        |container, seen| container.note(seen, "write", "touch /tmp/new && echo done"),
    )
}

fn default(stage: &Stage<'_>) -> Result<Seen, Fault> {
    proc(stage, |_| ())
}

fn unmasked(stage: &Stage<'_>) -> Result<Seen, Fault> {
    proc(stage, |security| {
        security.masked_paths.clear();
        security.readonly_paths.clear();
    })
}

fn proc(stage: &Stage<'_>, change: impl FnOnce(&mut api::LinuxContainerSecurityContext)) -> Result<Seen, Fault> {
    stage.one(
        |config| secured(config, change),
        |container, seen| {
            let options = "while read -r _ _ _ _ at options _; do [ $at = /proc/sys ] && echo $options; done \
                           < /proc/self/mountinfo";
            let options = container.exec(&["sh", "-c", options])?.stdout;
            let read_only = options.split(',').any(|option| option == "ro");
            seen.note("/proc/sys/kernel/domainname", if read_only { "read-only" } else { "writable" });
            container.note(seen, "/proc/keys", "grep -q . /proc/keys && echo something || echo nothing")?;
            let mounts = std::fs::read_to_string(format!("/proc/{}/mountinfo", container.pid()?))?;
            let hides = |at: &&str| at.starts_with("/proc/") || at.starts_with("/sys/firmware");
            let mut masks: Vec<_> = mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(hides).collect();
            masks.sort_unstable();
            seen.note("masks", if masks.is_empty() { "none".to_owned() } else { masks.join(" ") });
            Ok(())
        },
    )
}
