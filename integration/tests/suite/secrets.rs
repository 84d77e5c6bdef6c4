//! Secrets: taken out of the environment, shown as files, and told nobody.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_cri::v1 as api;
use libtest_mimic::{Failed, Trial};
use nix::mount::MsFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use palisade_integration::bundle_spec;
use palisade_integration::containerd::Runtime;
use palisade_integration::cri;
use palisade_integration::ctr::{Detached, Run, unique};
use palisade_integration::poll;
use palisade_integration::tasks::CreateOptions;
use serde_json::{Value, json};

use crate::audit;
use crate::pods::{kubelet_volume, mount};
use crate::spec_edits::push;
use crate::support::{Check, World, expect_denial, trial};

const PASSWORD: &str = "kX7vQ2mZpL9wPlanted";
const FILE: &str = "/run/palisade/secrets/DB_PASSWORD";
/// What the container's own tmpfs is called in mount tables.
const SOURCE: &str = "palisade-secrets";

/// The runtime's section, and secrets that become files.
pub(crate) fn policy(runtime: &str) -> String {
    format!("{runtime}[profiles.restricted.rules.\"secret.env\"]\naction = \"mutate\"\n")
}

pub(crate) fn refusing() -> String {
    ["secret.env", "secret.args", "mount.token", "mount.secrets.tmpfs"]
        .map(|rule| format!("[profiles.restricted.rules.\"{rule}\"]\naction = \"deny\"\n"))
        .concat()
}

/// What each runtime has to do right.
pub(crate) fn by_each_runtime(world: &'static World) -> Vec<Trial> {
    vec![
        trial(world, "secrets: a container reads its secret from a file, and so does an exec", moved),
        trial(world, "secrets: nothing is left after a failed create and after a killed shim", nothing_left),
    ]
}

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    let mut trials = by_each_runtime(world);
    trials.push(trial(world, "secrets: they are in no file and no line of palisade's", told_nobody));
    trials.push(trial(world, "secrets: another container of the pod has no part in it", another_container));
    // `ctr` of 1.7 asks for user namespaces with options of containerd 1.0's shim.
    if !world.containerd.is_one_seven() {
        trials.push(trial(world, "secrets: in a user namespace the file is the process's own", remapped));
    }
    trials
}

pub(crate) fn refusals(world: &'static World) -> Vec<Trial> {
    vec![
        trial(world, "secrets: in environment and arguments they are refused, and not repeated", refused),
        trial(world, "secrets: a token of a service account and a secret on a disk are refused", volumes),
    ]
}

fn flags() -> [String; 2] {
    ["--env".to_owned(), format!("DB_PASSWORD={PASSWORD}")]
}

fn run(runtime: Runtime, args: &[&str]) -> Run {
    let flags = flags();
    Run::new(runtime, args).flags(&flags.each_ref().map(String::as_str))
}

/// The init of a container as the host sees it.
fn environment(container: &Detached<'_>) -> Result<String, Failed> {
    Ok(String::from_utf8_lossy(&fs::read(format!("/proc/{}/environ", container.pid()?))?).replace('\0', "\n"))
}

