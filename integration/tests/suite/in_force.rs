//! Limits where they count: in the files of a container's own cgroup, in what it gets of the processor, in what it can open, and in what is
//! told of it. Under cgroup v1, v2, and systemd's driver.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use palisade_integration::bundle_spec;
use palisade_integration::cgroup::{Files, by_systemd, has_controller, is_unified, of_version, slice_place};
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::unique;
use palisade_integration::events::{Recorder, What};
use palisade_integration::tasks::{CreateOptions, Tasks};
use serde_json::{Value, json};

use crate::limits::{Sleeper, told_hits};
use crate::metrics;
use crate::support::{Check, World, trial_under};

const MIB: u64 = 1 << 20;
/// Bytes per second that the container may read from the machine's first disk.
const READ_RATE: u64 = MIB;
/// The share of disks, on OCI's scale.
const WEIGHT: u64 = 200;
/// How long the processor time of one measurement is counted.
const WINDOW: Duration = Duration::from_secs(2);

/// The tests that hold for every runtime that the policy can name. The first one's name says what this kernel lacks.
pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    let lacking = Offer::of_kernel().lacking();
    let name = match lacking.as_slice() {
        [] => "in force: every limit, its changes, devices, CPU time, metrics".to_owned(),
        lacking => {
            format!("in force: every limit, its changes, devices, CPU time, metrics (not here: {})", lacking.join(", "))
        }
    };
    vec![
        trial_under(world, Runtime::Palisade, &name, every_limit),
        trial_under(world, Runtime::Palisade, "in force: memory beyond the limit is told, then the end", out_of_memory),
    ]
}

/// The `linux.cgroupsPath` of a container of this run.
pub(crate) fn cgroups_path(world: &World, id: &str) -> String {
    let tag = world.containerd.tag();
    if by_systemd() { format!("{tag}.slice:palisade:{id}") } else { format!("/{tag}/{id}") }
}

/// Where that is, below the root of a hierarchy.
fn place(world: &World, id: &str) -> String {
    let tag = world.containerd.tag();
    if by_systemd() { format!("{}/palisade-{id}.scope", slice_place(tag)) } else { format!("/{tag}/{id}") }
}

/// What of the kernel's limits can be tried here.
pub(crate) struct Offer {
    pub(crate) cpuset: bool,
    pub(crate) huge_pages: bool,
    /// The number of a disk, `major:minor`.
    pub(crate) disk: Option<[u64; 2]>,
    /// The file of a share of disks.
    pub(crate) weight: Option<&'static str>,
    pressure: bool,
}

impl Offer {
    pub(crate) fn of_kernel() -> Self {
        let throttles = has_controller(of_version(["blkio", "io"]));
        Self {
            cpuset: has_controller("cpuset"),
            huge_pages: has_controller("hugetlb"),
            disk: disk().filter(|_| throttles),
            weight: weight_file(),
            pressure: is_unified() && fs::exists("/proc/pressure/cpu").unwrap_or(false),
        }
    }

    fn lacking(&self) -> Vec<&'static str> {
        let v2_only = if is_unified() { self.pressure } else { true };
        let all = [
            ("cpuset", self.cpuset),
            ("huge pages", self.huge_pages),
            ("a disk to throttle", self.disk.is_some()),
            ("shares of disks", self.weight.is_some()),
            ("pressure", v2_only),
        ];
        all.into_iter().filter(|(_, there)| !there).map(|(name, _)| name).collect()
    }
}

/// The root has no such file, so it is looked for in a cgroup that is made for it.
fn weight_file() -> Option<&'static str> {
    static FILE: OnceLock<Option<&'static str>> = OnceLock::new();
    *FILE.get_or_init(|| {
        let root = Path::new("/sys/fs/cgroup").join(of_version(["blkio", ""]));
        let place = root.join(unique("weight"));
        fs::create_dir(&place).ok()?;
        let files = of_version([["blkio.bfq.weight", "blkio.weight"], ["io.bfq.weight", "io.weight"]]);
        let found = files.into_iter().find(|file| place.join(file).exists());
        fs::remove_dir(&place).ok()?;
        found
    })
}

