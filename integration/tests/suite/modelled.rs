//! The model of `palisade check --kubernetes` against what is real: for a table of pods the requests are made that the kubelet makes of them, and
//! what containerd writes into bundles is what the model says, key by key; so is what the audit log says of each. `PALISADE_CLI` names the program.

mod compare;
mod rows;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_cri::v1 as api;
use libtest_mimic::{Failed, Trial};
use palisade_integration::containerd::Runtime;
use palisade_integration::cri::{Cri, Pod};
use palisade_integration::image;
use serde_json::{Value, json};

use crate::support::{Check, World, trial};
use compare::Names;
use rows::{ROWS, Row};

/// The pod's UID of the model.
const POD_UID: &str = "5d1f3c1e-7a52-4c1b-9a3e-3a4f0f1b2c3d";

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    if program().is_none() {
        println!("PALISADE_CLI names no program: the model is not compared with what is real");
        return Vec::new();
    }
    let each = ROWS.iter().map(|row| Trial::test(format!("modelled: {}", row.what), move || is_modelled(world, row)));
    each.chain([trial(world, "modelled: the table has every kind of refusal", covers)]).collect()
}

fn program() -> Option<PathBuf> {
    std::env::var_os("PALISADE_CLI").map(PathBuf::from)
}

/// A table without refusals by the rules that manifests run into would show half.
fn covers(_: &World) -> Check {
    let refused: Vec<&str> = ROWS.iter().flat_map(|row| row.refused.iter().copied()).collect();
    for rule in ["priv.heuristic", "linux.ns", "caps.never", "mount.host-path", "mount.deny-always", "linux.sysctl"] {
        expect!(refused.contains(&rule), "no row is refused by {rule}");
    }
    expect!(ROWS.len() >= 15, "{} rows", ROWS.len());
    Ok(())
}

/// Facts of this machine for `--node`.
fn node(world: &World) -> Result<Vec<String>, Failed> {
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let swap = Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists();
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    let score = fs::read_to_string(format!("/proc/{}/oom_score_adj", world.containerd.pid()))?;
    let word = |holds: bool| if holds { "yes" } else { "no" };
    let facts = [
        format!("cgroup={}", if unified { "v2" } else { "v1" }),
        "driver=cgroupfs".to_owned(),
        format!("apparmor={}", word(enabled.trim() == "Y")),
        "selinux=no".to_owned(),
        format!("swap={}", word(swap)),
        "hugepages=".to_owned(),
        format!("pause={}", image::PAUSE),
        format!("hostname={}", fs::read_to_string("/proc/sys/kernel/hostname")?.trim()),
        format!("oom-floor={}", score.trim()),
    ];
    Ok(facts.iter().flat_map(|fact| ["--node".to_owned(), fact.clone()]).collect())
}

