//! Limits that a profile has only where an admin gives them, as the kernel has them of a container that asks for none of them, for
//! more, and in an update. Under cgroup v1, v2, and every runtime that the policy can name.

use std::fs;

use libtest_mimic::Trial;
use palisade_integration::cgroup::{Files, by_systemd, is_unified, of_version};
use palisade_integration::containerd::Runtime;
use serde_json::{Value, json};

use crate::in_force::{Offer, Row};
use crate::limits::Sleeper;
use crate::support::{Check, World, trial_under};

const MIB: u64 = 1 << 20;
const MEMORY: u64 = 64 * MIB;
/// Bytes and requests in a second.
const READ_RATE: u64 = 2 * MIB;
const WRITES: u64 = 70;
const WEIGHT: u64 = 300;
/// Bytes of huge pages of each size.
const HUGE: u64 = 2 * MIB;

/// The policy of these tests: what this machine can limit.
pub(crate) fn policy() -> String {
    let offer = Offer::of_kernel();
    let mut text = "[profiles.restricted.rules.\"res.memory\"]\nhigh = \"50%\"\noom_group = true\n".to_owned();
    if offer.cpuset {
        text.push_str("[profiles.restricted.rules.\"res.cpuset\"]\ncpus = \"0\"\nmems = \"0\"\n");
    }
    if offer.huge_pages {
        text.push_str(&format!("[profiles.restricted.rules.\"res.hugepages\"]\ndefault = 0\nmax = {HUGE}\n"));
    }
    if let Some([major, minor]) = offer.disk {
        text.push_str(&format!(
            "[profiles.restricted.rules.\"res.io\"]\nweight = {WEIGHT}\n\
             limits = [\"{major}:{minor} rbps={READ_RATE} wiops={WRITES}\", \"* wbps={MIB}\"]\n"
        ));
    }
    text
}

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    let runtime = Runtime::Palisade;
    vec![
        trial_under(world, runtime, "given limits: in force where none is asked for, and after updates", by_default),
        trial_under(world, runtime, "given limits: what is asked for beyond them is lowered", lowered),
        trial_under(world, runtime, "given limits: what is asked for within them stays", kept),
        trial_under(world, runtime, "given limits: CPUs outside the set are refused", refused),
    ]
}

/// What the kernel has to say.
struct Wanted {
    high: u64,
    huge: u64,
    rates: [u64; 2],
    weight: Option<u64>,
}

fn expect(container: &Sleeper<'_>, wanted: &Wanted, when: &str) -> Check {
    let files = Files::of(container.pid)?;
    let faults: Vec<_> = rows(wanted, &Offer::of_kernel()).iter().filter_map(|row| row.fault(&files)).collect();
    expect!(faults.is_empty(), "{when}: {}", faults.join("; "));
    Ok(())
}

fn rows(wanted: &Wanted, offer: &Offer) -> Vec<Row> {
    let mut rows = Vec::new();
    let both = |value: u64| [value.to_string(), value.to_string()];
    if is_unified() {
        rows.push(Row::of("memory", ["", "memory.high"], both(wanted.high)));
        // systemd before version 253 writes its own.
        if !by_systemd() {
            rows.push(Row::of("memory", ["", "memory.oom.group"], both(1)));
        }
    }
    if offer.cpuset {
        rows.push(Row::of("cpuset", ["cpuset.cpus"; 2], both(0)));
        rows.push(Row::of("cpuset", ["cpuset.mems"; 2], both(0)));
    }
    if offer.huge_pages {
        rows.push(Row::of("hugetlb", ["hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"], both(wanted.huge)));
    }
    let controller = of_version(["blkio", "io"]);
    if let Some([major, minor]) = offer.disk {
        let [read, writes] = wanted.rates;
        let unified = format!("{major}:{minor} rbps={read} wbps=max riops=max wiops={writes}");
        for (file, rate) in [("blkio.throttle.read_bps_device", read), ("blkio.throttle.write_iops_device", writes)] {
            rows.push(Row::of(controller, [file, "io.max"], [format!("{major}:{minor} {rate}"), unified.clone()]));
        }
    }
    if let Some((weight, file)) = wanted.weight.zip(offer.weight) {
        let cost_model = 1 + (weight - 10) * 9_999 / 990;
        let line = if file == "io.weight" { format!("default {cost_model}") } else { format!("default {weight}") };
        rows.push(Row::of(controller, [file; 2], [weight.to_string(), line]));
    }
    rows
}

