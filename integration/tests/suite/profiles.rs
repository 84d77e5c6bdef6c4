//! System call profiles of the admin's own, and mitigations, on real containers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::Run;
use palisade_probe::{Outcome, Verdict};
use serde_json::json;

use crate::audit;
use crate::support::{Check, World, trial};

/// The policy of these tests: what they add stands in drop-ins.
pub(crate) const POLICY: &str = "profile = \"baseline\"\n";

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    vec![
        trial(world, "seccomp: a profile of the admin's own is in force, and a broken one refuses all", own_profile),
        trial(world, "seccomp: a mitigation counts for new containers, also under a profile of one's own", mitigation),
    ]
}

/// containerd's default without mkdir.
const NO_MKDIR: &str = r#"{
    "include": ["runtime-default"], "defaultAction": "SCMP_ACT_ERRNO",
    "syscalls": [{ "comment": "Nothing is made here.", "action": "SCMP_ACT_ERRNO", "names": ["mkdir", "mkdirat"] }]
}"#;

/// Who has it: what is in this namespace.
const OWN: &str = r#"
[[select]]
namespace = "own"
profile = "own"
[profiles.own]
extends = "baseline@1"
[profiles.own.rules."linux.seccomp"]
profile = "no-mkdir"
"#;

/// Makes a directory, and says so.
const MAKES: [&str; 3] = ["sh", "-c", "mkdir /tmp/made && echo made; echo end"];

/// A file beside the policy file, until it is dropped.
pub(crate) struct Beside(PathBuf);

impl Beside {
    /// Writes it as an admin's, in a directory that is made for it.
    pub(crate) fn write(world: &World, dir: &str, name: &str, text: &str) -> Result<Self, Failed> {
        let dir = world.containerd.layout().policy().with_file_name(dir);
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
        let path = dir.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        Ok(Self(path))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // What could not be removed makes the next test fail, and that one says why.
        if fs::remove_file(&self.0).is_ok()
            && let Some(dir) = self.0.parent()
        {
            remove_if_empty(dir);
        }
    }
}

fn remove_if_empty(dir: &Path) {
    if fs::remove_dir(dir).is_err() {
        // It holds another test's file.
    }
}

fn output(world: &World, runtime: Runtime, namespace: &str) -> Result<String, Failed> {
    Ok(world.containerd.run(&Run::new(runtime, &MAKES).sandbox_in(namespace))?.success()?)
}

fn own_profile(world: &World) -> Check {
    let file = Beside::write(world, "seccomp.d", "no-mkdir.json", NO_MKDIR)?;
    let _selects = Beside::write(world, "policy.d", "10-own.toml", OWN)?;
    expect_eq!(output(world, Runtime::Palisade, "own")?, "end\n", "with the profile");
    expect_eq!(output(world, Runtime::Palisade, "other")?, "made\nend\n", "control: another namespace");
    expect_eq!(output(world, Runtime::Runc, "own")?, "made\nend\n", "control: plain runc");
    let container = world.containerd.detach(&Run::new(Runtime::Palisade, &["/probe", "sleep"]).sandbox_in("own"))?;
    expect_eq!(container.exec(&[], &MAKES)?.success()?, "end\n", "a process that is added");
    container.remove()?;
    fs::write(&file.0, NO_MKDIR.replace("\"include\"", "\"inclde\""))?;
    let said = world.containerd.run(&Run::new(Runtime::Palisade, &["true"]))?.refusal()?;
    for part in ["palisade", "seccomp.d", "no-mkdir", "inclde"] {
        expect!(said.contains(part), "no {part:?} in {said:?}");
    }
    Ok(())
}

/// What the attempts come to.
fn tried(output: &str) -> Result<[Verdict; 2], Failed> {
    let outcomes = Outcome::parse_lines(output)?;
    let of =
        |name: &str| outcomes.get(name).map(|outcome| outcome.result).ok_or_else(|| Failed::from(format!("no {name}")));
    Ok([of("ptrace")?, of("vmsplice")?])
}

const TRIES: [&str; 4] = ["/probe", "try", "ptrace", "vmsplice"];

fn mitigation(world: &World) -> Check {
    use Verdict::{Reached, Refused};
    let _file = Beside::write(world, "seccomp.d", "no-mkdir.json", NO_MKDIR)?;
    let _selects = Beside::write(world, "policy.d", "10-own.toml", OWN)?;
    let run = |runtime, namespace: &str| -> Result<[Verdict; 2], Failed> {
        tried(&world.containerd.run(&Run::new(runtime, &TRIES).sandbox_in(namespace))?.success()?)
    };
    for namespace in ["own", "other"] {
        expect_eq!(run(Runtime::Palisade, namespace)?, [Reached, Reached], "control: before, in {namespace}");
    }
    let earlier = world.containerd.detach(&Run::new(Runtime::Palisade, &["/probe", "sleep"]).sandbox_in("own"))?;
    let switched =
        Beside::write(world, "policy.d", "90-mitigations.toml", "mitigations = [\"ptrace\", \"dirty-pipe\"]\n")?;
    for namespace in ["own", "other"] {
        expect_eq!(run(Runtime::Palisade, namespace)?, [Refused, Refused], "switched on, in {namespace}");
        expect_eq!(run(Runtime::Runc, namespace)?, [Reached, Reached], "control: plain runc");
    }
    expect_eq!(tried(&earlier.exec(&[], &TRIES)?.success()?)?, [Reached, Reached], "a container that ran before");
    earlier.remove()?;
    let later = world.containerd.detach(&Run::new(Runtime::Palisade, &["/probe", "sleep"]).sandbox_in("own"))?;
    expect_eq!(tried(&later.exec(&[], &TRIES)?.success()?)?, [Refused, Refused], "a process that is added later");
    let records = audit::records(world, later.id())?;
    let create = records.first().ok_or("nothing is on record")?;
    expect_eq!(create["record"]["mitigations"], json!(["ptrace", "dirty-pipe"]), "on record");
    later.remove()?;
    drop(switched);
    expect_eq!(run(Runtime::Palisade, "other")?, [Reached, Reached], "switched off");
    Ok(())
}
