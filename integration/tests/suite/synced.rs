//! `palisade policy sync` beside real containers: what a ConfigMap holds counts for the next container, and for no half of one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command};

use libtest_mimic::{Failed, Trial};
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::Run;
use palisade_integration::poll;
use serde_json::Value;

use crate::audit;
use crate::support::{Check, World, trial};

const SECONDS: u64 = 20;
/// The digest of a set without files: what an empty ConfigMap is, which may be looked at before it is filled.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    if program().is_none() {
        println!("PALISADE_CLI names no program: no policy comes from a cluster");
        return Vec::new();
    }
    vec![trial(world, "sync: the next container has the cluster's policy, a wrong one changes nothing", followed)]
}

fn program() -> Option<PathBuf> {
    std::env::var_os("PALISADE_CLI").map(PathBuf::from)
}

/// The node's DaemonSet. Dropped, it ends, and nothing of the cluster's is in force any more.
struct Node {
    child: Child,
    base: PathBuf,
}

impl Node {
    fn start(world: &World) -> Result<Self, Failed> {
        let base = world.containerd.layout().base.clone();
        fs::create_dir_all(base.join("configmap"))?;
        let mut command = Command::new(program().ok_or("no program")?);
        // What is seen is seen because it changed.
        command.args(["policy", "sync", "--interval", "100000", "--from"]).arg(base.join("configmap"));
        command.arg("--to").arg(&base).arg("--status").arg(base.join("sync/status.json"));
        Ok(Self { child: command.spawn()?, base })
    }

    /// As the kubelet does: the files of a version beside those of the one before, and a link that is exchanged.
    fn mount(&self, version: &str, policy: &str) -> Check {
        let from = self.base.join("configmap");
        fs::create_dir(from.join(version))?;
        fs::write(from.join(version).join("policy.toml"), policy)?;
        symlink(version, from.join("..data_tmp"))?;
        Ok(fs::rename(from.join("..data_tmp"), from.join("..data"))?)
    }

    /// What it says of its last look, once that is as wanted.
    fn until(&self, is: impl Fn(&Value) -> bool) -> Result<Value, Failed> {
        let read = || {
            let text = fs::read(self.base.join("sync/status.json")).map_err(|error| error.to_string())?;
            let status: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
            let outcome = status["outcome"].clone();
            if is(&outcome) { Ok(outcome) } else { Err(outcome.to_string()) }
        };
        Ok(poll::eventually("policy sync", SECONDS, read)?)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        for made in ["cluster", "configmap", "sync"] {
            drop(fs::remove_dir_all(self.base.join(made)));
        }
    }
}

/// A policy under which root becomes that user.
fn becoming(uid: u32) -> String {
    format!("[profiles.restricted.rules.\"user.non-root\"]\nuid = {uid}\n")
}

/// A container that is made now: its user, and the policy that its record names.
fn made(world: &World) -> Result<(u64, String), Failed> {
    let container = world.containerd.detach(&Run::new(Runtime::Palisade, &["/probe", "sleep"]))?;
    let output = container.exec(&[], &["/probe", "report"])?.success()?;
    let report: palisade_probe::ProcessReport = serde_json::from_str(&output)?;
    let records = audit::records(world, container.id())?;
    let policy = records.first().and_then(|record| record["policy_sha256"].as_str()).unwrap_or_default().to_owned();
    container.remove()?;
    Ok((report.numbers("Uid").first().copied().unwrap_or_default(), policy))
}

fn followed(world: &World) -> Check {
    let node = Node::start(world)?;
    node.mount("..1", &becoming(10_001))?;
    let is_filled = |outcome: &Value| outcome["in_force"].as_str().is_some_and(|set| set != EMPTY);
    let first = node.until(|outcome| outcome["error"].is_null() && is_filled(outcome))?;
    let running = world.containerd.detach(&Run::new(Runtime::Palisade, &["/probe", "sleep"]))?;
    let (uid, policy) = made(world)?;
    expect_eq!(uid, 10_001, "under the first");
    expect_eq!(first["policy"], policy.as_str(), "as its record has it");
    node.mount("..2", &becoming(10_002))?;
    let second = node.until(|outcome| outcome["error"].is_null() && outcome["in_force"] != first["in_force"])?;
    let (uid, policy) = made(world)?;
    expect_eq!(uid, 10_002, "under the second");
    expect_eq!(second["policy"], policy.as_str(), "as its record has it");
    expect!(first["policy"] != second["policy"], "two policies of one digest");
    // What runs goes on as it was made.
    let output = running.exec(&[], &["/probe", "report"])?.success()?;
    let report: palisade_probe::ProcessReport = serde_json::from_str(&output)?;
    expect_eq!(report.numbers("Uid").first(), Some(&10_001), "of the one that runs");
    node.mount("..3", "profile = \"privileged\"\nprofle = 1\n")?;
    let refused = node.until(|outcome| !outcome["error"].is_null())?;
    expect_eq!(refused["in_force"], second["in_force"], "what is in force after a wrong one");
    expect!(refused["wanted"] != second["wanted"], "the wrong one is told of: {refused}");
    expect_eq!(made(world)?, (10_002, policy), "under a wrong one");
    Ok(running.remove()?)
}
