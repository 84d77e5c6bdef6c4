//! A logging program of the node's in place of fifos, as nerdctl has them: `binary://`.

use std::fs;
use std::path::PathBuf;

use libtest_mimic::{Failed, Trial};
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::unique;
use palisade_integration::tasks::CreateOptions;
use palisade_integration::{bundle_spec, poll};
use serde_json::json;

use crate::support::{Check, RuntimeTest, World, trial_under};

/// The program, and where it writes: each of a process's outputs to a file.
struct Logger {
    shell: PathBuf,
    folder: PathBuf,
}

impl Logger {
    fn new(world: &World) -> Result<Self, Failed> {
        let folder = world.containerd.layout().base.join(unique("log"));
        fs::create_dir(&folder)?;
        Ok(Self { shell: fs::canonicalize("/bin/sh")?, folder })
    }

    /// A shell that copies both outputs until they end, and is ready a moment after it has begun. Its arguments are `-c` and the script.
    fn uri(&self) -> String {
        let folder = self.folder.display();
        let script = format!(
            "PATH=/usr/bin:/bin; cd {folder}; echo $CONTAINER_NAMESPACE/$CONTAINER_ID > names; env > environment; \
             ls /proc/self/fd > descriptors; exec 5>&-; cat <&3 > out & cat <&4 > err; wait; echo all > end"
        );
        let script: String = script.bytes().map(|byte| format!("%{byte:02x}")).collect();
        format!("binary://{}?-c={script}", self.shell.display())
    }

    fn read(&self, name: &str) -> Result<String, Failed> {
        Ok(fs::read_to_string(self.folder.join(name))?)
    }
}

/// The policy under which these run.
pub(crate) fn policy() -> String {
    let shell = fs::canonicalize("/bin/sh").unwrap_or_default();
    format!("[profiles.restricted.rules.\"task.stdio\"]\nallow = [\"binary://{}\"]\n", shell.display())
}

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    let tests: [(&str, RuntimeTest); 3] = [
        ("hands both outputs to a logging program", outputs),
        ("hands a terminal's output to a logging program", terminal),
        ("does not start beside a logging program that fails", failing),
    ];
    [Runtime::Runc, Runtime::Palisade, Runtime::PalisadeByPath]
        .into_iter()
        .flat_map(|runtime| tests.map(|(name, test)| trial_under(world, runtime, name, test)))
        .collect()
}

/// Runs a container to its end with its streams at these URIs.
fn run(world: &World, runtime: Runtime, args: &[&str], stdio: [String; 3], terminal: bool) -> Result<String, Failed> {
    let tasks = world.tasks()?;
    let id = unique("logged");
    let mut spec = bundle_spec::spec(world.containerd.tag(), &id, args);
    spec["process"]["terminal"] = json!(terminal);
    let mounts = tasks.make_container(&id, &world.containerd.runtime_name(runtime), &spec)?;
    let ended =
        tasks.create(&id, mounts, CreateOptions { stdio, terminal, ..Default::default() }).map_err(Failed::from);
    let ended = ended.and_then(|_| {
        tasks.start(&id, "")?;
        expect_eq!(tasks.wait(&id, "")?, 3, "exit status");
        Ok(tasks.delete(&id).map(drop)?)
    });
    tasks.remove_container(&id)?;
    ended.map(|()| id)
}

fn outputs(world: &World, runtime: Runtime) -> Check {
    let logger = Logger::new(world)?;
    // More than the pipes hold, so that the end is only there if somebody waited for the program.
    let script = "seq 1 50000; echo wrong >&2; exit 3";
    let uri = logger.uri();
    let id = run(world, runtime, &["sh", "-c", script], [String::new(), uri.clone(), uri], false)?;
    let names = format!("{}/{id}\n", world.containerd.tag());
    expect_eq!(logger.read("names")?, names, "names");
    // runc's shim ends the program by SIGTERM without waiting for what it has not copied yet; palisade's Delete waits.
    if runtime == Runtime::Runc {
        return Ok(());
    }
    expect_eq!(logger.read("end")?, "all\n", "its end");
    let out = logger.read("out")?;
    expect_eq!((out.lines().count(), out.lines().last()), (50_000, Some("50000")), "lines");
    expect_eq!(logger.read("err")?, "wrong\n", "errors");
    let environment = logger.read("environment")?;
    expect!(!environment.contains("TTRPC_ADDRESS") && !environment.contains("PALISADE"), "{environment}");
    // 0 to 5, and the one that ls reads the directory by.
    expect!(logger.read("descriptors")?.lines().count() <= 7, "{}", logger.read("descriptors")?);
    Ok(())
}

fn terminal(world: &World, runtime: Runtime) -> Check {
    let logger = Logger::new(world)?;
    let uri = logger.uri();
    run(world, runtime, &["sh", "-c", "tty; exit 3"], [String::new(), uri, String::new()], true)?;
    let line = poll::eventually("the terminal's output", 20, || match logger.read("out") {
        Ok(text) if text.contains('\n') => Ok(text),
        other => Err(format!("{other:?}")),
    })?;
    expect!(line.starts_with("/dev/pts/"), "{line:?}");
    Ok(())
}

fn failing(world: &World, runtime: Runtime) -> Check {
    let uri = "binary:///nowhere/logger".to_owned();
    let failed = run(world, runtime, &["sh", "-c", "exit 3"], [String::new(), uri.clone(), uri], false);
    expect!(failed.is_err(), "it ran without its log");
    Ok(())
}
