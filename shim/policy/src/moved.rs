//! Secrets that are taken out of an environment and shown to the container as files.

use std::fmt;
use std::path::Path;

use oci_spec::runtime as oci;

use crate::node::is_clean;

/// Where a container finds its moved secrets: one file each, named as the variable was.
pub const SECRETS_DIRECTORY: &str = "/run/palisade/secrets";

/// Directories above it at which no volume of the pod may stand, under either of the names that images have for them.
const PARENTS: [&str; 3] = ["/run", "/var/run", "/"];

/// What the environment of the official images has in a variable's place: `NAME_FILE`.
const SUFFIX: &str = "_FILE";

/// The longest name of such a variable: file names have 255 bytes (NAME_MAX).
const LONGEST_NAME: usize = 200;

/// The flags that the directory has in the container.
pub(crate) const FLAGS: [&str; 4] = ["ro", "nosuid", "nodev", "noexec"];

/// The kernel counts in pages; the largest that Linux has are of 64 KiB.
const PAGE: u64 = 64 << 10;

/// One secret as a file. It is shown nowhere, and overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretFile {
    name: String,
    content: Vec<u8>,
}

impl SecretFile {
    pub(crate) fn new(name: &str, content: &str) -> Self {
        Self { name: name.to_owned(), content: content.as_bytes().to_vec() }
    }

    /// The file's name, which is the variable's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The secret.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }
}

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretFile").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        self.content.fill(0);
        // Else nobody could tell that it was done, and it would be left out.
        std::hint::black_box(&self.content);
    }
}

/// Where secrets can be moved to, for one process.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SecretPlace<'a> {
    /// A new container's directory.
    Free,
    /// Something of the pod's is mounted there, or where it would be seen from.
    Taken(&'a Path),
    /// The container has been given these.
    Given(&'a [String]),
}

impl<'a> SecretPlace<'a> {
    /// The place in a container with these mounts. Below a fresh tmpfs it is free, as containerd's own default has one on /run.
    pub(crate) fn among(mounts: &'a [oci::Mount]) -> Self {
        let taken = mounts.iter().find(|mount| {
            let at = mount.destination();
            let is_volume = mount.typ().as_deref() != Some("tmpfs") || crate::spec::is_bind(mount);
            let below = at.starts_with("/run/palisade") || at.starts_with("/var/run/palisade");
            below || !is_clean(at) || is_volume && PARENTS.iter().any(|parent| at == Path::new(parent))
        });
        taken.map_or(Self::Free, |mount| Self::Taken(mount.destination()))
    }
}

/// The variable that names the file of another one.
pub(crate) fn file_variable(name: &str) -> String {
    format!("{name}{SUFFIX}")
}

/// The same with its value.
pub(crate) fn file_entry(name: &str) -> String {
    format!("{name}{SUFFIX}={SECRETS_DIRECTORY}/{name}")
}

/// Whether a variable's name can be a file's.
pub(crate) fn can_be_file(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(plain)
}

/// The directory as a mount of the specification: it is made before the runtime is started, which finds it in this mount's place.
pub(crate) fn mount_of(files: &[SecretFile]) -> oci::Mount {
    let pages = |file: &SecretFile| (file.content.len() as u64).div_ceil(PAGE);
    let size = files.iter().map(pages).sum::<u64>().max(1).saturating_mul(PAGE);
    let options = FLAGS.iter().map(|flag| (*flag).to_owned()).chain(["mode=0500".to_owned(), format!("size={size}")]);
    let mut mount = oci::Mount::default();
    mount
        .set_destination(SECRETS_DIRECTORY.into())
        .set_typ(Some("tmpfs".to_owned()))
        .set_source(Some("palisade-secrets".into()))
        .set_options(Some(options.collect()));
    mount
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(destination: &str, kind: &str) -> oci::Mount {
        let mut mount = oci::Mount::default();
        mount.set_destination(destination.into()).set_typ(Some(kind.to_owned())).set_options(Some(Vec::new()));
        mount
    }

    #[test]
    fn a_secret_is_not_shown() {
        let file = SecretFile::new("DB_PASSWORD", "hunter2");
        assert_eq!(format!("{file:?}"), "SecretFile { name: \"DB_PASSWORD\", .. }");
    }

    #[test]
    fn the_place_is_free_unless_a_volume_stands_there() {
        for (destination, kind) in [("/run", "tmpfs"), ("/data", "bind"), ("/run/secrets", "bind"), ("/runx", "bind")] {
            assert!(matches!(SecretPlace::among(&[mount(destination, kind)]), SecretPlace::Free), "{destination}");
        }
        for (destination, kind) in [
            ("/run", "bind"),
            ("/var/run", "bind"),
            ("/run/palisade", "tmpfs"),
            ("/run/palisade/secrets", "bind"),
            ("/run/palisade/secrets/A", "bind"),
            ("/var/run/palisade/x", "tmpfs"),
            ("/run/x/../palisade", "tmpfs"),
            ("/run//palisade/", "bind"),
        ] {
            assert!(matches!(SecretPlace::among(&[mount(destination, kind)]), SecretPlace::Taken(_)), "{destination}");
        }
    }

    #[test]
    fn names_of_files() {
        assert_eq!(file_entry("A"), "A_FILE=/run/palisade/secrets/A");
        assert!(can_be_file("DB_PASSWORD") && can_be_file("_x9"));
        for name in ["", "..", "a/b", "a.b", "a-b", "ä"] {
            assert!(!can_be_file(name), "{name}");
        }
        assert!(!can_be_file(&"A".repeat(201)));
    }
}
