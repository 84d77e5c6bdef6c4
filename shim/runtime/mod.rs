//! The hand-off to an OCI runtime: this same binary as the embedded one, or runc or crun by the admin's choice.
//!
//! All three are called as programs with one command line, so there is one hand-off, and none of a runtime's
//! process-wide side effects (oom_score_adj, dumpable, working directory) reaches the shim. What goes over is a
//! [`HardenedBundle`](crate::bundle::HardenedBundle); nothing here takes a spec.

mod call;
mod choice;
pub mod embedded;
mod filter_program;
mod listening;
mod log;
mod record;
mod view;

pub(crate) use call::read_pid;
pub use call::{Call, ChildStdio, RuntimeError};
pub use choice::{OciRuntime, RUNTIME_ARGUMENT, is_runtime_name};
pub use filter_program::{FilterFile, FilterProgram};
pub use listening::Listening;
pub use record::{ContainerRecord, RECORD_NAME};
pub use view::HostView;
