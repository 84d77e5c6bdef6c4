//! Whether a volume holds a token of a service account, whatever its author calls the volume and the file.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use palisade_policy::is_service_account_token;
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};

/// How many files and directories of a volume are looked at, and how deep.
const MOST: usize = 256;
const DEEPEST: usize = 8;
/// Where a token shows by its beginning.
const BEGINNING: u64 = 64;
/// Tokens have one to two KiB, more if their author lists audiences. What begins as one and is longer counts as one: an object of Kubernetes can't be.
const LONGEST: u64 = 4 << 20;

/// Looks at a file, or at all files of a directory. What can't be looked at, or not in full, counts as one.
pub(super) fn holds_token(source: &File) -> bool {
    let mut left = MOST;
    look(source, Path::new("."), DEEPEST, &mut left).unwrap_or(true)
}

fn look(root: &File, path: &Path, depth: usize, left: &mut usize) -> io::Result<bool> {
    *left = left.checked_sub(1).ok_or(io::ErrorKind::QuotaExceeded)?;
    let place = find(root, path)?;
    match FileType::from_raw_mode(fstat(&place)?.st_mode) {
        FileType::Directory => {
            let deeper = depth.checked_sub(1).ok_or(io::ErrorKind::QuotaExceeded)?;
            for name in names_in(&opened(&place)?, path == Path::new("."))? {
                if look(root, &path.join(name), deeper, left)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        FileType::RegularFile => is_token(opened(&place)?),
        _ => Ok(false),
    }
}

/// No link leads out of the volume. A volume can be a single file.
fn find(root: &File, path: &Path) -> io::Result<OwnedFd> {
    if FileType::from_raw_mode(fstat(root)?.st_mode) != FileType::Directory {
        return Ok(root.try_clone()?.into());
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Ok(openat2(root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)?)
}

/// What was found, opened once it is known to be nothing that does something when it is opened.
fn opened(place: &OwnedFd) -> io::Result<OwnedFd> {
    let itself = format!("/proc/self/fd/{}", place.as_raw_fd());
    Ok(rustix::fs::open(itself, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?)
}

/// The names in a directory. At the top the kubelet's own lead to the same files a second time: `..data` and the directory of a moment. Further down
/// a name that begins so is the author's.
///
/// A directory with more than is looked at is not looked at in part.
fn names_in(directory: &OwnedFd, is_top: bool) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name == "." || name == ".." || (is_top && name.starts_with("..")) {
            continue;
        }
        if names.len() == MOST {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        names.push(name.into());
    }
    Ok(names)
}

fn is_token(file: OwnedFd) -> io::Result<bool> {
    let mut file = File::from(file);
    let mut text = Vec::new();
    file.by_ref().take(BEGINNING).read_to_end(&mut text)?;
    let begins = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if begins.is_some_and(|byte| *byte != b'e') {
        return Ok(false);
    }
    file.take(LONGEST).read_to_end(&mut text)?;
    let is = text.len() as u64 > LONGEST || std::str::from_utf8(&text).is_ok_and(is_service_account_token);
    text.fill(0);
    Ok(is)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// `{"alg":"RS256"}` and `{"kubernetes.io":{}}`.
    fn token() -> String {
        ["eyJhbGciOiJSUzI1NiJ9", "eyJrdWJlcm5ldGVzLmlvIjp7fX0", &"c2lnbmF0dXJl".repeat(3)].join(".")
    }

    /// The same with audiences of a hundred thousand bytes.
    fn long_token() -> String {
        let [header, claims, signature] =
            ["eyJhbGciOiJSUzI1NiJ9", "eyJrdWJlcm5ldGVzLmlvIjp7fX0", &"c2lnbmF0dXJl".repeat(3)];
        format!("{header}.{claims}{}.{signature}", "YXVk".repeat(25_000))
    }

    /// A volume as the kubelet lays it out.
    fn volume(name: &str, file: &str, content: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("palisade-token-{name}-{}", std::process::id()));
        let moment = root.join("..2026_11_29_01_02_03.1");
        fs::create_dir_all(moment.join(file).parent().unwrap()).unwrap();
        fs::write(moment.join(file), content).unwrap();
        symlink("..2026_11_29_01_02_03.1", root.join("..data")).unwrap();
        let first = Path::new(file).iter().next().unwrap();
        symlink(Path::new("..data").join(first), root.join(first)).unwrap();
        root
    }

    fn holds(path: &Path) -> bool {
        holds_token(&rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap().into())
    }

    #[test]
    fn a_token_is_found_under_any_name() {
        for (name, file, content, found) in [
            ("plain", "token", token(), true),
            ("deep", "a/b/notes.txt", token(), true),
            ("hidden", "a/..token", token(), true),
            ("deeper", "a/..b/..c", token(), true),
            ("long", "token", long_token(), true),
            ("longer", "token", format!("ey{}", "x".repeat(5 << 20)), true),
            ("data", "data", "x".repeat(5 << 20), false),
            ("other", "token", "no token at all".to_owned(), false),
            ("foreign", "jwt", token().replace("eyJrdWJlcm5ldGVzLmlvIjp7fX0", "eyJzdWIiOiJ4In0"), false),
        ] {
            let root = volume(name, file, &content);
            assert_eq!(holds(&root), found, "{name}");
            assert_eq!(holds(&root.join(file)), found, "{name}, the file alone");
            fs::remove_dir_all(root).unwrap();
        }
    }

    /// A cut listing is not one without a token.
    #[test]
    fn among_thousands_of_files_one_counts_as_found() {
        let root = volume("many", "x", "");
        for number in 0..=MOST {
            fs::write(root.join(number.to_string()), "").unwrap();
        }
        assert!(holds(&root));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_leads_out_of_the_volume_or_hangs_is_not_followed() {
        let root = volume("hostile", "x", "");
        symlink("/etc/passwd", root.join("out")).unwrap();
        // What can't be looked at counts as a token.
        assert!(holds(&root));
        fs::remove_file(root.join("out")).unwrap();
        nix::unistd::mkfifo(&root.join("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(!holds(&root));
        fs::remove_dir_all(root).unwrap();
    }
}
