//! Root + real containerd: a private containerd, images built here, and clients for its API and for CRI.
//!
//! The suite (`tests/suite.rs`), the demonstration and the benchmark share this. Each first enters an [`Enclosure`]: mount and network
//! namespaces of its own with a fresh `/run`, so that containerd's sockets, mounts, network interfaces and the shims' state touch
//! nothing of the machine, and so that [`Leftovers`] can count what was left behind.

pub mod assets;
pub mod attached;
pub mod bundle_spec;
pub mod cgroup;
pub mod containerd;
mod containerd_config;
pub mod cri;
pub mod ctr;
pub mod enclosure;
pub mod events;
pub mod failure;
pub mod footprint;
pub mod image;
pub mod invocation;
pub mod journald;
pub mod leftovers;
pub mod nri;
pub mod policy;
pub mod poll;
pub mod prometheus;
pub mod registry;
pub mod shim_client;
pub mod soak;
pub mod streaming;
pub mod streams;
pub mod tasks;
pub mod work;

pub use assets::Assets;
pub use containerd::{Containerd, Runtime};
pub use enclosure::Enclosure;
pub use failure::Failure;
pub use leftovers::Leftovers;
