//! The limits that the kernel enforces on a process, read on the host.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Failure;

const ROOT: &str = "/sys/fs/cgroup";

/// Limits in the kernel's units; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together on v1, of swap alone on v2; `None` also where the kernel does not account swap.
    pub swap: Option<u64>,
    /// Number of processes.
    pub pids: Option<u64>,
    /// Microseconds of CPU time per second of wall clock.
    pub cpu_per_second: Option<u64>,
}

/// Whether this machine has the unified hierarchy and nothing else.
#[must_use]
pub fn is_unified() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

impl Limits {
    /// What the kernel enforces on a process.
    ///
    /// # Errors
    /// The process is gone, or a controller's file is not there.
    pub fn of(pid: u32) -> Result<Self, Failure> {
        let folders = folders_of(pid)?;
        let folder = |controller: &str| {
            let key = if is_unified() { "" } else { controller };
            folders.get(key).cloned().ok_or_else(|| {
                Failure::unreadable(&format!("/proc/{pid}/cgroup"), &format!("no {controller} controller"))
            })
        };
        if is_unified() {
            Self::unified(&folder("")?)
        } else {
            Self::legacy(&folder("memory")?, &folder("pids")?, &folder("cpu")?)
        }
    }

    fn unified(folder: &Path) -> Result<Self, Failure> {
        let cpu = read(folder, "cpu.max")?;
        let (quota, period) = cpu.split_once(' ').unwrap_or((&cpu, "100000"));
        Ok(Self {
            memory: number(&read(folder, "memory.max")?),
            swap: read(folder, "memory.swap.max").ok().and_then(|text| number(&text)),
            pids: number(&read(folder, "pids.max")?),
            cpu_per_second: per_second(number(quota), number(period)),
        })
    }

    fn legacy(memory: &Path, pids: &Path, cpu: &Path) -> Result<Self, Failure> {
        Ok(Self {
            memory: legacy_bytes(&read(memory, "memory.limit_in_bytes")?),
            swap: read(memory, "memory.memsw.limit_in_bytes").ok().and_then(|text| legacy_bytes(&text)),
            pids: number(&read(pids, "pids.max")?),
            cpu_per_second: per_second(
                number(&read(cpu, "cpu.cfs_quota_us")?),
                number(&read(cpu, "cpu.cfs_period_us")?),
            ),
        })
    }
}

/// The files of a process's cgroup, by controller.
#[derive(Clone, Debug)]
pub struct Files {
    folders: BTreeMap<String, PathBuf>,
}

impl Files {
    /// Of the cgroup that a process is in now.
    ///
    /// # Errors
    /// The process is gone.
    pub fn of(pid: u32) -> Result<Self, Failure> {
        Ok(Self { folders: folders_of(pid)? })
    }

    /// The same, but for the cgroup above where the process is in one of this name: crun makes it below systemd's scope.
    #[must_use]
    pub fn without(self, name: &str) -> Self {
        let up = |folder: PathBuf| match folder.parent() {
            Some(parent) if folder.ends_with(name) => parent.to_owned(),
            _ => folder,
        };
        Self { folders: self.folders.into_iter().map(|(controller, folder)| (controller, up(folder))).collect() }
    }

    /// The cgroup's folder of a controller.
    ///
    /// # Errors
    /// The machine has no such controller.
    pub fn folder(&self, controller: &str) -> Result<&Path, Failure> {
        let key = if is_unified() { "" } else { controller };
        let folder = self.folders.get(key).map(PathBuf::as_path);
        folder.ok_or_else(|| Failure::unreadable("a cgroup", &format!("no {controller} controller")))
    }

    /// What a file says, `[v1's name, v2's]`; `None` where the kernel has no such file.
    #[must_use]
    pub fn text(&self, controller: &str, names: [&str; 2]) -> Option<String> {
        read(self.folder(controller).ok()?, of_version(names)).ok()
    }

