//! Exec and attach with streams of their own, with and without a terminal.

use k8s_cri::v1 as api;
use palisade_integration::streaming::{ENDING, STDERR, STDIN, STDOUT, Streaming};
use serde_json::Value;

use super::containers::{code_and_reason, shell};
use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Container, Fault, Stage};

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "exec without a terminal",
        "Streaming: exec with tty=false and stdin=false",
        plain,
        &[("output", "hello"), ("error output", "wrong"), ("ending", "Success"), ("protocol", "v4.channel.k8s.io")],
    ),
    scenario("exec that fails tells its exit code", "", failing, &[("ending", "Failure NonZeroExitCode 3")]),
    scenario(
        "exec of a program that is not there",
        "",
        missing,
        &[("ending", "Failure InternalError"), ("names the program", "true")],
    ),
    scenario("exec reads standard input", "", input, &[("output", "got word"), ("ending", "Success")]),
    scenario("exec carries a megabyte each way", "", much, &[("output", "1048576"), ("ending", "Success")]),
    scenario(
        "exec with a terminal",
        "Streaming: exec with tty=true and stdin=true",
        terminal,
        &[("output", "is a terminal, echoes, 43 132"), ("ending", "Success")],
    ),
    scenario("an interrupt at the terminal of an exec", "", interrupt, &[("ending", "Failure NonZeroExitCode 130")]),
    scenario(
        "attach without a terminal",
        "Streaming: attach",
        attach,
        &[("output", "got word"), ("another client's", "got more"), ("still runs", "ContainerRunning")],
    ),
    scenario(
        "attach to what reads once: its input ends with the client",
        "",
        attach_once,
        &[("end", "0 Completed"), ("log", "got word the end")],
    ),
    scenario("attach with a terminal", "", attach_terminal, &[("size", "43 132")]),
];

/// What is asked of an exec.
struct Exec<'a> {
    command: &'a [&'a str],
    terminal: bool,
}

const fn exec<'a>(command: &'a [&'a str]) -> Exec<'a> {
    Exec { command, terminal: false }
}

impl Exec<'_> {
    fn open(&self, container: &Container<'_>) -> Result<Streaming, Fault> {
        let request = api::ExecRequest {
            container_id: container.id.clone(),
            cmd: self.command.iter().map(|&word| word.to_owned()).collect(),
            tty: self.terminal,
            stdin: true,
            stdout: true,
            // A terminal has one stream.
            stderr: !self.terminal,
        };
        let answer = container.stage.cri.ask("Exec", |mut client| async move { client.exec(request).await })?;
        Ok(Streaming::open(&answer.url)?)
    }
}

/// How it ended, of the status document that the last message is.
fn ending(streaming: &Streaming) -> Result<String, Fault> {
    let status: Value = serde_json::from_str(&streaming.text(ENDING))?;
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let words = [word(&status["status"]), word(&status["reason"]), word(&status["details"]["causes"][0]["message"])];
    // An internal error's cause is its text.
    let count = if words[1] == "InternalError" { 2 } else { 3 };
    Ok(words[..count].join(" ").trim().to_owned())
}

fn plain(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(
        |_| (),
        |container, seen| {
            let streaming = exec(&["sh", "-c", "echo hello; echo wrong >&2"]).open(container)?.finish()?;
            seen.note("output", streaming.text(STDOUT));
            seen.note("error output", streaming.text(STDERR));
            seen.note("ending", ending(&streaming)?);
            seen.note("protocol", streaming.protocol());
            Ok(())
        },
    )
}

fn failing(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(
        |_| (),
        |container, seen| {
            let streaming = exec(&["sh", "-c", "exit 3"]).open(container)?.finish()?;
            seen.note("ending", ending(&streaming)?);
            Ok(())
        },
    )
}

fn missing(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(
        |_| (),
        |container, seen| {
            let streaming = exec(&["/no/such/program"]).open(container)?.finish()?;
            seen.note("ending", ending(&streaming)?);
            seen.note("names the program", streaming.text(ENDING).contains("/no/such/program"));
            Ok(())
        },
    )
}

fn input(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(
        |_| (),
        |container, seen| {
            let mut streaming = exec(&["sh", "-c", "read -r line; echo got $line"]).open(container)?;
            streaming.send(STDIN, b"word\n")?;
            let streaming = streaming.finish()?;
            seen.note("output", streaming.text(STDOUT));
            seen.note("ending", ending(&streaming)?);
            Ok(())
        },
    )
}

