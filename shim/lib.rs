//! palisade: a containerd runtime v2 shim that is the last writer of the OCI spec.
//!
//! containerd hands every container to a shim, and the shim hands it to an OCI runtime. palisade stands at
//! that hand-off: what reaches the runtime has been judged and hardened by the admin's policy, for create,
//! exec and update alike, and what the policy forbids is never created.
//!
//! ```text
//! CreateTask ─▶ OciBundle ─▶ gate (judge, harden, audit) ─▶ HardenedBundle ─▶ OCI runtime ─▶ task
//! ```
//!
//! # Rooms
//!
//! * [`bootstrap`]: the command line and the handshake with containerd (`start`, `delete`, `-info`).
//! * [`daemon`]: the long-lived process of a pod; it serves [`task`] on a ttrpc socket.
//! * [`bundle`]: opening containerd's bundle and writing the private, hardened one.
//! * [`gate`]: the one path judge → harden → audit; nothing else reads the policy.
//! * [`runtime`]: the hand-off to an OCI runtime, the embedded one, runc or crun.
//! * [`task`]: the task service: verbs, states, stdio, exits and events.
//! * [`attest`]: what the kernel really enforces on a process, against what was decided.
//! * [`cgroup`]: what the kernel counts and limits, v1 and v2.
//! * [`watch`]: what the filters of containers ask the shim: calls that were refused, or that run.
//! * [`audit`]: one JSON line for each decision.
//! * `user_namespace`: namespaces that exist for their mappings, and mounts that show files by them.
//! * `rest`: what a shim gives back that has nothing to do.

pub mod attest;
pub mod audit;
pub mod bootstrap;
pub mod bundle;
mod callers;
pub mod cgroup;
pub mod daemon;
pub mod gate;
pub mod image;
pub mod log;
mod rest;
pub mod runtime;
pub mod task;
pub mod ticks;
mod trusted;
mod unsafe_syscalls;
mod user_namespace;
pub mod watch;
