//! What a further process of a container is, beside what it may do.

use std::ffi::OsStr;
use std::fs;

use serde_json::{Value, json};

use super::support::{Answer, Container};

const WAIT: &str = "exec sleep 1000";
const KINDS: [&str; 7] = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"];

fn own_users(spec: &mut Value) {
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    spec["linux"]["uidMappings"] = map.clone();
    spec["linux"]["gidMappings"] = map;
    spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
}

/// Runs a process of this form in a container, in the foreground.
fn exec(container: &Container, process: &Value) -> Answer {
    let file = container.bundle().join("process.json");
    fs::write(&file, process.to_string()).unwrap();
    container.call([OsStr::new("exec"), OsStr::new("--process"), file.as_os_str()])
}

fn process(script: &str) -> Value {
    json!({ "user": { "uid": 0, "gid": 0 }, "args": ["sh", "-c", script], "env": ["PATH=/bin"], "cwd": "/" })
}

fn namespaces_of(pid: &str) -> Vec<String> {
    KINDS.iter().map(|kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display().to_string()).collect()
}

#[test]
fn it_joins_every_namespace_of_the_container_and_its_users() {
    for users in [false, true] {
        let container = Container::embedded(WAIT, |spec| {
            spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "cgroup" }));
            if users {
                own_users(spec);
            }
        });
        container.run();
        let script = KINDS.map(|kind| format!("readlink /proc/self/ns/{kind}")).join("; ");
        let seen = exec(&container, &process(&script)).succeeds().stdout;
        let seen: Vec<&str> = seen.lines().collect();
        let init = namespaces_of(&container.pid().to_string());
        assert_eq!(seen, init, "users: {users}");
        let host = namespaces_of("self");
        let shared: Vec<_> = init.iter().filter(|namespace| host.contains(namespace)).collect();
        assert_eq!(shared.len(), usize::from(!users), "with the host it shares {shared:?}");
    }
}

#[test]
fn ids_are_the_user_namespaces_own() {
    let container = Container::embedded(WAIT, own_users);
    container.run();
    let mut asked =
        process("id -u; id -g; id -G; grep -c 100000 /proc/self/uid_map; echo x >/tmp/made; stat -c %u /tmp/made");
    asked["user"] = json!({ "uid": 7, "gid": 8, "additionalGids": [9] });
    fs::set_permissions(container.rootfs().join("tmp"), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    assert_eq!(exec(&container, &asked).succeeds().stdout, "7\n8\n8 9\n1\n7\n");
    let made = fs::metadata(container.rootfs().join("tmp/made")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), 100_007, "on the host");
}

#[test]
fn limits_mask_affinity_and_home_are_the_requests() {
    let container = Container::embedded(WAIT, |_| {});
    container.run();
    fs::write(container.rootfs().join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:7:8::/srv:/bin/sh\n").unwrap();
    let mut asked =
        process("ulimit -n; ulimit -Hn; ulimit -c; umask; echo $HOME; pwd; grep Cpus_allowed_list /proc/self/status");
    asked["user"] = json!({ "uid": 7, "gid": 8, "umask": 0o27 });
    asked["rlimits"] = json!([
        { "type": "RLIMIT_NOFILE", "soft": 77, "hard": 99 },
        { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
    ]);
    asked["execCPUAffinity"] = json!({ "initial": "0-1", "final": "0" });
    asked["cwd"] = json!("/tmp");
    let said = exec(&container, &asked).succeeds().stdout;
    assert_eq!(said, "77\n99\n0\n0027\n/srv\n/tmp\nCpus_allowed_list:\t0\n");
}

#[test]
fn it_is_in_the_containers_cgroup_and_leads_a_session() {
    let container = Container::embedded(WAIT, |_| {});
    container.run();
    let said = exec(&container, &process("cat /proc/self/cgroup")).succeeds().stdout;
    assert_eq!(said, fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap());
    // Pid and session of the shell, which cut is a child of.
    let said = exec(&container, &process("cut -d' ' -f4,6 /proc/self/stat; true")).succeeds().stdout;
    let (shell, session) = said.trim().split_once(' ').unwrap();
    assert_eq!(shell, session);
}

#[test]
fn what_fails_tells_why_and_leaves_no_process() {
    let container = Container::embedded(WAIT, |_| {});
    container.run();
    let before = container.call(["ps", "--format", "json"]).succeeds().stdout;
    let mut elsewhere = process("true");
    elsewhere["cwd"] = json!("/no/such");
    let mut upside_down = process("true");
    upside_down["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 99, "hard": 77 }]);
    let mut no_program = process("true");
    no_program["args"] = json!(["/etc"]);
    let mut no_terminal = process("true");
    no_terminal["terminal"] = json!(true);
    let rows = [
        (elsewhere, "unable to start container process: chdir to process.cwd \"/no/such\": no such file or directory"),
        (upside_down, "unable to start container process: set RlimitNofile: invalid argument"),
        (no_program, "unable to start container process: exec: \"/etc\": is a directory"),
        (no_terminal, "a terminal and a console socket go together"),
    ];
    for (asked, message) in rows {
        exec(&container, &asked).fails_with(message);
    }
    assert_eq!(container.call(["ps", "--format", "json"]).succeeds().stdout, before);
}

/// CVE-2024-21626: a descriptor of the host that the runtime has left open leads out of the container.
#[test]
fn no_descriptor_leads_to_a_working_directory_of_the_host() {
    let container = Container::embedded(WAIT, |_| {});
    container.run();
    for descriptor in 0..16 {
        let mut asked = process("ls ../../../..; echo reached");
        asked["cwd"] = json!(format!("/proc/self/fd/{descriptor}"));
        let answer = exec(&container, &asked);
        assert!(answer.code != 0 && !answer.stdout.contains("reached"), "{descriptor}: {answer:?}");
    }
}
