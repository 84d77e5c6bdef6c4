//! The verbs of a task, under palisade and under runc: what containerd's clients see must be the same.

use libtest_mimic::Trial;
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::{Run, unique};
use palisade_integration::tasks::CreateOptions;
use palisade_integration::{bundle_spec, cgroup, poll};

use crate::support::{Check, RuntimeTest, World, trial_under};

const TESTS: &[(&str, RuntimeTest)] = &[
    ("runs a command and gives its output and exit code", output_and_code),
    ("short output is whole, time and again", short_output),
    ("carries much output without loss", much_output),
    ("ends with 128 + signal after a kill", killed),
    ("forwards signals that the container handles", handled_signal),
    ("delivers real-time signals", real_time_signal),
    ("exec gives output and exit code", exec_output_and_code),
    ("exec outlives nothing: its delete needs its end", exec_verbs),
    ("a missing program is an error of create or start", missing_program),
    ("a missing program of exec is an error, the container goes on", missing_exec_program),
    ("pause freezes and resume goes on", pause_and_resume),
    ("the kill of an exec process leaves the container paused", kill_exec_of_paused),
    ("a kill ends a paused container", kill_paused),
    ("metrics have memory, cpu and pids", metrics),
    ("lists its processes", processes),
    ("waits for an end that is already there", wait_after_end),
    ("a running task is not deleted without force", delete_running),
    ("kill of a stopped task is refused, delete works", kill_stopped),
    ("checkpoint is refused, the container goes on", checkpoint),
];

/// Under plain runc as well, which shows that the tests ask for what a shim does.
pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    [Runtime::Runc, Runtime::Palisade, Runtime::PalisadeByPath]
        .into_iter()
        .flat_map(|runtime| of(world, runtime))
        .collect()
}

/// Under one runtime.
pub(crate) fn of(world: &'static World, runtime: Runtime) -> Vec<Trial> {
    let wanted = |name: &str| runtime != Runtime::Runc || !name.starts_with("checkpoint");
    TESTS.iter().filter(|(name, _)| wanted(name)).map(|(name, test)| trial_under(world, runtime, name, *test)).collect()
}

fn output_and_code(world: &World, runtime: Runtime) -> Check {
    let run = Run::new(runtime, &["sh", "-c", "echo out; echo err >&2; exit 7"]);
    let invocation = world.containerd.run(&run)?;
    expect_eq!(invocation.code(), 7, "exit code ({})", invocation.stderr);
    expect_eq!(invocation.stdout, "out\n", "standard output");
    expect!(invocation.stderr.contains("err\n"), "standard error {:?}", invocation.stderr);
    Ok(())
}

/// Processes that end as soon as they have written, in containers and execs by turns: what they wrote is in a pipe when they are gone.
fn short_output(world: &World, runtime: Runtime) -> Check {
    let container = world.containerd.detach(&Run::new(runtime, &["/probe", "sleep"]))?;
    for turn in 0..10 {
        let line = format!("turn {turn}");
        let run = Run::new(runtime, &["sh", "-c", "sleep 0 & wait $!; echo $0", &line]);
        expect_eq!(world.containerd.run(&run)?.success()?, format!("{line}\n"), "output of a container");
        let exec = container.exec(&[], &["echo", &line])?;
        expect_eq!(exec.success()?, format!("{line}\n"), "output of an exec");
    }
    Ok(container.remove()?)
}

fn much_output(world: &World, runtime: Runtime) -> Check {
    let run = Run::new(runtime, &["sh", "-c", "dd if=/dev/zero bs=65536 count=64 2>/dev/null; echo end"]);
    let output = world.containerd.run(&run)?.success()?;
    expect_eq!(output.len(), 64 * 65_536 + 4, "bytes");
    expect!(output.ends_with("end\n"), "the end of the output is missing");
    Ok(())
}

fn killed(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let container = world.containerd.detach(&Run::new(runtime, &["/probe", "sleep"]))?;
    tasks.kill(container.id(), "", 9)?;
    expect_eq!(tasks.wait(container.id(), "")?, 137, "exit status");
    Ok(container.remove()?)
}

fn handled_signal(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let container = world.containerd.detach(&Run::new(runtime, &["/probe", "sleep"]))?;
    waits_for_signal(container.pid()?)?;
    tasks.kill(container.id(), "", 15)?;
    expect_eq!(tasks.wait(container.id(), "")?, 0, "exit status");
    Ok(container.remove()?)
}

