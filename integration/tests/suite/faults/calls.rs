//! Calls that no order of a container's life has, for things that are not there, and hundreds of them at once.

use std::sync::Arc;

use containerd_shim_protos::api::{
    CloseIORequest, CreateTaskRequest, DeleteRequest, ExecProcessRequest, KillRequest, PauseRequest, PidsRequest,
    ResizePtyRequest, ResumeRequest, StartRequest, StateRequest, StatsRequest, UpdateTaskRequest, WaitRequest,
};
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim_async::TaskClient;
use containerd_shim_protos::ttrpc;
use libtest_mimic::{Failed, Trial};
use palisade_integration::bundle_spec;
use palisade_integration::events::{Life, Recorder};
use palisade_integration::shim_client::{ShimClient, context, refused};
use tonic::Code;

use super::confined::{descriptors, settled_descriptors};
use super::fault;
use super::victim::{SLEEP, Victim, parent};
use crate::support::{Check, World};

pub(super) fn trials(world: &'static World) -> Vec<Trial> {
    vec![
        fault(world, "every verb for a container and a process that are not there", nobody),
        fault(world, "verbs out of order", out_of_order),
        fault(world, "ids and paths that are none", no_identifiers),
        fault(world, "three hundred calls at once", at_once),
    ]
}

/// A request that names a process and nothing else.
macro_rules! naming {
    ($kind:ident, $id:expr) => {
        $kind { id: $id.to_owned(), ..$kind::default() }
    };
    ($kind:ident, $id:expr, $exec:expr) => {
        $kind { id: $id.to_owned(), exec_id: $exec.to_owned(), ..$kind::default() }
    };
}

fn exec_request(id: &str, exec: &str, args: &[&str]) -> ExecProcessRequest {
    let process = bundle_spec::process(args).to_string().into_bytes();
    let spec = MessageField::some(Any { value: process, ..Any::default() });
    ExecProcessRequest { spec, ..naming!(ExecProcessRequest, id, exec) }
}

/// The verbs, each by its name and for one process.
async fn call(task: &TaskClient, verb: &str, id: &str, exec: &str) -> ttrpc::Result<()> {
    let limits = MessageField::some(Any { value: b"{}".to_vec(), ..Any::default() });
    match verb {
        "state" => task.state(context(), &naming!(StateRequest, id, exec)).await.map(drop),
        "start" => task.start(context(), &naming!(StartRequest, id, exec)).await.map(drop),
        "delete" => task.delete(context(), &naming!(DeleteRequest, id, exec)).await.map(drop),
        "pids" => task.pids(context(), &naming!(PidsRequest, id)).await.map(drop),
        "pause" => task.pause(context(), &naming!(PauseRequest, id)).await.map(drop),
        "resume" => task.resume(context(), &naming!(ResumeRequest, id)).await.map(drop),
        "kill" => task.kill(context(), &KillRequest { signal: 9, ..naming!(KillRequest, id, exec) }).await.map(drop),
        "exec" => task.exec(context(), &exec_request(id, exec, SLEEP)).await.map(drop),
        "resize" => task.resize_pty(context(), &naming!(ResizePtyRequest, id, exec)).await.map(drop),
        "close" => task.close_io(context(), &naming!(CloseIORequest, id, exec)).await.map(drop),
        "update" => {
            let request = UpdateTaskRequest { resources: limits, ..naming!(UpdateTaskRequest, id) };
            task.update(context(), &request).await.map(drop)
        }
        "wait" => task.wait(context(), &naming!(WaitRequest, id, exec)).await.map(drop),
        "stats" => task.stats(context(), &naming!(StatsRequest, id)).await.map(drop),
        other => Err(ttrpc::Error::Others(format!("no verb {other}"))),
    }
}

/// The code of the answer.
fn code(client: &ShimClient, verb: &'static str, id: &str, exec: &str) -> Result<Code, Failed> {
    match client.with(async |task| call(task, verb, id, exec).await) {
        Ok(()) => Ok(Code::Ok),
        Err(error) => {
            let failure = refused(verb, &error);
            let (code, message) = failure.refusal().ok_or_else(|| failure.to_string())?;
            expect!(!message.is_empty(), "{verb}: {code:?} without a text");
            Ok(code)
        }
    }
}

