//! What a container may do: capabilities, no_new_privs, the root filesystem, privileged mode.

use k8s_cri::v1 as api;
use palisade_integration::cri;

use super::containers::shell;
use super::look;
use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Container, Fault, Stage, pod_secured, secured};

const SYS: &[(&str, &str)] = &[(
    "mount /sys",
    "writable, as containerd asks; with runc the pause container's is read-only and makes it so (containerd 1.7)",
)];

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "privileged: all that the kernel enforces on it",
        "Security Context: Privileged is true",
        privileged,
        &[("capabilities", "all that the node has"), ("Seccomp", "0"), ("mount-tmpfs", "Reached")],
    )
    .differs(SYS)
    .refused("priv.heuristic"),
    scenario(
        "not privileged",
        "Security Context: Privileged is false",
        unprivileged,
        &[("mount-tmpfs", "Refused"), ("sethostname", "Refused")],
    ),
    scenario(
        "a capability is added",
        "Security Context: adding capability",
        added,
        &[("CapEff", "00000000a80435fb"), ("CapBnd", "00000000a80435fb")],
    )
    .refused("caps.never"),
    scenario(
        "the capability that `restricted` grants is added",
        "",
        granted,
        &[("CapEff", "0000000000000400"), ("CapAmb", "0000000000000000")],
    )
    .restricted(&[("CapBnd", "0000000000000400"), ("CapEff", "0000000000000000")]),
    scenario(
        "a capability is dropped",
        "Security Context: dropping capability",
        dropped,
        &[("CapEff", "00000000a80405fb")],
    )
    .restricted(&[("CapBnd", "0000000000000400")]),
    scenario(
        "all capabilities are added",
        "Security Context: adding ALL capabilities",
        all_added,
        &[("capabilities", "all that the node has")],
    )
    .refused("caps.never"),
    scenario(
        "all capabilities are dropped",
        "Security Context: dropping ALL capabilities",
        all_dropped,
        &[("CapEff", "0000000000000000"), ("CapBnd", "0000000000000000")],
    ),
    scenario(
        "no_new_privs",
        "NoNewPrivs: no privilege escalation when true",
        no_new_privileges,
        &[("NoNewPrivs", "1"), ("set-uid program", "1000")],
    ),
    scenario(
        "without no_new_privs a set-uid program is root's",
        "NoNewPrivs: privilege escalation when false",
        new_privileges,
        &[("NoNewPrivs", "0"), ("set-uid program", "0")],
    )
    .restricted(&[("NoNewPrivs", "1"), ("set-uid program", "1000")]),
    scenario(
        "a read-only root filesystem",
        "Security Context: ReadOnlyRootfs is true",
        read_only,
        &[("write", "sh: can't create /home/new: Read-only file system (1)"), ("volume", "done")],
    ),
    scenario("a writable root filesystem", "Security Context: ReadOnlyRootfs is false", writable, &[("write", "done")])
        .restricted(&[("write", "sh: can't create /home/new: Permission denied (1)"), ("volume", "done")]),
];

fn privileged(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one_in(
        |config| pod_secured(config, |security| security.privileged = true),
        |config| *config = cri::privileged(config.clone()),
        |container, seen| {
            look::all(container.pid()?, seen)?;
            all_of_node(seen)?;
            attempts(container, seen)
        },
    )
}

fn unprivileged(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(|_| (), attempts)
}

fn attempts(container: &Container<'_>, seen: &mut Seen) -> Result<(), Fault> {
    let executed = container.exec(&["/probe", "try", "mount-tmpfs", "sethostname"])?;
    for (name, outcome) in palisade_probe::Outcome::parse_lines(&executed.stdout)? {
        seen.note(name, format!("{:?}", outcome.result));
    }
    Ok(())
}

fn added(stage: &Stage<'_>) -> Result<Seen, Fault> {
    capabilities(stage, &["NET_ADMIN"], &[])
}

fn granted(stage: &Stage<'_>) -> Result<Seen, Fault> {
    capabilities(stage, &["NET_BIND_SERVICE"], &["ALL"])
}

fn dropped(stage: &Stage<'_>) -> Result<Seen, Fault> {
    capabilities(stage, &[], &["NET_RAW"])
}

fn all_added(stage: &Stage<'_>) -> Result<Seen, Fault> {
    capabilities(stage, &["ALL"], &[])
}

fn all_dropped(stage: &Stage<'_>) -> Result<Seen, Fault> {
    capabilities(stage, &[], &["ALL"])
}

fn capabilities(stage: &Stage<'_>, add: &[&str], drop: &[&str]) -> Result<Seen, Fault> {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let wanted = api::Capability { add_capabilities: names(add), drop_capabilities: names(drop), ..Default::default() };
    stage.one(
        |config| secured(config, |security| security.capabilities = Some(wanted)),
        |container, seen| {
            let fields = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
            look::status(&format!("/proc/{}", container.pid()?), &fields, seen)?;
            all_of_node(seen)?;
            container.note(seen, "exec", "grep Cap /proc/self/status")
        },
    )
}

/// Notes whether the effective capabilities are all those that the node's own processes have; a node may lack some.
fn all_of_node(seen: &mut Seen) -> Result<(), Fault> {
    let mut own = Seen::new();
    look::status("/proc/self", &["CapEff"], &mut own)?;
    let all = own.get("CapEff") == seen.get("CapEff");
    seen.note("capabilities", if all { "all that the node has" } else { "some" });
    Ok(())
}

fn no_new_privileges(stage: &Stage<'_>) -> Result<Seen, Fault> {
    set_uid(stage, true)
}

fn new_privileges(stage: &Stage<'_>) -> Result<Seen, Fault> {
    set_uid(stage, false)
}

/// The user that a set-uid program of root has as a user's.
fn set_uid(stage: &Stage<'_>, no_new_privs: bool) -> Result<Seen, Fault> {
    let change = |config: &mut api::ContainerConfig| {
        secured(config, |security| {
            security.run_as_user = Some(api::Int64Value { value: 1000 });
            security.no_new_privs = no_new_privs;
        });
    };
    stage.one(change, |container, seen| {
        look::status(&format!("/proc/{}", container.pid()?), &["NoNewPrivs"], seen)?;
        let report: palisade_probe::ProcessReport =
            serde_json::from_str(&container.exec(&["/probe-as-root", "report"])?.stdout)?;
        // Real, effective, saved, file system.
        seen.note("set-uid program", report.numbers("Uid").get(1).copied().unwrap_or(u64::MAX));
        Ok(())
    })
}

fn read_only(stage: &Stage<'_>) -> Result<Seen, Fault> {
    root_filesystem(stage, true)
}

fn writable(stage: &Stage<'_>) -> Result<Seen, Fault> {
    root_filesystem(stage, false)
}

fn root_filesystem(stage: &Stage<'_>, read_only: bool) -> Result<Seen, Fault> {
    let change = |config: &mut api::ContainerConfig| {
        shell(config, "exec /probe sleep");
        secured(config, |security| security.readonly_rootfs = read_only);
    };
    stage.one(change, |container, seen| {
        container.note(seen, "write", "echo > /home/new && echo done")?;
        container.note(seen, "volume", "echo > /dev/shm/new && echo done")
    })
}
