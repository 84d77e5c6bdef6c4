//! The task API over a machine in memory: each verb and code over ttrpc, and what may overlap in every order.
//!
//! Nothing here needs root or containerd.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::tests_outside_test_module,
    reason = "how a test fails"
)]

mod callers;
mod client;
mod explore;
mod log;
mod moves;
mod orderings;
mod overlaps;
mod panics;
mod play;
mod pod;
mod stand_in;
mod verbs;
