//! `res.unified`.

use std::collections::HashMap;

use oci_spec::runtime as oci;

use crate::pointer;
use crate::profile::{Disk, Throttle};
use crate::rules::{ResourceScope, disks};
use crate::sheet::{Found, Sheet};

/// Files of cgroup v2 with a plain number, which shape reclaim and weights but take no limit away
/// (kernel `Documentation/admin-guide/cgroup-v2.rst`).
const NUMBERS: &[&str] =
    &["memory.min", "memory.low", "memory.high", "memory.oom.group", "cpu.weight", "cpu.weight.nice", "cpu.idle"];

/// These files are written last and over the typed limits, so each is known and held to the same maxima.
pub(super) fn judge(resources: &mut oci::LinuxResources, scope: &ResourceScope<'_>, sheet: &mut Sheet) {
    let Some(files) = resources.unified().clone() else { return };
    let mut names: Vec<&String> = files.keys().collect();
    names.sort();
    let mut settled: HashMap<String, String> = files.clone();
    for name in names {
        let value = files.get(name).map(String::as_str).unwrap_or_default();
        let place = pointer::join("/linux/resources/unified", name);
        match ceiling_of(name, value, resources, scope) {
            Some(after) if after == value => {}
            Some(after) => {
                let found = Found::new(place, value, format!("{name} above the maximum, or none"));
                if sheet.mends(found, after.as_str()) {
                    settled.insert(name.clone(), after);
                }
            }
            None => {
                let found = Found::new(place, value, format!("{name}={value:?} is not a known setting"));
                sheet.refuses(found, "memory.*, cpu.* and pids.max with numbers, io.max and weights for one disk");
            }
        }
    }
    resources.set_unified(Some(settled));
}

/// The value that may stand, or `None` for what is not understood.
fn ceiling_of(name: &str, value: &str, resources: &oci::LinuxResources, scope: &ResourceScope<'_>) -> Option<String> {
    let settings = scope.settings;
    match name {
        "memory.max" => {
            let typed = resources.memory().and_then(|memory| memory.limit());
            let most = typed.and_then(|limit| u64::try_from(limit).ok()).unwrap_or(settings.memory.max);
            Some(lowered(value, most)?.to_string())
        }
        "memory.swap.max" => Some(lowered(value, 0)?.to_string()),
        "pids.max" => {
            let typed = resources.pids().map(|pids| pids.limit());
            let most = typed.and_then(|limit| u64::try_from(limit).ok()).unwrap_or(settings.pids.max);
            Some(lowered(value, most)?.to_string())
        }
        "cpu.max" => {
            let (quota, period) = value.split_once(' ').unwrap_or((value, "100000"));
            let period = number(period).filter(|period| (1_000..=1_000_000).contains(period))?;
            let millis = scope.cpu_ceiling.map_or(settings.cpu.max, |above| above.min(settings.cpu.max));
            let most = typed_quota(resources, period).unwrap_or_else(|| millis.saturating_mul(period) / 1000);
            // The kernel takes no smaller quota, so in so short a period none keeps the maximum.
            let most = Some(most).filter(|most| *most >= 1_000)?;
            Some(format!("{} {period}", lowered(quota, most)?))
        }
        "io.max" => rates(value, resources, scope),
        "io.weight" => weight(value, scope.settings.disk_weight.map(unified_weight), 10_000),
        "io.bfq.weight" => weight(value, scope.settings.disk_weight.map(u64::from), 1_000),
        _ if NUMBERS.contains(&name) => {
            (value == "max" || number(value).is_some() || nice(value)).then(|| value.to_owned())
        }
        _ => None,
    }
}

fn typed_quota(resources: &oci::LinuxResources, period: u64) -> Option<u64> {
    let cpu = resources.cpu().as_ref()?;
    let quota = u64::try_from(cpu.quota()?).ok()?;
    let typed = cpu.period().filter(|period| *period > 0)?;
    Some(quota.saturating_mul(period) / typed)
}

/// One line, `8:0 rbps=1048576 wiops=max`, each rate at most what the specification or the profile has for the disk.
fn rates(line: &str, resources: &oci::LinuxResources, scope: &ResourceScope<'_>) -> Option<String> {
    let mut words = line.split(' ');
    let disk = words.next()?;
    let numbers = disk_numbers(disk)?;
    let mut settled = disk.to_owned();
    for word in words {
        let (key, rate) = word.split_once('=')?;
        let throttle = Throttle::named(key)?;
        let most = typed_rate(resources, numbers, throttle).or_else(|| scope.settings.disks.most(numbers, throttle));
        let rate = match most {
            Some(most) => lowered(rate, most)?.to_string(),
            None if rate == "max" || number(rate).is_some() => rate.to_owned(),
            None => return None,
        };
        settled.push_str(&format!(" {key}={rate}"));
    }
    (settled.len() > disk.len()).then_some(settled)
}

fn typed_rate(resources: &oci::LinuxResources, disk: Disk, throttle: Throttle) -> Option<u64> {
    let (_, list) = disks::list(resources.block_io().as_ref()?, throttle);
    // The last one counts, and zero is none.
    let last = list.iter().flatten().rev().find(|device| disks::disk_of(device) == disk)?;
    Some(last.rate()).filter(|rate| *rate > 0)
}

/// `default 100`, `100` or `8:0 100`. The kernel takes 1 to `highest`.
fn weight(line: &str, most: Option<u64>, highest: u64) -> Option<String> {
    let (of, text) = match line.split_once(' ') {
        Some((of, text)) => (Some(of), text),
        None => (None, line),
    };
    let asked = number(text).filter(|weight| (1..=highest).contains(weight))?;
    let weight = asked.min(most.unwrap_or(highest));
    match of {
        None => Some(weight.to_string()),
        Some(of) => (of == "default" || disk_numbers(of).is_some()).then(|| format!("{of} {weight}")),
    }
}

fn disk_numbers(text: &str) -> Option<Disk> {
    let (major, minor) = text.split_once(':')?;
    let part = |text: &str| i64::try_from(number(text).filter(|_| !text.is_empty())?).ok();
    Some((part(major)?, part(minor)?)).filter(disks::is_disk)
}

/// `io.weight` (1 to 10000) for OCI's 10 to 1000, as every runtime converts it.
fn unified_weight(weight: u16) -> u64 {
    1 + u64::from(weight.clamp(10, 1000) - 10) * 9_999 / 990
}

pub(super) fn lowered(value: &str, most: u64) -> Option<u64> {
    if value == "max" { Some(most) } else { number(value).map(|asked| asked.min(most)) }
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn nice(text: &str) -> bool {
    text.parse::<i8>().is_ok_and(|nice| (-20..=19).contains(&nice))
}
