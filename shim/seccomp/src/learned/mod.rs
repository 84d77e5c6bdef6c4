//! Profiles made of what a workload was seen to call.

mod base;
mod profile;
mod seen;

pub use base::UNASKED;
pub use profile::LearnError;
pub use seen::{Seen, Values};