/// Waits until a process of `probe sleep` has blocked SIGTERM, which it says by its name.
pub(crate) fn waits_for_signal(pid: u32) -> Check {
    poll::eventually("a process that waits for a signal", 20, || {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).map_err(|error| error.to_string())?;
        if name.trim() == "probe-waits" { Ok(()) } else { Err(name) }
    })?;
    Ok(())
}

fn real_time_signal(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let script = "trap 'exit 42' 37; echo ready > /tmp/ready; while :; do sleep 0.05; done";
    let container = world.containerd.detach(&Run::new(runtime, &["sh", "-c", script]))?;
    await_file(&container, "/tmp/ready")?;
    tasks.kill(container.id(), "", 37)?;
    expect_eq!(tasks.wait(container.id(), "")?, 42, "exit status");
    Ok(container.remove()?)
}

/// Waits for a file that a script in the container makes.
fn await_file(container: &palisade_integration::ctr::Detached<'_>, path: &str) -> Check {
    poll::eventually(path, 20, || {
        let looked = container.exec(&[], &["stat", path]).map_err(|failure| failure.to_string())?;
        if looked.status.success() { Ok(()) } else { Err(looked.stderr) }
    })?;
    Ok(())
}

fn exec_output_and_code(world: &World, runtime: Runtime) -> Check {
    let container = world.containerd.detach(&Run::new(runtime, &["/probe", "sleep"]))?;
    let invocation = container.exec(&["--cwd", "/tmp"], &["sh", "-c", "pwd; echo err >&2; exit 9"])?;
    expect_eq!(invocation.code(), 9, "exit code ({})", invocation.stderr);
    expect_eq!(invocation.stdout, "/tmp\n", "standard output");
    expect!(invocation.stderr.contains("err\n"), "standard error {:?}", invocation.stderr);
    Ok(container.remove()?)
}

fn exec_verbs(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let container = world.containerd.detach(&Run::new(runtime, &["/probe", "sleep"]))?;
    let id = container.id();
    tasks.exec(id, "e1", &bundle_spec::process(&["/probe", "sleep"]))?;
    let pid = tasks.start(id, "e1")?;
    expect!(pid > 0, "an exec process with id {pid}");
    expect!(tasks.delete_exec(id, "e1").is_err(), "a running exec process was deleted");
    tasks.kill(id, "e1", 9)?;
    expect_eq!(tasks.wait(id, "e1")?, 137, "exit status");
    expect_eq!(tasks.delete_exec(id, "e1")?, 137, "exit status at the delete");
    expect_eq!(container.status()?, "RUNNING", "the container");
    Ok(container.remove()?)
}

fn missing_program(world: &World, runtime: Runtime) -> Check {
    let said = world.containerd.run(&Run::new(runtime, &["/no-such-program"]))?.refusal()?;
    expect!(said.contains("no-such-program") || said.contains("o such file"), "{said}");
    Ok(())
}

fn missing_exec_program(world: &World, runtime: Runtime) -> Check {
    let container = world.containerd.detach(&Run::new(runtime, &["/probe", "sleep"]))?;
    let said = container.exec(&[], &["/no-such-program"])?.refusal()?;
    expect!(said.contains("no-such-program") || said.contains("o such file"), "{said}");
    expect_eq!(container.status()?, "RUNNING", "the container");
    Ok(container.remove()?)
}

fn pause_and_resume(world: &World, runtime: Runtime) -> Check {
    let container = world.containerd.detach(&Run::new(runtime, &["/probe", "sleep"]))?;
    container.task("pause", &[])?.success()?;
    expect_eq!(container.status()?, "PAUSED", "after pause");
    container.task("resume", &[])?.success()?;
    expect_eq!(container.status()?, "RUNNING", "after resume");
    container.exec(&[], &["true"])?.success()?;
    Ok(container.remove()?)
}

