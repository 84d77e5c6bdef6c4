//! What the image, or a volume mounted before, has where the runtime is going to mount.

use std::path::{Path, PathBuf};

/// One place in the root filesystem before anything is mounted there, but after the mounts before it.
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

/// Where the runtime is going to mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As the specification names it.
    pub destination: PathBuf,
    /// Index in `/mounts`; `None` for a place of the kernel's filesystems at which nothing is mounted.
    pub mount: Option<usize>,
}

/// The destinations of mounts, in their order, and the places of the kernel's filesystems.
pub(crate) fn places<'a>(destinations: impl Iterator<Item = &'a Path>) -> Vec<Place> {
    let mounts = destinations.enumerate();
    let mut places: Vec<Place> =
        mounts.map(|(mount, destination)| Place { destination: destination.into(), mount: Some(mount) }).collect();
    for kernel in KERNEL.map(Path::new) {
        if places.iter().all(|place| place.destination != kernel) {
            // The image's own, which no mount has covered yet.
            places.insert(0, Place { destination: kernel.into(), mount: None });
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_places_are_looked_at_whether_or_not_anything_is_mounted_there() {
        let places = places(["/proc", "/dev", "/data/sub"].into_iter().map(Path::new));
        let all: Vec<_> = places.iter().map(|place| (place.destination.to_str().unwrap(), place.mount)).collect();
        assert_eq!(all, [("/sys", None), ("/proc", Some(0)), ("/dev", Some(1)), ("/data/sub", Some(2))]);
    }
}
