//! Against the kernel, in cgroups that each test makes and removes. Every test here needs root.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::{cgroups::metrics as v1, cgroups_v2::metrics as v2};
use nix::fcntl::OFlag;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::Mode;
use oci_spec::runtime::LinuxResources;
use serde_json::{Value, json};

use super::unique;
use crate::cgroup::locate::{Membership, Mount, directory, version};
use crate::cgroup::{Cgroup, CgroupError, OomWatch, Version};
use crate::ticks::Ticks;

/// A cgroup of the test's own below the root of every hierarchy.
struct Scratch {
    name: String,
    directories: Vec<PathBuf>,
    children: Vec<Child>,
}

impl Scratch {
    fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test makes cgroups and needs root");
        let name = format!("/{}", unique("kernel"));
        let own = Membership::parse(&fs::read_to_string("/proc/self/cgroup").unwrap()).unwrap();
        let mounts = Mount::parse(&fs::read_to_string("/proc/self/mountinfo").unwrap()).unwrap();
        let mut scratch = Self { name: name.clone(), directories: Vec::new(), children: Vec::new() };
        for mine in &own {
            let place = Membership { controllers: mine.controllers.clone(), path: name.clone() };
            let Some(path) = directory(&place, &mounts).unwrap() else {
                continue;
            };
            if version(&own) == Version::V2 {
                enable_controllers(path.parent().unwrap());
            }
            fs::create_dir(&path).unwrap();
            if mine.controllers.contains("cpuset") {
                fs::write(path.join("cpuset.cpus"), "0").unwrap();
                fs::write(path.join("cpuset.mems"), "0").unwrap();
            }
            scratch.directories.push(path);
        }
        scratch
    }

    /// Starts a shell script that is in the cgroup before its first command.
    fn run(&mut self, script: &str) -> u32 {
        let joins: String =
            self.directories.iter().map(|path| format!("echo $$ > {}/cgroup.procs; ", path.display())).collect();
        let child =
            Command::new("sh").args(["-c", &format!("{joins} echo in; {script}")]).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        let mut ready = [0; 3];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        let pid = child.id();
        self.children.push(child);
        pid
    }

    fn file(&self, name: &str) -> String {
        let path = self.directories.iter().map(|path| path.join(name)).find(|path| path.exists());
        fs::read_to_string(path.unwrap_or_else(|| panic!("no {name}"))).unwrap().trim().to_owned()
    }

    fn number(&self, name: &str) -> u64 {
        self.file(name).parse().unwrap()
    }

    fn reap(&mut self) {
        for mut child in self.children.drain(..) {
            child.wait().unwrap();
        }
    }

    fn has(&self, name: &str) -> bool {
        self.directories.iter().any(|path| path.join(name).exists())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A test that failed may have left it frozen, and then nothing in it dies.
        for (name, thawed) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
            for file in self.directories.iter().map(|path| path.join(name)).filter(|file| file.exists()) {
                fs::write(file, thawed).unwrap();
            }
        }
        for child in &mut self.children {
            let already_dead = child.kill();
            drop(already_dead);
            child.wait().unwrap();
        }
        for path in self.directories.iter().filter(|path| path.exists()) {
            let deadline = Instant::now() + Duration::from_secs(5);
            while fs::remove_dir(path).is_err() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn enable_controllers(parent: &Path) {
    let available = fs::read_to_string(parent.join("cgroup.controllers")).unwrap();
    for controller in available.split_whitespace() {
        fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
    }
}

fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !reached() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        thread::sleep(Duration::from_millis(10));
    }
}

fn apply(cgroup: &Cgroup, resources: Value) -> Result<(), CgroupError> {
    cgroup.apply(&serde_json::from_value::<LinuxResources>(resources).unwrap())
}

