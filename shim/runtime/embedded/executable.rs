//! Finding the program of a container, with runc's rules and runc's words.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use thiserror::Error;

/// Why a program can't be run.
#[derive(Debug, Error)]
pub(super) enum LookupError {
    /// No directory of `PATH` has it.
    #[error("unable to start container process: exec: {0:?}: executable file not found in $PATH")]
    NotInPath(String),
    /// The path does not lead to a file.
    #[error("unable to start container process: exec: {0:?}: stat {0}: no such file or directory")]
    Missing(String),
    /// It is a directory.
    #[error("unable to start container process: exec: {0:?}: is a directory")]
    Directory(String),
    /// It may not be executed.
    #[error("unable to start container process: exec: {0:?}: permission denied")]
    NotExecutable(String),
    /// Something else.
    #[error("unable to start container process: exec: {program:?}: {source}")]
    Kernel {
        /// The program.
        program: String,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// The file that a program's name stands for: a name with a slash as it is, another one by `path`, where only
/// absolute directories count.
pub(super) fn find(program: &str, path: Option<&str>) -> Result<PathBuf, LookupError> {
    if program.contains('/') {
        return check(program, Path::new(program)).map(|()| program.into());
    }
    let directories = path.unwrap_or_default().split(':').filter(|directory| directory.starts_with('/'));
    directories
        .map(|directory| Path::new(directory).join(program))
        .find(|file| !program.is_empty() && check(program, file).is_ok())
        .ok_or_else(|| LookupError::NotInPath(program.to_owned()))
}

fn check(program: &str, file: &Path) -> Result<(), LookupError> {
    let name = || program.to_owned();
    match fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(LookupError::Missing(name())),
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => Err(LookupError::NotExecutable(name())),
        Err(source) => Err(LookupError::Kernel { program: name(), source }),
        Ok(found) if found.is_dir() => Err(LookupError::Directory(name())),
        Ok(_) => access(file, Access::EXEC_OK).map_err(|_| LookupError::NotExecutable(name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(program: &str, path: Option<&str>) -> String {
        find(program, path).unwrap_err().to_string()
    }

    #[test]
    fn a_bare_name_is_searched_in_absolute_directories() {
        assert_eq!(find("sh", Some("/nowhere:/bin")).unwrap(), Path::new("/bin/sh"));
        for (program, path) in [("sh", None), ("sh", Some("bin:.:")), ("", Some("/bin")), ("no-such", Some("/bin"))] {
            let expected =
                format!("unable to start container process: exec: {program:?}: executable file not found in $PATH");
            assert_eq!(message(program, path), expected);
        }
    }

    #[test]
    fn a_path_says_what_is_wrong_with_it() {
        assert!(message("/no/such", None).ends_with("exec: \"/no/such\": stat /no/such: no such file or directory"));
        assert!(message("/bin/", None).ends_with("is a directory"));
        assert!(message("/etc/passwd", None).ends_with("exec: \"/etc/passwd\": permission denied"));
        assert_eq!(find("/bin/sh", None).unwrap(), Path::new("/bin/sh"));
    }
}
