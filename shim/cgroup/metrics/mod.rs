//! What the kernel counts for a container, in containerd's metrics messages.
//!
//! A file that the kernel does not have leaves its message absent, a file that does not parse is an error: a zero
//! in the answer is a zero in the file.

mod blkio;
mod hugetlb;
mod rdma;
mod v1;
mod v2;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;

use super::{Cgroup, CgroupError, Version};

impl Cgroup {
    /// The counters and limits of the container, as `Stats` answers them: `io.containerd.cgroups.v1.Metrics` or
    /// `io.containerd.cgroups.v2.Metrics`, with the type URL that containerd's typeurl registers (the message's full name).
    ///
    /// Units are the kernel's and containerd's: bytes, nanoseconds of CPU on v1, microseconds on v2. No limit is
    /// `u64::MAX` on v2, and for pids on v1 it is 0, as containerd's own shim says it.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Gone`] after removal, and whatever cannot be read or understood.
    pub fn metrics(&self) -> Result<Any, CgroupError> {
        if self.is_gone()? {
            return Err(CgroupError::Gone { path: self.path().to_path_buf() });
        }
        match self.version() {
            Version::V1 => packed("io.containerd.cgroups.v1.Metrics", &v1::metrics(self)?),
            Version::V2 => packed("io.containerd.cgroups.v2.Metrics", &v2::metrics(self)?),
        }
    }
}

fn packed(name: &str, metrics: &impl Message) -> Result<Any, CgroupError> {
    let value = metrics.write_to_bytes().map_err(|source| CgroupError::Unencodable { source })?;
    Ok(Any { type_url: name.to_owned(), value, ..Any::default() })
}