#[test]
fn finds_the_processes_of_a_container_and_its_sub_cgroups() {
    let mut scratch = Scratch::new();
    let pid = scratch.run("sleep 60 & wait");
    let cgroup = Cgroup::of_process(pid).unwrap();
    wait_until("fork", || cgroup.pids().unwrap().len() == 2);
    assert!(cgroup.pids().unwrap().contains(&pid));
    assert_eq!(Cgroup::of_spec(&scratch.name).unwrap().pids().unwrap(), cgroup.pids().unwrap());
    cgroup.kill_all().unwrap();
    assert_eq!(cgroup.pids().unwrap(), Vec::<u32>::new());
    scratch.reap();
    cgroup.remove().unwrap();
    assert!(cgroup.is_gone().unwrap());
    assert!(scratch.directories.iter().all(|path| !path.exists()));
    cgroup.remove().unwrap();
    cgroup.kill_all().unwrap();
    assert!(matches!(Cgroup::of_spec(&scratch.name), Err(CgroupError::NotOwn { .. })));
}

#[test]
fn the_callers_own_cgroup_is_nobodys_container() {
    let own = Cgroup::of_process(std::process::id());
    assert!(matches!(own, Err(CgroupError::NotOwn { .. })), "{own:?}");
    assert!(matches!(Cgroup::of_spec("/"), Err(CgroupError::NotOwn { .. })));
    assert!(matches!(Cgroup::of_spec("/../x"), Err(CgroupError::OutOfReach { .. })));
}

