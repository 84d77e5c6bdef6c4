//! Whole specifications made from nothing: every field of the field ledger may be there or not, with the values that the
//! rules tell apart and those at the edges of the types.
//!
//! Each part has tame values, which the built-in profiles pass or mend, and wild ones, which they refuse. How often the
//! wild ones are taken is the document's [`Temper`], so that a good share of the documents is admitted.

mod annotations;
mod capabilities;
mod devices;
mod extras;
mod hooks;
mod mounts;
mod namespaces;
mod parts;
mod process;
mod resources;
mod seccomp;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support;

pub(crate) use capabilities::ALL as CAPABILITIES;
use parts::{Json, maybe, merged, object, pick, words};
pub(crate) use parts::{TAME, Temper, WILD};

/// Id of every generated container; a generated sandbox has it too.
pub(crate) const ID: &str = "c1";

/// What a container is in its pod: its annotations, namespaces and volumes go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Standalone,
    Sandbox,
    Container,
}

/// A whole specification. Most have at most a few wild parts; some are wild throughout.
pub(crate) fn spec() -> Json {
    prop_oneof![12 => of_temper(TAME), 1 => of_temper(WILD)].boxed()
}

/// A whole specification of one temper.
pub(crate) fn of_temper(temper: Temper) -> Json {
    let of = |role| of_role(role, temper);
    prop_oneof![4 => of(Role::Container), 3 => of(Role::Standalone), 2 => of(Role::Sandbox)].boxed()
}

/// The process of an exec request.
pub(crate) fn process() -> Json {
    prop_oneof![12 => process::of(TAME), 1 => process::of(WILD)].boxed()
}

/// The resources of an update request.
pub(crate) fn resources() -> Json {
    prop_oneof![12 => resources::of(TAME), 1 => resources::of(WILD)].boxed()
}

fn of_role(role: Role, temper: Temper) -> Json {
    object(vec![
        ("ociVersion", words(&["1.0.2", "1.2.1", "1.3.0", "1.0.2-dev"])),
        ("process", process::of(temper)),
        ("root", root(temper)),
        ("hostname", maybe(60, words(&["cart-0", "", "a.b_c-9", "no host name", "line\nbreak"]))),
        ("domainname", maybe(20, words(&["shop.example", "", "(none)", "-"]))),
        ("mounts", mounts::of(role, temper)),
        ("hooks", hooks::of(temper)),
        ("annotations", annotations::of(role, temper)),
        ("linux", linux(role, temper)),
    ])
}

fn root(temper: Temper) -> Json {
    let own = format!("{}/{ID}/rootfs", support::BUNDLE);
    let path = temper.mix(pick(vec![json!("rootfs"), json!(own)]), words(&["", "/", "../rootfs", "/etc", "rootfs/"]));
    object(vec![("path", path), ("readonly", maybe(60, any::<bool>().prop_map(Value::from).boxed()))])
}

fn linux(role: Role, temper: Temper) -> Json {
    merged(vec![
        namespaces::of(role, temper),
        extras::of(temper),
        object(vec![
            ("devices", maybe(40, devices::nodes(temper))),
            ("resources", maybe(90, resources::of(temper))),
            ("seccomp", seccomp::of(temper)),
            ("cgroupsPath", cgroups_path(temper)),
        ]),
    ])
}

fn cgroups_path(temper: Temper) -> Json {
    let own = words(&["/kubepods/besteffort/pod1/c1", "kubepods-pod1.slice:cri-containerd:c1", "/c1", "c1", ":x:c1"]);
    let wild = words(&["/kubepods/other", "/kubepods/../c1", "-.slice:cri:c1", "/", "system.slice:x:sshd", "/c1/c1/"]);
    temper.mix(maybe(90, own), wild)
}