fn expect_codes(client: &ShimClient, id: &str, cases: &[(&'static str, &str, Code)]) -> Check {
    for (verb, exec, wanted) in cases {
        expect_eq!(code(client, verb, id, exec)?, *wanted, "{verb} of {exec:?}");
    }
    Ok(())
}

fn nobody(world: &World) -> Check {
    let victim = Victim::running(world)?;
    let client = ShimClient::of(&world.containerd, &victim.id)?;
    let verbs = [
        "state", "start", "delete", "pids", "pause", "resume", "kill", "exec", "resize", "close", "update", "wait",
        "stats",
    ];
    for verb in verbs {
        expect_eq!(code(&client, verb, "nobody", "")?, Code::NotFound, "{verb}");
        expect_eq!(code(&client, verb, "nobody", "e")?, Code::NotFound, "{verb} of an exec");
    }
    let of_execs: Vec<_> = ["state", "start", "delete", "kill", "resize", "close", "wait"]
        .map(|verb| (verb, "nobody", Code::NotFound))
        .into();
    expect_codes(&client, &victim.id, &of_execs)?;
    victim.remove()
}

fn out_of_order(world: &World) -> Check {
    use Code::{AlreadyExists, FailedPrecondition, NotFound, Ok as Done};
    let recorder = Recorder::start(&world.containerd)?;
    let victim = Victim::make(world, SLEEP)?;
    victim.create()?;
    let client = ShimClient::of(&world.containerd, &victim.id)?;
    let id = victim.id.clone();
    let created = [
        ("pause", "", FailedPrecondition),
        ("resume", "", FailedPrecondition),
        ("exec", "e", Done),
        ("exec", "e", AlreadyExists),
        ("start", "e", FailedPrecondition),
        ("kill", "e", FailedPrecondition),
        ("start", "", Done),
    ];
    expect_codes(&client, &id, &created)?;
    let running = [
        ("start", "", FailedPrecondition),
        ("resume", "", FailedPrecondition),
        ("delete", "", FailedPrecondition),
        ("start", "e", Done),
        ("start", "e", FailedPrecondition),
        ("delete", "e", FailedPrecondition),
        ("pause", "", Done),
        ("pause", "", FailedPrecondition),
        ("exec", "paused", FailedPrecondition),
        ("resume", "", Done),
        ("kill", "e", Done),
        ("wait", "e", Done),
        ("kill", "e", NotFound),
        ("start", "e", FailedPrecondition),
        ("delete", "e", Done),
        ("delete", "e", NotFound),
        ("exec", "late", Done),
        ("kill", "", Done),
        ("wait", "", Done),
    ];
    expect_codes(&client, &id, &running)?;
    let ended = [
        ("kill", "", NotFound),
        ("start", "", FailedPrecondition),
        ("start", "late", FailedPrecondition),
        ("pause", "", FailedPrecondition),
        ("resume", "", FailedPrecondition),
        ("exec", "later", FailedPrecondition),
        ("update", "", FailedPrecondition),
        ("wait", "late", Done),
        ("pids", "", Done),
        ("state", "", Done),
    ];
    expect_codes(&client, &id, &ended)?;
    victim.remove()?;
    recorder.whole_life(&id, 20, &Life { started: true, execs: 1, ..Life::default() })?;
    Ok(())
}

fn no_identifiers(world: &World) -> Check {
    let victim = Victim::running(world)?;
    let client = ShimClient::of(&world.containerd, &victim.id)?;
    let long = "x".repeat(300);
    let before = std::fs::read_dir(victim.bundle().join("palisade"))?.count();
    for name in ["", ".", "..", "a/b", "../up", "a b", "a\0b", "a\nb", &long] {
        expect_eq!(code(&client, "exec", &victim.id, name)?, Code::InvalidArgument, "an exec {name:?}");
        let create = CreateTaskRequest { bundle: "/run".to_owned(), ..naming!(CreateTaskRequest, name) };
        let answer = client.ask("Create", async |task| task.create(context(), &create).await);
        let code = answer.as_ref().err().and_then(|failure| failure.refusal()).map(|(code, _)| code);
        expect_eq!(code, Some(Code::InvalidArgument), "a container {name:?}: {answer:?}");
    }
    for bundle in ["", "relative", "/", "/etc", "/run/../run", "/nowhere/at/all"] {
        let create = CreateTaskRequest { bundle: bundle.to_owned(), ..naming!(CreateTaskRequest, "stranger") };
        let answer = client.ask("Create", async |task| task.create(context(), &create).await);
        expect!(
            answer.as_ref().err().and_then(|failure| failure.refusal()).is_some(),
            "a bundle {bundle:?}: {answer:?}"
        );
    }
    let again =
        CreateTaskRequest { bundle: victim.bundle().display().to_string(), ..naming!(CreateTaskRequest, victim.id) };
    let answer = client.ask("Create", async |task| task.create(context(), &again).await);
    let code = answer.as_ref().err().and_then(|failure| failure.refusal()).map(|(code, _)| code);
    expect_eq!(code, Some(Code::AlreadyExists), "the same container again: {answer:?}");
    expect_eq!(std::fs::read_dir(victim.bundle().join("palisade"))?.count(), before, "files of the container");
    victim.remove()
}

/// Execs that are started at once with everything that can be asked meanwhile.
const EXECS: usize = 40;
const READS: usize = 260;

fn at_once(world: &World) -> Check {
    let recorder = Recorder::start(&world.containerd)?;
    let victim = Victim::running(world)?;
    let shim = parent(*victim.tasks.pids(&victim.id)?.first().ok_or("no init process")?)?;
    let open = settled_descriptors(shim)?;
    let client = ShimClient::of(&world.containerd, &victim.id)?;
    let id: Arc<str> = victim.id.as_str().into();
    let failed = client.with(async |task| {
        let mut calls = Vec::new();
        for at in 0..EXECS {
            calls.push(tokio::spawn(short_exec(task.clone(), Arc::clone(&id), format!("e{at}"))));
        }
        for at in 0..READS {
            let verb = ["state", "pids", "stats", "update"].get(at % 4).copied().unwrap_or("state");
            let (task, id) = (task.clone(), Arc::clone(&id));
            calls.push(tokio::spawn(async move {
                call(&task, verb, &id, "").await.map_err(|error| format!("{verb}: {error}"))
            }));
        }
        let mut failed = Vec::new();
        for call in calls {
            match call.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failed.push(error),
                Err(error) => failed.push(error.to_string()),
            }
        }
        failed
    });
    expect!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), EXECS + READS);
    drop(client);
    palisade_integration::poll::eventually("the descriptors that were open before", 20, || {
        let now = descriptors(shim).map_err(|_| "the shim is gone".to_owned())?;
        if now <= open { Ok(()) } else { Err(format!("{now} descriptors, and {open} before")) }
    })?;
    expect_eq!(victim.tasks.pids(&victim.id)?.len(), 1, "processes of the container");
    victim.kill()?;
    let id = victim.id.clone();
    victim.remove()?;
    recorder.whole_life(&id, 20, &Life { started: true, execs: EXECS, ..Life::default() })?;
    Ok(())
}

async fn short_exec(task: TaskClient, id: Arc<str>, exec: String) -> Result<(), String> {
    let said = |verb: &'static str| {
        let exec = exec.clone();
        move |error: ttrpc::Error| format!("{verb} of {exec}: {error}")
    };
    task.exec(context(), &exec_request(&id, &exec, &["sh", "-c", "exit 3"])).await.map_err(said("exec"))?;
    call(&task, "start", &id, &exec).await.map_err(said("start"))?;
    let ended = task.wait(context(), &naming!(WaitRequest, &*id, exec)).await.map_err(said("wait"))?;
    if ended.exit_status != 3 {
        return Err(format!("{exec} ended with {}", ended.exit_status));
    }
    call(&task, "delete", &id, &exec).await.map_err(said("delete"))
}
