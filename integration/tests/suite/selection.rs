//! One policy file, several profiles: who gets which, on real containers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use libtest_mimic::Trial;
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::Run;
use serde_json::json;

use crate::audit;
use crate::support::{Check, World, expect_denial, trial};

/// The policy of these tests.
pub(crate) const POLICY: &str = r#"
[[select]]
namespace = "lab"
profile = "team"
[[select]]
namespace = "trial"
profile = "watched"
[profiles.team]
extends = "baseline@1"
[profiles.watched]
extends = "restricted@1"
mode = "audit"
[[exempt]]
rule = "user.non-root"
namespace = "ops"
reason = "TICKET-12"
expires = "2099-01-01"
[[exempt]]
rule = "user.non-root"
namespace = "late"
reason = "TICKET-13"
expires = "2020-01-01"
"#;

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    vec![
        trial(world, "selection: a namespace has its profile, others the default", by_namespace),
        trial(world, "selection: a profile that audits lets run and records", audit_only),
        trial(world, "selection: an exemption counts until it expires", exemptions),
        trial(world, "selection: an annotation tightens and never loosens", annotations),
        trial(world, "selection: drop-ins count, and a wrong one refuses all", drop_ins),
    ]
}

fn in_namespace(namespace: &str) -> String {
    format!("io.kubernetes.cri.sandbox-namespace={namespace}")
}

/// The user ids that a container of the image that runs as root has there.
fn uids(world: &World, annotations: &[&str]) -> Result<Vec<u64>, libtest_mimic::Failed> {
    let flags: Vec<&str> = annotations.iter().flat_map(|annotation| ["--annotation", *annotation]).collect();
    Ok(world.report(Runtime::Palisade, &flags)?.numbers("Uid"))
}

fn by_namespace(world: &World) -> Check {
    expect_eq!(uids(world, &[&in_namespace("lab")])?, [0; 4], "under team");
    for namespace in ["labs", "", "ops2"] {
        expect_eq!(uids(world, &[&in_namespace(namespace)])?, [65_532; 4], "under restricted");
    }
    // What the selected profile refuses is refused.
    let lab = in_namespace("lab");
    let run = Run::new(Runtime::Palisade, &["true"]).flags(&["--annotation", &lab, "--net-host"]);
    expect_denial(&world.containerd.run(&run)?.refusal()?, "linux.ns")
}

fn audit_only(world: &World) -> Check {
    let watched = in_namespace("trial");
    let flags = ["--annotation", watched.as_str(), "--privileged", "--net-host"];
    let container = world.containerd.detach(&Run::new(Runtime::Palisade, &["/probe", "sleep"]).flags(&flags))?;
    let output = container.exec(&[], &["/probe", "try", "mount-tmpfs"])?.success()?;
    let outcomes = palisade_probe::Outcome::parse_lines(&output)?;
    expect!(outcomes.values().all(|outcome| outcome.result == palisade_probe::Verdict::Reached), "{outcomes:?}");
    let records = audit::records(world, container.id())?;
    expect!(records.len() >= 2, "create and exec are on record: {records:?}");
    for record in &records {
        expect_eq!(record["decision"], json!("audit"), "decision");
        expect_eq!(record["record"]["mode"], json!("audit"), "mode");
    }
    let create = &records[0]["record"];
    expect_eq!(create["selected_by"], json!("select[1]"), "selector");
    let denied = create["findings"].as_array().is_some_and(|findings| {
        findings.iter().any(|finding| finding["rule"] == "priv.heuristic" && finding["action"] == "denied")
    });
    expect!(denied, "what would have been refused is not on record: {create}");
    Ok(container.remove()?)
}

fn exemptions(world: &World) -> Check {
    expect_eq!(uids(world, &[&in_namespace("ops")])?, [0; 4], "exempted");
    expect_eq!(uids(world, &[&in_namespace("late")])?, [65_532; 4], "expired");
    Ok(())
}

fn annotations(world: &World) -> Check {
    let lab = in_namespace("lab");
    expect_eq!(uids(world, &[&lab, "palisade.io/profile=restricted"])?, [65_532; 4], "tightened");
    for looser in ["palisade.io/profile=privileged", "palisade.io/profile=watched", "palisade.io/profile=nosuch"] {
        let run = Run::new(Runtime::Palisade, &["true"]).flags(&["--annotation", looser]);
        expect_denial(&world.containerd.run(&run)?.refusal()?, "task.annotations")?;
    }
    Ok(())
}

fn drop_ins(world: &World) -> Check {
    let dir = world.containerd.layout().policy().with_extension("d");
    fs::create_dir(&dir)?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
    let checked = with_drop_in(world, &dir);
    fs::remove_dir_all(&dir)?;
    checked?;
    expect_eq!(uids(world, &[&in_namespace("annex")])?, [65_532; 4], "the drop-in is gone");
    Ok(())
}

fn with_drop_in(world: &World, dir: &std::path::Path) -> Check {
    let file = dir.join("10-annex.toml");
    fs::write(&file, "[[select]]\nnamespace = \"annex\"\nprofile = \"team\"\n")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    expect_eq!(uids(world, &[&in_namespace("annex")])?, [0; 4], "by the drop-in");
    fs::write(&file, "[[select]]\nnamespac = \"annex\"\nprofile = \"team\"\n")?;
    let said = world.containerd.run(&Run::new(Runtime::Palisade, &["true"]))?.refusal()?;
    for part in ["palisade", "10-annex.toml", "namespac", "line 2"] {
        expect!(said.contains(part), "no {part:?} in {said:?}");
    }
    Ok(())
}