/// The first disk that is no part of memory.
fn disk() -> Option<[u64; 2]> {
    let mut disks: Vec<_> = fs::read_dir("/sys/block").ok()?.flatten().map(|entry| entry.path()).collect();
    disks.sort();
    let real = |path: &std::path::PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        !["loop", "ram", "zram"].iter().any(|prefix| name.starts_with(prefix))
    };
    let numbers = fs::read_to_string(disks.into_iter().find(real)?.join("dev")).ok()?;
    let (major, minor) = numbers.trim().split_once(':')?;
    Some([major.parse().ok()?, minor.parse().ok()?])
}

/// What is decided: what a create asks for, or an update has left.
#[derive(Clone, Copy)]
struct Decided {
    /// Bytes.
    memory: u64,
    pids: u64,
    /// Microseconds of 100 000.
    quota: u64,
}

const AT_CREATE: Decided = Decided { memory: 96 * MIB, pids: 50, quota: 20_000 };
const LOWERED: Decided = Decided { memory: 72 * MIB, pids: 30, quota: 10_000 };
const RAISED: Decided = Decided { memory: 128 * MIB, pids: 80, quota: 50_000 };
/// The restricted profile's ceilings.
const HIGHEST: Decided = Decided { memory: 64 << 30, pids: 4_096, quota: 800_000 };

impl Decided {
    /// As an update asks for it.
    fn resources(self) -> Value {
        json!({ "memory": { "limit": self.memory, "swap": self.memory }, "pids": { "limit": self.pids },
            "cpu": { "quota": self.quota, "period": 100_000 } })
    }

    fn at_create(self, offer: &Offer) -> Value {
        let mut resources = self.resources();
        resources["cpu"]["shares"] = json!(512);
        resources["memory"]["reservation"] = json!(16 * MIB);
        if offer.cpuset {
            resources["cpu"]["cpus"] = json!("0");
            resources["cpu"]["mems"] = json!("0");
        }
        if offer.huge_pages {
            resources["hugepageLimits"] = json!([{ "pageSize": "2MB", "limit": 0 }]);
        }
        if let Some([major, minor]) = offer.disk {
            let device = json!([{ "major": major, "minor": minor, "rate": READ_RATE }]);
            resources["blockIO"] = json!({ "throttleReadBpsDevice": device });
            if offer.weight.is_some() {
                resources["blockIO"]["weight"] = json!(WEIGHT);
            }
        }
        if is_unified() {
            // As the kubelet asks for with MemoryQoS, and always for the group.
            resources["unified"] = json!({ "memory.high": (64 * MIB).to_string(), "memory.oom.group": "1" });
        }
        resources
    }

