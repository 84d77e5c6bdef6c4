//! What became of a flood of refused calls.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How each call ended, and how long all of them took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flood {
    /// Calls by their errno; 0 for those that ran.
    pub errnos: BTreeMap<i32, u64>,
    /// Microseconds of all together.
    pub micros: u64,
}