fn moved(world: &World) -> Check {
    let control = world.containerd.detach(&run(Runtime::Runc, &["/probe", "sleep"]))?;
    expect!(environment(&control)?.contains(PASSWORD), "control: plain runc hides the secret");
    control.remove()?;

    let container = world.containerd.detach(&run(Runtime::Palisade, &["/probe", "sleep"]))?;
    let seen = environment(&container)?;
    expect!(!seen.contains(PASSWORD), "{seen}");
    expect!(seen.lines().any(|line| line == format!("DB_PASSWORD_FILE={FILE}")), "{seen}");
    let file = format!("/proc/{}/root{FILE}", container.pid()?);
    expect_eq!(fs::read_to_string(&file)?, PASSWORD, "the file");
    let line = mount_of(container.pid()?)?.ok_or("no mount of its own")?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut release = release.split(['.', '-']).map(|part| part.trim().parse::<u32>().unwrap_or_default());
    let has_noswap = (release.next(), release.next()) >= (Some(6), Some(4));
    for flag in ["ro", "nosuid", "nodev", "noexec"].into_iter().chain(has_noswap.then_some("noswap")) {
        expect!(line.split([' ', ',']).any(|word| word == flag), "no {flag}: {line}");
    }

    let script = "id -u; cat $DB_PASSWORD_FILE; echo; stat -c '%a %u' $DB_PASSWORD_FILE; env; \
                  echo x 2>/dev/null >$DB_PASSWORD_FILE || echo cannot be written; \
                  touch /run/palisade/secrets/x 2>/dev/null || echo no new file";
    let said = container.exec(&[], &["sh", "-c", script])?.success()?;
    let mut lines = said.lines();
    expect_eq!(lines.next(), Some("65532"), "{said}");
    expect_eq!(lines.next(), Some(PASSWORD), "{said}");
    expect_eq!(lines.next(), Some("400 65532"), "{said}");
    let rest: Vec<&str> = lines.collect();
    expect!(!rest.iter().any(|line| line.contains(PASSWORD)), "the environment of an exec: {said}");
    expect!(rest.contains(&format!("DB_PASSWORD_FILE={FILE}").as_str()), "{said}");
    expect!(rest.contains(&"cannot be written") && rest.contains(&"no new file"), "{said}");
    world.tasks()?.update(container.id(), &json!({ "pids": { "limit": 20 } }))?;
    container.remove()?;
    nobody_has_it()
}

/// The line of the tmpfs in a process's mount table.
fn mount_of(pid: u32) -> Result<Option<String>, Failed> {
    let table = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
    Ok(table.lines().find(|line| line.contains(SOURCE)).map(str::to_owned))
}

/// No process of the machine has such a mount, the host's own among them.
fn nobody_has_it() -> Check {
    let has =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/mountinfo")).is_ok_and(|table| table.contains(SOURCE));
    poll::eventually("the end of the tmpfs", 20, || {
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let holders: Vec<u32> = pids.filter(has).collect();
        if holders.is_empty() { Ok(()) } else { Err(format!("{holders:?} have it")) }
    })?;
    Ok(())
}

fn nothing_left(world: &World) -> Check {
    let said = world.containerd.run(&run(Runtime::Palisade, &["/no/such/program"]))?.refusal()?;
    expect!(!said.contains(PASSWORD), "{said}");
    nobody_has_it()?;

    // By the task API itself: `ctr` would leave its fifos.
    let (tasks, id) = (world.tasks()?, unique("secret"));
    let mut spec = bundle_spec::spec(world.containerd.tag(), &id, &["/probe", "sleep"]);
    push(&mut spec, "/process/env", json!(format!("DB_PASSWORD={PASSWORD}")));
    let mounts = tasks.make_container(&id, &world.containerd.runtime_name(Runtime::Palisade), &spec)?;
    let init = tasks.create(&id, mounts, CreateOptions::default())?;
    expect!(mount_of(init)?.is_some(), "no mount of its own");
    expect!(mount_of(std::process::id())?.is_none(), "the host has it");
    kill(Pid::from_raw(i32::try_from(parent(init)?)?), Signal::SIGKILL)?;
    let bundle = bundle(world, &id);
    poll::eventually("containerd's cleaning up", 30, || {
        if bundle.exists() { Err(format!("{} is there", bundle.display())) } else { Ok(()) }
    })?;
    // What containerd has cleaned up is gone for it.
    tasks.delete(&id).ok();
    tasks.remove_container(&id)?;
    nobody_has_it()
}

