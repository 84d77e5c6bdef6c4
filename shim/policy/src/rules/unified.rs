//! `res.unified`.

use std::collections::HashMap;

use oci_spec::runtime as oci;

use crate::pointer;
use crate::rules::ResourceScope;
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
                sheet.refuses(found, "memory.*, cpu.* and pids.max with numbers");
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

fn lowered(value: &str, most: u64) -> Option<u64> {
    if value == "max" { Some(most) } else { number(value).map(|asked| asked.min(most)) }
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn nice(text: &str) -> bool {
    text.parse::<i8>().is_ok_and(|nice| (-20..=19).contains(&nice))
}
