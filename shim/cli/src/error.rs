//! Why a command did not do what it was asked to.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use palisade::gate::PolicyFileError;
use palisade_seccomp::{ProfileError, UnknownProfile};
use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum CliError {
    #[error("read {path:?}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path:?} is no JSON")]
    Json {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("{path:?} is no bundle and holds none")]
    NoBundle { path: PathBuf },
    #[error(
        "container {id} of namespace {namespace} was not created by palisade, or is gone, and is not on record: no {path:?}"
    )]
    NoContainer { id: String, namespace: String, path: PathBuf },
    #[error("no container of palisade's begins with {id:?} below {state:?}")]
    NoSuchContainer { id: String, state: PathBuf },
    #[error(transparent)]
    Policy(#[from] PolicyFileError),
    #[error(transparent)]
    Kubernetes(#[from] crate::kubernetes::KubernetesError),
    #[error(transparent)]
    Cgroups(#[from] palisade::cgroup::CgroupError),
    #[error("the policy has no profile {name:?}; it has {known}")]
    NoProfile { name: String, known: String },
    #[error("images.keys.{name} is no public key of ECDSA P-256 or Ed25519")]
    ImageKey { name: String },
    #[error(transparent)]
    Seccomp(#[from] ProfileError),
    #[error(transparent)]
    NoSeccomp(#[from] UnknownProfile),
    #[error("no mitigation is called {id:?}; there are {known}")]
    NoMitigation { id: String, known: String },
    #[error("{names} are no capabilities")]
    Capability {
        names: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("this architecture has no system call {name:?}")]
    NoSyscall { name: String },
    #[error("{text:?} is no number of 64 bits")]
    Number { text: String },
    #[error("{path:?} line {line} is no record of the audit log")]
    Record {
        path: PathBuf,
        line: usize,
        #[source]
        source: serde_json::Error,
    },
    #[error("no record of {what:?} in {directory:?}; `palisade learn list` shows those that are there")]
    NoCalls { what: String, directory: PathBuf },
    #[error("{path:?} is a record of another version")]
    OtherVersion { path: PathBuf },
    #[error("make a profile")]
    Learn(#[from] palisade_seccomp::LearnError),
    #[error("no check is called {id:?} or begins so; `palisade doctor --all` shows them")]
    NoCheck { id: String },
    #[error("replace {path:?}")]
    Replace {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "{key:?} is no key of a policy: policy.toml, policy.NAME.toml, seccomp.NAME.json and mitigations.NAME.json are"
    )]
    SyncKey { key: String },
    #[error("{path:?} is larger than any policy")]
    SyncSize { path: PathBuf },
    #[error("listen at {at}")]
    Listen {
        at: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "{address} is reached from other machines; metrics are given on a loopback address, to be passed on by what guards them, unless --allow-remote"
    )]
    NotLoopback { address: SocketAddr },
    #[error("{what}, so nothing is read")]
    Confine {
        what: &'static str,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Install(#[from] crate::install::InstallError),
    #[error("write the result")]
    Write(#[from] io::Error),
    #[error("encode the result")]
    Encode(#[from] serde_json::Error),
}

impl CliError {
    /// The error with its causes, in one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        text
    }
}