fn parent(pid: u32) -> Result<u32, Failed> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).ok_or("no PPid")?.trim().parse()?;
    let words = fs::read_to_string(format!("/proc/{parent}/cmdline"))?;
    expect!(words.contains("containerd-shim-palisade"), "{parent} is no shim but {words:?}");
    Ok(parent)
}

fn bundle(world: &World, id: &str) -> PathBuf {
    world.containerd.layout().bundles().join(world.containerd.tag()).join(id)
}

/// In environment and arguments, for init and for execs that work, fail and wait for their start.
fn told_nobody(world: &World) -> Check {
    use std::os::unix::fs::MetadataExt as _;
    let option = format!("--password={PASSWORD}");
    let container = world.containerd.detach(&run(Runtime::Palisade, &["/probe", "sleep"]))?;
    for program in ["true", "/no/such/program"] {
        let ended = container.exec(&[], &[program, &option])?;
        expect!(!format!("{}{}", ended.stdout, ended.stderr).contains(PASSWORD), "{ended:?}");
    }
    let bundle = bundle(world, container.id());
    let private = bundle.join("palisade");
    for file in files_below(&private)? {
        expect!(!holds(&file)?, "{} holds it", file.display());
        let seen = fs::symlink_metadata(&file)?;
        // What is libcontainer's own it writes as it likes, in directories that are root's alone.
        let is_librarys = file.iter().any(|part| part == "libcontainer");
        expect!(!seen.is_file() || is_librarys || seen.mode() & 0o077 == 0, "{} {:o}", file.display(), seen.mode());
    }
    expect_eq!(fs::metadata(&private)?.mode() & 0o7777, 0o700, "mode of the private directory");
    expect!(holds(&bundle.join("config.json"))?, "containerd's own has it, or this test looks for nothing");
    let layout = world.containerd.layout();
    for log in [layout.audit(), layout.log()] {
        expect!(!holds(&log)?, "{} holds it", log.display());
    }
    let findings = audit::records(world, container.id())?;
    let named = findings.iter().any(|record| record.to_string().contains("DB_PASSWORD holds a password"));
    expect!(named, "no finding names the variable: {findings:?}");
    by_the_command_line(world, container.id(), &bundle)?;
    Ok(container.remove()?)
}

/// `PALISADE_CLI` names the program; `scripts/test` builds it.
fn by_the_command_line(world: &World, id: &str, bundle: &Path) -> Check {
    let Some(program) = std::env::var_os("PALISADE_CLI") else {
        println!("PALISADE_CLI names no program: what it says of secrets is not looked at");
        return Ok(());
    };
    let layout = world.containerd.layout();
    let (log, namespace) = (layout.audit().display().to_string(), world.containerd.tag());
    let config = bundle.join("config.json").display().to_string();
    for words in [
        vec!["check", &config],
        vec!["check", &config, "--format", "json"],
        vec!["explain", id, "--namespace", namespace],
        vec!["explain", id, "--namespace", namespace, "--format", "patch"],
        vec!["verify", id],
        vec!["ps"],
        vec!["events", "--log", &log],
        vec!["events", "--log", &log, "--format", "json"],
        vec!["report", "--log", &log],
    ] {
        let mut command = Command::new(&program);
        command.args(&words).env("PALISADE_CONFIG", layout.policy());
        let said = command.output()?;
        let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        expect!(!text.contains(PASSWORD), "{words:?} tells: {text}");
        // Each has something to say of this very container: a command that fails hides nothing.
        expect!(text.contains("DB_PASSWORD") || text.contains(id), "{words:?} says nothing of it: {text}");
    }
    Ok(())
}

fn holds(file: &Path) -> Result<bool, Failed> {
    if !fs::symlink_metadata(file)?.is_file() {
        return Ok(false);
    }
    Ok(fs::read(file)?.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()))
}

