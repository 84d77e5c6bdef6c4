//! `palisade`: what the policy would do with a specification, what it did with a container, and what a change of the
//! policy would mean. The decisions are the shim's own: the same crates, called in the same way.

mod arguments;
mod audit;
mod check;
mod containers;
mod doctor;
mod error;
mod events;
mod explain;
mod image;
mod install;
mod kubernetes;
mod learn;
mod log;
mod monitor;
mod page;
mod policy;
mod ps;
mod refusals;
mod replay;
mod report;
mod schema;
mod seccomp;
mod sync;
mod verify;
mod yaml;

use std::env;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use arguments::{Arguments, Command};
use error::CliError;

/// What a command ends with.
pub(crate) enum Verdict {
    /// Nothing to object to: exit code 0.
    Fine,
    /// Something was or would be refused or treated differently: exit code 1.
    Objections,
}

fn main() -> ExitCode {
    if let Some(arguments) = image::verifier::arguments(env::args_os().map(|word| word.to_string_lossy().into_owned()))
    {
        return image::verifier::run(&arguments);
    }
    let mut out = Vec::new();
    let ran = run(Arguments::parse().command, &mut out);
    // A reader that has gone away (`| head`) is no fault of this program.
    let written = io::stdout().write_all(&out).and_then(|()| io::stdout().flush());
    match (ran, written) {
        (Ok(Verdict::Fine), _) => ExitCode::SUCCESS,
        (Ok(Verdict::Objections), _) => ExitCode::from(1),
        (Err(error), _) => {
            eprintln!("palisade: {}", error.chain());
            ExitCode::from(2)
        }
    }
}

fn run(command: Command, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    match command {
        Command::Check(arguments) => check::run(&arguments, out),
        Command::Explain(arguments) => explain::run(&arguments, out),
        Command::Verify(arguments) => verify::run(&arguments, out),
        Command::Ps(arguments) => ps::run(&arguments, out),
        Command::Policy(command) => policy::run(command, out),
        Command::Seccomp(command) => seccomp::run(command, out),
        Command::Replay(arguments) => replay::run(&arguments, out),
        Command::Refusals(arguments) => refusals::run(&arguments, out),
        Command::Events(arguments) => events::run(&arguments, out),
        Command::Audit(command) => audit::run(&command, out),
        Command::Monitor(arguments) => monitor::run(&arguments, out),
        Command::Doctor(arguments) => doctor::run(&arguments, out),
        Command::Report(arguments) => page::run(&arguments, out),
        Command::Image(command) => image::run(&command, out),
        Command::Learn(command) => learn::run(&command, out),
        Command::Install(arguments) => install::install(&arguments, out),
        Command::Uninstall(arguments) => install::uninstall(&arguments, out),
        Command::Within { root, words } => install::within(&root, &words),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "palisade", out);
            Ok(Verdict::Fine)
        }
    }
}
