//! The node that a manifest is judged for: what it says nothing about, and what every node answers differently.

use super::error::KubernetesError;
use super::quantity::Quantity;

/// Facts of a node. The defaults are those of an ordinary one.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Bytes of memory, for the OOM score of burstable pods.
    pub(super) memory: i64,
    /// cgroup v2, or v1.
    pub(super) unified: bool,
    /// The kubelet's cgroup driver is systemd's.
    pub(super) systemd: bool,
    pub(super) app_armor: bool,
    /// `None`: where a manifest gives options for it.
    pub(super) se_linux: Option<bool>,
    /// The kernel can limit swap.
    pub(super) swap: bool,
    /// containerd's generation is 1.7.
    pub(super) one_seven: bool,
    /// The kubelet was started with `seccompDefault`.
    pub(super) seccomp_default: bool,
    /// Sizes of huge pages as OCI names them.
    pub(super) huge_pages: Vec<String>,
    /// The runtime handler's `pod_annotations`: none, unless somebody lists some.
    pub(super) pod_annotations: Vec<String>,
    /// The image of sandboxes.
    pub(super) pause: String,
    pub(super) kubelet_root: String,
    /// containerd's `root` and `state`.
    pub(super) containerd_root: String,
    pub(super) containerd_state: String,
    /// What a node is called.
    pub(super) hostname: String,
    /// containerd's `restrict_oom_score_adj` lets no score below this.
    pub(super) least_oom_score: i64,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            memory: 16 << 30,
            unified: true,
            systemd: true,
            app_armor: true,
            se_linux: None,
            swap: true,
            one_seven: false,
            seccomp_default: false,
            huge_pages: vec!["2MB".to_owned(), "1GB".to_owned()],
            pod_annotations: Vec::new(),
            pause: "registry.k8s.io/pause:3.10.1".to_owned(),
            kubelet_root: "/var/lib/kubelet".to_owned(),
            containerd_root: "/var/lib/containerd".to_owned(),
            containerd_state: "/run/containerd".to_owned(),
            hostname: "node".to_owned(),
            least_oom_score: -1000,
        }
    }
}

/// The names that `--node` takes.
const NAMES: &str = "memory, cgroup, driver, apparmor, selinux, swap, containerd, seccomp-default, hugepages, pod-annotations, pause, kubelet-root, \
                     containerd-root, containerd-state, hostname, oom-floor";

impl Node {
    /// The default node with what was given as NAME=VALUE.
    pub(super) fn with(given: &[String]) -> Result<Self, KubernetesError> {
        let mut node = Self::default();
        for one in given {
            let wrong = || KubernetesError::NodeFact { given: one.clone(), known: NAMES };
            let (name, value) = one.split_once('=').ok_or_else(wrong)?;
            node.set(name, value).ok_or_else(wrong)?;
        }
        Ok(node)
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        let list = || value.split_whitespace().map(str::to_owned).collect();
        match name {
            "memory" => self.memory = Quantity::parse(value)?.value(),
            "cgroup" => self.unified = one_of(value, ["v1", "v2"])?,
            "driver" => self.systemd = one_of(value, ["cgroupfs", "systemd"])?,
            "apparmor" => self.app_armor = one_of(value, ["no", "yes"])?,
            "selinux" => self.se_linux = Some(one_of(value, ["no", "yes"])?),
            "swap" => self.swap = one_of(value, ["no", "yes"])?,
            "containerd" => self.one_seven = one_of(value, ["2", "1.7"])?,
            "seccomp-default" => self.seccomp_default = one_of(value, ["no", "yes"])?,
            "hugepages" => self.huge_pages = list(),
            "pod-annotations" => self.pod_annotations = list(),
            "pause" => self.pause = value.to_owned(),
            "kubelet-root" => self.kubelet_root = value.to_owned(),
            "containerd-root" => self.containerd_root = value.to_owned(),
            "containerd-state" => self.containerd_state = value.to_owned(),
            "hostname" => self.hostname = value.to_owned(),
            "oom-floor" => self.least_oom_score = value.parse().ok()?,
            _ => return None,
        }
        Some(())
    }

    /// Whether SELinux is on, for a manifest that does or does not give options for it.
    pub(super) fn has_se_linux(&self, options_given: bool) -> bool {
        self.se_linux.unwrap_or(options_given)
    }

    /// Whether containerd hands an annotation of the pod on (Go's `path.Match` over the handler's patterns).
    pub(super) fn passes(&self, annotation: &str) -> bool {
        self.pod_annotations.iter().any(|pattern| fits(pattern, annotation))
    }
}

/// Whether the value is the second of two words.
fn one_of(value: &str, [first, second]: [&str; 2]) -> Option<bool> {
    if value == second { Some(true) } else { (value == first).then_some(false) }
}

/// A pattern whose stars stand for anything but a slash.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            let end = rest.find('/').unwrap_or(rest.len());
            let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]).take_while(|at| *at <= end);
            ends.into_iter().any(|at| rest.get(at..).is_some_and(|rest| fits(after, rest)))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_of_annotations_is_gos() {
        for (pattern, text, wanted) in [
            ("palisade.io/*", "palisade.io/profile", true),
            ("palisade.io/*", "palisade.io/a/b", false),
            ("*", "a", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("a", "ab", false),
            ("*b*", "abc", true),
        ] {
            assert_eq!(fits(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn facts_are_given_by_name() {
        let node = Node::with(&["memory=32Gi".to_owned(), "cgroup=v1".to_owned(), "hugepages=".to_owned()]).unwrap();
        assert_eq!((node.memory, node.unified, node.huge_pages.len()), (32 << 30, false, 0));
        for wrong in ["memory", "memory=lots", "cgroup=v3", "colour=red"] {
            assert!(Node::with(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}
