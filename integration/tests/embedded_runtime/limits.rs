//! Limits at create and at update, on either version of cgroups.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Answer, Container, is_unified};

const MIB: u64 = 1 << 20;

fn limited() -> Container {
    let container = Container::embedded("sleep 1000", |spec| {
        spec["linux"]["resources"]["memory"] = json!({ "limit": 64 * MIB, "swap": 64 * MIB });
        spec["linux"]["resources"]["cpu"] = json!({ "quota": 50_000, "period": 100_000, "shares": 512 });
        spec["linux"]["resources"]["pids"] = json!({ "limit": 50 });
    });
    container.run();
    container
}

fn update(container: &Container, resources: &Value) -> Answer {
    let mut command = container.command();
    command.args(["update", "--resources", "-", &container.id]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(resources.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Answer { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The first of the container's cgroup files that exists, on v1 or v2.
#[track_caller]
fn read(container: &Container, names: [&str; 2]) -> String {
    let name = names[usize::from(is_unified())];
    let found = container.cgroups().into_iter().map(|directory| directory.join(name)).find(|file| file.exists());
    fs::read_to_string(found.unwrap_or_else(|| panic!("no {name}"))).unwrap().trim().to_owned()
}

const MEMORY: [&str; 2] = ["memory.limit_in_bytes", "memory.max"];
const PIDS: [&str; 2] = ["pids.max", "pids.max"];
const QUOTA: [&str; 2] = ["cpu.cfs_quota_us", "cpu.max"];

#[test]
fn limits_of_the_spec_are_in_the_cgroup() {
    let container = limited();
    assert_eq!(read(&container, MEMORY), (64 * MIB).to_string());
    assert_eq!(read(&container, PIDS), "50");
    assert!(read(&container, QUOTA).starts_with("50000"));
    // Swap equal to memory is no swap: v1 counts both together, v2 swap alone.
    if is_unified() {
        assert_eq!(read(&container, ["", "memory.swap.max"]), "0");
    } else if container.cgroups().iter().any(|directory| directory.join("memory.memsw.limit_in_bytes").exists()) {
        assert_eq!(read(&container, ["memory.memsw.limit_in_bytes", ""]), (64 * MIB).to_string());
    }
}

#[test]
fn an_update_goes_down_and_up_again() {
    let container = limited();
    for (memory, pids, quota) in [(32 * MIB, 20, 20_000), (128 * MIB, 90, 90_000)] {
        let resources = json!({ "memory": { "limit": memory, "swap": memory }, "pids": { "limit": pids }, "cpu": { "quota": quota, "period": 100_000 } });
        update(&container, &resources).succeeds();
        assert_eq!(read(&container, MEMORY), memory.to_string());
        assert_eq!(read(&container, PIDS), pids.to_string());
        assert!(read(&container, QUOTA).starts_with(&quota.to_string()));
    }
}

#[test]
fn an_update_of_nonsense_changes_nothing() {
    let container = limited();
    update(&container, &json!([1])).fails_with("is no OCI resources");
    update(&container, &json!({ "memory": { "limit": "much" } })).fails_with("is no OCI resources");
    assert_eq!((read(&container, PIDS), read(&container, MEMORY)), ("50".to_owned(), (64 * MIB).to_string()));
}

/// CRI sends the device rules of the original specification along with each update.
#[test]
fn an_update_leaves_the_devices_as_they_are() {
    let container = Container::embedded("sleep 1000", |spec| {
        let capabilities = json!(["CAP_MKNOD"]);
        spec["process"]["capabilities"] =
            json!({ "bounding": capabilities, "effective": capabilities, "permitted": capabilities });
    });
    container.run();
    let all = json!({ "devices": [{ "allow": true, "access": "rwm" }], "pids": { "limit": 90 } });
    update(&container, &all).succeeds();
    assert_eq!(read(&container, PIDS), "90");
    let answer = container.exec("mknod /tmp/loop b 7 0; dd if=/tmp/loop of=/dev/null count=1");
    assert!(answer.stderr.contains("Operation not permitted"), "{answer:?}");
}

#[test]
fn a_fork_bomb_ends_at_the_limit_and_the_container_can_be_deleted() {
    let container =
        Container::embedded("sleep 1000", |spec| spec["linux"]["resources"]["pids"] = json!({ "limit": 20 }));
    container.run();
    let answer = container.exec("i=0; while [ $i -lt 60 ]; do sleep 1000 >/dev/null 2>&1 & i=$((i+1)); done; exit 0");
    assert!((answer.stdout + &answer.stderr).contains("can't fork"));
}
