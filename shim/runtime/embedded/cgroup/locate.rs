//! From `linux.cgroupsPath` to directories.
//!
//! Sources: cgroups(7), proc_pid_mountinfo(5), OCI runtime-spec config-linux.md "Cgroups Path", systemd.slice(5).

use std::fs;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{StatFs, statfs};

use super::{Bare, CgroupError, ContainerCgroup, Version, io_error};

const CGROUP_ROOT: &str = "/sys/fs/cgroup";
/// Where systemd mounts v2 when v1 has the controllers.
const UNIFIED_BESIDE_V1: &str = "/sys/fs/cgroup/unified";
/// `CGROUP2_SUPER_MAGIC`.
const CGROUP2_MAGIC: i64 = 0x6367_7270;
/// The v1 controllers that libcgroups puts a container into.
const V1_CONTROLLERS: [&str; 12] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "hugetlb",
    "memory",
    "pids",
    "perf_event",
    "blkio",
    "net_prio",
    "net_cls",
    "freezer",
];

/// Whether a path has systemd's form `slice:prefix:name`.
fn is_systemd_path(path: &Path) -> bool {
    path.is_relative() && path.as_os_str().as_encoded_bytes().iter().filter(|byte| **byte == b':').count() == 2
}

/// The name of the hierarchy that a directory is in.
pub(super) fn hierarchy_name(directory: &Path) -> Option<&Path> {
    let below = directory.strip_prefix(CGROUP_ROOT).ok()?;
    below.components().next().map(|name| Path::new(name.as_os_str()))
}

/// Whether a filesystem is cgroup v2's.
#[allow(clippy::unnecessary_cast, reason = "the type of f_type differs between architectures")]
pub(super) fn is_v2(found: &StatFs) -> bool {
    found.f_type as i64 == CGROUP2_MAGIC
}

/// What is mounted at `/sys/fs/cgroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Hierarchy {
    /// v1, or both (then v1 has the controllers): each mount point with its controllers; those without one as well, and v2.
    V1(Vec<(PathBuf, Vec<String>)>),
    /// v2 alone.
    V2,
}

impl Hierarchy {
    /// Looks at the machine.
    pub(in super::super) fn of_machine() -> Result<Self, CgroupError> {
        let root = Path::new(CGROUP_ROOT);
        let found = statfs(root).map_err(|errno| io_error("look at", root)(errno.into()))?;
        if is_v2(&found) {
            return Ok(Self::V2);
        }
        let mounts = Path::new("/proc/self/mountinfo");
        let text = fs::read_to_string(mounts).map_err(io_error("read", mounts))?;
        let mounts: Vec<_> = text.lines().filter_map(v1_mount).collect();
        if mounts.is_empty() {
            return Err(CgroupError::NotMounted { what: "/sys/fs/cgroup has neither v1 controllers nor v2" });
        }
        Ok(Self::V1(mounts))
    }

    /// The cgroup that a spec asks for; `/<id>` when it does not say, as runc has it.
    pub(in super::super) fn cgroup(&self, spec_path: Option<&Path>, id: &str) -> Result<ContainerCgroup, CgroupError> {
        let spec_path = match spec_path.filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => path.to_owned(),
            None => Path::new("/").join(id),
        };
        let systemd = is_systemd_path(&spec_path);
        let below = if systemd { systemd_directory(&spec_path)? } else { plain_directory(&spec_path)? };
        match self {
            Self::V1(_) if systemd => Err(CgroupError::Path {
                path: spec_path,
                reason: "the systemd form needs cgroup v2 with the embedded runtime",
            }),
            Self::V1(mounts) => Ok(v1_cgroup(mounts, spec_path, &below)),
            Self::V2 => {
                let directory = Path::new(CGROUP_ROOT).join(below);
                // libcgroups takes a relative path of v2 for systemd's as soon as there is a user namespace.
                let spec_path = if systemd { spec_path } else { Path::new("/").join(spec_path) };
                Ok(ContainerCgroup {
                    version: Version::V2,
                    spec_path,
                    systemd,
                    freezer: Some(directory.clone()),
                    devices: None,
                    directories: vec![directory],
                    bare: Vec::new(),
                })
            }
        }
    }
}

fn v1_cgroup(mounts: &[(PathBuf, Vec<String>)], spec_path: PathBuf, below: &Path) -> ContainerCgroup {
    let with = |controller: &str| {
        let mount = mounts.iter().find(|(_, controllers)| controllers.iter().any(|name| name == controller));
        mount.map(|(mount, _)| mount.join(below))
    };
    let bare = mounts.iter().filter(|(_, controllers)| controllers.is_empty());
    ContainerCgroup {
        version: Version::V1,
        spec_path,
        systemd: false,
        freezer: with("freezer"),
        devices: with("devices"),
        directories: mounts.iter().map(|(mount, _)| mount.join(below)).collect(),
        bare: bare.map(|(mount, _)| Bare { root: mount.clone(), directory: mount.join(below) }).collect(),
    }
}

/// Mount point and controllers of a mountinfo line, if it is a hierarchy that containers are put into: one of v1, or v2 beside v1.
fn v1_mount(line: &str) -> Option<(PathBuf, Vec<String>)> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let point = PathBuf::from(mount.split(' ').nth(4)?);
    let mut filesystem = filesystem.split(' ');
    let kind = filesystem.next()?;
    if kind == "cgroup2" && point == Path::new(UNIFIED_BESIDE_V1) {
        return Some((point, Vec::new()));
    }
    if kind != "cgroup" {
        return None;
    }
    let options: Vec<&str> = filesystem.nth(1)?.split(',').collect();
    let controllers: Vec<String> =
        options.iter().filter(|option| V1_CONTROLLERS.contains(option)).map(|&option| option.to_owned()).collect();
    let named = options.iter().any(|option| option.starts_with("name="));
    (named || !controllers.is_empty()).then_some((point, controllers))
}

