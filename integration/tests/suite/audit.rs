//! Every decision is a line of JSON in the audit log.

use std::fs;

use libtest_mimic::{Failed, Trial};
use palisade_integration::bundle_spec;
use palisade_integration::containerd::Runtime;
use palisade_integration::ctr::Run;
use serde_json::{Value, json};

use crate::support::{Check, World, trial};

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    vec![
        trial(world, "audit: create, exec and update are recorded, with what was changed", admitted),
        trial(world, "audit: a refusal is recorded with its rule", refused),
        trial(world, "audit: the log is root's alone", log_mode),
        trial(world, "audit: no secret of a container is on record, in an error or in a log", secrets),
    ]
}

/// The last test, whatever the command line chooses: all that was recorded is as the schema says.
pub(crate) fn every_line(world: &'static World) -> Trial {
    trial(world, "audit: every line is as docs/audit.schema.json says", |world| {
        let schema: Value = serde_json::from_str(include_str!("../../../docs/audit.schema.json"))?;
        let validator = jsonschema::draft202012::new(&schema).map_err(|error| error.to_string())?;
        let mut files = palisade::audit::files_of(&world.containerd.layout().audit())?;
        if let Ok(chained) = palisade::audit::files_of(&crate::audited::log(world)) {
            files.extend(chained);
        }
        for file in files {
            let mut lines = 0;
            for line in fs::read_to_string(file)?.lines() {
                let record: Value = serde_json::from_str(line)?;
                let errors = validator.iter_errors(&record);
                let wrong: Vec<String> = errors.map(|error| format!("{}: {error}", error.instance_path())).collect();
                expect!(wrong.is_empty(), "{wrong:?} in {line}");
                lines += 1;
            }
            expect!(lines > 0, "a log without a record");
        }
        Ok(())
    })
}

/// Planted where containers have theirs.
const PLANTED: &str = "hunter2-planted";

fn secrets(world: &World) -> Check {
    let (environment, option) = (format!("DB_PASSWORD={PLANTED}"), format!("--password={PLANTED}"));
    let flags = ["--env", environment.as_str(), "--annotation", "example.com/api-token=hunter2-planted"];
    let mut said = String::new();
    // One that runs, and a process in it; one that is refused; one whose program is not there.
    let container = world.containerd.detach(&Run::new(Runtime::Palisade, &["/probe", "sleep"]).flags(&flags))?;
    for args in [["true", option.as_str()], ["/no/such/program", option.as_str()]] {
        let ran = container.exec(&[], &args)?;
        said.push_str(&format!("{}{}", ran.stdout, ran.stderr));
    }
    let id = container.id().to_owned();
    let recorded = records(world, &id)?;
    let execs = recorded.iter().filter(|record| record["process"]["args"][1] == "--password=<redacted>");
    expect_eq!(execs.count(), 2, "what further processes were to run, in {recorded:?}");
    container.remove()?;
    for (args, more) in [(["true", &option], &["--privileged"] as &[&str]), (["/no/such/program", &option], &[])] {
        let run = Run::new(Runtime::Palisade, &args).flags(&flags).flags(more);
        said.push_str(&world.containerd.run(&run)?.refusal()?);
    }
    let layout = world.containerd.layout();
    let log = fs::read_to_string(layout.audit())?;
    expect!(log.contains("\"/annotations/example.com~1api-token\""), "the annotation was not judged");
    for (sink, text) in
        [("the audit log", log), ("an error", said), ("containerd's log", fs::read_to_string(layout.log())?)]
    {
        let around = text.find(PLANTED).and_then(|at| text.get(at.saturating_sub(300)..at + PLANTED.len()));
        expect!(around.is_none(), "a secret is in {sink}: {around:?}");
    }
    Ok(())
}

/// The decisions about a container.
pub(crate) fn records(world: &World, container: &str) -> Result<Vec<Value>, Failed> {
    events(world, container, "decision")
}

