//! What is refused, what goes wrong, and that nothing is left of either.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Container, Runtime, busybox};

type Edit = fn(&mut Value);

#[test]
fn what_can_not_be_enforced_is_refused_with_its_reason() {
    let refusals: [(Edit, &str); 14] = [
        (|spec| spec["ociVersion"] = json!("2.0.0"), "ociVersion is refused: 1.x is allowed"),
        (|spec| spec["process"]["selinuxLabel"] = json!("a:b:c"), "process.selinuxLabel is refused"),
        (|spec| spec["linux"]["mountLabel"] = json!("a:b:c"), "linux.mountLabel is refused"),
        (
            |spec| spec["mounts"][0]["uidMappings"] = json!([{ "containerID": 0, "hostID": 1, "size": 1 }]),
            "mounts[0] is refused",
        ),
        (|spec| spec["mounts"][0]["options"] = json!(["idmap"]), "mounts[0] is refused"),
        (|spec| spec["linux"]["personality"] = json!({ "domain": "LINUX", "flags": ["X"] }), "personality"),
        (|spec| spec["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_NOTIFY" }), "linux.seccomp"),
        (|spec| spec["linux"]["intelRdt"] = json!({ "closID": "x" }), "linux.intelRdt is refused"),
        (|spec| spec["linux"]["namespaces"] = json!([{ "type": "pid" }]), "linux.namespaces is refused"),
        (|spec| spec["linux"]["cgroupsPath"] = json!("/../x"), "linux.cgroupsPath"),
        (|spec| spec["linux"]["cgroupsPath"] = json!("/"), "linux.cgroupsPath"),
        (|spec| spec["process"]["args"] = json!([]), "process.args is missing"),
        (|spec| spec["process"]["cwd"] = json!("tmp"), "process.cwd is refused"),
        (
            |spec| spec["linux"]["resources"]["rdma"] = json!({ "x": { "hcaHandles": 1 } }),
            "linux.resources.rdma is refused",
        ),
    ];
    for (edit, message) in refusals {
        let container = Container::embedded("true", edit);
        container.create().fails_with(message);
        container.leaves_nothing();
    }
}

#[test]
fn a_program_that_can_not_run_is_found_out_at_create_as_with_runc() {
    let programs = [
        ("no-such", "exec: \"no-such\": executable file not found in $PATH"),
        ("/no/such", "exec: \"/no/such\": stat /no/such: no such file or directory"),
        ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
    ];
    for runtime in [Runtime::Embedded, Runtime::Runc] {
        for (program, message) in programs {
            let container = Container::new(runtime, "", |spec| spec["process"]["args"] = json!([program]));
            fs::write(container.rootfs().join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
            container.create().fails_with(message);
            container.leaves_nothing();
        }
    }
    let container = Container::embedded("sleep 1000", |_| {});
    container.run();
    let answer = container.command().args(["exec", &container.id, "no-such"]).output().unwrap();
    assert!(String::from_utf8_lossy(&answer.stderr).contains("\"no-such\": executable file not found in $PATH"));
}

#[test]
fn a_file_that_is_no_program_says_so_on_the_container_s_stderr() {
    let container = Container::embedded("", |spec| spec["process"]["args"] = json!(["/bin/text"]));
    let program = container.rootfs().join("bin/text");
    fs::write(&program, "not a program").unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    container.run();
    container.output_with("exec /bin/text: exec format error");
    container.becomes("stopped");
}

#[test]
fn a_failed_mount_tells_its_cause_and_leaves_nothing() {
    let container = Container::embedded("true", |spec| {
        let mount = json!({ "destination": "/x", "type": "bind", "source": "/no/such/source", "options": ["bind"] });
        spec["mounts"].as_array_mut().unwrap().push(mount);
    });
    container.create().fails_with("/no/such/source");
    container.leaves_nothing();
}

#[test]
fn a_cgroup_with_other_processes_is_not_taken() {
    let first = Container::embedded("echo ready; sleep 1000", |_| {});
    first.run();
    first.output_with("ready");
    let path = json!(format!("/{}", first.id));
    let second = Container::embedded("true", |spec| spec["linux"]["cgroupsPath"] = path);
    second.create().fails_with("is not empty");
    drop(second);
    assert_eq!(first.status(), "running");
}

#[test]
fn damaged_files_are_errors_and_can_be_deleted() {
    let container = Container::embedded("true", |_| {});
    for text in ["", "{", "[]", "null", "{\"ociVersion\":\"1.0.2\"}"] {
        fs::write(container.bundle().join("config.json"), text).unwrap();
        assert_eq!(container.create().code, 1, "{text}");
    }
    drop(container);
    let container = Container::embedded("sleep 1000", |_| {});
    container.create().succeeds();
    let record = container.state_dir().join("record.json");
    let whole = fs::read(&record).unwrap();
    for text in [&b""[..], b"{}", &whole[..whole.len() / 2], b"\xff\xfe"] {
        fs::write(&record, text).unwrap();
        container.call(["state"]).fails_with("is damaged");
        container.call(["start"]).fails_with("is damaged");
        container.call(["delete"]).fails_with("is damaged");
    }
    fs::write(&record, whole).unwrap();
    assert_eq!(container.status(), "created");
}

#[test]
fn a_hook_that_hangs_ends_with_the_deadline_and_leaves_nothing() {
    for hook in ["createRuntime", "createContainer"] {
        let container = Container::embedded("true", |spec| {
            let program = if hook == "createRuntime" { busybox() } else { "/bin/sleep".into() };
            spec["hooks"] = json!({ hook: [{ "path": program, "args": ["sleep", "1000"] }] });
        });
        let started = Instant::now();
        let mut command = container.command();
        command.args(["--deadline", "2", "create", "--bundle"]).arg(container.bundle()).arg(&container.id);
        let status = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(1));
        assert!(started.elapsed() < Duration::from_secs(15), "{hook} {:?}", started.elapsed());
        container.leaves_nothing();
    }
}

