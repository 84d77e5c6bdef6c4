//! Where a process's cgroups are mounted: `/proc/<pid>/cgroup` joined with `/proc/self/mountinfo` (cgroups(7), proc(5)).

use std::path::{Component, Path, PathBuf};

use super::CgroupError;

/// Which interface limits and counters are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy for each controller; hybrid set-ups count as this.
    V1,
    /// The one unified hierarchy.
    V2,
}

/// The cgroup below systemd's scope into which crun puts a container (`run.oci.systemd.subgroup`).
pub(super) const BELOW_SCOPE: &str = "container";

/// One line of `/proc/<pid>/cgroup`: the controllers of a hierarchy and the process's place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Membership {
    /// Comma-separated as the kernel writes them; empty for the unified hierarchy.
    pub(super) controllers: String,
    /// Absolute within the hierarchy, as seen from the reader's cgroup namespace.
    pub(super) path: String,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The superblock options of a v1 hierarchy, its controllers among them; `None` for cgroup2.
    controllers: Option<String>,
    root: PathBuf,
    mount_point: PathBuf,
}

impl Membership {
    /// Parses `/proc/<pid>/cgroup`.
    pub(super) fn parse(text: &str) -> Result<Vec<Self>, CgroupError> {
        text.lines().map(Self::parse_line).collect()
    }

    fn parse_line(line: &str) -> Result<Self, CgroupError> {
        let mut fields = line.splitn(3, ':').skip(1);
        match (fields.next(), fields.next()) {
            (Some(controllers), Some(path)) if path.starts_with('/') => {
                Ok(Self { controllers: controllers.to_owned(), path: path.to_owned() })
            }
            _ => Err(CgroupError::malformed("/proc/<pid>/cgroup", line)),
        }
    }

    fn first_controller(&self) -> &str {
        self.controllers.split(',').next().unwrap_or_default()
    }

    /// This place, or where it is below `cgroup`, that one.
    pub(super) fn up_to(self, cgroup: Option<&str>) -> Self {
        match cgroup.filter(|cgroup| Path::new(&self.path).starts_with(cgroup)) {
            Some(cgroup) => Self { path: cgroup.to_owned(), ..self },
            None => self,
        }
    }

    /// Whether this is the container's own cgroup, seen from the process `own`: not a root, and no cgroup that holds `own`.
    /// Without this a container that the runtime left in a shared cgroup would take the shim, or the node, with it when it is killed.
    pub(super) fn is_apart_from(&self, own: &[Self]) -> bool {
        let path = Path::new(&self.path);
        path.parent().is_some()
            && !own
                .iter()
                .any(|other| other.controllers == self.controllers && Path::new(&other.path).starts_with(path))
    }
}

impl Mount {
    /// Parses the cgroup lines of a mountinfo file and skips the others.
    pub(super) fn parse(mountinfo: &str) -> Result<Vec<Self>, CgroupError> {
        mountinfo.lines().filter_map(|line| Self::parse_line(line).transpose()).collect()
    }

    fn parse_line(line: &str) -> Result<Option<Self>, CgroupError> {
        let malformed = || CgroupError::malformed("/proc/self/mountinfo", line);
        let (place, source) = line.split_once(" - ").ok_or_else(malformed)?;
        let mut source = source.split(' ');
        let (Some(kind), Some(_), Some(options)) = (source.next(), source.next(), source.next()) else {
            return Err(malformed());
        };
        let controllers = match kind {
            "cgroup" => Some(options.to_owned()),
            "cgroup2" => None,
            _ => return Ok(None),
        };
        let mut place = place.split(' ').skip(3);
        let (Some(root), Some(mount_point)) = (place.next(), place.next()) else {
            return Err(malformed());
        };
        Ok(Some(Self { controllers, root: unescape(root).into(), mount_point: unescape(mount_point).into() }))
    }

    fn carries(&self, membership: &Membership) -> bool {
        match &self.controllers {
            None => membership.controllers.is_empty(),
            Some(options) => {
                !membership.controllers.is_empty()
                    && options.split(',').any(|option| option == membership.first_controller())
            }
        }
    }

