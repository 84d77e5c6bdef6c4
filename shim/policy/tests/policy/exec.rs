//! A further process is judged as any process, and then against what its container was given.

use palisade_policy::{ExecRequest, Grant, Policy, judge_exec};
use serde_json::{Value, json};

use crate::support::{self, Verdict::*, verdict_of};

fn grant_of(golden: &str, policy: &Policy) -> Grant {
    let (hardened, _) = support::admitted(support::create(&support::golden(golden), policy));
    hardened.grant().clone()
}

/// What CRI sends: the process of before hardening.
fn unhardened(golden: &str) -> Value {
    let mut process = support::golden(golden)["process"].clone();
    process["args"] = json!(["/bin/ls"]);
    process
}

#[test]
fn the_unhardened_process_of_containerd_becomes_the_containers_own() {
    let policy = Policy::builtin();
    let grant = grant_of("ctr-default", &policy);
    let (hardened, _) = support::admitted(support::exec(&unhardened("ctr-default"), &grant, &policy));
    let process = support::json(hardened.as_bytes());
    assert_eq!(process["user"]["uid"], json!(65_532));
    assert_eq!(process["user"]["gid"], json!(65_532));
    assert_eq!(process["noNewPrivileges"], json!(true));
    assert_eq!(process["capabilities"]["bounding"], json!(["CAP_NET_BIND_SERVICE"]));
    assert_eq!(process["args"], json!(["/bin/ls"]));
}

