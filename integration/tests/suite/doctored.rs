//! `palisade doctor` beside a containerd that runs. `PALISADE_CLI` names the program; `scripts/test` builds it.

use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use palisade_integration::assets::Generation;
use palisade_integration::containerd::Runtime;
use serde_json::Value;

use crate::support::{Check, World, trial};

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    if program().is_none() {
        println!("PALISADE_CLI names no program: the doctor does not look at containerd");
        return Vec::new();
    }
    vec![trial(world, "doctor: a containerd that runs is looked at, by its own files and environment", looked_at)]
}

fn program() -> Option<PathBuf> {
    std::env::var_os("PALISADE_CLI").map(PathBuf::from)
}

/// What it found, by the check's id: outcome and what was seen.
fn doctor(arguments: &[&str]) -> Result<impl Fn(&str) -> (String, String) + use<>, Failed> {
    let mut command = Command::new(program().ok_or("no program")?);
    let output = command.args(["doctor", "--format", "json"]).args(arguments).env_clear().output()?;
    expect!(output.status.code().is_some_and(|code| code < 2), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout)?;
    Ok(move |id: &str| {
        let checks = found["checks"].as_array().map(Vec::as_slice).unwrap_or_default();
        let check = checks.iter().find(|check| check["id"] == id).unwrap_or(&Value::Null);
        let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
        (text("outcome"), text("seen"))
    })
}

fn looked_at(world: &World) -> Check {
    let base = &world.containerd.layout().base;
    let found = doctor(&[])?;
    let (own, by_path) = (Runtime::Palisade.handler(), Runtime::PalisadeByPath.handler());
    expect_eq!(found("host.runtimeclass.handler"), ("pass".to_owned(), format!("{own}, {by_path}")), "handlers");
    let (outcome, seen) = found("host.runtimeclass.default");
    expect!(outcome == "fail" && seen.contains("runc"), "plain runc is the default handler: {outcome} {seen}");
    expect_eq!(
        found("host.runtimeclass.others"),
        ("fail".to_owned(), "not palisade's: runc, runc-new".to_owned()),
        "others"
    );
    // By containerd's own PATH, and by the path of the handler's configuration.
    for id in ["host.runtimeclass.shim", "host.runtimeclass.architecture", "host.runtimeclass.answers"] {
        let (outcome, seen) = found(id);
        expect!(outcome == "pass", "{id}: {outcome} {seen}");
    }
    let generation = match world.containerd.assets().generation {
        Generation::Two => " 2.",
        Generation::OneSeven => " 1.7.",
    };
    let (outcome, seen) = found("host.containerd.version");
    expect!(outcome != "unknown" && seen.contains(generation), "{outcome} {seen}");
    let (outcome, seen) = found("host.runtime.runc");
    expect!(["pass", "warn", "fail"].contains(&outcome.as_str()), "{outcome} {seen}");
    for id in ["host.containerd.config", "host.containerd.socket", "host.containerd.tcp", "host.policy.valid"] {
        let (outcome, seen) = found(id);
        expect!(outcome == "pass", "{id}: {outcome} {seen}");
    }
    // The suite's configuration has it, and no other barrier down.
    let (outcome, seen) = found("host.containerd.oom-score");
    expect!(outcome == "warn", "{outcome} {seen}");

    let text = std::fs::read_to_string(base.join("config.toml"))?;
    let other = base.join("doctored.toml");
    std::fs::write(
        &other,
        text.replace("default_runtime_name = \"runc\"", &format!("default_runtime_name = \"{own}\"")),
    )?;
    let found = doctor(&["--containerd-config", &other.to_string_lossy()])?;
    std::fs::remove_file(&other)?;
    expect_eq!(found("host.runtimeclass.default"), ("pass".to_owned(), own.to_owned()), "palisade as the default");
    with_a_drop_in(world, &text)
}

/// A drop-in that adds a handler: what is left of the others is what containerd itself makes of the two files.
fn with_a_drop_in(world: &World, text: &str) -> Check {
    let base = &world.containerd.layout().base;
    let (main, drop_in) = (base.join("doctored.toml"), base.join("doctored.d/gpu.toml"));
    std::fs::create_dir(base.join("doctored.d"))?;
    let (version, section) = match world.containerd.assets().generation {
        Generation::Two => (3, "io.containerd.cri.v1.runtime"),
        Generation::OneSeven => (2, "io.containerd.grpc.v1.cri"),
    };
    let table = format!("[plugins.\"{section}\".containerd.runtimes.gpu]\nruntime_type = \"io.containerd.runc.v2\"\n");
    std::fs::write(&drop_in, format!("version = {version}\n{table}"))?;
    std::fs::write(&main, format!("imports = [\"{}/doctored.d/*.toml\"]\n{text}", base.display()))?;
    let dump =
        Command::new(base.join("bin/containerd")).arg("--config").arg(&main).args(["config", "dump"]).output()?;
    let found = doctor(&["--containerd-config", &main.to_string_lossy()])?;
    std::fs::remove_dir_all(base.join("doctored.d"))?;
    std::fs::remove_file(&main)?;
    expect!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let dump = String::from_utf8_lossy(&dump.stdout);
    let has = |handler: &str| dump.lines().any(|line| line.trim_end().ends_with(&format!(".runtimes.{handler}]")));
    expect!(has("gpu"), "the drop-in is read: {dump}");
    let own = [Runtime::Palisade.handler(), Runtime::PalisadeByPath.handler()].map(has);
    let (outcome, seen) = found("host.runtimeclass.handler");
    expect_eq!((outcome == "pass"), own.contains(&true), "palisade's handlers: {seen}");
    let (_, seen) = found("host.runtimeclass.others");
    expect_eq!(seen.contains("runc"), has("runc"), "runc beside the drop-in's handler: {seen}");
    let (outcome, seen) = found("host.containerd.config");
    expect_eq!((outcome == "pass"), own.contains(&true), "what the drop-in takes away: {seen}");
    Ok(())
}