/// What the program says of a row's manifest: specifications by container, or what was judged.
fn asked(world: &World, row: &Row, how: &[&str]) -> Result<Value, Failed> {
    let base = &world.containerd.layout().base;
    let folder = base.join("modelled");
    fs::create_dir_all(&folder)?;
    let name = row.what.replace([' ', ','], "-");
    let manifest = folder.join(format!("{name}.yaml"));
    fs::write(&manifest, row.manifest)?;
    let mut images = Vec::new();
    for (reference, user) in [(image::WORKLOAD, ""), (image::USER, "1000:1000")] {
        let file = folder.join(format!("image-{}.json", reference.replace(['/', ':'], "-")));
        let config = json!({"config": {"User": user, "Env": ["PATH=/usr/bin:/bin"], "Entrypoint": ["/bin/sh"], "WorkingDir": "/"}});
        let fresh = folder.join(format!("{name}.fresh"));
        fs::write(&fresh, config.to_string())?;
        fs::rename(&fresh, &file)?;
        images.extend(["--image-config".to_owned(), format!("{reference}={}", file.display())]);
    }
    let mut command = Command::new(program().ok_or("no program")?);
    command.args(["check", "--kubernetes", "--assume", "--namespace", "tests"]).arg(&manifest);
    command.arg("--policy").arg(world.containerd.layout().policy()).args(node(world)?).args(images).args(how);
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    expect!(output.status.code().is_some_and(|code| code < 2), "{}: {said}", row.what);
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn is_modelled(world: &World, row: &Row) -> Check {
    let specs = asked(world, row, &["--specs"])?[0]["specifications"].clone();
    let judged = asked(world, row, &["--format", "json"])?["objects"][0].clone();
    let cri = world.cri()?;
    as_written(world, &cri, row, &specs)?;
    as_judged(world, &cri, row, &judged)
}

/// Runs the row's pod with plain runc, which refuses nothing, and compares what containerd wrote.
fn as_written(world: &World, cri: &Cri, row: &Row, specs: &Value) -> Check {
    let pod = cri.run_pod(Runtime::Runc, row.pod(cri)?)?;
    let mut names = Names::of_sandbox(&pod.id, pod_name(&pod));
    names.compare(world, &pod.id, &specs[""], &format!("{}, sandbox", row.what))?;
    for config in row.containers() {
        let name = config.metadata.as_ref().map(|metadata| metadata.name.clone()).unwrap_or_default();
        let id = cri.start(&pod, config)?;
        names.container(&id, &name);
        names.compare(world, &id, &specs[name.as_str()], &format!("{}, container {name}", row.what))?;
    }
    Ok(pod.remove()?)
}

/// Runs it with palisade, and compares what was recorded with what was judged offline.
fn as_judged(world: &World, cri: &Cri, row: &Row, judged: &Value) -> Check {
    let config = row.pod(cri)?;
    let name = config.metadata.as_ref().map(|metadata| metadata.name.clone()).unwrap_or_default();
    let ran = cri.run_pod(Runtime::Palisade, config);
    let mut refused: Vec<String> = Vec::new();
    let sandbox = recorded(world, &name, "")?;
    refused.extend(alike(&sandbox, &of_container(judged, None), &format!("{}, sandbox", row.what))?);
    match ran {
        Err(failure) => expect!(sandbox["decision"] == "deny", "{}: {failure}", row.what),
        Ok(pod) => {
            for config in row.containers() {
                let container = config.metadata.as_ref().map(|metadata| metadata.name.clone()).unwrap_or_default();
                let started = cri.start(&pod, config);
                let record = recorded(world, &name, &container)?;
                let what = format!("{}, container {container}", row.what);
                refused.extend(alike(&record, &of_container(judged, Some(&container)), &what)?);
                expect_eq!(started.is_err(), record["decision"] == "deny", "{what}: {started:?}");
            }
            pod.remove()?;
        }
    }
    for rule in row.refused {
        // What comes after a refused sandbox is only judged offline.
        let offline = judged.to_string().contains(&format!("\"rule\":\"{rule}\""));
        expect!(offline, "{}: not refused by {rule} offline", row.what);
    }
    expect_eq!(refused.is_empty(), row.refused.is_empty(), "{}: refused by {refused:?}", row.what);
    Ok(())
}

fn pod_name<'p>(pod: &'p Pod<'_>) -> &'p str {
    pod.config.metadata.as_ref().map(|metadata| metadata.name.as_str()).unwrap_or_default()
}

/// The last decision about a container of a pod of this name.
fn recorded(world: &World, pod: &str, container: &str) -> Result<Value, Failed> {
    let text = fs::read_to_string(world.containerd.layout().audit())?;
    let lines = text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
    let of = |line: &Value| {
        let identity = &line["identity"];
        line["event"] == "decision" && identity["pod_name"] == pod && identity["container_name"] == container
    };
    Ok(lines.into_iter().rev().find(of).ok_or_else(|| format!("no decision about {pod} {container:?} on record"))?)
}

fn of_container(judged: &Value, container: Option<&str>) -> Value {
    let all = judged["containers"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|one| one["container"].as_str() == container).unwrap_or_default()
}

/// Fails unless profile, decision and findings are the same; the rules that refused.
fn alike(real: &Value, judged: &Value, what: &str) -> Result<Vec<String>, Failed> {
    let findings = |record: &Value| -> Vec<(String, String, String)> {
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let all = record["findings"].as_array().cloned().unwrap_or_default();
        all.iter().map(|one| (text(one, "rule"), text(one, "action"), text(one, "pointer"))).collect()
    };
    let (seen, said) = (&real["record"], &judged["record"]);
    expect_eq!(seen["profile"], said["profile"], "{what}: profile");
    expect_eq!(seen["selected_by"], said["selected_by"], "{what}: what chose it");
    expect_eq!(findings(seen), findings(said), "{what}: findings, real and modelled");
    let denied = findings(seen).into_iter().filter(|(_, action, _)| action == "denied").map(|(rule, ..)| rule);
    Ok(denied.collect())
}

type Change<T> = fn(&mut T);
type PodChange = Change<api::PodSandboxConfig>;
type ContainerChange = Change<api::ContainerConfig>;