fn much(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(
        |_| (),
        |container, seen| {
            let mut streaming = exec(&["head", "-c", "1048576"]).open(container)?;
            // Small enough that nobody waits for the other to read.
            for _ in 0..32 {
                streaming.send(STDIN, &[b'x'; 1 << 15])?;
            }
            let streaming = streaming.finish()?;
            seen.note("output", streaming.text(STDOUT).len());
            seen.note("ending", ending(&streaming)?);
            Ok(())
        },
    )
}

/// Ends when the terminal has the size.
const SIZED: &str = "until [ \"$(stty size 2>/dev/null)\" = '43 132' ]; do sleep 0.02; done; stty size";

fn terminal(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(
        |_| (),
        |container, seen| {
            let script = format!("tty >/dev/null && echo is a terminal; {SIZED}; read -r line; echo got $line");
            let command = ["sh", "-c", &script];
            let mut streaming = Exec { terminal: true, command: &command }.open(container)?;
            streaming.resize(132, 43)?;
            streaming.until(STDOUT, "43 132")?;
            streaming.send(STDIN, b"word\n")?;
            let streaming = streaming.finish()?;
            let text = streaming.text(STDOUT);
            let told = ["is a terminal\r\n", "word\r\ngot word\r\n", "43 132\r\n"].map(|part| text.contains(part));
            let words = ["is a terminal", "echoes", "43 132"];
            let words: Vec<_> = words.iter().zip(told).filter(|(_, told)| *told).map(|(word, _)| *word).collect();
            seen.note("output", words.join(", "));
            seen.note("text", text);
            seen.note("ending", ending(&streaming)?);
            Ok(())
        },
    )
}

fn interrupt(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(
        |_| (),
        |container, seen| {
            let command = ["sh", "-c", "echo ready; exec sleep 100"];
            let mut streaming = Exec { terminal: true, command: &command }.open(container)?;
            streaming.until(STDOUT, "ready")?;
            streaming.send(STDIN, b"\x03")?;
            let streaming = streaming.finish()?;
            seen.note("ending", ending(&streaming)?);
            Ok(())
        },
    )
}

fn attached(container: &Container<'_>, terminal: bool) -> Result<Streaming, Fault> {
    let request = api::AttachRequest {
        container_id: container.id.clone(),
        stdin: true,
        tty: terminal,
        stdout: true,
        stderr: !terminal,
    };
    let answer = container.stage.cri.ask("Attach", |mut client| async move { client.attach(request).await })?;
    Ok(Streaming::open(&answer.url)?)
}

const READER: &str = "while read -r line; do echo got $line; done; echo the end";

fn attach(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(
        |config| {
            config.stdin = true;
            shell(config, READER);
        },
        |container, seen| {
            for (name, word) in [("output", "word"), ("another client's", "more")] {
                let mut streaming = attached(container, false)?;
                streaming.send(STDIN, format!("{word}\n").as_bytes())?;
                streaming.until(STDOUT, &format!("got {word}\n"))?;
                seen.note(name, streaming.text(STDOUT));
                streaming.leave()?;
            }
            seen.note("still runs", super::containers::state(container)?);
            Ok(())
        },
    )
}

fn attach_once(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(
        |config| {
            (config.stdin, config.stdin_once) = (true, true);
            shell(config, READER);
        },
        |container, seen| {
            let mut streaming = attached(container, false)?;
            streaming.send(STDIN, b"word\n")?;
            streaming.until(STDOUT, "got word\n")?;
            streaming.leave()?;
            seen.note("end", code_and_reason(container)?);
            let log = std::fs::read_to_string(&container.log)?;
            let words: Vec<_> = log.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect();
            seen.note("log", words.join(" "));
            Ok(())
        },
    )
}

fn attach_terminal(stage: &Stage<'_>) -> Result<Seen, Fault> {
    stage.one(
        |config| {
            (config.stdin, config.tty) = (true, true);
            shell(config, &format!("{SIZED}; exec /probe sleep"));
        },
        |container, seen| {
            let mut streaming = attached(container, true)?;
            streaming.resize(132, 43)?;
            streaming.until(STDOUT, "43 132\r\n")?;
            seen.note("size", streaming.text(STDOUT));
            streaming.leave()?;
            seen.note(
                "terminal",
                format!("{:?}", container.exec(&["ls", "-l", "/dev/console"])?.stdout.starts_with('c')),
            );
            Ok(())
        },
    )
}
