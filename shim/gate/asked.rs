//! What a further process was to run, for the record.

use palisade_policy::{ExecRequest, redact_arguments};
use serde::Deserialize;

use crate::audit::Asked;

/// Arguments that a record holds.
const MOST: usize = 32;
/// Characters of each.
const LONGEST: usize = 256;
/// Bytes of each that are looked at for secrets: what is further on is not told anyway.
const LOOKED_AT: usize = 16 * LONGEST;
/// Bytes of all of them as JSON: a record is for what was run, not for what was said, and the log's room is everybody's.
const ALL: usize = 2 << 10;

#[derive(Deserialize)]
struct Process {
    #[serde(default)]
    args: Vec<String>,
}

/// As far as it can be read; the judgement says what is wrong with a request that can't.
pub(super) fn asked_of(request: &ExecRequest<'_>) -> Asked {
    let process = serde_json::from_slice(request.process).unwrap_or(Process { args: Vec::new() });
    let args = redact_arguments(process.args.iter().take(MOST).map(|argument| beginning(argument)));
    let cut = |argument: String| argument.chars().take(LONGEST).collect::<String>();
    let mut room = ALL;
    let fits = |argument: &String| match room.checked_sub(encoded(argument)) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    };
    Asked { args: args.into_iter().map(cut).take_while(fits).collect(), terminal: request.terminal }
}

fn beginning(argument: &str) -> &str {
    argument.get(..argument.floor_char_boundary(LOOKED_AT)).unwrap_or_default()
}

/// Bytes of a text in a JSON document: a control character takes six.
fn encoded(text: &str) -> usize {
    text.chars()
        .map(|c| if c.is_ascii_control() { 6 } else { c.len_utf8().max(1 + usize::from(matches!(c, '"' | '\\'))) })
        .sum()
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
        let many = serde_json::json!({ "args": vec!["é"; 100] }).to_string();
        assert_eq!(asked(&many).args.len(), MOST);
        for (character, whole) in [("é", 4), ("\u{1}", 1), ("\"", 4), ("x", 8)] {
            let long = serde_json::json!({ "args": vec![character.repeat(1000); 100] }).to_string();
            let told = asked(&long);
            assert!(told.args.iter().all(|argument| argument.chars().count() == LONGEST));
            assert_eq!(told.args.len(), whole, "{character:?}");
            assert!(serde_json::to_string(&told.args).unwrap().len() < ALL + 100);
        }
        let deep = serde_json::json!({ "args": ["a=".repeat(1 << 20), format!("{}password=x", "é".repeat(4000))] });
        assert!(asked(&deep.to_string()).args.iter().all(|argument| !argument.contains("=x")));
        assert!(asked("[").args.is_empty());
    }
}
