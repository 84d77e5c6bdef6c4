//! What the kernel says that init and exec may do.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Container, Runtime, field};

const SHOW: &str = "cat /proc/self/status; echo end; exec sleep 1000";

/// Stops mkdir, and allows seccomp(2) to nobody: loading must end with it.
fn profile() -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13 },
        { "names": ["seccomp"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 },
    ] })
}

/// A profile that lacks accept4, recvfrom, sendmsg and capset, which the runtime itself needs before the execve.
fn tight_profile() -> Value {
    json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{ "action": "SCMP_ACT_ALLOW", "names": [
        "arch_prctl", "brk", "clock_nanosleep", "close", "dup", "dup2", "execve", "exit", "exit_group", "fcntl", "fork", "fstat", "getcwd",
        "getegid", "geteuid", "getgid", "getpid", "getppid", "getrandom", "getuid", "ioctl", "lseek", "mmap", "mprotect", "munmap",
        "nanosleep", "newfstatat", "open", "openat", "pipe", "pipe2", "poll", "prlimit64", "read", "readlink", "readv", "rseq",
        "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sendfile", "set_robust_list", "set_tid_address", "stat", "uname", "vfork",
        "wait4", "write", "writev", "clone", "prctl", "fadvise64",
    ] }] })
}

/// The status of init and of an exec.
fn statuses(container: &Container) -> [(String, &'static str); 2] {
    container.run();
    [(container.output_with("end"), "init"), (container.exec("cat /proc/self/status").succeeds().stdout, "exec")]
}

#[test]
fn init_and_exec_have_the_filter_and_the_five_sets() {
    for (no_new_privs, profile) in [(true, profile()), (true, tight_profile()), (false, profile())] {
        let container = Container::embedded(SHOW, |spec| {
            spec["linux"]["seccomp"] = profile;
            spec["process"]["noNewPrivileges"] = json!(no_new_privs);
        });
        for (status, who) in statuses(&container) {
            assert_eq!(field(&status, "Seccomp"), "2", "{who}");
            assert_eq!(field(&status, "NoNewPrivs"), u8::from(no_new_privs).to_string(), "{who}");
            for (set, expected) in
                [("CapBnd", "420"), ("CapPrm", "420"), ("CapEff", "420"), ("CapInh", "0"), ("CapAmb", "0")]
            {
                assert_eq!(
                    field(&status, set).trim_start_matches('0'),
                    expected.trim_start_matches('0'),
                    "{who} {set} nnp {no_new_privs}"
                );
            }
        }
        let denied = container.exec("mkdir /tmp/x");
        assert_ne!(denied.code, 0, "{denied:?}");
    }
}

#[test]
fn without_a_profile_there_is_no_filter() {
    let container = Container::embedded(SHOW, |_| {});
    for (status, who) in statuses(&container) {
        assert_eq!(field(&status, "Seccomp"), "0", "{who}");
    }
    container.exec("mkdir /tmp/x").succeeds();
}

#[test]
fn without_no_new_privs_the_privilege_to_load_is_gone_before_start() {
    let container = Container::embedded(SHOW, |spec| {
        spec["linux"]["seccomp"] = profile();
        spec["process"]["noNewPrivileges"] = json!(false);
        spec["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    });
    container.create().succeeds();
    let status = fs::read_to_string(format!("/proc/{}/status", container.pid())).unwrap();
    assert_eq!((field(&status, "Seccomp"), field(&status, "CapPrm")), ("2".into(), "0000000000000420".into()));
    container.call(["start"]).succeeds();
    let status = container.output_with("end");
    assert_eq!((field(&status, "Uid"), field(&status, "CapEff")), ("1000".into(), "0000000000000000".into()));
}

#[test]
fn a_profile_that_forbids_giving_the_privilege_up_creates_nothing() {
    let container = Container::embedded(SHOW, |spec| {
        spec["linux"]["seccomp"] = tight_profile();
        spec["process"]["noNewPrivileges"] = json!(false);
    });
    container.create().fails_with("drop CAP_SYS_ADMIN after loading the seccomp filter");
    container.leaves_nothing();
}

#[test]
fn absent_sets_are_empty_ones_as_with_runc() {
    for runtime in [Runtime::Embedded, Runtime::Runc] {
        let container =
            Container::new(runtime, SHOW, |spec| drop(spec["process"].as_object_mut().unwrap().remove("capabilities")));
        container.run();
        let status = container.output_with("end");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(field(&status, set), "0000000000000000", "{runtime:?} {set}");
        }
    }
}

#[test]
fn an_exec_request_can_not_leave_the_filter_out() {
    let container = Container::embedded(SHOW, |spec| spec["linux"]["seccomp"] = profile());
    container.run();
    // The bundle is not asked again.
    let mut spec: Value =
        serde_json::from_str(&fs::read_to_string(container.bundle().join("config.json")).unwrap()).unwrap();
    spec["linux"].as_object_mut().unwrap().remove("seccomp");
    container.write_spec(&spec);
    assert_eq!(field(&container.exec("cat /proc/self/status").succeeds().stdout, "Seccomp"), "2");
    // And without its filter the container gets no exec at all.
    fs::remove_file(container.state_dir().join("seccomp.bpf")).unwrap();
    container.exec("true").fails_with("seccomp.bpf");
}

/// What the shim compiled: the document then has no profile.
#[test]
fn a_compiled_filter_is_loaded_in_place_of_a_profile() {
    let with_profile = Container::embedded(SHOW, |spec| spec["linux"]["seccomp"] = profile());
    with_profile.create().succeeds();
    let program = with_profile.state_dir().join("seccomp.bpf");
    let given = |container: &Container, program: &Path| {
        container.create_with(|command| {
            command.arg("--seccomp-program").arg(program);
        })
    };

    let container = Container::embedded(SHOW, |_| {});
    given(&container, &program).succeeds();
    container.call(["start"]).succeeds();
    let exec = container.exec("cat /proc/self/status").succeeds().stdout;
    for status in [container.output_with("end"), exec] {
        assert_eq!(field(&status, "Seccomp"), "2");
    }
    assert_ne!(container.exec("mkdir /tmp/x").code, 0);

    let both = Container::embedded(SHOW, |spec| spec["linux"]["seccomp"] = profile());
    given(&both, &program).fails_with("linux.seccomp must be absent where --seccomp-program is given");
    both.leaves_nothing();
    let damaged = Container::embedded(SHOW, |_| {});
    let cut = damaged.bundle().join("cut");
    let whole = fs::read(&program).unwrap();
    fs::write(&cut, &whole[..whole.len() - 1]).unwrap();
    given(&damaged, &cut).fails_with("is damaged");
    given(&damaged, Path::new("/nowhere/filter")).fails_with("/nowhere/filter");
    damaged.leaves_nothing();
}

#[test]
fn what_the_runtime_does_not_have_it_does_not_promise() {
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let held = u64::from_str_radix(&field(&own, "CapPrm"), 16).unwrap();
    if held & 1 << 24 != 0 {
        // CAP_SYS_RESOURCE can be had here, so nothing can be shown with it.
        return;
    }
    for runtime in [Runtime::Embedded, Runtime::Runc] {
        let container = Container::new(runtime, SHOW, |spec| {
            spec["process"]["capabilities"]["permitted"] = json!(["CAP_SYS_RESOURCE"])
        });
        assert_eq!(container.create().code, 1, "{runtime:?}");
    }
    let container = Container::embedded(SHOW, |spec| spec["process"]["oomScoreAdj"] = json!(-500));
    container.create().fails_with("process.oomScoreAdj: -500 needs CAP_SYS_RESOURCE");
}
