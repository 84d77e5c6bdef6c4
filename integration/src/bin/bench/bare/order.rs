//! A specification as calls to the kernel.

use std::fs;
use std::path::Path;

use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use palisade_integration::cgroup;
use palisade_probe::{Cgroup, KernelWork, MountCall};
use serde_json::Value;

const ROOT: &str = "/sys/fs/cgroup";

/// Options of mounts that are flags of mount(2); the others are the file system's own. Source: runc `libcontainer/specconv`.
const FLAGS: [(&str, MsFlags); 9] = [
    ("nosuid", MsFlags::MS_NOSUID),
    ("noexec", MsFlags::MS_NOEXEC),
    ("nodev", MsFlags::MS_NODEV),
    ("ro", MsFlags::MS_RDONLY),
    ("strictatime", MsFlags::MS_STRICTATIME),
    ("relatime", MsFlags::MS_RELATIME),
    ("noatime", MsFlags::MS_NOATIME),
    ("bind", MsFlags::MS_BIND),
    ("rbind", MsFlags::MS_BIND.union(MsFlags::MS_REC)),
];

/// What a container may open, as runtimes write it: after everything was forbidden, all may be made, and these be used. Source: OCI
/// runtime-spec, default devices.
const ALLOWED: [&str; 10] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// All but the root file system and the command.
pub(super) fn of(spec: &Value, tag: &str, id: &str) -> KernelWork {
    KernelWork {
        cgroups: hierarchies().iter().map(|hierarchy| cgroup(hierarchy, spec, tag, id)).collect(),
        namespaces: namespaces(spec).bits().into(),
        mounts: list(spec, "/mounts").iter().filter_map(mount).collect(),
        masked: texts(list(spec, "/linux/maskedPaths")),
        read_only: texts(list(spec, "/linux/readonlyPaths")),
        ..KernelWork::default()
    }
}

