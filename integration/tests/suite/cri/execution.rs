//! Commands in a running container, without streams of their own.

use k8s_cri::v1 as api;
use palisade_probe::ProcessReport;

use super::containers::shell;
use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Fault, Stage};

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "execSync gives output, error output and exit code",
        "Container: execSync",
        output,
        &[("standard output", "out"), ("standard error", "err"), ("code", "5")],
    ),
    scenario(
        "execSync that takes too long ends with its processes",
        "Container: execSync with timeout",
        timeout,
        &[("answer", "DeadlineExceeded"), ("left over", "no process")],
    ),
    scenario(
        "a program of execSync that is not there",
        "",
        missing,
        &[("answer", "Unknown, names the program"), ("then", "still here")],
    ),
    scenario("execSync carries a megabyte", "", much, &[("bytes", "1048576"), ("code", "0")]),
    scenario(
        "a process of execSync is confined as its container is",
        "",
        confinement,
        &[
            ("Uid", "1000 1000 1000 1000"),
            ("Groups", "6 1000 4000"),
            ("CapBnd", "00000000a80425fb"),
            ("NoNewPrivs", "1"),
            ("namespaces", "init's"),
        ],
    )
    .restricted(&[
        ("Uid", "1000 1000 1000 1000"),
        ("Groups", "1000 4000"),
        ("CapBnd", "0000000000000400"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("namespaces", "init's"),
    ]),
    scenario("execSync in a container that ended", "", ended, &[("answer", "Unknown")]),
];

fn output(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(
        |_| (),
        |container, seen| {
            let executed = container.exec(&["sh", "-c", "echo out; echo err >&2; exit 5"])?;
            seen.note("standard output", executed.stdout);
            seen.note("standard error", executed.stderr);
            seen.note("code", executed.code);
            Ok(())
        },
    )
}

fn timeout(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(
        |_| (),
        |container, seen| {
            let request = api::ExecSyncRequest {
                container_id: container.id.clone(),
                cmd: ["sleep", "77"].map(str::to_owned).to_vec(),
                timeout: 1,
            };
            let answer = stage.cri.ask("ExecSync", |mut client| async move { client.exec_sync(request).await });
            let code = answer.as_ref().err().and_then(|failure| failure.refusal()).map(|(code, _)| format!("{code:?}"));
            seen.note("answer", code.unwrap_or_else(|| format!("{answer:?}")));
            container.note(seen, "left over", "ps -o args | grep -q '^sleep 77' && echo processes || echo no process")
        },
    )
}

fn missing(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(
        |_| (),
        |container, seen| {
            match container.exec(&["/no/such/program"]).as_ref().map_err(|failure| failure.refusal()) {
                Ok(executed) => seen.note("answer", format!("{executed:?}")),
                Err(None) => seen.note("answer", "none"),
                Err(Some((code, message))) => {
                    let names = message.contains("/no/such/program");
                    seen.note("answer", format!("{code:?}, {}", if names { "names the program" } else { message }));
                }
            }
            container.note(seen, "then", "echo still here")
        },
    )
}

fn much(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(
        |_| (),
        |container, seen| {
            let executed = container.exec(&["sh", "-c", "dd if=/dev/zero bs=65536 count=16 2>/dev/null"])?;
            seen.note("bytes", executed.stdout.len());
            seen.note("code", executed.code);
            Ok(())
        },
    )
}

fn confinement(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let change = |config: &mut api::ContainerConfig| {
        super::stage::secured(config, |security| {
            security.run_as_user = Some(api::Int64Value { value: 1000 });
            security.run_as_group = Some(api::Int64Value { value: 1000 });
            security.supplemental_groups = vec![4000];
            security.no_new_privs = true;
        });
    };
    stage.one(change, |container, seen| {
        let report: ProcessReport = serde_json::from_str(&container.exec(&["/probe", "report"])?.stdout)?;
        let init = container.pid()?.to_string();
        let fields = [
            "Uid",
            "Gid",
            "Groups",
            "Umask",
            "CapInh",
            "CapPrm",
            "CapEff",
            "CapBnd",
            "CapAmb",
            "NoNewPrivs",
            "Seccomp",
            "SigBlk",
        ];
        for field in fields {
            seen.note(field, report.text(field).replace('\t', " "));
        }
        for (name, (soft, hard)) in &report.limits {
            seen.note(format!("limit {name}"), format!("{soft} {hard}"));
        }
        seen.note("oom_score_adj", report.oom_score_adj);
        seen.note("environment", report.environment.join(" "));
        seen.note("descriptors", report.descriptors.keys().cloned().collect::<Vec<_>>().join(" "));
        let mut strangers = Vec::new();
        for (kind, namespace) in &report.namespaces {
            if !kind.ends_with("_for_children") && super::look::namespace(&init, kind)? != *namespace {
                strangers.push(kind.as_str());
            }
        }
        seen.note("namespaces", if strangers.is_empty() { "init's".to_owned() } else { strangers.join(" ") });
        Ok(())
    })
}

fn ended(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let container = stage.container(&pod, |config| shell(config, "exit 0"))?;
    super::containers::awaited_end(&container)?;
    let mut seen = Seen::new();
    let answer = container.exec(&["true"]);
    let code = answer.as_ref().err().and_then(|failure| failure.refusal()).map(|(code, _)| format!("{code:?}"));
    seen.note("answer", code.unwrap_or_else(|| format!("{answer:?}")));
    pod.remove()?;
    Ok(seen)
}