    /// The directory of `path` below this mount, if the mount shows it.
    fn directory(&self, path: &Path) -> Option<PathBuf> {
        let below = path.strip_prefix(&self.root).ok()?;
        // Joining an empty path would add a trailing slash.
        if below.as_os_str().is_empty() {
            return Some(self.mount_point.clone());
        }
        Some(self.mount_point.join(below))
    }
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
pub(crate) fn unescape(field: &str) -> String {
    let mut plain = String::with_capacity(field.len());
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        let (character, tail) = match (code, after.get(3..)) {
            (Some(code), Some(tail)) => (char::from(code), tail),
            _ => ('\\', after),
        };
        plain.push(character);
        rest = tail;
    }
    plain.push_str(rest);
    plain
}

/// v1 as soon as one of the controllers that limits are made of is on a v1 hierarchy: then the unified one cannot have it.
pub(super) fn version(memberships: &[Membership]) -> Version {
    let legacy = memberships
        .iter()
        .flat_map(|membership| membership.controllers.split(','))
        .any(|controller| matches!(controller, "memory" | "cpu" | "pids"));
    if legacy { Version::V1 } else { Version::V2 }
}

/// The directory of a membership, below the mount that shows the most of its hierarchy; `None` where nothing shows it.
pub(super) fn directory(membership: &Membership, mounts: &[Mount]) -> Result<Option<PathBuf>, CgroupError> {
    let path = checked(&membership.path)?;
    Ok(mounts
        .iter()
        .filter(|mount| mount.carries(membership))
        .filter_map(|mount| Some((mount.root.as_os_str().len(), mount.directory(path)?)))
        .min_by_key(|(root, _)| *root)
        .map(|(_, directory)| directory))
}

/// Refuses `..`, which the kernel writes for a cgroup outside the reader's cgroup namespace and which a spec may hold.
fn checked(path: &str) -> Result<&Path, CgroupError> {
    let plain = Path::new(path);
    let below = plain.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if plain.is_absolute() && below { Ok(plain) } else { Err(CgroupError::OutOfReach { path: path.to_owned() }) }
}

