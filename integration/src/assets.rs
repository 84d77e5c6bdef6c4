//! Where the programs are that the suite runs.

use std::path::{Path, PathBuf};
use std::{env, fmt};

use crate::Failure;

/// A generation of containerd, as its configuration format and its shim protocol differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// 2.0 and later: task API v3, configuration version 3.
    Two,
    /// 1.7: task API v2, configuration version 2.
    OneSeven,
}

impl fmt::Display for Generation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Two => "2",
            Self::OneSeven => "1.7",
        })
    }
}

/// How containerd is told to use palisade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As a runtime type of its own, `io.containerd.palisade.v1`.
    Type,
    /// In place of runc's shim, by the path of the binary: runc's options arrive, and features are asked for.
    Path,
}

impl fmt::Display for Form {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Type => "by its type",
            Self::Path => "in place of runc's shim",
        })
    }
}

/// The programs, each an absolute path to something that exists.
#[derive(Clone, Debug)]
pub struct Assets {
    /// What `containerd` is.
    pub generation: Generation,
    /// How containerd is told to use palisade.
    pub form: Form,
    /// The folder with `containerd`, `ctr` and `containerd-shim-runc-v2`.
    pub containerd: PathBuf,
    /// `runc`.
    pub runc: PathBuf,
    /// A `runc` that idmaps mounts, which 1.1 does not.
    pub new_runc: PathBuf,
    /// `crun`, which does not run where controllers of cgroup v1 are in use beside v2.
    pub crun: PathBuf,
    /// A statically linked busybox.
    pub busybox: PathBuf,
    /// The folder of the CNI plugins.
    pub cni: PathBuf,
    /// The folder with the statically linked `probe` and `pause`.
    pub probe: PathBuf,
    /// `containerd-shim-palisade-v1`.
    pub shim: PathBuf,
}

impl Assets {
    /// Finds them: `PALISADE_CACHE` (default `~/.cache/palisade`) as `scripts/fetch-containerd` fills it; `PALISADE_TEST_CONTAINERD` chooses
    /// `2` (default) or `1.7`, `PALISADE_TEST_FORM` `type` (default) or `path`; `PALISADE_SHIM` names the shim and `PALISADE_PROBE` the folder with the probe; `PALISADE_CONTAINERD_BIN`,
    /// where set, names a folder with another containerd of that generation.
    ///
    /// # Errors
    /// What is missing, and the script that makes it.
    pub fn locate() -> Result<Self, Failure> {
        let cache = match env::var_os("PALISADE_CACHE") {
            Some(cache) => PathBuf::from(cache),
            None => PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache/palisade"),
        };
        let generation = generation()?;
        let unpacked = cache.join(format!("containerd-{generation}/usr/bin"));
        Ok(Self {
            generation,
            form: form()?,
            containerd: folder_with(
                "containerd",
                env::var_os("PALISADE_CONTAINERD_BIN").map_or(unpacked, PathBuf::from),
                FETCH,
            )?,
            runc: file(cache.join("runc/usr/sbin/runc"), FETCH)?,
            new_runc: file(cache.join("runc-new/usr/sbin/runc"), FETCH)?,
            crun: file(cache.join("crun/usr/bin/crun"), FETCH)?,
            busybox: file(cache.join("busybox/bin/busybox"), FETCH)?,
            cni: folder_with("bridge", cache.join("cni/usr/lib/cni"), FETCH)?,
            probe: folder_with("probe", from_environment("PALISADE_PROBE")?, BUILD)?,
            shim: file(from_environment("PALISADE_SHIM")?, BUILD)?,
        })
    }
}

const FETCH: &str = "run scripts/fetch-containerd";
const BUILD: &str = "scripts/test builds it and sets the variable";

fn generation() -> Result<Generation, Failure> {
    match env::var("PALISADE_TEST_CONTAINERD").as_deref() {
        Err(_) | Ok("2") => Ok(Generation::Two),
        Ok("1.7") => Ok(Generation::OneSeven),
        Ok(other) => Err(Failure::Missing {
            what: format!("containerd {other}"),
            mend: "PALISADE_TEST_CONTAINERD is 2 or 1.7".to_owned(),
        }),
    }
}

fn form() -> Result<Form, Failure> {
    match env::var("PALISADE_TEST_FORM").as_deref() {
        Err(_) | Ok("type") => Ok(Form::Type),
        Ok("path") => Ok(Form::Path),
        Ok(other) => Err(Failure::Missing {
            what: format!("the form {other}"),
            mend: "PALISADE_TEST_FORM is type or path".to_owned(),
        }),
    }
}

fn from_environment(name: &str) -> Result<PathBuf, Failure> {
    let path = env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    path.ok_or_else(|| Failure::Missing { what: format!("the absolute path in ${name}"), mend: BUILD.to_owned() })
}

fn file(path: PathBuf, mend: &str) -> Result<PathBuf, Failure> {
    if path.is_file() { Ok(path) } else { Err(missing(&path, mend)) }
}

fn folder_with(program: &str, folder: PathBuf, mend: &str) -> Result<PathBuf, Failure> {
    if folder.join(program).is_file() { Ok(folder) } else { Err(missing(&folder.join(program), mend)) }
}

fn missing(path: &Path, mend: &str) -> Failure {
    Failure::Missing { what: path.display().to_string(), mend: mend.to_owned() }
}