    /// Each file and what it has to say: one of some texts, each the whole of it or one of its lines.
    fn files(self, offer: &Offer, changed: bool) -> Vec<Row> {
        let both = |value: u64| [value.to_string(), value.to_string()];
        let Self { memory, pids, quota } = self;
        let mut rows = vec![
            Row::of("memory", ["memory.limit_in_bytes", "memory.max"], both(memory)),
            Row::of("memory", ["memory.memsw.limit_in_bytes", "memory.swap.max"], [memory.to_string(), "0".into()])
                .may_lack(),
            Row::of("memory", ["memory.soft_limit_in_bytes", "memory.low"], both(16 * MIB)),
            Row::of("pids", ["pids.max"; 2], both(pids)),
            Row::of("cpu", ["cpu.cfs_quota_us", "cpu.max"], [quota.to_string(), format!("{quota} 100000")]),
            // By the curve of newer runtimes and by the line of older ones.
            Row::of("cpu", ["cpu.shares", "cpu.weight"], ["512".into(), "59|20".into()]),
        ];
        if is_unified() {
            rows.push(Row::of("memory", ["", "memory.high"], both(64 * MIB)));
            // systemd before version 253 has no such property of a scope, and writes its own with every change of the others.
            if !(changed && by_systemd()) {
                rows.push(Row::of("memory", ["", "memory.oom.group"], both(1)));
            }
        } else {
            rows.push(Row::of("cpu", ["cpu.cfs_period_us", ""], both(100_000)));
        }
        if offer.cpuset {
            rows.push(Row::of("cpuset", ["cpuset.cpus"; 2], both(0)));
            rows.push(Row::of("cpuset", ["cpuset.mems"; 2], both(0)));
        }
        if offer.huge_pages {
            rows.push(Row::of("hugetlb", ["hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"], both(0)));
        }
        if let Some([major, minor]) = offer.disk {
            let lines = [
                format!("{major}:{minor} {READ_RATE}"),
                format!("{major}:{minor} rbps={READ_RATE} wbps=max riops=max wiops=max"),
            ];
            let controller = of_version(["blkio", "io"]);
            rows.push(Row::of(controller, ["blkio.throttle.read_bps_device", "io.max"], lines));
            if let Some(file) = offer.weight {
                let cost_model = 1 + (WEIGHT - 10) * 9_999 / 990;
                let weight = if file == "io.weight" { cost_model } else { WEIGHT };
                rows.push(Row::of(controller, [file; 2], [weight.to_string(), format!("default {weight}")]));
            }
        }
        rows
    }
}

/// A file of v1 and of v2.
pub(crate) struct Row {
    controller: &'static str,
    files: [&'static str; 2],
    wanted: [String; 2],
    may_lack: bool,
}

impl Row {
    pub(crate) fn of(controller: &'static str, files: [&'static str; 2], wanted: [String; 2]) -> Self {
        Self { controller, files, wanted, may_lack: false }
    }

    /// Kernels without swap accounting have no such file.
    fn may_lack(self) -> Self {
        Self { may_lack: true, ..self }
    }

    pub(crate) fn fault(&self, files: &Files) -> Option<String> {
        let wanted = of_version(self.wanted.each_ref());
        let found = files.text(self.controller, self.files);
        let holds = found.as_ref().map_or(self.may_lack, |found| {
            let one = |wanted: &str| found == wanted || found.lines().any(|line| line == wanted);
            wanted.split('|').any(one)
        });
        (!holds).then(|| format!("{}: {found:?}, decided {wanted}", self.files.join(" or ")))
    }
}

const AFTER_CREATE: &str = "after create";

fn expect_in_force(container: &Sleeper<'_>, decided: Decided, offer: &Offer, when: &str) -> Check {
    let files = Files::of(container.pid)?;
    let faults: Vec<_> =
        decided.files(offer, when != AFTER_CREATE).iter().filter_map(|row| row.fault(&files)).collect();
    expect!(faults.is_empty(), "{when}: {}", faults.join("; "));
    Ok(())
}

fn every_limit(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let offer = Offer::of_kernel();
    let container = Sleeper::start(world, &tasks, runtime, &AT_CREATE.at_create(&offer))?;
    expect_in_force(&container, AT_CREATE, &offer, AFTER_CREATE)?;
    expect_place(&container, &place(world, &container.id))?;
    expect_devices(&container)?;
    expect_cpu_time(&tasks, &container, AT_CREATE.quota * 10)?;
    metrics::expect_complete(&tasks, &container, AT_CREATE.memory, AT_CREATE.pids)?;
    let changes = [
        (LOWERED.resources(), LOWERED, "lowered"),
        (RAISED.resources(), RAISED, "raised below the ceiling"),
        (
            Decided { memory: 1 << 40, pids: 1 << 20, quota: 100_000_000 }.resources(),
            HIGHEST,
            "raised beyond the ceiling",
        ),
        (LOWERED.resources(), LOWERED, "lowered again"),
        (json!({ "cpu": { "shares": 512 } }), LOWERED, "with a share of the processor and nothing else"),
    ];
    for (asked, decided, when) in changes {
        tasks.update(&container.id, &asked)?;
        expect_in_force(&container, decided, &offer, when)?;
    }
    if by_systemd() {
        reload_systemd()?;
        expect_in_force(&container, LOWERED, &offer, "after systemd read its units again")?;
        expect_devices(&container)?;
    }
    let id = container.id.clone();
    container.end()?;
    // The process that never slept was held to its quota; systemd takes the cgroup away with its last process.
    let hits = told_hits(world, &id)?.unwrap_or_default();
    let throttled = hits["cpu_throttled_periods"].as_u64() > Some(0) && hits["cpu_throttled_us"].as_u64() > Some(0);
    expect!(throttled || by_systemd(), "{hits}");
    Ok(())
}