#[test]
fn nothing_goes_beyond_the_grant() {
    let policy = Policy::builtin();
    let grant = grant_of("cri-app", &policy);
    type Row = (&'static str, fn(&mut Value));
    let rows: &[Row] = &[
        ("exec.user", |p| p["user"]["uid"] = json!(1001)),
        ("exec.user", |p| p["user"]["gid"] = json!(999)),
        ("exec.user", |p| p["user"]["additionalGids"] = json!([999])),
        ("exec.caps", |p| p["capabilities"]["bounding"] = json!(["CAP_NET_BIND_SERVICE"])),
        ("exec.labels", |p| p["apparmorProfile"] = json!("mine")),
        ("exec.labels", |p| drop(p.as_object_mut().unwrap().remove("apparmorProfile"))),
        ("exec.oom", |p| p["oomScoreAdj"] = json!(0)),
        ("exec.sched", |p| p["scheduler"] = json!({"policy": "SCHED_BATCH"})),
        ("exec.sched", |p| p["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 4})),
        ("process.nnp", |p| p["noNewPrivileges"] = json!(false)),
    ];
    for (rule, edit) in rows {
        let mut process = unhardened("cri-app");
        let before = support::exec(&process, &grant, &policy);
        assert_eq!(verdict_of(rule, &before.record), Clean, "{rule}: unchanged");
        edit(&mut process);
        let after = support::exec(&process, &grant, &policy);
        assert_eq!(verdict_of(rule, &after.record), Mutated, "{rule}");
    }
}

#[test]
fn what_cannot_be_mended_is_refused() {
    let policy = Policy::builtin();
    let grant = grant_of("cri-app", &policy);
    for (rule, edit) in [
        ("caps.never", (|p| p["capabilities"]["effective"] = json!(["CAP_SYS_ADMIN"])) as fn(&mut Value)),
        ("process.cwd", |p| p["cwd"] = json!("/proc/self/fd/8")),
        ("process.apparmor", |p| p["apparmorProfile"] = json!("unconfined")),
        ("user.range", |p| p["user"]["uid"] = json!(4_294_967_295_u32)),
        ("spec.strict", |p| p["capabilities"]["effective"] = json!(["sys_admin"])),
        ("spec.strict", |p| p["elevate"] = json!(true)),
    ] {
        let mut process = unhardened("cri-app");
        edit(&mut process);
        let decision = support::exec(&process, &grant, &policy);
        assert!(support::is_denied(&decision), "{rule}");
        assert_eq!(verdict_of(rule, &decision.record), Denied, "{rule}");
    }
}

#[test]
fn a_limit_listed_twice_is_held_twice() {
    let policy = Policy::builtin();
    let mut spec = support::golden("cri-app");
    let limit = |most: u64| json!({"type": "RLIMIT_NOFILE", "soft": most, "hard": most});
    spec["process"]["rlimits"] = json!([limit(1024)]);
    let grant = support::admitted(support::create(&spec, &policy)).0.grant().clone();
    let mut process = unhardened("cri-app");
    process["rlimits"] = json!([limit(512), limit(4096)]);
    let decision = support::exec(&process, &grant, &policy);
    assert_eq!(verdict_of("exec.rlimits", &decision.record), Mutated);
    let rlimits = support::json(support::admitted(decision).0.as_bytes())["rlimits"].clone();
    assert_eq!((&rlimits[0], &rlimits[1]), (&limit(512), &limit(1024)));
}

#[test]
fn every_limit_of_the_container_is_there_again() {
    let policy = Policy::builtin();
    let mut spec = support::golden("cri-app");
    let limit = |kind: &str, most: u64| json!({"type": kind, "soft": most, "hard": most});
    let (core, files) = (limit("RLIMIT_CORE", 0), limit("RLIMIT_NOFILE", 1024));
    spec["process"]["rlimits"] = json!([core, files]);
    let grant = support::admitted(support::create(&spec, &policy)).0.grant().clone();
    for (asked, verdict) in [(json!([core]), Mutated), (json!([core, files]), Clean), (json!([]), Mutated)] {
        let mut process = unhardened("cri-app");
        process["rlimits"] = asked.clone();
        let decision = support::exec(&process, &grant, &policy);
        assert_eq!(verdict_of("exec.rlimits", &decision.record), verdict, "{asked}");
        let rlimits = support::json(support::admitted(decision).0.as_bytes())["rlimits"].clone();
        assert_eq!(rlimits, json!([core, files]), "{asked}");
    }
}

#[test]
fn a_priority_that_the_container_has_an_exec_may_have() {
    let policy = Policy::builtin();
    let mut spec = support::golden("cri-app");
    spec["process"]["scheduler"] = json!({"policy": "SCHED_BATCH"});
    spec["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 4});
    let grant = support::admitted(support::create(&spec, &policy)).0.grant().clone();
    let record = support::exec(&spec["process"], &grant, &policy).record;
    assert_eq!(verdict_of("exec.sched", &record), Clean);
}

/// `process.nnp` sets the bit for every process. Where a profile only watches that, the container's own bit holds.
#[test]
fn no_new_privileges_is_not_taken_back_where_the_profile_does_not_set_it() {
    let policy = Policy::from_toml("[profiles.restricted.rules.\"process.nnp\"]\naction = \"audit\"\n").unwrap();
    for (container, exec, verdict) in
        [(true, true, Clean), (true, false, Mutated), (false, false, Clean), (false, true, Clean)]
    {
        let mut spec = support::golden("cri-app");
        spec["process"]["noNewPrivileges"] = json!(container);
        let grant = support::admitted(support::create(&spec, &policy)).0.grant().clone();
        assert_eq!(grant.no_new_privileges(), container);
        let mut process = spec["process"].clone();
        process["noNewPrivileges"] = json!(exec);
        let decision = support::exec(&process, &grant, &policy);
        assert_eq!(verdict_of("exec.nnp", &decision.record), verdict, "{container} {exec}");
        let process = support::json(support::admitted(decision).0.as_bytes());
        assert_eq!(process["noNewPrivileges"], json!(container || exec), "{container} {exec}");
    }
}

#[test]
fn a_container_that_says_nothing_of_the_oom_killer_is_spared_by_no_exec() {
    let policy = Policy::builtin();
    let mut spec = support::golden("cri-app");
    spec["process"].as_object_mut().unwrap().remove("oomScoreAdj");
    let grant = support::admitted(support::create(&spec, &policy)).0.grant().clone();
    for (score, expected) in [(-999, json!(null)), (-1, json!(null)), (0, json!(0)), (500, json!(500))] {
        let mut process = spec["process"].clone();
        process["oomScoreAdj"] = json!(score);
        let (hardened, _) = support::admitted(support::exec(&process, &grant, &policy));
        assert_eq!(support::json(hardened.as_bytes())["oomScoreAdj"], expected, "{score}");
    }
}

/// A container that may have any scheduling class could otherwise be entered with a higher one than it chose.
#[test]
fn an_exec_has_no_other_scheduling_class_than_its_container() {
    let policy = Policy::from_toml("[profiles.restricted.rules.\"process.sched\"]\naction = \"off\"\n").unwrap();
    let mut spec = support::golden("cri-app");
    spec["process"]["scheduler"] = json!({"policy": "SCHED_IDLE"});
    spec["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0});
    let grant = support::admitted(support::create(&spec, &policy)).0.grant().clone();
    for (class, disk, expected) in [
        ("SCHED_FIFO", "IOPRIO_CLASS_RT", Mutated),
        ("SCHED_OTHER", "IOPRIO_CLASS_BE", Mutated),
        ("SCHED_IDLE", "IOPRIO_CLASS_IDLE", Clean),
    ] {
        let mut process = spec["process"].clone();
        process["scheduler"] = json!({"policy": class});
        process["ioPriority"] = json!({"class": disk, "priority": 0});
        let decision = support::exec(&process, &grant, &policy);
        assert_eq!(verdict_of("exec.sched", &decision.record), expected, "{class}");
        let process = support::json(support::admitted(decision).0.as_bytes());
        assert_eq!(process["scheduler"], spec["process"]["scheduler"], "{class}");
        assert_eq!(process["ioPriority"], spec["process"]["ioPriority"], "{disk}");
    }
}

/// What a specification says of a user namespace that exists already counts for an exec no more than for the container.
#[test]
fn mappings_that_the_host_did_not_confirm_make_no_exec_root() {
    let off = "[profiles.restricted.rules]\n\"exec.user\".action = \"off\"\n\"linux.userns\".action = \"audit\"\n";
    let policy = Policy::from_toml(off).unwrap();
    let mut spec = with_its_own_volume();
    for namespace in spec["linux"]["namespaces"].as_array_mut().unwrap() {
        if namespace["type"] == "user" {
            namespace["path"] = json!("/proc/77/ns/user");
        }
    }
    let task = support::Task::of(&support::id_of(&spec));
    for (confirmed, expected) in [(true, Clean), (false, Mutated)] {
        let decision = support::create_with(&spec, &task, &policy, |host| host.joined_users_are_remapped = confirmed);
        let grant = support::admitted(decision).0.grant().clone();
        let decision = support::exec(&unhardened("cri-userns"), &grant, &policy);
        assert_eq!(verdict_of("user.non-root", &decision.record), expected, "confirmed: {confirmed}");
    }
}

#[test]
fn each_stream_of_an_exec_is_judged() {
    let policy = Policy::builtin();
    let grant = grant_of("cri-app", &policy);
    let process = unhardened("cri-app").to_string();
    let plain = ExecRequest {
        process: process.as_bytes(),
        stdin: "",
        stdout: "",
        stderr: "",
        terminal: false,
        today: support::today(),
    };
    let program = "binary:///bin/sh?-c=x";
    for (pointer, request) in [
        ("/task/stdin", ExecRequest { stdin: program, ..plain.clone() }),
        ("/task/stdout", ExecRequest { stdout: program, ..plain.clone() }),
        ("/task/stderr", ExecRequest { stderr: program, ..plain.clone() }),
    ] {
        let decision = judge_exec(request, &grant, &policy);
        assert_eq!(verdict_of("task.stdio", &decision.record), Denied, "{pointer}");
        assert_eq!(decision.record.findings[0].pointer, pointer);
    }
    assert!(!support::is_denied(&judge_exec(plain, &grant, &policy)));
}

/// A pod with a user namespace whose idmapped volume is the pod's alone.
fn with_its_own_volume() -> Value {
    let text = support::golden("cri-userns")
        .to_string()
        .replace("kubernetes.io~csi/pvc-1/mount", "kubernetes.io~empty-dir/data");
    support::json(text.as_bytes())
}

/// Where its root is root on a disk of others, an exec is no root either.
#[test]
fn root_that_writes_as_root_is_forced_in_an_exec_too() {
    let policy = Policy::builtin();
    let grant = grant_of("cri-userns", &policy);
    assert_eq!(grant.uid(), 65_532);
    let (hardened, _) = support::admitted(support::exec(&unhardened("cri-userns"), &grant, &policy));
    assert_eq!(support::json(hardened.as_bytes())["user"]["uid"], json!(65_532));
}

#[test]
fn root_in_a_remapped_container_stays_root_there() {
    let policy = Policy::builtin();
    let grant = support::admitted(support::create(&with_its_own_volume(), &policy)).0.grant().clone();
    assert_eq!((grant.uid(), grant.host_uid()), (0, 1_048_576));
    let (hardened, _) = support::admitted(support::exec(&unhardened("cri-userns"), &grant, &policy));
    assert_eq!(support::json(hardened.as_bytes())["user"]["uid"], json!(0));
}

#[test]
fn a_grant_survives_being_stored() {
    let grant = grant_of("cri-app", &Policy::builtin());
    let text = serde_json::to_string(&grant).unwrap();
    assert_eq!(serde_json::from_str::<Grant>(&text).unwrap(), grant);
    let forged = text.replacen('{', "{\"more\":1,", 1);
    assert!(serde_json::from_str::<Grant>(&forged).is_err());
}