/// The path within a hierarchy that a spec's `linux.cgroupsPath` means: itself, or for `slice:prefix:name` the scope
/// that systemd makes of it (`a-b.slice:cri:id` is `/a.slice/a-b.slice/cri-id.scope`; systemd.slice(5)).
pub(super) fn spec_path(cgroups_path: &str) -> String {
    let mut parts = cgroups_path.splitn(3, ':');
    let (Some(slice), Some(prefix), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return if cgroups_path.starts_with('/') { cgroups_path.to_owned() } else { format!("/{cgroups_path}") };
    };
    let slice = if slice.is_empty() { "system.slice" } else { slice };
    let stem = slice.strip_suffix(".slice").unwrap_or(slice);
    // `-.slice` is systemd's root slice.
    let stem = if stem == "-" { "" } else { stem };
    let dashes = stem.match_indices('-').map(|(at, _)| at);
    let mut path = String::new();
    for end in dashes.chain([stem.len()]) {
        let part = stem.get(..end).unwrap_or_default();
        if !part.is_empty() {
            path.push('/');
            path.push_str(part);
            path.push_str(".slice");
        }
    }
    let unit = if name.ends_with(".slice") {
        name.to_owned()
    } else if prefix.is_empty() {
        format!("{name}.scope")
    } else {
        format!("{prefix}-{name}.scope")
    };
    format!("{path}/{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
23 0 254:0 / / rw,relatime - ext4 /dev/root rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:4 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/memory rw,relatime shared:5 - cgroup cgroup rw,memory
34 31 0:31 /kubepods /mnt/with\\040space rw - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const UNIFIED: &str = "24 22 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

    fn located(cgroup: &str, mountinfo: &str) -> Vec<PathBuf> {
        let mounts = Mount::parse(mountinfo).unwrap();
        Membership::parse(cgroup).unwrap().iter().filter_map(|one| directory(one, &mounts).unwrap()).collect()
    }

    #[test]
    fn joins_each_v1_controller_with_its_mount() {
        let paths = located("5:cpu,cpuacct:/a/b\n4:memory:/a/b\n1:name=systemd:/s\n0::/\n", HYBRID);
        assert_eq!(
            paths,
            [
                "/sys/fs/cgroup/cpu,cpuacct/a/b",
                "/sys/fs/cgroup/memory/a/b",
                "/sys/fs/cgroup/systemd/s",
                "/sys/fs/cgroup/unified"
            ]
            .map(PathBuf::from)
        );
    }

    #[test]
    fn a_mount_of_a_part_of_the_hierarchy_is_only_used_for_that_part() {
        let partial: String =
            HYBRID.lines().filter(|line| !line.starts_with("33 ")).map(|l| format!("{l}\n")).collect();
        assert_eq!(located("4:memory:/kubepods/x\n", &partial), [PathBuf::from("/mnt/with space/x")]);
        assert_eq!(located("4:memory:/other/x\n", &partial), Vec::<PathBuf>::new());
    }

    #[test]
    fn unified_alone_is_v2_and_any_core_controller_on_v1_makes_it_v1() {
        let v2 = Membership::parse("0::/kubepods/x\n").unwrap();
        assert_eq!(version(&v2), Version::V2);
        assert_eq!(located("0::/kubepods/x\n", UNIFIED), [PathBuf::from("/sys/fs/cgroup/kubepods/x")]);
        assert_eq!(version(&Membership::parse("3:net_cls:/\n0::/x\n").unwrap()), Version::V2);
        assert_eq!(version(&Membership::parse("3:memory:/\n0::/x\n").unwrap()), Version::V1);
    }

    #[test]
    fn a_path_outside_the_namespace_is_refused() {
        let mounts = Mount::parse(UNIFIED).unwrap();
        let outside = Membership { controllers: String::new(), path: "/../other".to_owned() };
        assert!(matches!(directory(&outside, &mounts), Err(CgroupError::OutOfReach { .. })));
    }

    #[test]
    fn a_cgroup_that_holds_the_shim_is_not_the_containers() {
        let own = Membership::parse("4:memory:/pod/shim\n0::/\n").unwrap();
        let apart = |path: &str| Membership { controllers: "memory".into(), path: path.into() }.is_apart_from(&own);
        assert!(!apart("/"));
        assert!(!apart("/pod"));
        assert!(!apart("/pod/shim"));
        assert!(apart("/pod/shim/container"));
        assert!(apart("/pod/shim2"));
    }

    #[test]
    fn what_is_below_the_decided_cgroup_belongs_to_it() {
        let at = |path: &str| Membership { controllers: String::new(), path: path.into() };
        for (path, decided, found) in [
            ("/a.slice/x.scope/container", Some("/a.slice/x.scope"), "/a.slice/x.scope"),
            ("/a.slice/x.scope", Some("/a.slice/x.scope"), "/a.slice/x.scope"),
            ("/a.slice/x.scopes", Some("/a.slice/x.scope"), "/a.slice/x.scopes"),
            ("/up/c", Some("/c"), "/up/c"),
            ("/c/inner", None, "/c/inner"),
        ] {
            assert_eq!(at(path).up_to(decided), at(found), "{path} of {decided:?}");
        }
    }

    #[test]
    fn malformed_lines_are_errors() {
        assert!(Membership::parse("nonsense\n").is_err());
        assert!(Membership::parse("4:memory:relative\n").is_err());
        assert!(Mount::parse("41 31 0:38 / /x rw cgroup2\n").is_err());
        assert!(Mount::parse("41 31 0:38 / - cgroup2 cgroup2 rw\n").is_err());
    }

    #[test]
    fn spec_paths_of_both_drivers() {
        assert_eq!(spec_path("/k8s.io/id"), "/k8s.io/id");
        assert_eq!(spec_path("k8s.io/id"), "/k8s.io/id");
        assert_eq!(
            spec_path("kubepods-burstable-pod1.slice:cri-containerd:id"),
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-id.scope"
        );
        assert_eq!(spec_path(":runc:id"), "/system.slice/runc-id.scope");
        assert_eq!(spec_path("-.slice:p:n"), "/p-n.scope");
    }
}
