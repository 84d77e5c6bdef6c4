use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What one attempt met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The kernel did it, or failed for a reason that shows that every permission check was passed.
    Reached,
    /// The kernel refused; `errno` says how.
    Refused,
    /// The attempt's process was ended by signal `errno`.
    Killed,
}

/// One line of `probe try`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The attempt's name in the table of attempts.
    pub name: String,
    /// What it met.
    pub result: Verdict,
    /// The error number of a refusal, the signal of a killed attempt, otherwise 0.
    pub errno: i32,
}

impl Outcome {
    /// Reads the JSON lines that `probe try` printed, by attempt name.
    ///
    /// # Errors
    /// The first line that is not an outcome.
    pub fn parse_lines(output: &str) -> Result<BTreeMap<String, Self>, serde_json::Error> {
        output
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| serde_json::from_str::<Self>(line).map(|outcome| (outcome.name.clone(), outcome)))
            .collect()
    }
}
