//! Device nodes and device rules.

use serde_json::json;

use super::parts::{Json, Temper, joined, list, maybe, merged, numbers, object, pick, row, words};

/// The nodes that every container has.
const USUAL: &[(&str, i64, i64)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
    ("/dev/ptmx", 5, 2),
];

/// Nodes of the host.
const HOST: &[(&str, &str, i64, i64)] = &[
    ("/dev/sda", "b", 8, 0),
    ("/dev/mem", "c", 1, 1),
    ("/dev/kmsg", "c", 1, 11),
    ("/dev/fuse", "c", 10, 229),
    ("/dev/null", "c", 1, 1),
    ("/dev/cpu/0/msr", "c", 202, 0),
    ("/dev/fifo", "p", 0, 0),
];

pub(super) fn nodes(temper: Temper) -> Json {
    let usual =
        USUAL.iter().map(|(path, major, minor)| json!({"path": path, "type": "c", "major": major, "minor": minor}));
    let unbuffered = json!({"path": "/dev/null", "type": "u", "major": 1, "minor": 3});
    let host = HOST
        .iter()
        .map(|(path, kind, major, minor)| json!({"path": path, "type": kind, "major": major, "minor": minor}));
    let node = temper.mix(pick(usual.chain([unbuffered]).collect()), pick(host.collect()));
    let further = object(vec![
        ("fileMode", maybe(50, numbers(&[0_u32, 0o600, 0o666, 0o777]))),
        ("uid", maybe(50, numbers(&[0_u32, 1000, u32::MAX]))),
        ("gid", maybe(50, numbers(&[0_u32, 5, 1000]))),
    ]);
    list(merged(vec![node, further]), 4)
}

pub(super) fn rules(temper: Temper) -> Json {
    let deny_all = || {
        pick(vec![
            json!({"allow": false, "access": "rwm"}),
            json!({"allow": false, "type": "a", "major": -1, "minor": -1, "access": "rwm"}),
            json!({"allow": false, "access": "rw"}),
        ])
    };
    let own = pick(vec![
        json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"}),
        json!({"allow": true, "type": "c", "major": 5, "minor": 1, "access": "rw"}),
        json!({"allow": true, "type": "c", "major": 136, "access": "rwm"}),
        json!({"allow": false, "type": "c", "major": 1, "minor": 5, "access": "w"}),
        json!({"allow": false, "type": "b"}),
    ]);
    joined(
        row(vec![maybe(80, deny_all())]),
        joined(list(temper.mix(own, any_rule()), 4), row(vec![maybe(5, deny_all())])),
    )
}

fn any_rule() -> Json {
    object(vec![
        ("allow", pick(vec![json!(true), json!(true), json!(false)])),
        ("type", maybe(80, words(&["a", "b", "c", "u", "p"]))),
        ("major", maybe(70, numbers(&[-1_i64, 0, 1, 8, 136, i64::MAX]))),
        ("minor", maybe(70, numbers(&[-1_i64, 0, 3, 9]))),
        ("access", maybe(90, words(&["rwm", "r", "w", "m", "", "rwmx"]))),
    ])
}