fn memory(bytes: u64) -> Value {
    json!({ "memory": { "limit": bytes, "swap": bytes } })
}

/// What goes beyond the policy in everything that this machine limits.
fn too_much(offer: &Offer) -> Value {
    let mut asked = memory(MEMORY);
    if is_unified() {
        asked["unified"] = json!({ "memory.high": "max", "memory.oom.group": "0" });
    }
    if offer.cpuset && all_cpus() != "0" {
        asked["cpu"] = json!({ "cpus": all_cpus() });
    }
    if offer.huge_pages {
        asked["hugepageLimits"] = json!([{ "pageSize": "2MB", "limit": 1_u64 << 30 }]);
    }
    if let Some([major, minor]) = offer.disk {
        let device = |rate: u64| json!([{ "major": major, "minor": minor, "rate": rate }]);
        asked["blockIO"] = json!({ "throttleReadBpsDevice": device(1 << 40), "throttleWriteIOPSDevice": device(0) });
        if offer.weight.is_some() {
            asked["blockIO"]["weight"] = json!(900);
        }
    }
    asked
}

fn all_cpus() -> String {
    fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default().trim().to_owned()
}

const BY_DEFAULT: Wanted = Wanted { high: MEMORY / 2, huge: 0, rates: [READ_RATE, WRITES], weight: None };

fn by_default(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let container = Sleeper::start(world, &tasks, runtime, &memory(MEMORY))?;
    expect(&container, &BY_DEFAULT, "after create")?;
    tasks.update(&container.id, &memory(MEMORY * 2))?;
    expect(&container, &Wanted { high: MEMORY, ..BY_DEFAULT }, "after memory was raised")?;
    tasks.update(&container.id, &memory(MEMORY))?;
    expect(&container, &BY_DEFAULT, "after memory was lowered")?;
    tasks.update(&container.id, &json!({ "cpu": { "shares": 512 } }))?;
    expect(&container, &BY_DEFAULT, "after a share of the processor")?;
    let offer = Offer::of_kernel();
    tasks.update(&container.id, &too_much(&offer))?;
    let most = Wanted { huge: HUGE, weight: Some(WEIGHT), ..BY_DEFAULT };
    expect(&container, &most, "after an update beyond the policy")?;
    container.end()
}

fn lowered(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let container = Sleeper::start(world, &tasks, runtime, &too_much(&Offer::of_kernel()))?;
    expect(&container, &Wanted { huge: HUGE, weight: Some(WEIGHT), ..BY_DEFAULT }, "after create")?;
    container.end()
}

fn kept(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let offer = Offer::of_kernel();
    let mut asked = memory(MEMORY);
    if is_unified() {
        asked["unified"] = json!({ "memory.high": (8 * MIB).to_string() });
    }
    if let Some([major, minor]) = offer.disk {
        let device = |rate: u64| json!([{ "major": major, "minor": minor, "rate": rate }]);
        asked["blockIO"] = json!({ "throttleReadBpsDevice": device(MIB), "throttleWriteIOPSDevice": device(5) });
        if offer.weight.is_some() {
            asked["blockIO"]["weight"] = json!(50);
        }
    }
    let wanted = Wanted { high: 8 * MIB, rates: [MIB, 5], weight: Some(50), ..BY_DEFAULT };
    let container = Sleeper::start(world, &tasks, runtime, &asked)?;
    expect(&container, &wanted, "after create")?;
    tasks.update(&container.id, &memory(MEMORY * 2))?;
    expect(&container, &wanted, "after memory was raised")?;
    container.end()
}

fn refused(world: &World, runtime: Runtime) -> Check {
    if !Offer::of_kernel().cpuset {
        return Ok(());
    }
    let tasks = world.tasks()?;
    let container = Sleeper::start(world, &tasks, runtime, &memory(MEMORY))?;
    let said = tasks.update(&container.id, &json!({ "cpu": { "cpus": "1" } })).err();
    let said = said.map(|fault| fault.to_string()).unwrap_or_default();
    expect!(said.contains("res.cpuset") && said.contains("outside the allowed set"), "{said:?}");
    expect(&container, &BY_DEFAULT, "after a refused update")?;
    container.end()
}
