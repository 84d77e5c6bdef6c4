//! How a profile file is written: OCI seccomp JSON as Docker, containerd and the security profiles operator write it, and palisade's
//! own keys.
//!
//! Nothing is skipped: a key that is not here is an error, and so is a key that stands there twice.

use oci_spec::runtime::{
    Arch, Capability, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompFilterFlag,
    LinuxSeccompOperator,
};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

/// One file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Written {
    /// What the profile is for.
    pub(super) comment: String,
    /// Names of files whose entries count here as well.
    #[serde(deserialize_with = "or_null")]
    pub(super) include: Vec<String>,
    /// The security profiles operator's word for one of them.
    pub(super) base_profile_name: Option<String>,
    pub(super) default_action: Option<LinuxSeccompAction>,
    pub(super) default_errno_ret: Option<u32>,
    /// Read and left alone: filters are for the native architecture only.
    #[serde(rename = "architectures", deserialize_with = "or_null")]
    _architectures: Vec<Arch>,
    /// Docker's form of the same.
    #[serde(rename = "archMap", deserialize_with = "or_null")]
    _arch_map: Vec<ArchMap>,
    pub(super) flags: Option<Vec<LinuxSeccompFilterFlag>>,
    pub(super) listener_path: Option<String>,
    pub(super) listener_metadata: Option<String>,
    #[serde(deserialize_with = "or_null")]
    pub(super) syscalls: Vec<Entry>,
    /// What no entry allows, and why.
    pub(super) refused: Vec<RefusedGroup>,
}

/// The object of Kubernetes that the security profiles operator keeps a profile in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Manifest {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: SeccompProfileKind,
    #[serde(rename = "metadata")]
    _metadata: IgnoredAny,
    spec: Written,
    #[serde(rename = "status")]
    _status: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
enum SeccompProfileKind {
    SeccompProfile,
}

/// Whether a file is such an object.
#[derive(Debug, Deserialize)]
struct Kind {
    kind: Option<IgnoredAny>,
}

impl Written {
    /// Reads a file.
    pub(super) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        // serde takes a list for the values of an object, and an empty one for an object with nothing in it.
        if !text.trim_start().starts_with('{') && !text.trim_start().is_empty() {
            return Err(serde::de::Error::custom("it is no JSON object"));
        }
        // Most are none, and are not read twice.
        if text.contains("\"kind\"") && serde_json::from_str::<Kind>(text)?.kind.is_some() {
            return serde_json::from_str::<Manifest>(text).map(|manifest| manifest.spec);
        }
        serde_json::from_str(text)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ArchMap {
    #[serde(rename = "architecture")]
    _architecture: Arch,
    #[serde(rename = "subArchitectures", default, deserialize_with = "or_null")]
    _sub_architectures: Vec<Arch>,
}

/// Calls that get one answer, for one reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Entry {
    /// Why these calls.
    #[serde(default)]
    pub(super) comment: String,
    /// Why even those of them that exploits like.
    #[serde(default)]
    pub(super) reason: String,
    /// Docker's older form of `names`.
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "or_null")]
    pub(super) names: Vec<String>,
    pub(super) action: LinuxSeccompAction,
    pub(super) errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "or_null")]
    pub(super) args: Vec<Arg>,
    #[serde(default)]
    pub(super) low32: Vec<Low32>,
    #[serde(default, deserialize_with = "or_null")]
    pub(super) includes: Gate,
    #[serde(default, deserialize_with = "or_null")]
    pub(super) excludes: Gate,
}

/// A comparison of one argument.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Arg {
    index: usize,
    value: u64,
    value_two: Option<u64>,
    op: LinuxSeccompOperator,
}

/// Values of the lower 32 bits of one argument; the kernel reads no more of an `int`. Several are AND.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Low32 {
    pub(super) index: usize,
    #[serde(default)]
    pub(super) r#in: Vec<String>,
    #[serde(default)]
    pub(super) except: Vec<String>,
}

/// On what an entry depends.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Gate {
    #[serde(deserialize_with = "or_null")]
    pub(super) caps: Vec<Capability>,
    /// As Go names them: `amd64`.
    #[serde(deserialize_with = "or_null")]
    pub(super) arches: Vec<String>,
    pub(super) min_kernel: Option<String>,
}

/// Calls that the default action answers, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(test), expect(dead_code, reason = "only tests look at what is not there"))]
pub(super) struct RefusedGroup {
    pub(super) comment: String,
    pub(super) names: Vec<String>,
}

impl Arg {
    /// The same as the runtime-spec's type; `None` if that does not take it.
    pub(super) fn read(&self) -> Option<LinuxSeccompArg> {
        let built = LinuxSeccompArgBuilder::default().index(self.index).value(self.value).op(self.op);
        match self.value_two {
            Some(value) => built.value_two(value).build().ok(),
            None => built.build().ok(),
        }
    }
}

/// Go writes `null` for an empty list.
fn or_null<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
