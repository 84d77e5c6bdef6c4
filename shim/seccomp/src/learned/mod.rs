//! Profiles made of what a workload was seen to call.

mod base;
mod seen;

pub use base::UNASKED;
pub use seen::{Seen, Values};
