//! Which cgroups a process is in, against the one that was decided.

use std::path::Path;

use super::locate::{BELOW_SCOPE, Membership, spec_path};
use super::{CgroupError, proc_file};

/// A process's places in all hierarchies, and those of whoever looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    process: Vec<Membership>,
    own: Vec<Membership>,
}

impl Standing {
    /// Of `/proc/<pid>/cgroup`.
    ///
    /// # Errors
    ///
    /// [`CgroupError`].
    pub fn parse(text: &str) -> Result<Self, CgroupError> {
        Ok(Self { process: Membership::parse(text)?, own: Membership::parse(&proc_file("/proc/self/cgroup")?)? })
    }

    /// That of a process in the one cgroup that a specification names.
    #[must_use]
    pub fn only(cgroups_path: &str) -> Self {
        Self {
            process: vec![Membership { controllers: String::new(), path: spec_path(cgroups_path) }],
            own: Vec::new(),
        }
    }

    /// Where the process is and should not be. `below` also takes cgroups below its own, into which it may have moved itself. Below a scope of
    /// systemd's it may be in crun's `container`, where all limits of the scope hold.
    ///
    /// Hierarchies without a controller of their own (a named one, or the unified one beside v1) limit nothing: there it may also be where
    /// the shim is.
    #[must_use]
    pub fn astray(&self, cgroups_path: &str, below: bool) -> Vec<String> {
        let decided = spec_path(cgroups_path);
        let is_apart = |one: &&Membership| !(self.is_right(one, &decided, cgroups_path, below) || self.is_idle(one));
        self.process.iter().filter(is_apart).map(|one| format!("{}:{}", one.controllers, one.path)).collect()
    }

    fn is_right(&self, one: &Membership, decided: &str, cgroups_path: &str, below: bool) -> bool {
        if cgroups_path.is_empty() {
            return one.is_apart_from(&self.own);
        }
        let (path, decided) = (Path::new(&one.path), Path::new(decided));
        // A relative path is below a cgroup of the runtime's choice.
        let relative = !cgroups_path.starts_with('/') && !cgroups_path.contains(':');
        path == decided
            || cgroups_path.contains(':') && path == decided.join(BELOW_SCOPE)
            || below && path.starts_with(decided)
            || relative && decided.strip_prefix("/").is_ok_and(|name| path.ends_with(name))
    }

    fn is_idle(&self, one: &Membership) -> bool {
        let named = one.controllers.starts_with("name=");
        let beside = one.controllers.is_empty() && self.process.iter().any(|other| !other.controllers.is_empty());
        (named || beside) && self.own.contains(one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(process: &str, own: &str) -> Standing {
        Standing { process: Membership::parse(process).unwrap(), own: Membership::parse(own).unwrap() }
    }

    #[test]
    fn every_hierarchy_counts_but_idle_ones() {
        let own = "4:memory:/shim\n9:name=systemd:/shim\n0::/shim\n";
        let right = standing("4:memory:/pod/c\n9:name=systemd:/shim\n0::/shim\n", own);
        assert_eq!(right.astray("/pod/c", false), [""; 0]);
        assert_eq!(standing("4:memory:/shim\n0::/pod/c\n", own).astray("/pod/c", false), ["memory:/shim"]);
        assert_eq!(standing("0::/\n9:name=systemd:/pod/c\n", own).astray("/pod/c", false), [":/"]);
        assert_eq!(standing("0::/shim\n", "0::/shim\n").astray("/pod/c", false), [":/shim"], "v2 limits there");
    }

    #[test]
    fn only_a_program_that_runs_may_have_gone_below() {
        let moved = standing("0::/pod/c/init\n", "0::/\n");
        assert_eq!(moved.astray("/pod/c", false), [":/pod/c/init"]);
        assert_eq!(moved.astray("/pod/c", true), [""; 0]);
        assert_eq!(standing("0::/pod/cc\n", "0::/\n").astray("/pod/c", true), [":/pod/cc"]);
        assert_eq!(standing("0::/a.slice/cri-x.scope\n", "0::/\n").astray("a.slice:cri:x", false), [""; 0]);
        assert_eq!(standing("0::/up/c\n", "0::/\n").astray("c", false), [""; 0]);
    }

    #[test]
    fn a_runtime_may_put_a_container_of_systemd_below_its_scope() {
        let astray = |place: &str| standing(&format!("0::{place}\n"), "0::/\n").astray("a.slice:cri:x", false);
        assert_eq!(astray("/a.slice/cri-x.scope/container"), [""; 0]);
        assert_eq!(astray("/a.slice/cri-y.scope/container"), [":/a.slice/cri-y.scope/container"]);
        assert_eq!(astray("/a.slice/cri-x.scope/other"), [":/a.slice/cri-x.scope/other"]);
        assert_eq!(astray("/a.slice"), [":/a.slice"]);
    }
}
