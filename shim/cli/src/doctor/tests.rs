//! A planted node, in which each check has its good and its faulty case. As root: trusted files have to be root's.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::check::{Outcome, Severity};
use super::tree::Tree;
use super::{Result, all, covers, look};
use crate::arguments::{DoctorArguments, PolicyFile};

/// One thing that is put into the tree, in place of what was there.
#[derive(Clone, Copy)]
enum Put {
    Text(&'static str, &'static str),
    /// What stands in a file, in place of another text in it.
    Edit(&'static str, &'static str, &'static str),
    Gone(&'static str),
    Mode(&'static str, u32),
    Owner(&'static str, u32),
    Socket(&'static str, u32),
    Link(&'static str, &'static str),
    Directory(&'static str),
}

use Put::{Directory, Edit, Gone, Link, Mode, Owner, Socket, Text};

struct Planted(PathBuf);

impl Planted {
    fn new(puts: &[Put]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // In memory where there is such a place: it is thousands of small files.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let root = place.join(format!("palisade-doctor-{}-{number}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        let planted = Self(root);
        good().iter().chain(puts).for_each(|put| planted.put(put));
        planted
    }

    fn at(&self, path: &str) -> PathBuf {
        let path = self.0.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn put(&self, put: &Put) {
        match put {
            Text(path, text) => fs::write(self.at(path), text).unwrap(),
            Edit(path, from, to) => {
                let text = fs::read_to_string(self.at(path)).unwrap();
                assert!(text.contains(from), "{path} has {from}");
                fs::write(self.at(path), text.replace(from, to)).unwrap();
            }
            Gone(path) => {
                let path = self.at(path);
                if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
            }
            Mode(path, mode) => fs::set_permissions(self.at(path), fs::Permissions::from_mode(*mode)).unwrap(),
            Owner(path, uid) => std::os::unix::fs::chown(self.at(path), Some(*uid), None).unwrap(),
            Socket(path, mode) => {
                let path = self.at(path);
                // The limit of a socket's path is shorter than a path in the tree may be.
                let _listener = UnixListener::bind(&path).unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
            }
            Link(path, target) => {
                let path = self.at(path);
                if path.exists() {
                    fs::remove_file(&path).unwrap();
                }
                symlink(target, path).unwrap();
            }
            Directory(path) => fs::create_dir_all(self.at(path)).unwrap(),
        }
    }

    fn arguments(&self) -> DoctorArguments {
        DoctorArguments { root: self.0.clone(), ..DoctorArguments::of_this_node(&PolicyFile { file: None }) }
    }

    fn look(&self) -> Vec<Result> {
        look(&Tree::open(&self.0).unwrap(), &self.arguments())
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

const CONFIG: &str = "/etc/containerd/config.toml";
const KUBELET: &str = "/var/lib/kubelet/config.yaml";
const STATUS: &str = "/var/lib/dpkg/status";
const POLICY: &str = "/etc/palisade/policy.toml";
const SHIM: &str = "/usr/local/bin/containerd-shim-palisade-v1";
/// ELF, 64 bits, little endian, of x86-64.
const ELF: &str = "\u{7f}ELF\u{2}\u{1}\u{1}\0\0\0\0\0\0\0\0\0\u{2}\0\u{3e}\0";

const GOOD_CONFIG: &str = r#"version = 3
imports = ["conf.d/*.toml"]
[plugins."io.containerd.image-verifier.v1.bindir"]
bin_dir = "/opt/containerd/image-verifier/bin"
[plugins."io.containerd.nri.v1.nri"]
disable = true
[plugins."io.containerd.cri.v1.images".registry]
config_path = "/etc/containerd/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
enable_selinux = true
unset_seccomp_profile = "runtime/default"
[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "palisade"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.palisade]
runtime_type = "io.containerd.palisade.v1"
privileged_without_host_devices = true
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
runtime_path = "/usr/local/bin/containerd-shim-palisade-v1"
privileged_without_host_devices = true
"#;
const GOOD_STATUS: &str = "Package: containerd\nStatus: install ok installed\nVersion: 2.3.5\n\nPackage: runc\nStatus: install ok installed\n\
    Version: 1.5.0\n\nPackage: crun\nStatus: install ok installed\nVersion: 1.28\n\nPackage: youki\nStatus: install ok installed\nVersion: 0.5.7\n";
const GOOD_KUBELET: &str = "authentication:\n  anonymous:\n    enabled: false\n  x509:\n    clientCAFile: /etc/kubernetes/pki/ca.crt\n\
    authorization:\n  mode: Webhook\nreadOnlyPort: 0\nprotectKernelDefaults: true\nseccompDefault: true\n\
    containerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n";

/// The status of a process of root's, as far as it is read.
const ROOTS: &str = "Name:\tx\nUid:\t0\t0\t0\t0\n";

/// A node that has nothing wrong with it.
fn good() -> Vec<Put> {
    let settings: [(&str, &str); 22] = [
        ("/proc/sys/kernel/osrelease", "6.18.44\n"),
        ("/proc/sys/kernel/arch", "x86_64\n"),
        ("/proc/sys/kernel/core_pattern", "core\n"),
        ("/proc/sys/kernel/seccomp/actions_avail", "kill_process kill_thread trap errno user_notif trace log allow\n"),
        ("/proc/sys/user/max_user_namespaces", "0\n"),
        ("/proc/sys/kernel/unprivileged_bpf_disabled", "2\n"),
        ("/proc/sys/net/core/bpf_jit_harden", "1\n"),
        ("/proc/sys/kernel/yama/ptrace_scope", "1\n"),
        ("/proc/sys/kernel/kexec_load_disabled", "1\n"),
        ("/proc/sys/kernel/kptr_restrict", "1\n"),
        ("/proc/sys/kernel/dmesg_restrict", "1\n"),
        ("/proc/sys/kernel/perf_event_paranoid", "2\n"),
        ("/proc/sys/kernel/randomize_va_space", "2\n"),
        ("/proc/sys/kernel/sysrq", "176\n"),
        ("/proc/sys/kernel/io_uring_disabled", "2\n"),
        ("/proc/sys/kernel/modules_disabled", "1\n"),
        ("/proc/sys/vm/unprivileged_userfaultfd", "0\n"),
        ("/proc/sys/vm/mmap_min_addr", "65536\n"),
        ("/proc/sys/fs/protected_symlinks", "1\n"),
        ("/proc/sys/fs/protected_hardlinks", "1\n"),
        ("/proc/sys/fs/protected_fifos", "1\n"),
        ("/proc/sys/fs/protected_regular", "2\n"),
    ];
    let mut all: Vec<Put> = settings.into_iter().map(|(path, text)| Text(path, text)).collect();
    all.extend([
        Text("/proc/sys/fs/suid_dumpable", "0\n"),
        Text("/proc/swaps", "Filename Type Size Used Priority\n"),
        Text("/proc/1/mountinfo", "40 1 8:1 / /var/lib/containerd rw - ext4 /dev/sda1 rw\n"),
        Link("/proc/1/ns/mnt", "mnt:[1]"),
        Link("/proc/100/ns/mnt", "mnt:[1]"),
        Link("/proc/200/ns/mnt", "mnt:[1]"),
        Text("/proc/100/status", ROOTS),
        Text("/proc/100/comm", "containerd\n"),
        Text("/proc/100/cmdline", "/usr/bin/containerd\0"),
        Link("/proc/100/exe", "/usr/bin/containerd"),
        Text("/proc/200/status", ROOTS),
        Text("/proc/200/comm", "kubelet\n"),
        Text("/proc/200/cmdline", "/usr/bin/kubelet\0--config=/var/lib/kubelet/config.yaml\0"),
        Text("/sys/kernel/security/lsm", "landlock,lockdown,yama,apparmor"),
        Text("/sys/kernel/security/lockdown", "none [integrity] confidentiality\n"),
        Text("/sys/fs/selinux/enforce", "1"),
        Text("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n"),
        Text("/sys/devices/system/cpu/vulnerabilities/meltdown", "Mitigation: PTI\n"),
        Text(STATUS, GOOD_STATUS),
        Text("/usr/bin/containerd", ""),
        Text("/usr/bin/runc", ""),
        Text("/usr/bin/crun", ""),
        Text("/usr/bin/youki", ""),
        Text("/usr/local/bin/palisade", ""),
        Text(SHIM, ELF),
        Text(CONFIG, GOOD_CONFIG),
        Text("/etc/containerd/certs.d/registry.example/hosts.toml", "server = \"https://registry.example\"\n"),
        Text("/opt/containerd/image-verifier/bin/verify", ""),
        Socket("/run/containerd/containerd.sock", 0o660),
        Directory("/var/lib/containerd"),
        Mode("/var/lib/containerd", 0o700),
        Text(POLICY, "profile = \"restricted\"\n"),
        Text("/var/log/palisade/audit.jsonl", ""),
        Mode("/var/log/palisade/audit.jsonl", 0o600),
        Directory("/var/lib/palisade"),
        Text(KUBELET, GOOD_KUBELET),
        Mode(KUBELET, 0o600),
    ]);
    all
}

/// A check, what is put into a good tree, and what it comes to then.
type Case = (&'static str, &'static [Put], Outcome);

const FAIL: Outcome = Outcome::Fail;
const WARN: Outcome = Outcome::Warn;
const PASS: Outcome = Outcome::Pass;
const NONE: Outcome = Outcome::NotApplicable;
const UNKNOWN: Outcome = Outcome::Unknown;

/// One line of the handlers' configuration taken away or changed.
const PLAIN_RUNC: Put = Edit(CONFIG, "runtime_path = \"/usr/local/bin/containerd-shim-palisade-v1\"\n", "");
const NVIDIA: &str =
    "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.nvidia]\nruntime_type = 'io.containerd.runc.v2'\n";

const CASES: &[Case] = &[
    ("host.runtimeclass.handler", &[Text(CONFIG, "version = 3\n")], FAIL),
    ("host.runtimeclass.handler", &[Gone(CONFIG), Gone("/usr/bin/containerd"), Gone("/proc/100")], FAIL),
    ("host.runtimeclass.handler", &[Text(CONFIG, "version = 3\n[")], UNKNOWN),
    ("host.runtimeclass.default", &[Edit(CONFIG, "default_runtime_name = \"palisade\"", ""), PLAIN_RUNC], FAIL),
    (
        "host.runtimeclass.default",
        &[Edit(CONFIG, "default_runtime_name = \"palisade\"", "default_runtime_name = \"x\"")],
        FAIL,
    ),
    // By its path, behind runc's name.
    ("host.runtimeclass.default", &[Edit(CONFIG, "default_runtime_name = \"palisade\"", "")], PASS),
    ("host.runtimeclass.others", &[PLAIN_RUNC], FAIL),
    ("host.runtimeclass.cri", &[Edit(CONFIG, "version = 3\n", "version = 3\ndisabled_plugins = [\"cri\"]\n")], FAIL),
    ("host.runtimeclass.shim", &[Gone(SHIM)], FAIL),
    ("host.runtimeclass.architecture", &[Text(SHIM, "#!/bin/sh\nexec something\n")], FAIL),
    ("host.runtimeclass.architecture", &[Text("/proc/sys/kernel/arch", "aarch64\n")], FAIL),
    ("host.runtimeclass.features", &[Edit(STATUS, "2.3.5", "2.1.9")], WARN),
    ("host.policy.valid", &[Text(POLICY, "profil = 1")], FAIL),
    ("host.policy.valid", &[Mode(POLICY, 0o666)], FAIL),
    ("host.policy.valid", &[Text(POLICY, "runtime.binary = '/opt/nowhere/runc'")], UNKNOWN),
    ("host.policy.valid", &[Gone("/etc/palisade")], PASS),
    // The shim goes by containerd's environment.
    (
        "host.policy.enforced",
        &[
            Text("/proc/100/environ", "A=b\0PALISADE_CONFIG=/etc/other/policy.toml\0"),
            Text("/etc/other/policy.toml", "[profiles.restricted]\nmode = 'audit'"),
        ],
        FAIL,
    ),
    ("host.runtimeclass.shim", &[Text("/proc/100/environ", "PATH=/opt/bin:/usr/bin\0")], FAIL),
    (
        "host.runtimeclass.shim",
        &[Text("/proc/100/environ", "PATH=/opt/bin:/usr/bin\0"), Text("/opt/bin/containerd-shim-palisade-v1", ELF)],
        PASS,
    ),
    ("host.policy.enforced", &[Text(POLICY, "[profiles.restricted]\nmode = 'audit'")], FAIL),
    ("host.policy.default-profile", &[Text(POLICY, "profile = 'privileged'")], FAIL),
    ("host.policy.rules-off", &[Text(POLICY, "[profiles.restricted.rules.'process.cwd']\naction = 'off'")], FAIL),
    ("host.policy.audit-log", &[Text(POLICY, "audit.sink = 'journald'")], WARN),
    ("host.containerd.version", &[Edit(STATUS, "2.3.5", "2.2.4")], FAIL),
    ("host.containerd.version", &[Edit(STATUS, "2.3.5", "1.7.24~ds1-6+deb13u1")], WARN),
    ("host.containerd.version", &[Gone(STATUS)], UNKNOWN),
    ("host.containerd.config", &[Text("/etc/containerd/conf.d/x.toml", "[")], UNKNOWN),
    ("host.containerd.config", &[Edit(CONFIG, "conf.d/*.toml", "gone.toml")], FAIL),
    // What a drop-in takes away from containerd 1.x.
    ("host.containerd.config", OLD_WITH_DROP_IN, FAIL),
    ("host.runtimeclass.handler", OLD_WITH_DROP_IN, FAIL),
    (
        "host.runtimeclass.handler",
        &[Edit(CONFIG, "version = 3", "version = 3"), Text("/etc/containerd/conf.d/x.toml", NVIDIA)],
        PASS,
    ),
    ("host.runtimeclass.others", &[Text("/etc/containerd/conf.d/x.toml", NVIDIA)], FAIL),
    ("host.containerd.socket", &[Mode("/run/containerd/containerd.sock", 0o666)], FAIL),
    ("host.containerd.socket", &[Owner("/run/containerd/containerd.sock", 1000)], FAIL),
    (
        "host.containerd.tcp",
        &[Edit(CONFIG, "version = 3\n", "version = 3\n[grpc]\ntcp_address = \"0.0.0.0:1\"\n")],
        FAIL,
    ),
    (
        "host.containerd.metrics",
        &[Edit(CONFIG, "version = 3\n", "version = 3\n[metrics]\naddress = \":1338\"\n")],
        FAIL,
    ),
    ("host.containerd.debug", &[Edit(CONFIG, "version = 3\n", "version = 3\n[debug]\nlevel = \"debug\"\n")], FAIL),
    (
        "host.containerd.streaming",
        &[Edit(CONFIG, "enable_selinux", "stream_server_address = \"0.0.0.0\"\nenable_selinux")],
        FAIL,
    ),
    (
        "host.containerd.streaming",
        &[Edit(
            CONFIG,
            "enable_selinux",
            "stream_server_address = \"0.0.0.0\"\nenable_tls_streaming = true\nenable_selinux",
        )],
        PASS,
    ),
    ("host.containerd.apparmor", &[Edit(CONFIG, "enable_selinux", "disable_apparmor = true\nenable_selinux")], FAIL),
    ("host.containerd.selinux", &[Edit(CONFIG, "enable_selinux = true", "")], FAIL),
    ("host.containerd.selinux", &[Gone("/sys/fs/selinux")], NONE),
    (
        "host.containerd.proc-mount",
        &[Edit(CONFIG, "enable_selinux", "disable_proc_mount = true\nenable_selinux")],
        FAIL,
    ),
    ("host.containerd.seccomp", &[Edit(CONFIG, "runtime/default", "")], WARN),
    (
        "host.containerd.oom-score",
        &[Edit(CONFIG, "enable_selinux", "restrict_oom_score_adj = true\nenable_selinux")],
        WARN,
    ),
    (
        "host.containerd.annotations",
        &[Edit(
            CONFIG,
            "runtime_type = \"io.containerd.palisade.v1\"",
            "runtime_type = \"io.containerd.palisade.v1\"\npod_annotations = [\"*\"]",
        )],
        FAIL,
    ),
    (
        "host.containerd.annotations",
        &[Edit(
            CONFIG,
            "runtime_type = \"io.containerd.palisade.v1\"",
            "runtime_type = \"io.containerd.palisade.v1\"\ncontainer_annotations = [\"org.systemd.property.*\"]",
        )],
        FAIL,
    ),
    (
        "host.containerd.annotations",
        &[Edit(
            CONFIG,
            "runtime_type = \"io.containerd.palisade.v1\"",
            "runtime_type = \"io.containerd.palisade.v1\"\npod_annotations = [\"example.org/*\"]",
        )],
        PASS,
    ),
    ("host.containerd.privileged-devices", &[Edit(CONFIG, "privileged_without_host_devices = true\n", "")], WARN),
    (
        "host.containerd.privileged-devices",
        &[Edit(
            CONFIG,
            "privileged_without_host_devices = true\n",
            "privileged_without_host_devices_all_devices_allowed = true\n",
        )],
        FAIL,
    ),
    (
        "host.containerd.device-ownership",
        &[Edit(CONFIG, "enable_selinux", "device_ownership_from_security_context = true\nenable_selinux")],
        WARN,
    ),
    (
        "host.containerd.registries",
        &[Text("/etc/containerd/certs.d/registry.example/hosts.toml", "[host.\"https://x\"]\nskip_verify = true\n")],
        FAIL,
    ),
    (
        "host.containerd.registries",
        &[Edit(
            CONFIG,
            ".registry]",
            ".registry.configs.\"x\".tls]\ninsecure_skip_verify = true\n[plugins.\"io.containerd.cri.v1.images\".registry]",
        )],
        FAIL,
    ),
    ("host.containerd.image-verifier", &[Gone("/opt/containerd/image-verifier/bin/verify")], WARN),
    ("host.containerd.image-verifier", &[Gone("/opt/containerd")], WARN),
    (
        "host.containerd.image-verifier-bypassed",
        &[Edit(
            CONFIG,
            "config_path = \"/etc/containerd/certs.d\"",
            "[plugins.\"io.containerd.cri.v1.images\".registry.mirrors.x]\nendpoint = []",
        )],
        FAIL,
    ),
    (
        "host.containerd.image-verifier-bypassed",
        &[Edit(CONFIG, "enable_selinux", "use_local_image_pull = true\nenable_selinux")],
        FAIL,
    ),
    ("host.containerd.nri", &[Edit(CONFIG, "disable = true", "")], WARN),
    (
        "host.containerd.deprecations",
        &[Edit(CONFIG, "enable_selinux", "ignore_deprecation_warnings = [\"x\"]\nenable_selinux")],
        FAIL,
    ),
    ("host.runtime.runc", &[Edit(STATUS, "1.5.0", "1.3.5")], FAIL),
    ("host.runtime.runc", &[Edit(STATUS, "1.5.0", "1.1.5+ds1-1+deb12u1")], WARN),
    ("host.runtime.runc", &[Gone("/usr/bin/runc")], NONE),
    // One that only a handler names.
    (
        "host.runtime.runc",
        &[
            Gone("/usr/bin/runc"),
            Edit(STATUS, "1.5.0", "1.3.5"),
            Text("/opt/x/runc", ""),
            Edit(
                CONFIG,
                ".runtimes.palisade]",
                ".runtimes.x.options]\nBinaryName = \"/opt/x/runc\"\n[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.palisade]",
            ),
        ],
        FAIL,
    ),
    ("host.runtime.crun", &[Edit(STATUS, "1.28", "1.21")], FAIL),
    ("host.runtime.youki", &[Edit(STATUS, "0.5.7", "0.5.4")], FAIL),
    ("host.runtime.chosen", &[Text(POLICY, "profil = 1")], UNKNOWN),
    ("host.files.shim", &[Mode(SHIM, 0o775)], FAIL),
    ("host.files.shim", &[Mode("/usr/local/bin", 0o777)], FAIL),
    ("host.files.shim", &[Owner("/usr/local", 1000)], FAIL),
    // Through a link to where others write.
    ("host.files.shim", &[Text("/home/x/shim", ELF), Owner("/home/x", 1000), Link(SHIM, "/home/x/shim")], FAIL),
    ("host.files.tool", &[Mode("/usr/local/bin/palisade", 0o757)], FAIL),
    (
        "host.files.policy",
        &[Text("/etc/palisade/policy.d/a.toml", ""), Mode("/etc/palisade/policy.d/a.toml", 0o666)],
        FAIL,
    ),
    ("host.files.policy", &[Mode("/etc/palisade", 0o777)], FAIL),
    ("host.files.audit-log", &[Mode("/var/log/palisade/audit.jsonl", 0o644)], FAIL),
    ("host.files.audit-log", &[Mode("/var/log/palisade", 0o777)], FAIL),
    ("host.files.state", &[Mode("/var/lib/palisade", 0o777)], FAIL),
    ("host.files.runtimes", &[Mode("/usr/bin/runc", 0o775)], FAIL),
    ("host.files.containerd", &[Owner("/usr/bin/containerd", 1000)], FAIL),
    ("host.files.containerd-config", &[Mode(CONFIG, 0o664)], FAIL),
    (
        "host.files.containerd-config",
        &[Text("/etc/containerd/conf.d/x.toml", ""), Mode("/etc/containerd/conf.d", 0o777)],
        FAIL,
    ),
    ("host.files.containerd-state", &[Mode("/var/lib/containerd", 0o711)], FAIL),
    (
        "host.files.containerd-state",
        &[
            Directory("/run/containerd/io.containerd.grpc.v1.cri"),
            Mode("/run/containerd/io.containerd.grpc.v1.cri", 0o755),
        ],
        FAIL,
    ),
    // Anybody can call a program containerd.
    (
        "host.runtimeclass.handler",
        &[
            Link("/proc/099/ns/mnt", "mnt:[1]"),
            Text("/proc/099/status", ROOTS),
            Text("/proc/099/comm", "containerd\n"),
            Text("/proc/099/cmdline", "containerd\0--config\0/home/x/config.toml\0"),
            Text("/home/x/config.toml", "version = 3\n"),
            Text("/proc/099/status", "Uid:\t1000\t0\t0\t0\n"),
        ],
        PASS,
    ),
    (
        "host.runtimeclass.handler",
        &[
            Link("/proc/099/ns/mnt", "mnt:[1]"),
            Text("/proc/099/status", ROOTS),
            Text("/proc/099/comm", "containerd\n"),
            Text("/proc/099/cmdline", "containerd\0--config\0/home/x/config.toml\0"),
            Text("/home/x/config.toml", "version = 3\n"),
        ],
        FAIL,
    ),
    (
        "host.runtimeclass.handler",
        &[
            Link("/proc/099/ns/mnt", "mnt:[1]"),
            Text("/proc/099/status", ROOTS),
            Text("/proc/099/comm", "containerd\n"),
            Text("/proc/099/cmdline", "containerd\0--config\0/var/run/docker/containerd/containerd.toml\0"),
            Text("/var/run/docker/containerd/containerd.toml", "disabled_plugins = ['cri']\n"),
        ],
        PASS,
    ),
    ("host.files.plugins", &[Mode("/opt/containerd/image-verifier/bin", 0o777)], FAIL),
    ("host.files.plugins", &[Directory("/etc/cdi"), Mode("/etc/cdi", 0o1777)], FAIL),
    ("host.files.plugins", &[Directory("/var/lib/kubelet/seccomp"), Mode("/var/lib/kubelet/seccomp", 0o777)], FAIL),
    ("host.containerd.image-verifier", &[Gone(CONFIG)], PASS),
    ("host.files.containerd-mount", &[Text("/proc/1/mountinfo", "40 1 8:1 / / rw - ext4 /dev/sda1 rw\n")], WARN),
    ("host.files.kubelet-config", &[Mode(KUBELET, 0o644)], FAIL),
    ("host.kernel.version", &[Text("/proc/sys/kernel/osrelease", "5.15.24\n")], FAIL),
    ("host.kernel.version", &[Text("/proc/sys/kernel/osrelease", "5.15.0-91-generic\n")], WARN),
    ("host.kernel.version", &[Text("/proc/sys/kernel/osrelease", "6.1.200\n")], WARN),
    ("host.kernel.version", &[Gone("/proc/sys/kernel/osrelease")], UNKNOWN),
    ("host.kernel.processor", &[Text("/sys/devices/system/cpu/vulnerabilities/meltdown", "Vulnerable\n")], FAIL),
    ("host.kernel.user-namespaces", &[Text("/proc/sys/user/max_user_namespaces", "15000\n")], WARN),
    (
        "host.kernel.user-namespaces",
        &[
            Text("/proc/sys/user/max_user_namespaces", "15000\n"),
            Text("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n"),
        ],
        PASS,
    ),
    ("host.kernel.unprivileged-bpf", &[Text("/proc/sys/kernel/unprivileged_bpf_disabled", "0\n")], FAIL),
    ("host.kernel.unprivileged-bpf", &[Text("/proc/sys/kernel/unprivileged_bpf_disabled", "maybe\n")], UNKNOWN),
    ("host.kernel.bpf-jit", &[Text("/proc/sys/net/core/bpf_jit_harden", "0\n")], FAIL),
    ("host.kernel.ptrace-scope", &[Text("/proc/sys/kernel/yama/ptrace_scope", "0\n")], FAIL),
    ("host.kernel.ptrace-scope", &[Gone("/proc/sys/kernel/yama")], WARN),
    ("host.kernel.kexec", &[Text("/proc/sys/kernel/kexec_load_disabled", "0\n")], FAIL),
    ("host.kernel.core-pattern", &[Text("/proc/sys/kernel/core_pattern", "|/tmp/handler %p\n")], FAIL),
    (
        "host.kernel.core-pattern",
        &[Text("/proc/sys/kernel/core_pattern", "|/usr/bin/runc %p\n"), Mode("/usr/bin/runc", 0o777)],
        FAIL,
    ),
    ("host.kernel.core-pattern", &[Text("/proc/sys/kernel/core_pattern", "|/usr/bin/runc %p\n")], WARN),
    ("host.kernel.kptr-restrict", &[Text("/proc/sys/kernel/kptr_restrict", "0\n")], FAIL),
    ("host.kernel.dmesg-restrict", &[Text("/proc/sys/kernel/dmesg_restrict", "0\n")], FAIL),
    ("host.kernel.perf-event-paranoid", &[Text("/proc/sys/kernel/perf_event_paranoid", "-1\n")], FAIL),
    ("host.kernel.address-space", &[Text("/proc/sys/kernel/randomize_va_space", "1\n")], FAIL),
    ("host.kernel.sysrq", &[Text("/proc/sys/kernel/sysrq", "1\n")], FAIL),
    ("host.kernel.io-uring", &[Text("/proc/sys/kernel/io_uring_disabled", "0\n")], FAIL),
    ("host.kernel.io-uring", &[Gone("/proc/sys/kernel/io_uring_disabled")], NONE),
    ("host.kernel.modules", &[Text("/proc/sys/kernel/modules_disabled", "0\n")], WARN),
    ("host.kernel.userfaultfd", &[Text("/proc/sys/vm/unprivileged_userfaultfd", "1\n")], FAIL),
    ("host.kernel.mmap-min-addr", &[Text("/proc/sys/vm/mmap_min_addr", "0\n")], FAIL),
    ("host.kernel.protected-symlinks", &[Text("/proc/sys/fs/protected_symlinks", "0\n")], FAIL),
    ("host.kernel.protected-hardlinks", &[Text("/proc/sys/fs/protected_hardlinks", "0\n")], FAIL),
    ("host.kernel.protected-fifos", &[Text("/proc/sys/fs/protected_fifos", "0\n")], FAIL),
    ("host.kernel.protected-regular", &[Text("/proc/sys/fs/protected_regular", "0\n")], FAIL),
    ("host.kernel.suid-dumpable", &[Text("/proc/sys/fs/suid_dumpable", "1\n")], FAIL),
    ("host.kernel.cgroups", &[Text("/sys/fs/cgroup/cgroup.controllers", "cpu cpuset io pids\n")], FAIL),
    (
        "host.kernel.cgroups",
        &[Gone("/sys/fs/cgroup"), Directory("/sys/fs/cgroup/memory"), Directory("/sys/fs/cgroup/pids")],
        WARN,
    ),
    ("host.kernel.cgroups", &[Gone("/sys/fs/cgroup")], UNKNOWN),
    ("host.kernel.lsm", &[Text("/sys/kernel/security/lsm", "landlock,yama")], FAIL),
    ("host.kernel.lsm", &[Text("/sys/kernel/security/lsm", "selinux"), Text("/sys/fs/selinux/enforce", "0")], FAIL),
    ("host.kernel.lsm", &[Gone("/sys/kernel/security/lsm")], UNKNOWN),
    ("host.kernel.landlock", &[Text("/sys/kernel/security/lsm", "apparmor")], WARN),
    ("host.kernel.lockdown", &[Text("/sys/kernel/security/lockdown", "[none] integrity confidentiality\n")], WARN),
    ("host.kernel.seccomp", &[Text("/proc/sys/kernel/seccomp/actions_avail", "kill_process errno\n")], FAIL),
    ("host.kernel.swap", &[Text("/proc/swaps", "Filename Type\n/dev/sda2 partition\n/dev/zram0 partition\n")], WARN),
    (
        "host.kernel.swap",
        &[
            Text("/proc/swaps", "Filename Type\n/dev/dm-1 partition\n"),
            Text("/sys/class/block/dm-1/dm/uuid", "CRYPT-PLAIN-x\n"),
        ],
        PASS,
    ),
    ("host.kubelet.anonymous", &[Edit(KUBELET, "enabled: false", "enabled: true")], FAIL),
    ("host.kubelet.anonymous", &[Text("/proc/200/cmdline", "kubelet\0--anonymous-auth\0--v=2\0")], FAIL),
    ("host.kubelet.anonymous", &[Text(KUBELET, "authentication: {anonymous: {enabled: false}\n")], UNKNOWN),
    ("host.kubelet.anonymous", &[Gone(KUBELET), Gone("/proc/200")], NONE),
    (
        "host.kubelet.anonymous",
        &[
            Text("/proc/200/cmdline", "kubelet\0--config=/var/lib/kubelet/config.yaml\0--config-dir=/etc/kubelet.d\0"),
            Text("/etc/kubelet.d/10-open.conf", "authentication:\n  anonymous:\n    enabled: true\n"),
            Text("/etc/kubelet.d/20.bak", "authentication:\n  anonymous:\n    enabled: false\n"),
        ],
        FAIL,
    ),
    ("host.kubelet.authorization", &[Edit(KUBELET, "Webhook", "AlwaysAllow")], FAIL),
    ("host.kubelet.client-ca", &[Edit(KUBELET, "clientCAFile: /etc/kubernetes/pki/ca.crt", "other: x")], FAIL),
    ("host.kubelet.read-only-port", &[Edit(KUBELET, "readOnlyPort: 0", "readOnlyPort: 10255")], FAIL),
    ("host.kubelet.kernel-defaults", &[Edit(KUBELET, "protectKernelDefaults: true\n", "")], FAIL),
    ("host.kubelet.seccomp-default", &[Edit(KUBELET, "seccompDefault: true\n", "")], FAIL),
    ("host.kubelet.runtime", &[Edit(KUBELET, "/run/containerd/containerd.sock", "/run/crio/crio.sock")], FAIL),
    ("host.engine.others", &[Socket("/run/docker.sock", 0o660)], FAIL),
    (
        "host.engine.others",
        &[
            Link("/proc/300/ns/mnt", "mnt:[1]"),
            Text("/proc/300/status", ROOTS),
            Text("/proc/300/comm", "crio\n"),
            Text("/proc/300/cmdline", "crio\0"),
        ],
        FAIL,
    ),
    ("host.engine.sockets", &[Socket("/run/docker.sock", 0o660)], PASS),
    ("host.engine.sockets", &[Socket("/run/docker.sock", 0o666)], FAIL),
    ("host.engine.docker-tcp", &[Text("/etc/docker/daemon.json", "{\"hosts\":[\"tcp://0.0.0.0:2375\"]}")], FAIL),
    (
        "host.engine.docker-tcp",
        &[Text("/etc/docker/daemon.json", "{\"hosts\":[\"tcp://0.0.0.0:2376\"],\"tlsverify\":true}")],
        PASS,
    ),
    (
        "host.engine.docker-tcp",
        &[
            Text("/proc/300/status", ROOTS),
            Link("/proc/300/ns/mnt", "mnt:[1]"),
            Text("/proc/300/comm", "dockerd\n"),
            Text("/proc/300/cmdline", "dockerd\0-H\0tcp://0.0.0.0:2375\0"),
        ],
        FAIL,
    ),
    ("host.engine.docker-tcp", &[Text("/etc/docker/daemon.json", "{")], UNKNOWN),
];

/// containerd 1.7 with a drop-in of the kind that a GPU's installer writes.
const OLD_WITH_DROP_IN: &[Put] = &[
    Edit(STATUS, "2.3.5", "1.7.33"),
    Text(
        CONFIG,
        "version = 2\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n[plugins.'io.containerd.grpc.v1.cri'.containerd]\ndefault_runtime_name = 'palisade'\n\
         [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.palisade]\nruntime_type = 'io.containerd.palisade.v1'\n",
    ),
    Text("/etc/containerd/conf.d/99-nvidia.toml", NVIDIA),
];

fn of<'a>(results: &'a [Result], id: &str) -> &'a Result {
    results.iter().find(|result| result.check.id == id).unwrap_or_else(|| panic!("{id}"))
}

#[test]
fn a_good_node_has_nothing_wrong_with_it() {
    let results = Planted::new(&[]).look();
    for result in &results {
        let expected: &[Outcome] = match result.check.id {
            // No other engine is there, and no program of another tree is run.
            "host.engine.sockets" | "host.engine.docker-tcp" | "host.runtimeclass.answers" => &[NONE],
            _ => &[PASS],
        };
        assert!(
            expected.contains(&result.outcome()),
            "{}: {:?} {}",
            result.check.id,
            result.outcome(),
            result.found.seen
        );
    }
}

#[test]
fn every_check_finds_its_fault() {
    let mut wrong = Vec::new();
    for (number, (id, puts, outcome)) in CASES.iter().enumerate() {
        let results = Planted::new(puts).look();
        let result = of(&results, id);
        if result.outcome() != *outcome || result.found.seen.is_empty() || result.mend().is_empty() {
            wrong.push(format!("{number} {id}: {:?}, not {outcome:?}: {}", result.outcome(), result.found.seen));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_check_has_a_faulty_case() {
    let faulty: BTreeSet<&str> =
        CASES.iter().filter(|(_, _, outcome)| [FAIL, WARN, UNKNOWN].contains(outcome)).map(|(id, ..)| *id).collect();
    // These two have tests of their own.
    let elsewhere = ["host.runtimeclass.answers", "host.policy.exemptions"];
    let missing: Vec<&str> =
        all().map(|check| check.id).filter(|id| !faulty.contains(id) && !elsewhere.contains(id)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn ids_are_told_apart_and_stand_for_groups() {
    let ids: BTreeSet<&str> = all().map(|check| check.id).collect();
    assert_eq!(ids.len(), all().count());
    assert!(covers("host.kernel", "host.kernel.swap") && covers("host.kernel.swap", "host.kernel.swap"));
    assert!(!covers("host.kern", "host.kernel.swap") && !covers("host.kernel.swap", "host.kernel"));
}

/// It is asked on the machine that this runs on alone, so what it says is put in here.
#[test]
fn a_shim_that_says_another_version_or_nothing_is_told() {
    let planted = Planted::new(&[]);
    let mut node = super::read::read(&Tree::open(&planted.0).unwrap(), &planted.arguments());
    let check = all().find(|check| check.id == "host.runtimeclass.answers").unwrap();
    for (answer, outcome) in [
        (Some(Ok(format!("containerd-shim-palisade-v1:\n  Version:  {}\n", env!("CARGO_PKG_VERSION")))), PASS),
        (Some(Ok("9.9.9".to_owned())), FAIL),
        (Some(Err("it is not run".to_owned())), FAIL),
        (None, NONE),
    ] {
        node.containerd.shims.iter_mut().for_each(|shim| shim.answer.clone_from(&answer));
        let found = check.run(&node);
        assert_eq!(found.outcome, outcome, "{}", found.seen);
    }
}

#[test]
fn an_exemption_that_ends_is_told() {
    let exemption = |expires: &str| {
        format!(
            "[[exempt]]\nrule = 'linux.sysctl'\nnamespace = 'a'\ncontainer = 'b'\nreason = 'x'\nexpires = '{expires}'\n"
        )
    };
    for (expires, outcome) in [("2020-01-01", WARN), ("2999-01-01", PASS)] {
        let planted = Planted::new(&[]);
        fs::write(planted.at(POLICY), exemption(expires)).unwrap();
        let results = planted.look();
        let result = of(&results, "host.policy.exemptions");
        assert_eq!(result.outcome(), outcome, "{}", result.found.seen);
        assert!(!result.found.seen.starts_with('0'), "{}", result.found.seen);
    }
}

/// A tree whose links point at the machine's own files shows none of them.
#[test]
fn no_link_leads_out_of_the_tree() {
    let outside = std::env::temp_dir().join(format!("palisade-doctor-outside-{}", std::process::id()));
    fs::write(&outside, "version = 3\n").unwrap();
    let planted = Planted::new(&[]);
    fs::remove_file(planted.at(CONFIG)).unwrap();
    symlink(&outside, planted.at(CONFIG)).unwrap();
    let up = "../".repeat(40) + outside.to_str().unwrap().trim_start_matches('/');
    symlink(&up, planted.at("/etc/up.toml")).unwrap();
    let tree = Tree::open(&planted.0).unwrap();
    for path in [CONFIG, "/etc/up.toml", outside.to_str().unwrap()] {
        assert_eq!(tree.text(path), Ok(None), "{path}");
        assert_eq!(tree.way(path), Ok(None), "{path}");
    }
    fs::remove_file(outside).unwrap();
}

/// What is no file, or has no end, is not read.
#[test]
fn a_fifo_does_not_stop_it() {
    let planted = Planted::new(&[Gone(KUBELET)]);
    let path = planted.at(KUBELET);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    let results = planted.look();
    assert_eq!(of(&results, "host.kubelet.anonymous").outcome(), UNKNOWN);
}

#[test]
fn what_could_not_be_looked_at_counts() {
    let planted = Planted::new(&[Text("/proc/sys/kernel/randomize_va_space", "?\n")]);
    let results = planted.look();
    let result = of(&results, "host.kernel.address-space");
    assert_eq!(result.outcome(), UNKNOWN);
    assert!(result.counts(Severity::High) && !result.counts(Severity::Critical));
}

const PAGE: &str = "../../docs/doctor.md";
const BEGIN: &str = "<!-- The table is made by a test: UPDATE_GOLDEN=1 cargo test -p palisade-cli -->\n";
const END: &str = "<!-- End of the table -->\n";

fn table() -> String {
    let row = |check: &super::Check| {
        assert!(
            ![check.demand, check.why, check.reference, check.mend].iter().any(|text| text.contains('|')),
            "{}",
            check.id
        );
        format!(
            "| `{}` | {} | {}. {} | {} | {} |\n",
            check.id,
            check.severity.word(),
            check.demand,
            check.why,
            check.reference,
            check.mend
        )
    };
    let head =
        "| check | severity | what should be so, and why | reference | mend |\n|---|---|---|---|---|\n".to_owned();
    all().map(row).fold(head, |all, row| all + &row)
}

#[test]
fn the_documentation_has_every_check() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
        return;
    }
    assert_eq!(found, table());
}

/// Whoever is root in a container chooses name and arguments of a process, and the node's own can't be told from it without rights.
#[test]
fn a_process_whose_namespace_is_not_seen_is_not_the_nodes() {
    let impostor = |more: &[Put]| {
        let mut puts = vec![
            Text("/proc/12/status", ROOTS),
            Text("/proc/12/comm", "containerd\n"),
            Text("/proc/12/cmdline", "containerd\0--config\0/var/lib/kubelet/pods/x/c.toml\0"),
        ];
        puts.extend(more.iter().copied());
        let planted = Planted::new(&puts);
        let tree = Tree::open(&planted.0).unwrap();
        let found = super::read::processes(&tree).unwrap();
        found
            .into_iter()
            .filter(|process| process.name == "containerd")
            .map(|process| process.words)
            .collect::<Vec<_>>()
    };
    let own = vec![vec!["/usr/bin/containerd".to_owned()]];
    assert_eq!(impostor(&[]), own, "no namespace to be seen");
    assert_eq!(impostor(&[Link("/proc/12/ns/mnt", "mnt:[9]")]), own, "another one");
    assert_eq!(impostor(&[Link("/proc/12/ns/mnt", "mnt:[1]")]).len(), 2, "the control: the node's own");
}