#[test]
fn kill_all_outruns_a_process_that_keeps_forking() {
    let mut scratch = Scratch::new();
    // Each generation ignores what it can, forks its successor and goes: a pid list is stale once it is read.
    let pid = scratch.run("trap '' TERM HUP INT; f() { sleep 0.01; f & }; f & f & f & wait; sleep 60");
    let cgroup = Cgroup::of_process(pid).unwrap();
    let mut bystander = Command::new("sleep").arg("60").spawn().unwrap();
    wait_until("forks", || cgroup.pids().unwrap().len() > 3);
    cgroup.kill_all().unwrap();
    assert_eq!(cgroup.pids().unwrap(), Vec::<u32>::new());
    scratch.reap();
    assert!(bystander.try_wait().unwrap().is_none(), "a process outside the cgroup was hit");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[test]
fn rounds_of_signals_do_it_where_the_kernel_has_no_cgroup_kill() {
    let mut scratch = Scratch::new();
    let pid = scratch.run("f() { sleep 0.01; f & }; f & f & wait; sleep 60");
    let cgroup = Cgroup::of_process(pid).unwrap();
    wait_until("forks", || cgroup.pids().unwrap().len() > 2);
    assert!(cgroup.kill_round(&|_| true).unwrap() > 0);
    wait_until("death", || cgroup.kill_round(&|_| true).unwrap() == 0);
    assert!(!cgroup.is_frozen().unwrap());
}

#[test]
fn only_what_has_begun_since_is_killed_however_far_it_went() {
    let mut scratch = Scratch::new();
    let older = scratch.run("sleep 60; :");
    let cgroup = Cgroup::of_process(older).unwrap();
    wait_until("fork", || cgroup.pids().unwrap().len() == 2);
    let before = cgroup.pids().unwrap();
    // A tick that none of them began in.
    let latest = before.iter().filter_map(|pid| Ticks::of_process(*pid)).max().unwrap();
    wait_until("the next tick", || Ticks::now() > latest);
    let moment = Ticks::now();
    // Orphans in sessions of their own, which no parent leads to.
    let newer = scratch.run("for i in 1 2 3; do (setsid sh -c 'sleep 60; :' &); done; sleep 60; :");
    wait_until("forks", || cgroup.pids().unwrap().len() == before.len() + 8);
    cgroup.kill_since(moment).unwrap();
    assert_eq!(cgroup.pids().unwrap(), before, "{newer}");
    assert!(!cgroup.is_frozen().unwrap());
    cgroup.kill_all().unwrap();
    scratch.reap();
    cgroup.remove().unwrap();
    cgroup.kill_since(moment).unwrap();
}

#[test]
fn kill_all_reaches_sub_cgroups_and_frozen_processes() {
    let mut scratch = Scratch::new();
    let pid = scratch.run("sleep 60 & wait");
    let cgroup = Cgroup::of_process(pid).unwrap();
    wait_until("fork", || cgroup.pids().unwrap().len() == 2);
    let inner = *cgroup.pids().unwrap().iter().find(|one| **one != pid).unwrap();
    for path in &scratch.directories {
        fs::create_dir(path.join("inner")).unwrap();
        if path.join("cpuset.cpus").exists() {
            fs::write(path.join("inner/cpuset.cpus"), "0").unwrap();
            fs::write(path.join("inner/cpuset.mems"), "0").unwrap();
        }
        fs::write(path.join("inner/cgroup.procs"), inner.to_string()).unwrap();
    }
    assert_eq!(cgroup.pids().unwrap().len(), 2);
    cgroup.freeze().unwrap();
    cgroup.kill_all().unwrap();
    scratch.reap();
    cgroup.remove().unwrap();
    assert!(scratch.directories.iter().all(|path| !path.exists()));
}

/// Makes more sub-cgroups than a process may have descriptors, and one so deep that no path leads there; that one.
fn grow(top: &Path) -> OwnedFd {
    (0..1100).for_each(|at| fs::create_dir(top.join(format!("broad{at}"))).unwrap());
    let mut deepest = nix::fcntl::open(top, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
    for _ in 0..2100 {
        nix::sys::stat::mkdirat(&deepest, "d", Mode::S_IRWXU).unwrap();
        deepest = nix::fcntl::openat(&deepest, "d", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
    }
    deepest
}

#[test]
fn a_tree_of_any_depth_and_breadth_is_walked_and_removed() {
    let mut scratch = Scratch::new();
    let pid = scratch.run("exec sleep 60");
    let cgroup = Cgroup::of_process(pid).unwrap();
    let top = cgroup.processes().unwrap();
    let deepest = grow(top.path());
    let procs = nix::fcntl::openat(&deepest, "cgroup.procs", OFlag::O_WRONLY, Mode::empty()).unwrap();
    nix::unistd::write(&procs, pid.to_string().as_bytes()).unwrap();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 512.min(hard), hard).unwrap();
    assert_eq!(cgroup.pids().unwrap(), [pid], "at the bottom");
    assert_eq!(crate::cgroup::tree::processes(top.path()).unwrap(), [i32::try_from(pid).unwrap()]);
    cgroup.kill_all().unwrap();
    scratch.reap();
    crate::cgroup::tree::remove_below(top.path()).unwrap();
    let below = fs::read_dir(top.path()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir());
    assert_eq!(below.count(), 0);
    grow(top.path());
    cgroup.remove().unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    assert!(cgroup.is_gone().unwrap());
    scratch.directories.retain(|directory| directory.exists());
}

#[test]
fn a_frozen_container_does_not_run_until_it_is_thawed() {
    let mut scratch = Scratch::new();
    let pid = scratch.run("while :; do :; done");
    let cgroup = Cgroup::of_process(pid).unwrap();
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(' ').nth(52 - 14).unwrap().parse::<u64>().unwrap()
    };
    assert!(!cgroup.is_frozen().unwrap());
    cgroup.freeze().unwrap();
    assert!(cgroup.is_frozen().unwrap());
    let frozen_at = ticks();
    thread::sleep(Duration::from_millis(200));
    assert_eq!(ticks(), frozen_at);
    cgroup.thaw().unwrap();
    assert!(!cgroup.is_frozen().unwrap());
    wait_until("running again", || ticks() > frozen_at);
}

#[test]
fn metrics_equal_the_files() {
    let mut scratch = Scratch::new();
    let pid = scratch.run("head -c 3000000 /dev/zero | tail -c 1 >/dev/null; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exec sleep 60");
    let cgroup = Cgroup::of_process(pid).unwrap();
    wait_until("sleep", || fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim() == "sleep");
    // Frozen, so that nothing counts on between the reads.
    cgroup.freeze().unwrap();
    if scratch.has("pids.max") {
        apply(&cgroup, json!({"pids": {"limit": 33}})).unwrap();
    }
    // The kernel settles its per-CPU memory counts a little later even so: only an answer between two equal reads counts.
    let mut any = cgroup.metrics().unwrap();
    let mut files = Files::read(&scratch);
    wait_until("two equal reads", || {
        any = cgroup.metrics().unwrap();
        let before = std::mem::replace(&mut files, Files::read(&scratch));
        before == files
    });
    match cgroup.version() {
        Version::V1 => v1_equals(&files, &v1::Metrics::parse_from_bytes(&any.value).unwrap()),
        Version::V2 => v2_equals(&files, &v2::Metrics::parse_from_bytes(&any.value).unwrap()),
    }
    cgroup.thaw().unwrap();
}

/// The text of every file that the messages are compared with.
#[derive(PartialEq)]
struct Files(BTreeMap<&'static str, String>);

impl Files {
    fn read(scratch: &Scratch) -> Self {
        let names = [
            "cpuacct.usage",
            "cpu.stat",
            "memory.stat",
            "memory.current",
            "memory.usage_in_bytes",
            "memory.max_usage_in_bytes",
            "memory.limit_in_bytes",
            "memory.memsw.usage_in_bytes",
            "memory.kmem.usage_in_bytes",
        ];
        let there = names.into_iter().filter(|name| scratch.has(name));
        Self(there.map(|name| (name, scratch.file(name))).collect())
    }

    fn file(&self, name: &str) -> &str {
        &self.0[name]
    }

    fn number(&self, name: &str) -> u64 {
        self.file(name).parse().unwrap()
    }
}

fn v1_equals(files: &Files, metrics: &v1::Metrics) {
    assert_eq!((metrics.pids.current, metrics.pids.limit), (1, 33));
    assert!(metrics.cpu.usage.total > 0);
    assert_eq!(metrics.cpu.usage.total, files.number("cpuacct.usage"));
    assert_eq!(metrics.cpu.usage.per_cpu.iter().sum::<u64>(), metrics.cpu.usage.total);
    let ticks = metrics.cpu.usage.user + metrics.cpu.usage.kernel;
    let apart = ticks.abs_diff(metrics.cpu.usage.total);
    assert!(apart <= 40_000_000, "user and kernel time are {apart} ns off the total");
    let memory = &metrics.memory;
    let stat = files.file("memory.stat");
    for (key, value) in [
        ("total_rss", memory.total_rss),
        ("total_inactive_file", memory.total_inactive_file),
        ("total_pgfault", memory.total_pg_fault),
        ("pgmajfault", memory.pg_maj_fault),
        ("hierarchical_memory_limit", memory.hierarchical_memory_limit),
    ] {
        assert!(stat.lines().any(|line| line == format!("{key} {value}")), "{key} {value} in\n{stat}");
    }
    assert!(memory.total_rss > 0 && memory.usage.usage > 0);
    assert_eq!(memory.usage.usage, files.number("memory.usage_in_bytes"));
    assert_eq!(memory.usage.max, files.number("memory.max_usage_in_bytes"));
    assert_eq!(memory.usage.limit, files.number("memory.limit_in_bytes"));
    assert_eq!(memory.swap.usage, files.number("memory.memsw.usage_in_bytes"));
    assert_eq!(memory.kernel.usage, files.number("memory.kmem.usage_in_bytes"));
    assert!(metrics.memory_oom_control.is_some() && metrics.blkio.is_some());
}

fn v2_equals(files: &Files, metrics: &v2::Metrics) {
    assert_eq!((metrics.pids.current, metrics.pids.limit), (1, 33));
    let cpu = files.file("cpu.stat");
    assert!(metrics.cpu.usage_usec > 0);
    for (key, value) in [("usage_usec", metrics.cpu.usage_usec), ("user_usec", metrics.cpu.user_usec)] {
        assert!(cpu.lines().any(|line| line == format!("{key} {value}")), "{key} {value} in\n{cpu}");
    }
    let memory = &metrics.memory;
    let stat = files.file("memory.stat");
    for (key, value) in [("anon", memory.anon), ("inactive_file", memory.inactive_file), ("pgfault", memory.pgfault)] {
        assert!(stat.lines().any(|line| line == format!("{key} {value}")), "{key} {value} in\n{stat}");
    }
    assert!(memory.anon > 0);
    assert_eq!((memory.usage, memory.usage_limit), (files.number("memory.current"), u64::MAX));
    assert!(metrics.memory_events.is_some() && metrics.io.is_some());
}

#[test]
fn limits_are_raised_and_lowered_in_the_order_that_the_kernel_takes() {
    let mut scratch = Scratch::new();
    let pid = scratch.run("exec sleep 60");
    let cgroup = Cgroup::of_process(pid).unwrap();
    const MIB: i64 = 1 << 20;
    for limit in [64 * MIB, 128 * MIB, 32 * MIB] {
        apply(
            &cgroup,
            json!({"memory": {"limit": limit, "swap": limit}, "cpu": {"quota": limit / MIB * 1000, "period": 100_000}}),
        )
        .unwrap();
        let limit = limit.unsigned_abs();
        if cgroup.version() == Version::V1 {
            assert_eq!(scratch.number("memory.limit_in_bytes"), limit);
            assert_eq!(scratch.number("memory.memsw.limit_in_bytes"), limit);
            assert_eq!(scratch.number("cpu.cfs_quota_us"), limit / (1 << 20) * 1000);
        } else {
            assert_eq!(scratch.number("memory.max"), limit);
            assert_eq!(scratch.file("cpu.max"), format!("{} 100000", limit / (1 << 20) * 1000));
        }
    }
    // Quota, period and burst bound each other, too.
    apply(&cgroup, json!({"cpu": {"quota": 400_000, "period": 1_000_000, "burst": 300_000}})).unwrap();
    apply(&cgroup, json!({"cpu": {"quota": 2_000, "period": 2_000, "burst": 1_000, "shares": 512}})).unwrap();
    apply(&cgroup, json!({"cpu": {"quota": -1, "burst": 0}, "memory": {"limit": -1}})).unwrap();
    let (quota, memory) = match cgroup.version() {
        Version::V1 => (scratch.file("cpu.cfs_quota_us"), scratch.file("memory.memsw.limit_in_bytes")),
        Version::V2 => (scratch.file("cpu.max"), scratch.file("memory.max")),
    };
    assert!(quota.starts_with("-1") || quota.starts_with("max"), "{quota}");
    assert!(memory == "max" || memory.parse::<u64>().unwrap() > 1 << 60, "{memory}");
    assert!(matches!(apply(&cgroup, json!({"cpu": {"quota": 1}})), Err(CgroupError::Io { .. })));
}

#[test]
fn an_oom_kill_is_reported_once_and_the_watch_ends_with_the_cgroup() {
    let mut scratch = Scratch::new();
    let pid = scratch.run("read go < /dev/null; sleep 1; tail /dev/zero; exec sleep 60");
    let cgroup = Arc::new(Cgroup::of_process(pid).unwrap());
    apply(&cgroup, json!({"memory": {"limit": 16 << 20, "swap": 16 << 20}})).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let watch = OomWatch::start(Arc::clone(&cgroup)).unwrap();
        assert_eq!(watch.unreported().unwrap(), 0, "control: nothing was killed yet");
        let kills = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.unwrap().unwrap();
        assert_eq!(kills, Some(1));
        assert_eq!(cgroup.oom_kills().unwrap(), 1);
        assert_eq!(watch.unreported().unwrap(), 0);
        let quiet = tokio::time::timeout(Duration::from_millis(300), watch.next()).await;
        assert!(quiet.is_err(), "{quiet:?}");
        cgroup.kill_all().unwrap();
        scratch.reap();
        let remover = Arc::clone(&cgroup);
        let removal = thread::spawn(move || remover.remove());
        let end = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.unwrap().unwrap();
        assert_eq!(end, None);
        removal.join().unwrap().unwrap();
    });
}

