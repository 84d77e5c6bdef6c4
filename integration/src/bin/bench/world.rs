//! What every part of the benchmark works in.

use std::fs;
use std::path::Path;

use palisade_integration::policy::PolicyFile;
use palisade_integration::tasks::Tasks;
use palisade_integration::{Assets, Containerd, Enclosure, Failure, Leftovers, leftovers};
use serde_json::Value;

use crate::side::Side;
use crate::{hierarchies, spec};

/// A private containerd and the specification that all sides run.
pub(crate) struct World<'a> {
    pub(crate) containerd: &'a Containerd,
    pub(crate) spec: Value,
}

impl World<'_> {
    /// Makes it a side's turn: the shims that start from now on have its runtime.
    pub(crate) fn turn(&self, side: Side) -> Result<(), Failure> {
        side.policy(self.containerd.assets()).write(self.containerd.layout())
    }
}

/// Does something in a world that leaves nothing behind.
pub(crate) fn within<T>(work: impl FnOnce(&World<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
    let assets = Assets::locate()?;
    let enclosure = Enclosure::enter(&assets.busybox)?;
    hierarchies::without_unified(&enclosure)?;
    // What a node's containerd tells by default; the shims take it over.
    let containerd = Containerd::start_telling(&enclosure, assets, &PolicyFile::defaults(), "info")?;
    let before = Leftovers::count(&containerd)?;
    let done = Tasks::connect(&containerd).and_then(|tasks| {
        let spec = spec::hardened(&containerd, &tasks)?;
        work(&World { containerd: &containerd, spec })
    });
    forget_filters(&containerd)?;
    let settled = Leftovers::settle(&before, &containerd);
    let swept = if settled.is_err() { leftovers::sweep(&containerd) } else { Ok(()) };
    let removed = containerd.stop().and_then(|()| leftovers::remove_parent_cgroups(containerd.tag()));
    // What failed first is told.
    let done = done?;
    settled.and(swept).and(removed).map(|()| done)
}

/// Under runc's shim crun keeps the filters that it has compiled, and nobody removes them.
fn forget_filters(containerd: &Containerd) -> Result<(), Failure> {
    let kept = Path::new("/run/containerd/runc").join(containerd.tag()).join(".cache");
    if !kept.exists() {
        return Ok(());
    }
    fs::remove_dir_all(&kept).map_err(Failure::io("remove", &kept))
}