fn list<'a>(spec: &'a Value, at: &str) -> &'a [Value] {
    spec.pointer(at).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn texts(list: &[Value]) -> Vec<String> {
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// All but that of process ids, which holds for a child.
fn namespaces(spec: &Value) -> CloneFlags {
    let kinds = list(spec, "/linux/namespaces").iter().filter_map(|one| one.get("type")?.as_str());
    kinds.fold(CloneFlags::empty(), |flags, kind| {
        flags
            | match kind {
                "mount" => CloneFlags::CLONE_NEWNS,
                "uts" => CloneFlags::CLONE_NEWUTS,
                "ipc" => CloneFlags::CLONE_NEWIPC,
                "network" => CloneFlags::CLONE_NEWNET,
                "cgroup" => CloneFlags::CLONE_NEWCGROUP,
                _ => CloneFlags::empty(),
            }
    })
}

/// `None` for the view of the cgroups, which is no mount of its own kind.
fn mount(mount: &Value) -> Option<MountCall> {
    let text = |name: &str| mount.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut call = MountCall {
        source: text("source"),
        target: text("destination"),
        kind: text("type"),
        flags: 0,
        data: String::new(),
    };
    if call.kind == "cgroup" {
        return None;
    }
    let mut data = Vec::new();
    for option in list(mount, "/options").iter().filter_map(Value::as_str) {
        match FLAGS.iter().find(|(name, _)| *name == option) {
            Some((_, flag)) => call.flags |= i64::try_from(flag.bits()).unwrap_or(0),
            // Propagation is of mounts, and there is nobody to propagate to.
            None if option.ends_with("private") || option.ends_with("slave") => {}
            None => data.push(option),
        }
    }
    call.data = data.join(",");
    Some(call)
}

/// The folders of the hierarchies: all of v1, or the one of v2.
fn hierarchies() -> Vec<String> {
    if cgroup::is_unified() {
        return vec![ROOT.to_owned()];
    }
    let found = fs::read_dir(ROOT).into_iter().flatten().flatten().map(|entry| entry.path());
    // Two names of one hierarchy are a folder and a link.
    let mut found: Vec<String> = found
        .filter(|path| !path.is_symlink() && path.join("cgroup.procs").exists())
        .map(|path| path.display().to_string())
        .collect();
    found.sort();
    found
}

fn cgroup(hierarchy: &str, spec: &Value, tag: &str, id: &str) -> Cgroup {
    let parent = format!("{hierarchy}/{tag}");
    if !Path::new(&parent).exists() {
        // A hierarchy that no runtime has used before; without it the container's own cannot be made, and that is told.
        fs::create_dir(&parent).ok();
    }
    let number = |at: &str| spec.pointer(&format!("/linux/resources/{at}")).and_then(Value::as_i64);
    let name = Path::new(hierarchy).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let limits = if cgroup::is_unified() { unified(&number) } else { legacy(name, &parent, &number) };
    let limits = limits.into_iter().map(|(file, value)| (file.to_owned(), value)).collect();
    Cgroup { folder: format!("{parent}/{id}"), limits }
}

type Limits = Vec<(&'static str, String)>;

fn unified(number: &impl Fn(&str) -> Option<i64>) -> Limits {
    let mut limits = Vec::new();
    limits.extend(number("memory/limit").map(|bytes| ("memory.max", bytes.to_string())));
    limits.extend(number("pids/limit").map(|count| ("pids.max", count.to_string())));
    let quota = number("cpu/quota").zip(number("cpu/period"));
    limits.extend(quota.map(|(quota, period)| ("cpu.max", format!("{quota} {period}"))));
    limits
}

fn legacy(controller: &str, parent: &str, number: &impl Fn(&str) -> Option<i64>) -> Limits {
    let one = |file, at: &str| number(at).map(|value| (file, value.to_string()));
    let inherited = |file: &'static str| {
        let text = fs::read_to_string(format!("{parent}/{file}")).unwrap_or_default();
        (file, text.trim().to_owned())
    };
    match controller {
        "memory" => one("memory.limit_in_bytes", "memory/limit").into_iter().collect(),
        "pids" => one("pids.max", "pids/limit").into_iter().collect(),
        "cpu" => [one("cpu.cfs_period_us", "cpu/period"), one("cpu.cfs_quota_us", "cpu/quota")]
            .into_iter()
            .flatten()
            .collect(),
        "cpuset" => vec![inherited("cpuset.cpus"), inherited("cpuset.mems")],
        "devices" => {
            let allowed = ALLOWED.iter().map(|rule| ("devices.allow", (*rule).to_owned()));
            std::iter::once(("devices.deny", "a".to_owned())).chain(allowed).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_become_flags_and_data() {
        let tmpfs = json!({
            "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k", "rprivate"],
        });
        let call = mount(&tmpfs).unwrap();
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_STRICTATIME;
        assert_eq!((call.flags, call.data.as_str()), (i64::try_from(flags.bits()).unwrap(), "mode=755,size=65536k"));
        assert_eq!(mount(&json!({ "destination": "/sys/fs/cgroup", "type": "cgroup" })), None);
    }

    #[test]
    fn namespaces_are_those_of_the_specification() {
        let spec =
            json!({ "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "network" }] } });
        assert_eq!(namespaces(&spec), CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET);
    }

    #[test]
    fn limits_are_those_of_the_specification() {
        let number = |at: &str| match at {
            "memory/limit" => Some(1 << 20),
            "cpu/quota" => Some(50_000),
            "cpu/period" => Some(100_000),
            _ => None,
        };
        assert_eq!(unified(&number), [("memory.max", "1048576".to_owned()), ("cpu.max", "50000 100000".to_owned())]);
        assert_eq!(legacy("memory", "", &number), [("memory.limit_in_bytes", "1048576".to_owned())]);
        assert!(legacy("pids", "", &number).is_empty());
    }
}