fn kill_exec_of_paused(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let container = world.containerd.detach(&Run::new(runtime, &["/probe", "sleep"]))?;
    let id = container.id();
    tasks.exec(id, "e1", &bundle_spec::process(&["/probe", "sleep"]))?;
    tasks.start(id, "e1")?;
    container.task("pause", &[])?.success()?;
    tasks.kill(id, "e1", 9)?;
    expect!(cgroup::is_frozen(container.pid()?)?, "the container goes on though it is told to be paused");
    expect_eq!(container.status()?, "PAUSED", "after the kill");
    container.task("resume", &[])?.success()?;
    expect_eq!(tasks.wait(id, "e1")?, 137, "exit status");
    tasks.delete_exec(id, "e1")?;
    Ok(container.remove()?)
}

fn kill_paused(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let container = world.containerd.detach(&Run::new(runtime, &["/probe", "sleep"]))?;
    container.task("pause", &[])?.success()?;
    tasks.kill(container.id(), "", 9)?;
    expect_eq!(tasks.wait(container.id(), "")?, 137, "exit status");
    Ok(container.remove()?)
}

fn metrics(world: &World, runtime: Runtime) -> Check {
    let container = world.containerd.detach(&Run::new(runtime, &["/probe", "hold", "8"]))?;
    let text = container.task("metrics", &["--format", "json"])?.success()?;
    let metrics: serde_json::Value = serde_json::from_str(&text)?;
    let number = |pointer: &str| metrics.pointer(pointer).and_then(serde_json::Value::as_u64);
    // The documents of cgroup v1 and v2 differ in names.
    let memory = number("/memory/usage/usage").or_else(|| number("/memory/usage"));
    expect!(memory.is_some_and(|bytes| bytes > 0), "memory in {text}");
    expect!(number("/pids/current") == Some(1), "pids in {text}");
    expect!(metrics.get("cpu").is_some() || metrics.get("CPU").is_some(), "cpu in {text}");
    Ok(container.remove()?)
}

fn processes(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let container = world.containerd.detach(&Run::new(runtime, &["/probe", "sleep"]))?;
    expect_eq!(tasks.pids(container.id())?, [container.pid()?], "process ids");
    tasks.exec(container.id(), "e1", &bundle_spec::process(&["/probe", "sleep"]))?;
    let exec = tasks.start(container.id(), "e1")?;
    expect!(tasks.pids(container.id())?.contains(&exec), "the exec process {exec} is not listed");
    tasks.kill(container.id(), "e1", 9)?;
    tasks.wait(container.id(), "e1")?;
    tasks.delete_exec(container.id(), "e1")?;
    Ok(container.remove()?)
}

fn wait_after_end(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let id = unique("ended");
    let spec = bundle_spec::spec(world.containerd.tag(), &id, &["sh", "-c", "exit 5"]);
    let mounts = tasks.make_container(&id, &world.containerd.runtime_name(runtime), &spec)?;
    tasks.create(&id, mounts, CreateOptions::default())?;
    tasks.start(&id, "")?;
    for _ in 0..2 {
        expect_eq!(tasks.wait(&id, "")?, 5, "exit status");
    }
    expect_eq!(tasks.delete(&id)?, 5, "exit status at the delete");
    Ok(tasks.remove_container(&id)?)
}

fn delete_running(world: &World, runtime: Runtime) -> Check {
    let container = world.containerd.detach(&Run::new(runtime, &["/probe", "sleep"]))?;
    let said = world.tasks()?.delete(container.id());
    expect!(said.is_err(), "a running task was deleted");
    expect_eq!(container.status()?, "RUNNING", "the container");
    Ok(container.remove()?)
}

fn kill_stopped(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let container = world.containerd.detach(&Run::new(runtime, &["true"]))?;
    expect_eq!(tasks.wait(container.id(), "")?, 0, "exit status");
    let said = tasks.kill(container.id(), "", 15);
    let code = said.as_ref().err().and_then(|failure| failure.refusal()).map(|(code, _)| code);
    expect_eq!(code, Some(tonic::Code::NotFound), "answer to a kill ({said:?})");
    Ok(container.remove()?)
}

fn checkpoint(world: &World, runtime: Runtime) -> Check {
    let tasks = world.tasks()?;
    let container = world.containerd.detach(&Run::new(runtime, &["/probe", "sleep"]))?;
    let said = tasks.checkpoint(container.id());
    let code = said.as_ref().err().and_then(|failure| failure.refusal()).map(|(code, _)| code);
    expect_eq!(code, Some(tonic::Code::Unimplemented), "answer to a checkpoint ({said:?})");
    expect_eq!(container.status()?, "RUNNING", "the container");
    Ok(container.remove()?)
}
