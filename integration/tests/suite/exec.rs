//! An exec request carries a whole process of its own: what it asks beyond its container is refused or taken away.

use std::fs;

use libtest_mimic::Trial;
use palisade_integration::bundle_spec;
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::Run;
use serde_json::{Value, json};

use crate::lifecycle::waits_for_signal;
use crate::support::{Check, World};

/// What becomes of an exec request.
enum Answer {
    /// Refused by this rule.
    Refused(&'static str),
    /// Started without it: the field of `/proc/<pid>/status` begins with this.
    Taken(&'static str, &'static str),
}

use Answer::{Refused, Taken};

type Edit = fn(&mut Value);

const REQUESTS: &[(&str, Edit, Answer)] = &[
    ("root", |process| process["user"] = json!({ "uid": 0, "gid": 0 }), Taken("Uid", "65532\t65532")),
    (
        "the group of root",
        |process| process["user"] = json!({ "uid": 1000, "gid": 0, "additionalGids": [0, 6] }),
        Taken("Gid", "65532\t65532"),
    ),
    ("new privileges", |process| process["noNewPrivileges"] = json!(false), Taken("NoNewPrivs", "1")),
    ("containerd's capabilities", |_| (), Taken("CapBnd", "0000000000000")),
    (
        "inheritable and ambient capabilities",
        |process| {
            process["capabilities"]["inheritable"] = json!(["CAP_CHOWN", "CAP_NET_RAW"]);
            process["capabilities"]["ambient"] = json!(["CAP_CHOWN", "CAP_NET_RAW"]);
        },
        Taken("CapAmb", "0000000000000000"),
    ),
    ("no filter", |_| (), Taken("Seccomp", "2")),
    (
        "CAP_SYS_ADMIN",
        |process| {
            for set in ["bounding", "effective", "permitted"] {
                process["capabilities"][set] = json!(["CAP_SYS_ADMIN"]);
            }
        },
        Refused("caps.never"),
    ),
    (
        "a working directory behind a descriptor",
        |process| process["cwd"] = json!("/proc/self/fd/7"),
        Refused("process.cwd"),
    ),
    (
        "a SELinux type without confinement",
        |process| process["selinuxLabel"] = json!("system_u:system_r:spc_t:s0"),
        Refused("process.selinux"),
    ),
];

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    REQUESTS
        .iter()
        .map(|(name, make, answer)| {
            Trial::test(format!("exec: {} asking for {name}", verb(answer)), move || request(world, *make, answer))
        })
        .collect()
}

fn verb(answer: &Answer) -> &'static str {
    match answer {
        Refused(_) => "refuses a process",
        Taken(..) => "weakens a process",
    }
}

fn request(world: &World, make: Edit, answer: &Answer) -> Check {
    let tasks = world.tasks()?;
    let container = world.containerd.detach(&Run::new(Runtime::Palisade, &["/probe", "sleep"]))?;
    let mut process = bundle_spec::process(&["/probe", "sleep"]);
    make(&mut process);
    let added = tasks.exec(container.id(), "e1", &process).and_then(|()| tasks.start(container.id(), "e1"));
    match (answer, added) {
        (Refused(rule), Err(failure)) => {
            world.expect_refusal(&failure, rule)?;
        }
        (Refused(_), Ok(pid)) => return Err(format!("process {pid} was started").into()),
        (Taken(..), Err(failure)) => return Err(failure.into()),
        (Taken(field, start), Ok(pid)) => {
            waits_for_signal(pid)?;
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let value =
                status.lines().find_map(|line| line.strip_prefix(&format!("{field}:"))).unwrap_or_default().trim();
            expect!(value.starts_with(start), "{field} is {value:?}");
            tasks.kill(container.id(), "e1", 9)?;
            tasks.wait(container.id(), "e1")?;
            tasks.delete_exec(container.id(), "e1")?;
        }
    }
    Ok(container.remove()?)
}