/// The records of one kind that name a container or, where it has no task, came for it.
pub(crate) fn events(world: &World, container: &str, event: &str) -> Result<Vec<Value>, Failed> {
    let text = fs::read_to_string(world.containerd.layout().audit())?;
    let lines = text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
    Ok(lines.into_iter().filter(|line| line["container"] == container && line["event"] == event).collect())
}

fn operations(records: &[Value]) -> Vec<(&str, &str)> {
    let text = |record: &'_ Value, pointer: &str| {
        record.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let known = ["create", "exec", "update", "allow", "mutate", "deny"];
    let of = |word: String| known.into_iter().find(|name| *name == word).unwrap_or("?");
    records.iter().map(|record| (of(text(record, "/record/operation")), of(text(record, "/decision")))).collect()
}

fn admitted(world: &World) -> Check {
    let tasks = world.tasks()?;
    let container = world.containerd.detach(&Run::new(Runtime::Palisade, &["/probe", "sleep"]))?;
    container.exec(&[], &["true"])?.success()?;
    tasks.update(container.id(), &json!({ "pids": { "limit": 20 } }))?;
    let records = records(world, container.id())?;
    expect_eq!(
        operations(&records),
        [("create", "mutate"), ("exec", "mutate"), ("update", "allow")],
        "records {records:?}"
    );
    let create = records.first().ok_or("no record")?;
    let findings = create.pointer("/record/findings").and_then(Value::as_array).ok_or("no findings")?;
    let user = findings.iter().find(|finding| finding["pointer"] == "/process/user/uid");
    expect!(
        user.is_some_and(|finding| finding["action"] == "mutated"
            && finding["before"] == 0
            && finding["after"] == 65_532),
        "user in {findings:?}"
    );
    // It makes of containerd's specification the one that the runtime got.
    let bundle = world.containerd.layout().bundles().join(world.containerd.tag()).join(container.id());
    let read = |name: &str| -> Result<Value, Failed> { Ok(serde_json::from_slice(&fs::read(bundle.join(name))?)?) };
    let (came, handed_on) = (read("config.json")?, read("palisade/config.json")?);
    let patch = create["patch"].as_array().ok_or_else(|| format!("no patch in {create}"))?;
    for operation in
        patch.iter().filter(|operation| operation["op"] != "remove" && operation["path"] != "/linux/seccomp")
    {
        let path = operation["path"].as_str().unwrap_or_default();
        expect_eq!(handed_on.pointer(path), operation.get("value"), "{path}, which was {:?}", came.pointer(path));
    }
    expect!(patch.iter().any(|operation| operation["path"] == "/process/user/uid"), "no user in {patch:?}");
    Ok(container.remove()?)
}

fn refused(world: &World) -> Check {
    let id = palisade_integration::ctr::unique("audited");
    let tasks = world.tasks()?;
    let mut spec = bundle_spec::spec(world.containerd.tag(), &id, &["true"]);
    spec["linux"]["namespaces"] = json!([{ "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }]);
    let mounts = tasks.make_container(&id, &world.containerd.runtime_name(Runtime::Palisade), &spec)?;
    expect!(
        tasks.create(&id, mounts, palisade_integration::tasks::CreateOptions::default()).is_err(),
        "the container was made"
    );
    tasks.remove_container(&id)?;
    let records = records(world, &id)?;
    expect_eq!(operations(&records), [("create", "deny")], "records {records:?}");
    let denied = records.iter().any(|record| {
        record
            .pointer("/record/findings")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .any(|finding| finding["action"] == "denied")
    });
    expect!(denied, "no denied finding in {records:?}");
    Ok(())
}

fn log_mode(world: &World) -> Check {
    use std::os::unix::fs::MetadataExt as _;
    world.containerd.run(&Run::new(Runtime::Palisade, &["true"]))?.success()?;
    let log = fs::metadata(world.containerd.layout().audit())?;
    expect_eq!((log.uid(), log.mode() & 0o7777), (0, 0o600), "owner and mode");
    Ok(())
}
