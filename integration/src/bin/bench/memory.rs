//! The memory of a shim with one running container while five such shims run.

use std::fs;

use palisade_integration::ctr::unique;
use palisade_integration::tasks::{CreateOptions, Tasks};
use palisade_integration::{Containerd, Failure, Runtime};
use serde_json::Value;

use crate::{SIDES, steps};

const SHIMS: usize = 5;

/// KiB of a shim, from `/proc/<pid>/smaps_rollup`.
#[derive(Clone, Copy)]
pub(crate) struct Shim {
    /// Proportional set size: what is shared is counted in parts.
    pub(crate) pss: u64,
    /// Resident set size.
    pub(crate) rss: u64,
    /// Private and not a file's.
    pub(crate) anonymous: u64,
}

/// The shims of one side.
pub(crate) struct Memory {
    pub(crate) side: Runtime,
    pub(crate) shims: Vec<Shim>,
}

/// Runs five containers of each side, all at once, and looks at each one's shim.
pub(crate) fn of_five_each(containerd: &Containerd, tasks: &Tasks, spec: &Value) -> Result<Vec<Memory>, Failure> {
    let mut running = Vec::new();
    for _ in 0..SHIMS {
        for side in SIDES {
            let id = unique("resident");
            let mounts =
                tasks.make_container(&id, &containerd.runtime_name(side), &steps::spec_for(containerd, spec, &id))?;
            let init = tasks.create(&id, mounts, CreateOptions::default())?;
            tasks.start(&id, "")?;
            running.push((side, id, init));
        }
    }
    let mut found = SIDES.map(|side| Memory { side, shims: Vec::new() });
    for (side, _, init) in &running {
        let shim = shim_of(*init)?;
        found.iter_mut().filter(|memory| memory.side == *side).for_each(|memory| memory.shims.push(shim));
    }
    for (_, id, _) in running {
        tasks.kill(&id, "", 9)?;
        tasks.wait(&id, "")?;
        tasks.delete(&id)?;
        tasks.remove_container(&id)?;
    }
    Ok(found.into())
}

/// A container's init process is its shim's child.
fn shim_of(init: u32) -> Result<Shim, Failure> {
    let parent = field(&format!("/proc/{init}/status"), "PPid:")?;
    let rollup = format!("/proc/{parent}/smaps_rollup");
    Ok(Shim { pss: field(&rollup, "Pss:")?, rss: field(&rollup, "Rss:")?, anonymous: field(&rollup, "Anonymous:")? })
}

fn field(path: &str, name: &str) -> Result<u64, Failure> {
    let text = fs::read_to_string(path).map_err(|source| Failure::Io { action: format!("read {path}"), source })?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    value.ok_or_else(|| Failure::Unreadable { what: path.to_owned(), detail: format!("no {name}") })
}
