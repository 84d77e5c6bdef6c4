//! What `probe` prints, for the program that prints it and for the suite that reads it.
//!
//! `probe` is the workload of the integration suite. Inside a container it tries kernel primitives that an isolation policy takes away
//! ([`Outcome`], one JSON line each) and reports what the kernel enforces on its own process ([`ProcessReport`], one JSON document).
//! No attempt carries an exploit: each stops at the primitive (a socket that opens, a file that could be written) and undoes it.

mod flooded;
mod kernel_work;
mod made_call;
mod outcome;
mod process_report;

pub use flooded::Flood;
pub use kernel_work::{Cgroup, KernelWork, MountCall, WorkDone};
pub use made_call::{Made, Table};
pub use outcome::{Outcome, Verdict};
pub use process_report::{MountPoint, ProcessReport};