    /// The number of a line `key number`.
    #[must_use]
    pub fn counter(&self, controller: &str, names: [&str; 2], key: &str) -> Option<u64> {
        let text = self.text(controller, names)?;
        text.lines().find_map(|line| line.split_once(' ').filter(|(name, _)| *name == key))?.1.parse().ok()
    }

    /// CPU time that was used, in microseconds.
    ///
    /// # Errors
    /// The cgroup is gone.
    pub fn cpu_time(&self) -> Result<u64, Failure> {
        let time = match is_unified() {
            true => self.counter("cpu", ["", "cpu.stat"], "usage_usec"),
            false => self.text("cpuacct", ["cpuacct.usage", ""]).and_then(|text| number(&text)).map(|time| time / 1000),
        };
        time.ok_or_else(|| Failure::unreadable("a cgroup", &"no CPU time"))
    }
}

/// Whether runtimes are to ask systemd for cgroups in this run.
#[must_use]
pub fn by_systemd() -> bool {
    std::env::var("PALISADE_TEST_SUBSET").is_ok_and(|subset| subset == "systemd")
}

/// Where systemd has a slice, below the root of a hierarchy: a dash is a level. Source: systemd.slice(5).
#[must_use]
pub fn slice_place(name: &str) -> String {
    let dashes = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    dashes.map(|end| format!("/{}.slice", name.get(..end).unwrap_or_default())).collect()
}

/// Of v1's and v2's name, this machine's.
#[must_use]
pub fn of_version<T>([old, new]: [T; 2]) -> T {
    if is_unified() { new } else { old }
}

/// Whether this kernel gives containers a controller.
#[must_use]
pub fn has_controller(name: &str) -> bool {
    let list = if is_unified() { format!("{ROOT}/cgroup.controllers") } else { "/proc/self/cgroup".to_owned() };
    let text = fs::read_to_string(list).unwrap_or_default();
    match is_unified() {
        true => text.split_whitespace().any(|controller| controller == name),
        false => {
            text.lines().any(|line| line.split(':').nth(1).is_some_and(|list| list.split(',').any(|one| one == name)))
        }
    }
}

/// Whether the cgroup of a process is frozen.
///
/// # Errors
/// The process is gone, or there is no freezer.
pub fn is_frozen(pid: u32) -> Result<bool, Failure> {
    let (key, file) = if is_unified() { ("", "cgroup.events") } else { ("freezer", "freezer.state") };
    let folders = folders_of(pid)?;
    let folder = folders.get(key);
    let folder = folder.ok_or_else(|| Failure::unreadable(&format!("/proc/{pid}/cgroup"), &"no freezer"))?;
    let state = read(folder, file)?;
    Ok(state.lines().any(|line| line == "frozen 1" || line == "FROZEN"))
}

/// v1 says "no limit" with the largest multiple of a page.
fn legacy_bytes(text: &str) -> Option<u64> {
    number(text).filter(|bytes| *bytes < 1 << 62)
}

/// `max` and `-1` are no numbers here.
fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn per_second(quota: Option<u64>, period: Option<u64>) -> Option<u64> {
    quota?.checked_mul(1_000_000)?.checked_div(period?)
}

fn read(folder: &Path, file: &str) -> Result<String, Failure> {
    let path = folder.join(file);
    fs::read_to_string(&path).map(|text| text.trim().to_owned()).map_err(Failure::io("read", &path))
}

/// The process's cgroup by controller; the unified hierarchy is under the empty name.
fn folders_of(pid: u32) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
    let text = fs::read_to_string(&path).map_err(Failure::io("read", &path))?;
    let mut folders = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        if let (Some(controllers), Some(cgroup)) = (fields.next(), fields.next()) {
            for controller in controllers.split(',') {
                folders.insert(
                    controller.to_owned(),
                    Path::new(ROOT).join(controller).join(cgroup.trim_start_matches('/')),
                );
            }
        }
    }
    Ok(folders)
}
