//! What the image put where the runtime is going to mount.

use std::path::{Path, PathBuf};

/// One place in the root filesystem before anything is mounted there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceFact {
    /// The place as the specification names it.
    pub destination: PathBuf,
    /// Where it leads with every symbolic link followed inside the root filesystem, absolute from there. Parts that
    /// do not exist are taken as they stand. `None`: the links lead round in a circle.
    pub leads_to: Option<PathBuf>,
    /// Whether something other than a directory is there.
    pub is_file: bool,
}

/// Where the kernel's own filesystems are mounted, whether or not the specification says so.
const KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Whether a path is or lies in one of the kernel's filesystems.
pub(crate) fn is_kernel_place(path: &Path) -> bool {
    KERNEL.iter().any(|place| path.starts_with(place))
}

/// Whether a path is where one of them is mounted.
pub(crate) fn is_kernel_root(path: &Path) -> bool {
    KERNEL.iter().any(|place| path == Path::new(place))
}

/// The places of the image that mounts at `destinations` go to, in their order, and those of the kernel's filesystems.
/// What lies below an earlier mount is not the image's.
pub(crate) fn places<'a>(destinations: impl Iterator<Item = &'a Path>) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = Vec::new();
    let mut mounted: Vec<&Path> = Vec::new();
    for destination in destinations {
        if !mounted.iter().any(|above| destination.starts_with(above)) {
            places.push(destination.to_owned());
        }
        mounted.push(destination);
    }
    for place in KERNEL.map(PathBuf::from) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_image_holds_is_looked_at() {
        let destinations = ["/proc", "/dev", "/dev/shm", "/data", "/data/sub", "/etc/hosts", "/database"];
        let places = places(destinations.into_iter().map(Path::new));
        let expected = ["/proc", "/dev", "/data", "/etc/hosts", "/database", "/sys"];
        assert_eq!(places, expected.map(PathBuf::from));
    }
}
