//! Which huge page sizes a cgroup counts.

use rustix::fs::FileType;

use crate::cgroup::CgroupError;
use crate::cgroup::directory::Directory;

/// The page sizes that have a file `hugetlb.<size><suffix>`, as the kernel spells them (`2MB`), in a fixed order.
pub(super) fn page_sizes(directory: &Directory, suffix: &str) -> Result<Vec<String>, CgroupError> {
    let mut sizes: Vec<String> = directory
        .names(FileType::RegularFile)?
        .iter()
        .filter_map(|name| name.to_str()?.strip_prefix("hugetlb.")?.strip_suffix(suffix))
        .filter(|size| !size.contains('.'))
        .map(str::to_owned)
        .collect();
    sizes.sort_unstable();
    Ok(sizes)
}
