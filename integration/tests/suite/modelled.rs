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
use palisade_integration::cri::Cri;
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
    let known = [
        (image::WORKLOAD, "", "/bin/sh"),
        (image::USER, "1000:1000", "/bin/sh"),
        (image::PAUSE, "65535:65535", "/pause"),
    ];
    for (reference, user, program) in known {
        let file = folder.join(format!("image-{}.json", reference.replace(['/', ':'], "-")));
        let config = json!({"config": {"User": user, "Env": ["PATH=/usr/bin:/bin"], "Entrypoint": [program], "WorkingDir": "/"}});
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
    let mut differing = as_written(world, &cri, row, &specs)?;
    differing.extend(as_judged(world, &cri, row, &judged)?);
    expect!(differing.is_empty(), "{}", differing.join("\n"));
    Ok(())
}

/// Runs the row's pod with plain runc, which refuses nothing; where what containerd wrote differs from the model.
fn as_written(world: &World, cri: &Cri, row: &Row, specs: &Value) -> Result<Vec<String>, Failed> {
    let pod = cri.run_pod(Runtime::Runc, row.pod(cri)?)?;
    let mut names = Names::of_sandbox(&pod.id);
    let mut differing = names.compare(world, &pod.id, &specs[""], row.unknown, "sandbox")?;
    for config in row.containers() {
        let name = name_of(&config);
        let id = cri.start(&pod, config)?;
        names.container(&id, &name);
        differing.extend(names.compare(
            world,
            &id,
            &specs[name.as_str()],
            row.unknown,
            &format!("container {name}"),
        )?);
    }
    pod.remove()?;
    Ok(differing)
}

/// Runs it with palisade; where what was recorded differs from what was judged offline.
fn as_judged(world: &World, cri: &Cri, row: &Row, judged: &Value) -> Result<Vec<String>, Failed> {
    let config = row.pod(cri)?;
    let name = config.metadata.as_ref().map(|metadata| metadata.name.clone()).unwrap_or_default();
    let ran = cri.run_pod(Runtime::Palisade, config);
    let sandbox = recorded(world, &name, "")?;
    let mut differing = differences(&sandbox, &of_container(judged, None), row, "sandbox");
    let mut refused = sandbox["decision"] == "deny";
    match ran {
        Err(failure) => expect!(refused, "{failure}"),
        Ok(pod) => {
            for config in row.containers() {
                let container = name_of(&config);
                let started = cri.start(&pod, config);
                let record = recorded(world, &name, &container)?;
                let what = format!("container {container}");
                differing.extend(differences(&record, &of_container(judged, Some(&container)), row, &what));
                expect_eq!(started.is_err(), record["decision"] == "deny", "{what}: {started:?}");
                refused |= started.is_err();
            }
            pod.remove()?;
        }
    }
    expect_eq!(refused, !row.refused.is_empty(), "refused");
    let denied = denied(judged);
    for rule in row.refused.iter().filter(|rule| !denied.iter().any(|one| one == *rule)) {
        differing.push(format!("not refused by {rule} offline: {denied:?}"));
    }
    Ok(differing)
}

fn name_of(config: &api::ContainerConfig) -> String {
    config.metadata.as_ref().map(|metadata| metadata.name.clone()).unwrap_or_default()
}

/// The rules that refuse some part of a pod.
fn denied(judged: &Value) -> Vec<String> {
    let containers = judged["containers"].as_array().cloned().unwrap_or_default();
    let findings = containers.iter().flat_map(|one| findings(&one["record"]));
    findings.filter(|(_, action, _)| action == "denied").map(|(rule, ..)| rule).collect()
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

/// Rule, action and place of each finding of a record.
fn findings(record: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let all = record["findings"].as_array().cloned().unwrap_or_default();
    all.iter().map(|one| (text(one, "rule"), text(one, "action"), text(one, "pointer"))).collect()
}

/// Profile, what chose it and findings have to be the same, in their order.
fn differences(real: &Value, judged: &Value, row: &Row, what: &str) -> Vec<String> {
    let (seen, said) = (&real["record"], &judged["record"]);
    let mut all = Vec::new();
    for key in ["profile", "selected_by"] {
        if seen[key] != said[key] {
            all.push(format!("{what}: {key} is {}, the model says {}", seen[key], said[key]));
        }
    }
    let known =
        |(_, _, pointer): &(String, String, String)| !row.unknown.iter().any(|(place, _)| pointer.starts_with(place));
    let of = |record: &Value| findings(record).into_iter().filter(known).collect::<Vec<_>>();
    let (seen, said) = (of(seen), of(said));
    let missing = said.iter().filter(|one| !seen.contains(one)).map(|one| format!("{what}: not on record: {one:?}"));
    let more = seen.iter().filter(|one| !said.contains(one)).map(|one| format!("{what}: not said: {one:?}"));
    all.extend(missing.chain(more));
    if all.is_empty() && seen != said {
        all.push(format!("{what}: {seen:?} are {said:?} in the model"));
    }
    all
}

type Change<T> = fn(&mut T);
type PodChange = Change<api::PodSandboxConfig>;
type ContainerChange = Change<api::ContainerConfig>;
