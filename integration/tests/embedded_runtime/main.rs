//! The embedded OCI runtime by its command line: as root, without containerd, with runc beside it where it is the measure.
//!
//! `PALISADE_SHIM` names the shim's binary; `runc` and a static `busybox` are taken from `PATH`. Each test makes its own
//! bundle, state directory and cgroup and counts at the end that nothing of them is left.

#[cfg(test)]
mod credentials;
#[cfg(test)]
mod exec;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod listening;
#[cfg(test)]
mod mounts;
#[cfg(test)]
mod support;
