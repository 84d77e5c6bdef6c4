//! The task service: what containerd asks of a shim, for all containers of one pod.
//!
//! One thread runs everything, so state changes between two `await`s are atomic; locks are held for
//! those stretches only. What may not overlap for one process (create, start, delete, and the report of its
//! exit) takes that process's own async lock: this is what keeps events in the order that containerd needs
//! (create < start < exit < delete).

mod api;
mod attestation;
mod container;
mod create;
mod error;
mod events;
mod exec;
mod exit;
mod held_up;
mod host;
mod io;
mod limit_hits;
mod machine;
pub mod mount;
mod off_loop;
mod oom_pace;
mod process;
mod reaper;
mod service;
mod signal;
mod state;

pub use api::TaskApi;
pub use error::TaskError;
pub use events::{EventQueue, Publisher, TaskEvent};
pub use exit::{Exit, SIGKILL_STATUS, timestamp};
pub use host::{ContainerCgroup, Host, SignalTarget};
pub use io::StdioError;
pub use machine::Machine;
pub use reaper::{Adoption, Child, LastStatus, Reaper, Remembered};
pub use service::TaskService;
pub use signal::SignalNumber;
pub use state::{IllegalMove, TaskState};