/// A path below a hierarchy's root: never the root itself, never out of it.
fn plain_directory(path: &Path) -> Result<PathBuf, CgroupError> {
    let refused = |reason| CgroupError::Path { path: path.to_owned(), reason };
    let mut below = PathBuf::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => below.push(name),
            Component::ParentDir | Component::Prefix(_) => return Err(refused("it has a .. in it")),
        }
    }
    if below.as_os_str().is_empty() {
        return Err(refused("it is the root of the hierarchy"));
    }
    Ok(below)
}

/// `a-b.slice:prefix:name` is `a.slice/a-b.slice/prefix-name.scope`.
fn systemd_directory(path: &Path) -> Result<PathBuf, CgroupError> {
    let refused = |reason| CgroupError::Path { path: path.to_owned(), reason };
    let text = path.to_str().ok_or_else(|| refused("it is not UTF-8"))?;
    let mut parts = text.split(':');
    let (Some(slice), Some(prefix), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(refused("slice:prefix:name is allowed"));
    };
    if name.is_empty() || text.contains('/') {
        return Err(refused("the unit has no name, or a / in it"));
    }
    let slice = if slice.is_empty() { "system.slice" } else { slice };
    let mut directory = expand_slice(slice).ok_or_else(|| refused("the first part is no slice"))?;
    let unit = if name.ends_with(".slice") { name.to_owned() } else { format!("{prefix}-{name}.scope") };
    directory.push(unit);
    Ok(directory)
}

fn expand_slice(slice: &str) -> Option<PathBuf> {
    let name = slice.strip_suffix(".slice")?;
    if name == "-" {
        return Some(PathBuf::new());
    }
    let mut directory = PathBuf::new();
    let mut prefix = String::new();
    for part in name.split('-') {
        if part.is_empty() {
            return None;
        }
        if !prefix.is_empty() {
            prefix.push('-');
        }
        prefix.push_str(part);
        directory.push(format!("{prefix}.slice"));
    }
    Some(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v1() -> Hierarchy {
        Hierarchy::V1(vec![("/c/memory".into(), vec!["memory".into()]), ("/c/freezer".into(), vec!["freezer".into()])])
    }

    #[test]
    fn v1_has_a_directory_for_each_controller() {
        let cgroup = v1().cgroup(Some(Path::new("/pods/a")), "id").unwrap();
        assert_eq!(cgroup.directories, [Path::new("/c/memory/pods/a"), Path::new("/c/freezer/pods/a")]);
        assert_eq!(cgroup.freezer.as_deref(), Some(Path::new("/c/freezer/pods/a")));
        let default = v1().cgroup(None, "id").unwrap();
        assert_eq!(default.spec_path, Path::new("/id"));
    }

    #[test]
    fn a_path_can_not_leave_the_hierarchy_or_be_its_root() {
        for path in ["/", "/..", "../x", "/a/../../b", "."] {
            assert!(Hierarchy::V2.cgroup(Some(Path::new(path)), "id").is_err(), "{path}");
            assert!(v1().cgroup(Some(Path::new(path)), "id").is_err(), "{path}");
        }
    }

    #[test]
    fn systemd_paths_become_slices_and_scopes() {
        let cgroup =
            Hierarchy::V2.cgroup(Some(Path::new("kubepods-burstable-podx.slice:cri-containerd:abc")), "id").unwrap();
        let expected = "/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podx.slice/cri-containerd-abc.scope";
        assert_eq!(cgroup.directory(), Some(Path::new(expected)));
        assert!(cgroup.is_systemd());
        let default = Hierarchy::V2.cgroup(Some(Path::new(":p:n")), "id").unwrap();
        assert_eq!(default.directory(), Some(Path::new("/sys/fs/cgroup/system.slice/p-n.scope")));
        for path in ["x:p:n", "a--b.slice:p:n", "a.slice:p:", "a.slice:p:../n"] {
            assert!(Hierarchy::V2.cgroup(Some(Path::new(path)), "id").is_err(), "{path}");
        }
        assert!(v1().cgroup(Some(Path::new("a.slice:p:n")), "id").is_err());
    }

    #[test]
    fn hierarchies_with_a_controller_or_a_name_count() {
        let line = |at, kind, options| format!("30 24 0:26 / {at} rw,relatime - {kind} cgroup rw,{options}");
        assert_eq!(
            v1_mount(&line("/c/x", "cgroup", "cpu,cpuacct")),
            Some(("/c/x".into(), vec!["cpu".into(), "cpuacct".into()]))
        );
        assert_eq!(v1_mount(&line("/c/x", "cgroup", "xattr,name=systemd")), Some(("/c/x".into(), vec![])));
        assert_eq!(v1_mount(&line("/c/x", "cgroup", "rdma")), None);
        assert_eq!(v1_mount(&line("/c/x", "cgroup2", "memory")), None);
        assert_eq!(
            v1_mount(&line(UNIFIED_BESIDE_V1, "cgroup2", "nsdelegate")),
            Some((UNIFIED_BESIDE_V1.into(), vec![]))
        );
    }

    #[test]
    fn hierarchies_without_a_controller_are_left_to_this_runtime() {
        let mounts = vec![("/c/memory".into(), vec!["memory".into()]), ("/c/systemd".into(), vec![])];
        let cgroup = Hierarchy::V1(mounts).cgroup(Some(Path::new("/pods/a")), "id").unwrap();
        assert_eq!(cgroup.directories.len(), 2);
        assert_eq!(cgroup.bare, [Bare { root: "/c/systemd".into(), directory: "/c/systemd/pods/a".into() }]);
    }
}
