//! Runtimes that leave one thing out, or add one: attestation finds each before the container's first instruction.
//!
//! The runtime is runc behind a script that changes one word of the document it is given. As controls, the same script changes nothing
//! and the container runs; and under runc's own shim the changed container runs and nobody notices.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use libtest_mimic::{Failed, Trial};
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::Run;

use crate::support::{Check, World, trial};

/// What the runtime does otherwise: a name, an edit for sed, flags of runc's, and the check that tells.
struct Fault {
    name: &'static str,
    edit: &'static str,
    flags: &'static str,
    check: &'static str,
    /// What stock `ctr` has to ask for so that there is something to lose.
    asked: &'static [&'static str],
}

const fn fault(name: &'static str, edit: &'static str, check: &'static str) -> Fault {
    Fault { name, edit, flags: "", check, asked: &[] }
}

/// runc ignores keys that it does not know, so a key that is renamed is a setting that is lost.
const FAULTS: [Fault; 21] = [
    Fault { asked: &["--seccomp"], ..fault("without a seccomp filter", r#"s/"seccomp":{/"lost":{/"#, "seccomp") },
    fault("without no_new_privs", r#"s/"noNewPrivileges":true/"noNewPrivileges":false/"#, "no-new-privs"),
    fault(
        "with a capability in the bounding set",
        r#"s/"bounding":\[/"bounding":["CAP_SYS_TIME",/"#,
        "capabilities.bounding",
    ),
    fault(
        "with an effective capability",
        r#"s/"\(effective\|permitted\|bounding\)":\[/"\1":["CAP_SYS_TIME",/g"#,
        "capabilities.effective",
    ),
    fault("as root", r#"s/"uid":[0-9]*/"uid":0/"#, "user"),
    fault(
        "with another group",
        r#"s/"user":{\("additionalGids":\[[^]]*\],\)\?/"user":{"additionalGids":[4242],/"#,
        "groups",
    ),
    fault("without masked paths", r#"s/"maskedPaths":\[/"lost":[/"#, "masked-paths"),
    fault("without one masked path", r#"s#"/proc/keys",\?##;s#,\]#]#"#, "masked-paths"),
    fault("without read-only paths", r#"s/"readonlyPaths":\[/"lost":[/"#, "read-only-paths"),
    fault("in the host's IPC namespace", r#"s!,{"type":"ipc"}!!"#, "namespace.ipc"),
    fault("in the host's network", r#"s!,{"type":"network"}!!"#, "namespace.network"),
    fault("in the host's cgroup namespace", r#"s#,{"type":"cgroup"}##"#, "namespace.cgroup"),
    fault(
        "with a mount of the host's",
        r#"s#"mounts":\[#"mounts":[{"destination":"/extra","options":["rbind","ro"],"source":"/etc","type":"bind"},#"#,
        "extra-mounts",
    ),
    fault(
        "with devices on /dev/mqueue",
        r#"s#"destination":"/dev/mqueue","options":\[[^]]*\]#"destination":"/dev/mqueue","options":["nosuid"]#"#,
        "mounts",
    ),
    fault(
        "with a writable /sys",
        r#"s#"destination":"/sys","options":\[[^]]*\]#"destination":"/sys","options":["nosuid","noexec","nodev"]#"#,
        "mounts",
    ),
    fault("without a limit on memory", r#"s/"memory":{/"lost":{/"#, "limits"),
    fault("with more processes", r#"s/"pids":{"limit":[0-9]*/"pids":{"limit":30000/"#, "limits"),
    fault(
        "with all devices",
        r#"s/"devices":\[{"access":"rwm","allow":false}/"devices":[{"access":"rwm","allow":true}/"#,
        "devices",
    ),
    fault("in another cgroup", r#"s!"cgroupsPath":"[^"]*"!"cgroupsPath":"/palisade-elsewhere"!"#, "cgroup"),
    fault("without limits on resources of the process", r#"s/"rlimits":\[/"lost":[/"#, "rlimits"),
    Fault { flags: "--preserve-fds 1", ..fault("with a descriptor of the host's", "", "descriptors") },
];

pub(crate) fn policy(world: &World) -> String {
    format!("version = 1\n[runtime]\nbinary = \"{}\"\n", program(world).display())
}

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    let broken = FAULTS
        .iter()
        .map(|fault| Trial::test(format!("attested, a runtime {}", fault.name), move || is_caught(world, fault)));
    let execs = EXEC_FAULTS.iter().map(|(name, edit, check)| {
        Trial::test(format!("attested, a runtime that execs {name}"), move || exec_is_caught(world, edit, check))
    });
    [trial(world, "attested, the same runtime as it should be", passes)]
        .into_iter()
        .chain(broken)
        .chain(execs)
        .collect()
}

fn folder(world: &World) -> PathBuf {
    world.containerd.layout().base.join("broken")
}

fn program(world: &World) -> PathBuf {
    folder(world).join("runtime")
}

const SCRIPT: &str = r#"#!/bin/sh
case " $* " in
*' create '*) ;;
*' exec '*)
    args=
    while [ $# -gt 0 ]; do
        case $1 in
        --process) sed -f FOLDER/exec-edit "$2" >FOLDER/process.json; args="$args --process FOLDER/process.json"; cmp -s "$2" FOLDER/process.json || touch FOLDER/changed; shift ;;
        *) args="$args $1" ;;
        esac
        shift
    done
    exec RUNC $args
    ;;
*) exec RUNC "$@" ;;
esac
exec 3</etc
flags= args=
while [ $# -gt 0 ]; do
    case $1 in
    create) args="$args create FLAGS" ;;
    --bundle) bundle=$2; args="$args --bundle FOLDER/bundle"; shift ;;
    *) args="$args $1" ;;
    esac
    shift
done
mkdir -p FOLDER/bundle
tr -d '\n\t' <"$bundle/config.json" | sed 's!"path":"rootfs"!"path":"'"$bundle"'/rootfs"!' >FOLDER/before.json
sed -f FOLDER/edit FOLDER/before.json >FOLDER/bundle/config.json
cmp -s FOLDER/before.json FOLDER/bundle/config.json || touch FOLDER/changed
exec RUNC $args
"#;

/// Puts a fault in force.
fn install(world: &World, edit: &str, flags: &str) -> Check {
    let folder = folder(world);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let script = SCRIPT
        .replace("FOLDER", &folder.display().to_string())
        .replace("FLAGS", flags)
        .replace("RUNC", &world.containerd.assets().runc.display().to_string());
    fs::write(folder.join("edit"), format!("{edit}\n"))?;
    fs::write(folder.join("exec-edit"), "")?;
    fs::write(program(world), script)?;
    Ok(fs::set_permissions(program(world), fs::Permissions::from_mode(0o755))?)
}

/// What a runtime does to an exec otherwise, and the check that tells.
const EXEC_FAULTS: [(&str, &str, &str); 3] = [
    ("without no_new_privs", r#"s/"noNewPrivileges":true/"noNewPrivileges":false/"#, "no-new-privs"),
    ("as root", r#"s/"uid":[0-9]*/"uid":0/"#, "user"),
    (
        "with a capability",
        r#"s/"\(effective\|permitted\|bounding\)":\[[^]]*\]/"\1":["CAP_SYS_TIME"]/g"#,
        "capabilities.bounding",
    ),
];

fn exec_is_caught(world: &World, edit: &str, check: &str) -> Check {
    install(world, "", "")?;
    let container = world.containerd.detach(&Run::new(Runtime::Palisade, &["/probe", "sleep"]))?;
    // Control: the same runtime as it should be.
    let said = container.exec(&[], &["echo", "runs"])?.success()?;
    expect_eq!(said.trim(), "runs", "as it should be");
    fs::write(folder(world).join("exec-edit"), format!("{edit}\n"))?;
    // One that stays, one that has ended before anybody can look, and one that leaves others behind.
    let daemons = ["sh", "-c", "(setsid sleep 60 &); (setsid sleep 60 &)"];
    // A signal without a name ends it, which is an end as well.
    let real_time = ["sh", "-c", "kill -34 $$"];
    for args in [&["/probe", "sleep"][..], &["true"], &real_time, &daemons] {
        let said = container.exec(&[], args)?.refusal()?;
        expect!(said.contains("palisade: attestation failed: "), "{args:?}: {said}");
        expect!(recorded(world, check)?, "{args:?}: no record of {check}, said: {said}");
    }
    expect!(folder(world).join("changed").exists(), "the runtime changed nothing of what palisade decided");
    expect_eq!(world.tasks()?.pids(container.id())?, [container.pid()?], "what is left of the execs");
    container.remove()?;
    Ok(fs::remove_dir_all(folder(world))?)
}

fn passes(world: &World) -> Check {
    install(world, "", "")?;
    let said = world.containerd.run(&Run::new(Runtime::Palisade, &["echo", "runs"]))?.success()?;
    expect_eq!(said.trim(), "runs", "as it should be");
    Ok(fs::remove_dir_all(folder(world))?)
}

fn is_caught(world: &World, fault: &Fault) -> Check {
    install(world, fault.edit, fault.flags)?;
    let unnoticed = under_stock_shim(world, fault)?;
    let changed = folder(world).join("changed");
    if changed.exists() {
        fs::remove_file(&changed)?;
    }
    let said = world.containerd.run(&Run::new(Runtime::Palisade, &["echo", "it runs"]))?;
    let changes = changed.exists() || !fault.flags.is_empty();
    fs::remove_dir_all(folder(world))?;
    expect!(changes, "the runtime changed nothing of what palisade decided");
    expect!(unnoticed, "control: runc's own shim noticed");
    let said = said.refusal()?;
    expect!(!said.contains("it runs"), "its first instruction ran: {said}");
    expect!(said.contains("palisade: attestation failed: "), "{said}");
    expect!(recorded(world, fault.check)?, "no record of {}, said: {said}", fault.check);
    Ok(())
}

/// Whether the container runs under runc's shim, whatever the script has made of it.
fn under_stock_shim(world: &World, fault: &Fault) -> Result<bool, Failed> {
    let binary = program(world).display().to_string();
    let flags = [fault.asked, &["--runc-binary", &binary]].concat();
    let said = world.containerd.run(&Run::new(Runtime::Runc, &["echo", "it runs"]).flags(&flags))?.success()?;
    Ok(said.contains("it runs"))
}

/// Whether the newest record of an attestation names this check.
fn recorded(world: &World, check: &str) -> Result<bool, Failed> {
    let text = fs::read_to_string(world.containerd.layout().audit())?;
    let newest = text.lines().rev().find(|line| line.contains("\"event\":\"attestation\""));
    let newest: Option<serde_json::Value> = newest.map(serde_json::from_str).transpose()?;
    let mismatches = newest.and_then(|record| record.get("mismatches")?.as_array().cloned()).unwrap_or_default();
    Ok(mismatches.iter().any(|one| one.get("check").is_some_and(|id| id == check)))
}
