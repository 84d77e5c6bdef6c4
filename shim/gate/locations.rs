//! Where else a file is, when a bind mount stands at its path.
//!
//! The kubelet binds what a volume's subPath names below `volume-subpaths`, so the path says nothing about what
//! is behind it. The mount table does: a bind mount names the part of its filesystem that it shows, and where
//! another mount shows the same part.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

/// One line of the mount table. Source: proc_pid_mountinfo(5).
struct Mount<'a> {
    id: &'a str,
    device: &'a str,
    root: PathBuf,
    point: PathBuf,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(' ');
        let id = fields.next()?;
        let device = fields.nth(1)?;
        let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
        Some(Self { id, device, root: root.into(), point: point.into() })
    }
}

/// Space, tab, newline and backslash are written as octal.
fn unescape(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// The other paths of the open file `file`, whose path is `path`.
pub(super) fn others_of(file: &File, path: &Path) -> io::Result<Vec<PathBuf>> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).unwrap_or_default().trim();
    Ok(others(id, path, &fs::read_to_string("/proc/self/mountinfo")?))
}

fn others(id: &str, path: &Path, table: &str) -> Vec<PathBuf> {
    let mounts: Vec<Mount<'_>> = table.lines().filter_map(Mount::parse).collect();
    let Some(own) = mounts.iter().find(|mount| mount.id == id) else { return Vec::new() };
    let Ok(inside) = path.strip_prefix(&own.point) else { return Vec::new() };
    let in_filesystem = joined(&own.root, inside);
    let same_filesystem = mounts.iter().filter(|mount| mount.device == own.device && mount.id != own.id);
    same_filesystem
        .filter_map(|mount| Some(joined(&mount.point, in_filesystem.strip_prefix(&mount.root).ok()?)))
        .filter(|other| other != path)
        .collect()
}

/// `join` of an empty path would add a slash.
fn joined(base: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { base.into() } else { base.join(rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
30 20 8:1 /etc/ssl /var/lib/kubelet/pods/u/volume-subpaths/v/c/0 rw - ext4 /dev/sda1 rw\n\
40 20 0:50 / /var/lib/kubelet/pods/u/volumes/kubernetes.io~secret/s rw - tmpfs tmpfs rw\n\
41 20 0:50 /key\\040file /var/lib/kubelet/pods/u/volume-subpaths/s/c/0 rw - tmpfs tmpfs rw\n";

    #[test]
    fn a_subpath_of_a_host_path_shows_where_it_leads() {
        let path = Path::new("/var/lib/kubelet/pods/u/volume-subpaths/v/c/0");
        assert_eq!(others("30", path, TABLE), [PathBuf::from("/etc/ssl")]);
        assert_eq!(others("30", &path.join("certs"), TABLE), [PathBuf::from("/etc/ssl/certs")]);
    }

    #[test]
    fn a_subpath_of_a_volume_shows_the_volume() {
        let path = Path::new("/var/lib/kubelet/pods/u/volume-subpaths/s/c/0");
        let volume = PathBuf::from("/var/lib/kubelet/pods/u/volumes/kubernetes.io~secret/s/key file");
        assert_eq!(others("41", path, TABLE), [volume]);
    }

    #[test]
    fn an_open_file_is_found_in_the_table() {
        let file = File::open("/proc/self/status").unwrap();
        assert!(others_of(&file, Path::new("/proc/self/status")).is_ok());
        assert!(others("99", Path::new("/x"), TABLE).is_empty());
    }
}