fn files_below(directory: &Path) -> Result<Vec<PathBuf>, Failed> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { files.extend(files_below(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

fn another_container(world: &World) -> Check {
    let cri = world.cri()?;
    let pod = cri.run_pod(Runtime::Palisade, cri.pod_config())?;
    let mut config = cri::sleeper();
    config.envs.push(api::KeyValue { key: "DB_PASSWORD".to_owned(), value: PASSWORD.to_owned() });
    let holder = cri.start(&pod, config)?;
    let other = cri.start(&pod, cri::container(palisade_integration::image::USER, &["/probe", "sleep"]))?;
    expect_eq!(cri.exec(&holder, &["cat", FILE])?.stdout, PASSWORD, "its own");
    let seen = cri.exec(&holder, &["env"])?.stdout;
    expect!(!seen.contains(PASSWORD), "the environment of an exec: {seen}");
    let foreign = cri.exec(&other, &["sh", "-c", "cat /run/palisade/secrets/* /proc/*/root/run/palisade/secrets/*"])?;
    expect!(!foreign.stdout.contains(PASSWORD), "{foreign:?}");
    Ok(pod.remove()?)
}

fn remapped(world: &World) -> Check {
    let flags = ["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"];
    let run =
        run(Runtime::Palisade, &["sh", "-c", "id -u; cat $DB_PASSWORD_FILE; echo; stat -c '%a %u' $DB_PASSWORD_FILE"]);
    let said = world.containerd.run(&run.flags(&flags))?.success()?;
    let lines: Vec<&str> = said.lines().collect();
    let user = lines.first().copied().unwrap_or_default();
    expect_eq!(lines, [user, PASSWORD, &format!("400 {user}")], "{said}");
    Ok(())
}

fn refused(world: &World) -> Check {
    let said = world.containerd.run(&run(Runtime::Palisade, &["true"]))?.refusal()?;
    expect_denial(&said, "secret.env")?;
    let arguments = ["true", &format!("--password={PASSWORD}")];
    let also = world.containerd.run(&Run::new(Runtime::Palisade, &arguments))?.refusal()?;
    expect_denial(&also, "secret.args")?;
    expect!(said.contains("DB_PASSWORD"), "the variable is not named: {said}");
    expect!(!said.contains(PASSWORD) && !also.contains(PASSWORD), "{said} {also}");
    Ok(())
}

/// The folders stand where the kubelet has them; something that is no tmpfs stands over one.
fn volumes(world: &World) -> Check {
    let cri = world.cri()?;
    for (kind, rule) in [("secret", "mount.secrets.tmpfs"), ("projected", "mount.token")] {
        let pod_config = cri.pod_config();
        let folder = kubelet_volume(&pod_config, kind)?;
        if kind == "projected" {
            // {"alg":"RS256"} and {"kubernetes.io":{}}.
            let token = ["eyJhbGciOiJSUzI1NiJ9", "eyJrdWJlcm5ldGVzLmlvIjp7fX0", &"c2lnbmF0dXJl".repeat(3)].join(".");
            fs::write(format!("{folder}/key"), token)?;
        }
        if kind == "secret" {
            let layers = Some("lowerdir=/usr/share:/usr/lib");
            nix::mount::mount(Some("overlay"), folder.as_str(), Some("overlay"), MsFlags::MS_RDONLY, layers)?;
        }
        let pod = cri.run_pod(Runtime::Palisade, pod_config)?;
        let mut config = cri::sleeper();
        mount(&mut config, &folder);
        let started = cri.start(&pod, config);
        if kind == "secret" {
            nix::mount::umount(folder.as_str())?;
        }
        let Err(failure) = started else { return Err(format!("{kind}: it was started").into()) };
        expect_denial(&failure.to_string(), rule)?;
        pod.remove()?;
    }
    let records = fs::read_to_string(world.containerd.layout().audit())?;
    let found = |rule: &str| {
        records
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .any(|line| line.to_string().contains(rule))
    };
    expect!(found("mount.token") && found("mount.secrets.tmpfs"), "no records");
    Ok(())
}
