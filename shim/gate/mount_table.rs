//! The host's mounts: where else a file is when a bind mount stands at its path, and what is mounted below a directory.
//!
//! The kubelet binds what a volume's subPath names below `volume-subpaths`, so the path says nothing about what
//! is behind it. The mount table does: a bind mount names the part of its filesystem that it shows, and where
//! another mount shows the same part.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// The mounts of the shim's namespace, read once for one decision.
#[derive(Debug)]
pub(super) struct MountTable(Vec<Mount>);

/// One line of the mount table. Source: proc_pid_mountinfo(5).
#[derive(Debug)]
struct Mount {
    id: u64,
    device: Vec<u8>,
    root: PathBuf,
    point: PathBuf,
}

impl Mount {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let id = str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let device = fields.nth(1)?.to_vec();
        let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
        Some(Self { id, device, root, point })
    }
}

/// Space, tab, newline and backslash are written as a backslash and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after
            .first_chunk::<3>()
            .filter(|digits| *first == b'\\' && digits.iter().all(|digit| (b'0'..b'8').contains(digit)));
        match octal {
            Some(digits) => {
                plain.push(digits.iter().fold(0_u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')));
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(plain).into()
}

impl MountTable {
    /// The table as it is now.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn read() -> io::Result<Self> {
        Ok(Self::parse(&fs::read("/proc/self/mountinfo")?))
    }

    fn parse(table: &[u8]) -> Self {
        Self(table.split(|byte| *byte == b'\n').filter_map(Mount::parse).collect())
    }

    /// The other paths of the open file `file`, whose path is `path`.
    ///
    /// # Errors
    /// The kernel's, for the number of the file's mount.
    pub(super) fn others_of(&self, file: &File, path: &Path) -> io::Result<Vec<PathBuf>> {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
        let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
        Ok(id.map(|id| self.others(id, path)).unwrap_or_default())
    }

    fn others(&self, id: u64, path: &Path) -> Vec<PathBuf> {
        let Some(own) = self.0.iter().find(|mount| mount.id == id) else { return Vec::new() };
        let Ok(inside) = path.strip_prefix(&own.point) else { return Vec::new() };
        let in_filesystem = joined(&own.root, inside);
        let same_filesystem = self.0.iter().filter(|mount| mount.device == own.device && mount.id != own.id);
        same_filesystem
            .filter_map(|mount| Some(joined(&mount.point, in_filesystem.strip_prefix(&mount.root).ok()?)))
            .filter(|other| other != path)
            .collect()
    }

    /// Where something is mounted below `path`, each place once.
    pub(super) fn below(&self, path: &Path) -> Vec<PathBuf> {
        let points = self.0.iter().map(|mount| &mount.point);
        let mut below: Vec<PathBuf> =
            points.filter(|point| *point != path && point.starts_with(path)).cloned().collect();
        below.sort();
        below.dedup();
        below
    }
}

/// `join` of an empty path would add a slash.
fn joined(base: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { base.into() } else { base.join(rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
30 20 8:1 /etc/ssl /var/lib/kubelet/pods/u/volume-subpaths/v/c/0 rw - ext4 /dev/sda1 rw\n\
40 20 0:50 / /var/lib/kubelet/pods/u/volumes/kubernetes.io~secret/s rw - tmpfs tmpfs rw\n\
41 20 0:50 /key\\040file /var/lib/kubelet/pods/u/volume-subpaths/s/c/0 rw - tmpfs tmpfs rw\n\
42 20 0:51 / /srv/a rw - tmpfs tmpfs rw\n\
43 42 0:52 / /srv/a/b rw - tmpfs tmpfs rw\n\
44 43 0:53 / /srv/a/b rw - tmpfs tmpfs rw\n\
45 20 0:54 / /srv/ab rw - tmpfs tmpfs rw\n\
46 20 0:55 / /srv/\\134040\xff rw - tmpfs tmpfs rw\n";

    #[test]
    fn a_subpath_of_a_host_path_shows_where_it_leads() {
        let table = MountTable::parse(TABLE);
        let path = Path::new("/var/lib/kubelet/pods/u/volume-subpaths/v/c/0");
        assert_eq!(table.others(30, path), [PathBuf::from("/etc/ssl")]);
        assert_eq!(table.others(30, &path.join("certs")), [PathBuf::from("/etc/ssl/certs")]);
    }

    #[test]
    fn a_subpath_of_a_volume_shows_the_volume() {
        let path = Path::new("/var/lib/kubelet/pods/u/volume-subpaths/s/c/0");
        let volume = PathBuf::from("/var/lib/kubelet/pods/u/volumes/kubernetes.io~secret/s/key file");
        assert_eq!(MountTable::parse(TABLE).others(41, path), [volume]);
    }

    #[test]
    fn what_is_mounted_below_a_directory_is_found() {
        let table = MountTable::parse(TABLE);
        assert_eq!(table.below(Path::new("/srv/a")), [PathBuf::from("/srv/a/b")]);
        assert!(table.below(Path::new("/srv/a/b")).is_empty());
        let odd = OsString::from_vec(b"/srv/\\040\xff".to_vec());
        let all: Vec<PathBuf> =
            ["/srv/a", "/srv/a/b", "/srv/ab"].into_iter().map(PathBuf::from).chain([odd.into()]).collect();
        let mut found = table.below(Path::new("/srv"));
        found.sort();
        assert_eq!(found.len(), all.len());
        assert!(all.iter().all(|path| found.contains(path)), "{found:?}");
    }

    #[test]
    fn an_open_file_is_found_in_the_table() {
        let file = File::open("/proc/self/status").unwrap();
        assert!(MountTable::read().unwrap().others_of(&file, Path::new("/proc/self/status")).is_ok());
        assert!(MountTable::parse(TABLE).others(99, Path::new("/x")).is_empty());
    }
}
