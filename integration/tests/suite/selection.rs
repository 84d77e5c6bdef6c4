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

/// Id of a sandbox that there is not.
const ANOTHER_SANDBOX: &str = "0123456789";

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    vec![
        trial(world, "selection: a namespace has its profile, others the default", by_namespace),
        trial(world, "selection: a profile that audits lets run and records", audit_only),
        trial(world, "selection: an exemption counts until it expires", exemptions),
        trial(world, "selection: an annotation tightens and never loosens", annotations),
        trial(world, "selection: no container names another pod", another_pod),
        trial(world, "selection: drop-ins count, and a wrong one refuses all", drop_ins),
    ]
}

/// A container of the image that runs as root, as the sandbox of a pod in that namespace.
fn sandbox(namespace: &str, args: &[&str]) -> Run {
    Run::new(Runtime::Palisade, args).sandbox_in(namespace)
}

/// The user ids that it has there.
fn uids(world: &World, namespace: &str, annotations: &[&str]) -> Result<Vec<u64>, libtest_mimic::Failed> {
    let flags: Vec<&str> = annotations.iter().flat_map(|annotation| ["--annotation", *annotation]).collect();
    let output = world.containerd.run(&sandbox(namespace, &["/probe", "report"]).flags(&flags))?.success()?;
    let report: palisade_probe::ProcessReport = serde_json::from_str(&output)?;
    Ok(report.numbers("Uid"))
}

fn by_namespace(world: &World) -> Check {
    expect_eq!(uids(world, "lab", &[])?, [0; 4], "under team");
    for namespace in ["labs", "", "ops2"] {
        expect_eq!(uids(world, namespace, &[])?, [65_532; 4], "under restricted");
    }
    // What the selected profile refuses is refused.
    let run = sandbox("lab", &["true"]).flags(&["--net-host"]);
    expect_denial(&world.containerd.run(&run)?.refusal()?, "linux.ns")
}

fn audit_only(world: &World) -> Check {
    let run = sandbox("trial", &["/probe", "sleep"]).flags(&["--privileged", "--net-host"]);
    let container = world.containerd.detach(&run)?;
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
    expect_eq!(uids(world, "ops", &[])?, [0; 4], "exempted");
    expect_eq!(uids(world, "late", &[])?, [65_532; 4], "expired");
    Ok(())
}

fn annotations(world: &World) -> Check {
    expect_eq!(uids(world, "lab", &["palisade.io/profile=restricted"])?, [65_532; 4], "tightened");
    for looser in ["palisade.io/profile=privileged", "palisade.io/profile=watched", "palisade.io/profile=nosuch"] {
        let run = Run::new(Runtime::Palisade, &["true"]).flags(&["--annotation", looser]);
        expect_denial(&world.containerd.run(&run)?.refusal()?, "task.annotations")?;
    }
    Ok(())
}

/// The names would select the loosest profile of the file, and that profile does not get to say that they count.
fn another_pod(world: &World) -> Check {
    let name = |name: &str, value: &str| format!("io.kubernetes.cri.{name}={value}");
    let (container, namespace) = (name("container-type", "container"), name("sandbox-namespace", "trial"));
    let sandbox = name("sandbox-id", ANOTHER_SANDBOX);
    let claims = ["--annotation", &container, "--annotation", &namespace, "--annotation", &sandbox];
    let typeless = ["--annotation", namespace.as_str()];
    for flags in [claims.as_slice(), &typeless] {
        let run = |runtime| world.containerd.run(&Run::new(runtime, &["true"]).flags(flags));
        expect_denial(&run(Runtime::Palisade)?.refusal()?, "task.identity")?;
        run(Runtime::Runc)?.success()?;
    }
    // runc's shim leaves the sockets of a sandbox that never was: its own, and the one for debugging.
    let containerd = &world.containerd;
    let group = containerd.layout().socket().join(containerd.tag()).join(ANOTHER_SANDBOX);
    for path in [group.clone(), group.join("debug")] {
        let digest = palisade_integration::image::digest_of(path.as_os_str().as_encoded_bytes());
        let name = digest.strip_prefix("sha256:").unwrap_or(&digest);
        // Not every version's does; whatever else is left, the suite's last test finds.
        match fs::remove_file(std::path::Path::new("/run/containerd/s").join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
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
    expect_eq!(uids(world, "annex", &[])?, [65_532; 4], "the drop-in is gone");
    Ok(())
}

fn with_drop_in(world: &World, dir: &std::path::Path) -> Check {
    let file = dir.join("10-annex.toml");
    fs::write(&file, "[[select]]\nnamespace = \"annex\"\nprofile = \"team\"\n")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    expect_eq!(uids(world, "annex", &[])?, [0; 4], "by the drop-in");
    fs::write(&file, "[[select]]\nnamespac = \"annex\"\nprofile = \"team\"\n")?;
    let said = world.containerd.run(&Run::new(Runtime::Palisade, &["true"]))?.refusal()?;
    for part in ["palisade", "10-annex.toml", "namespac", "line 2"] {
        expect!(said.contains(part), "no {part:?} in {said:?}");
    }
    Ok(())
}
