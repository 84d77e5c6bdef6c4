//! The process.

use serde_json::json;

use super::capabilities;
use super::parts::{Json, Temper, list, maybe, numbers, object, pick, truth, words};

const AMOUNTS: &[u64] = &[0, 1, 20, 21, 1024, 4096, 4097, 819_200, 819_201, 1 << 20, (1 << 20) + 1, u64::MAX];

const RLIMITS: &[&str] = &[
    "RLIMIT_AS",
    "RLIMIT_CORE",
    "RLIMIT_CPU",
    "RLIMIT_DATA",
    "RLIMIT_FSIZE",
    "RLIMIT_LOCKS",
    "RLIMIT_MEMLOCK",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_NOFILE",
    "RLIMIT_NPROC",
    "RLIMIT_RSS",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
    "RLIMIT_SIGPENDING",
    "RLIMIT_STACK",
];

pub(super) fn of(temper: Temper) -> Json {
    object(vec![
        ("terminal", maybe(20, truth())),
        ("consoleSize", maybe(10, object(vec![("height", numbers(AMOUNTS)), ("width", numbers(AMOUNTS))]))),
        ("user", user(temper)),
        ("args", args(temper)),
        ("env", env(temper)),
        (
            "cwd",
            temper.mix(words(&["/", "/app", "/home/a b"]), words(&["", "app", "/proc/self/fd/7", "/a/../b", "/./"])),
        ),
        ("capabilities", capabilities::of(temper)),
        ("rlimits", maybe(40, list(rlimit(), 5))),
        ("noNewPrivileges", maybe(70, truth())),
        (
            "apparmorProfile",
            maybe(40, temper.mix(words(&["cri-containerd.apparmor.d", ""]), words(&["unconfined", "a b"]))),
        ),
        ("oomScoreAdj", maybe(50, numbers(&[-1000_i32, -997, -1, 0, 1, 985, 1000]))),
        ("selinuxLabel", maybe(20, selinux(temper))),
        ("scheduler", maybe(20, scheduler())),
        ("ioPriority", maybe(20, io_priority())),
        ("execCPUAffinity", maybe(10, affinity())),
    ])
}

fn user(temper: Temper) -> Json {
    let large = || pick(vec![json!(1_u64 << 31), json!(u32::MAX), json!(u32::MAX - 1)]);
    let uid = pick([0, 1, 1000, 65_532, 65_534, 0x7fff_ffff].map(|id| json!(id)).to_vec());
    let gid = || pick([0, 6, 9, 10, 15, 42, 99, 100, 1000, 2000, 65_532].map(|id| json!(id)).to_vec());
    object(vec![
        ("uid", temper.mix(uid, large())),
        ("gid", temper.mix(gid(), large())),
        ("umask", maybe(30, numbers(&[0_u32, 0o2, 0o20, 0o22, 0o27, 0o77, 0o777, u32::MAX]))),
        ("additionalGids", maybe(60, list(temper.mix(gid(), large()), 5))),
    ])
}

fn args(temper: Temper) -> Json {
    let tame = pick(vec![json!(["/app/server"]), json!(["sh", "-c", "exec x"]), json!([]), json!(["./x", ""])]);
    let wild = pick(vec![json!(["/proc/self/exe"]), json!(["/proc/1/root/bin/sh"]), json!(["../proc/self/fd/3"])]);
    temper.mix(maybe(95, tame), wild)
}

fn env(temper: Temper) -> Json {
    let tame = words(&[
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "HOSTNAME=cart-0",
        "LD_PRELOAD=/x.so",
        "GLIBC_TUNABLES=glibc.malloc.check=1",
        "EMPTY=",
        "=odd",
        "NO_SIGN",
        "UNICODE=ü\u{2028}<&>",
    ]);
    maybe(85, list(temper.mix(tame, words(&["PATH=/proc/self/fd", "PATH=:/proc/self/cwd/bin"])), 5))
}

fn rlimit() -> Json {
    object(vec![("type", words(RLIMITS)), ("soft", numbers(AMOUNTS)), ("hard", numbers(AMOUNTS))])
}

fn selinux(temper: Temper) -> Json {
    temper.mix(
        words(&["", "system_u:system_r:container_t:s0:c1,c2", "system_u:system_r:container_init_t:s0"]),
        words(&["system_u:system_r:spc_t:s0", "container_t", "unconfined_u:unconfined_r:unconfined_t:s0"]),
    )
}

fn scheduler() -> Json {
    let flags =
        words(&["SCHED_RESET_ON_FORK", "SCHED_FLAG_RECLAIM", "SCHED_FLAG_KEEP_POLICY", "SCHED_FLAG_UTIL_CLAMP_MAX"]);
    object(vec![
        (
            "policy",
            words(&[
                "SCHED_OTHER",
                "SCHED_BATCH",
                "SCHED_IDLE",
                "SCHED_FIFO",
                "SCHED_RR",
                "SCHED_DEADLINE",
                "SCHED_ISO",
            ]),
        ),
        ("nice", maybe(50, numbers(&[-20_i32, -1, 0, 1, 19]))),
        ("priority", maybe(30, numbers(&[0_i32, 1, 99]))),
        ("flags", maybe(20, list(flags, 2))),
        ("runtime", maybe(20, numbers(AMOUNTS))),
        ("deadline", maybe(20, numbers(AMOUNTS))),
        ("period", maybe(20, numbers(AMOUNTS))),
    ])
}

fn io_priority() -> Json {
    object(vec![
        ("class", words(&["IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE", "IOPRIO_CLASS_RT"])),
        ("priority", numbers(&[0_i64, 1, 7])),
    ])
}

fn affinity() -> Json {
    object(vec![("initial", maybe(70, words(&["0", "0-3", "0,2"]))), ("final", maybe(70, words(&["1", "0-1,3"])))])
}