/// A cgroup of v2 beside v1, with a controller switched on in the root for as long as it lives.
struct Beside {
    root: PathBuf,
    path: PathBuf,
    /// What is to be switched off again.
    switched_on: Option<&'static str>,
}

impl Beside {
    /// `None` where the machine has no v2 beside v1, or it lacks the controller.
    fn with(controller: &'static str) -> Option<Self> {
        let root = PathBuf::from("/sys/fs/cgroup/unified");
        let lists = |file: &str| fs::read_to_string(root.join(file)).unwrap_or_default();
        let has = |file: &str| lists(file).split_whitespace().any(|one| one == controller);
        if !has("cgroup.controllers") {
            return None;
        }
        let switched_on = (!has("cgroup.subtree_control")).then_some(controller);
        fs::write(root.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
        let path = root.join(unique("beside"));
        fs::create_dir(&path).unwrap();
        Some(Self { root, path, switched_on })
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        fs::remove_dir(&self.path).unwrap();
        if let Some(controller) = self.switched_on {
            // Another test may need it by now, and is left to.
            drop(fs::write(self.root.join("cgroup.subtree_control"), format!("-{controller}")));
        }
    }
}

/// User-Mode Linux, where v2 is tried as a whole, has neither.
#[test]
fn huge_pages_are_limited_and_pressure_is_told_on_v2() {
    let Some(beside) = Beside::with("hugetlb") else {
        println!("not tried: no hugetlb on a v2 hierarchy beside v1");
        return;
    };
    let cgroup = super::opened(Version::V2, "", &beside.path);
    let read = |name: &str| fs::read_to_string(beside.path.join(name)).unwrap().trim().to_owned();
    for (asked, found) in [(3 << 20, "2097152"), (0, "0"), (-1, "max")] {
        let resources = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": asked}]});
        apply(&cgroup, resources.clone()).unwrap();
        assert_eq!((read("hugetlb.2MB.max"), read("hugetlb.2MB.rsvd.max")), (found.to_owned(), found.to_owned()));
        assert_eq!(cgroup.differences(&serde_json::from_value(resources).unwrap()).unwrap(), []);
    }
    let other = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]});
    let differences = cgroup.differences(&serde_json::from_value(other).unwrap()).unwrap();
    assert_eq!(differences.iter().map(|one| one.file.as_str()).collect::<Vec<_>>(), ["hugetlb.2MB.max"]);
    let metrics = v2::Metrics::parse_from_bytes(&cgroup.metrics().unwrap().value).unwrap();
    assert_eq!(metrics.hugetlb.iter().find(|size| size.pagesize == "2MB").map(|size| size.max), Some(u64::MAX));
    let pressure = fs::exists(beside.path.join("cpu.pressure")).unwrap();
    assert_eq!(metrics.cpu.psi.some.is_some(), pressure, "pressure of the processor, where the kernel tells it");
}

#[test]
fn at_the_victims_exit_its_kill_is_counted_already() {
    let mut scratch = Scratch::new();
    let pid = scratch.run("sleep 1; exec tail /dev/zero");
    let cgroup = Arc::new(Cgroup::of_process(pid).unwrap());
    apply(&cgroup, json!({"memory": {"limit": 16 << 20, "swap": 16 << 20}})).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let watch = runtime.block_on(async { OomWatch::start(Arc::clone(&cgroup)).unwrap() });
    let status = scratch.children.first_mut().unwrap().wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    assert_eq!(watch.unreported().unwrap(), 1);
    scratch.children.clear();
}