#[test]
fn hooks_run_in_order_and_get_the_state() {
    let container = Container::embedded("sleep 1000", |_| {});
    let log = container.bundle().join("hooks");
    let hook = |name: &str| {
        let script = format!("echo {name} $(cat) >> {}", log.display());
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] }])
    };
    let mut spec: Value =
        serde_json::from_str(&fs::read_to_string(container.bundle().join("config.json")).unwrap()).unwrap();
    spec["hooks"] =
        json!({ "createRuntime": hook("createRuntime"), "poststart": hook("poststart"), "poststop": hook("poststop") });
    container.write_spec(&spec);
    container.run();
    container.kill("KILL").succeeds();
    container.becomes("stopped");
    container.call(["delete"]).succeeds();
    let text = fs::read_to_string(log).unwrap();
    let lines: Vec<(&str, Value)> = text
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, state)| (name, serde_json::from_str(state).unwrap()))
        .collect();
    let names: Vec<&str> = lines.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["createRuntime", "poststart", "poststop"]);
    for (name, state) in &lines {
        assert_eq!(state["id"], json!(container.id), "{name}");
    }
    assert_eq!(lines[1].1["bundle"], json!(container.bundle()));
}

#[test]
fn the_command_line_is_checked() {
    let container = Container::embedded("true", |_| {});
    container.call(["create", "--no-pivot"]).fails_with("--no-pivot is refused");
    container.call(["frobnicate"]).fails_with("no such command");
    container.call(["kill"]).fails_with("does not exist");
    container.kill("SIGNONE").fails_with("unknown signal");
    container.call(["start"]).fails_with("does not exist");
    container.call(["exec", "--process", "/x"]).fails_with("does not exist");
}

#[test]
fn features_are_json_and_admit_what_is_missing() {
    let container = Container::embedded("true", |_| {});
    let output = container.command().arg("features").output().unwrap();
    let features: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], json!(false));
    assert_eq!(features["linux"]["selinux"]["enabled"], json!(false));
    assert_eq!(features["linux"]["seccomp"]["enabled"], json!(true));
    assert_eq!(features["linux"]["capabilities"].as_array().unwrap().len(), 41);
}
