//! What a further process was to run, for the record.

use palisade_policy::{ExecRequest, redact_arguments};
use serde::Deserialize;

use crate::audit::Asked;

/// Arguments that a record holds.
const MOST: usize = 32;
/// Characters of each.
const LONGEST: usize = 256;

#[derive(Deserialize)]
struct Process {
    #[serde(default)]
    args: Vec<String>,
}

/// As far as it can be read; the judgement says what is wrong with a request that can't.
pub(super) fn asked_of(request: &ExecRequest<'_>) -> Asked {
    let process = serde_json::from_slice(request.process).unwrap_or(Process { args: Vec::new() });
    let args = redact_arguments(process.args.iter().take(MOST).map(String::as_str));
    let cut = |argument: String| argument.chars().take(LONGEST).collect();
    Asked { args: args.into_iter().map(cut).collect(), terminal: request.terminal }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(process: &str) -> Asked {
        let today = crate::gate::today();
        let process = process.as_bytes();
        asked_of(&ExecRequest { process, terminal: true, stdin: "", stdout: "", stderr: "", today })
    }

    #[test]
    fn arguments_are_told_cut_and_without_secrets() {
        let told = asked(r#"{"args": ["mysql", "--password", "hunter2", "TOKEN=hunter2"], "env": ["A=hunter2"]}"#);
        assert_eq!(told.args, ["mysql", "--password", "<redacted>", "TOKEN=<redacted>"]);
        assert!(told.terminal);
        let long = serde_json::json!({ "args": vec!["é".repeat(1000); 100] }).to_string();
        let told = asked(&long);
        assert!(told.args.len() == MOST && told.args.iter().all(|argument| argument.chars().count() == LONGEST));
        assert!(asked("[").args.is_empty());
    }
}