/// In every hierarchy that limits, exactly where the policy has it.
fn expect_place(container: &Sleeper<'_>, decided: &str) -> Check {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", container.pid))?;
    let limiting = |line: &&str| is_unified() || !(line.contains(":name=") || line.contains("::"));
    for line in text.lines().filter(limiting) {
        let path = line.splitn(3, ':').nth(2).unwrap_or_default();
        // crun makes a cgroup below systemd's scope.
        let exactly = path.strip_suffix("/container").filter(|_| by_systemd()).unwrap_or(path);
        expect_eq!(exactly, decided, "the cgroup of {line:?}");
    }
    Ok(())
}

/// A process of the host that is put into the cgroup can open the devices of a container, and no others, whatever the nodes it sees.
fn expect_devices(container: &Sleeper<'_>) -> Check {
    let procs = Files::of(container.pid)?.folder("devices")?.join("cgroup.procs");
    let opens = |device: &str, inside: bool| -> Result<String, Failed> {
        let joins = if inside { "echo $$ >\"$0\" || exit; " } else { "" };
        let script = format!("{joins}exec 3<\"$1\" || exit; echo opened");
        let output = Command::new("bash").arg("-c").arg(script).arg(&procs).arg(device).output()?;
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        Ok(said.trim().to_owned())
    };
    expect_eq!(opens("/dev/kmsg", false)?, "opened", "control: the kernel's log outside");
    for (device, wanted) in [("/dev/null", "opened"), ("/dev/urandom", "opened"), ("/dev/kmsg", "not permitted")] {
        let said = opens(device, true)?;
        expect!(said.ends_with(wanted), "{device} inside: {said:?}");
    }
    Ok(())
}

/// A process that never sleeps gets its quota, within a tenth; the shim does nothing meanwhile. `per_million`: of the time.
fn expect_cpu_time(tasks: &Tasks, container: &Sleeper<'_>, per_million: u64) -> Check {
    tasks.exec(&container.id, "burn", &bundle_spec::process(&["/probe", "burn", "60"]))?;
    tasks.start(&container.id, "burn")?;
    let files = Files::of(container.pid)?;
    let shim = Shim::of(container.pid)?;
    let before = shim.ticks()?;
    let mut shares = Vec::new();
    // A machine that is busy may give less. It may never give more.
    let within = |share: &u64| (per_million * 9 / 10..=per_million * 11 / 10).contains(share);
    while shares.len() < 3 && !shares.last().is_some_and(within) {
        let (start, used) = (Instant::now(), files.cpu_time()?);
        thread::sleep(WINDOW);
        let used = (files.cpu_time()? - used) * 1_000_000;
        shares.push(used / u64::try_from(start.elapsed().as_micros())?);
    }
    let (ticks, threads) = (shim.ticks()? - before, shim.threads()?);
    println!("CPU time of {per_million} µs per second: {shares:?}; the shim: {ticks} ticks, {threads} threads");
    tasks.kill(&container.id, "burn", 9)?;
    tasks.wait(&container.id, "burn")?;
    tasks.delete_exec(&container.id, "burn")?;
    expect!(shares.iter().all(|share| *share <= per_million * 11 / 10), "{shares:?} µs per second of {per_million}");
    expect!(shares.last().is_some_and(within), "{shares:?} µs per second of {per_million}");
    expect!(ticks <= 5 && threads <= 3, "the shim used {ticks} ticks and has {threads} threads");
    Ok(())
}

/// The process that started a container's first one.
struct Shim(String);

impl Shim {
    fn of(init: u32) -> Result<Self, Failed> {
        let status = fs::read_to_string(format!("/proc/{init}/status"))?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap_or_default();
        Ok(Self(format!("/proc/{}", parent.trim())))
    }

    /// Of processor time, a hundredth of a second each.
    fn ticks(&self) -> Result<u64, Failed> {
        let stat = fs::read_to_string(format!("{}/stat", self.0))?;
        let after_name = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        Ok(after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum())
    }

    fn threads(&self) -> Result<usize, Failed> {
        Ok(fs::read_dir(format!("{}/task", self.0))?.count())
    }
}

/// systemd then writes what it knows of its units.
fn reload_systemd() -> Check {
    let output = Command::new("systemctl").arg("daemon-reload").output()?;
    expect!(output.status.success(), "{output:?}");
    Ok(())
}

fn out_of_memory(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let events = Recorder::start(&world.containerd)?;
    let id = unique("hog");
    let mut spec = bundle_spec::spec(world.containerd.tag(), &id, &["/probe", "hold", "200"]);
    spec["linux"]["cgroupsPath"] = json!(cgroups_path(world, &id));
    spec["linux"]["resources"]["memory"] = json!({ "limit": 32 * MIB });
    let mounts = tasks.make_container(&id, &world.containerd.runtime_name(runtime), &spec)?;
    tasks.create(&id, mounts, CreateOptions::default())?;
    tasks.start(&id, "")?;
    expect_eq!(tasks.wait(&id, "")?, 137, "exit status of 200 MiB under a limit of 32");
    expect_eq!(tasks.delete(&id)?, 137, "exit status at the delete");
    let told = events.until(&id, 20, |events| events.iter().any(|event| event.what == What::Delete))?;
    let told: Vec<_> = told.into_iter().map(|event| event.what).collect();
    // A runtime that takes its time may not have answered to the start yet when the process is killed.
    let told_late = [What::Create, What::Oom, What::Start, What::Exit(137), What::Delete];
    expect!(
        told == told_late || told == [What::Create, What::Start, What::Oom, What::Exit(137), What::Delete],
        "{told:?}"
    );
    let hits = told_hits(world, &id)?.unwrap_or_default();
    // v1's count does not see a limit of memory and swap that is met first.
    let met = hits["memory_max"].as_u64() > Some(0) || !is_unified();
    let killed = hits["oom_kills"].as_u64() == Some(1) && met;
    expect!(killed || by_systemd(), "{hits}");
    if runtime == Runtime::Palisade {
        let recorded = crate::audit::events(world, &id, "oom")?;
        expect!(recorded.iter().any(|line| line["kills"].as_u64().is_some_and(|kills| kills > 0)), "{recorded:?}");
    }
    Ok(tasks.remove_container(&id)?)
}

/// A neighbour whose user is the host's root may have used up what root has of inotify. Only in a guest of its own, where nobody else needs any.
pub(crate) fn without_inotify(world: &'static World) -> Vec<Trial> {
    let name = "in force: memory beyond the limit is told where there is no inotify";
    if is_unified() {
        vec![trial_under(world, Runtime::Palisade, name, out_of_memory_without_inotify)]
    } else {
        Vec::new()
    }
}

fn out_of_memory_without_inotify(world: &World, runtime: Runtime) -> Check {
    let setting = "/proc/sys/fs/inotify/max_user_instances";
    let before = fs::read_to_string(setting)?;
    fs::write(setting, "0")?;
    let told = out_of_memory(world, runtime);
    fs::write(setting, before.trim())?;
    told
}
