//! Who is compared: each shim with each runtime under it.

use std::path::Path;

use palisade_integration::policy::PolicyFile;
use palisade_integration::tasks::CreateOptions;
use palisade_integration::{Assets, Runtime, cgroup};
use prost_types::Any;

/// A column of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// palisade with its embedded runtime.
    Embedded,
    /// palisade with runc.
    PalisadeRunc,
    /// palisade with crun.
    PalisadeCrun,
    /// containerd-shim-runc-v2 with runc.
    Runc,
    /// containerd-shim-runc-v2 with crun.
    Crun,
}

impl Side {
    /// In the order of the tables.
    pub(crate) const ALL: [Self; 5] = [Self::Embedded, Self::PalisadeRunc, Self::PalisadeCrun, Self::Runc, Self::Crun];

    /// The word for it on the command line and in the raw data.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "palisade",
            Self::PalisadeRunc => "palisade+runc",
            Self::PalisadeCrun => "palisade+crun",
            Self::Runc => "runc-shim+runc",
            Self::Crun => "runc-shim+crun",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|side| side.name() == name)
    }

    /// Whether it can run at all. With cgroup v1 crun lets containers use `/dev/console`'s number beside what was decided, and palisade's
    /// attestation refuses them; with v2 those rules are a program that cannot be read back.
    pub(crate) fn is_possible(self) -> bool {
        self != Self::PalisadeCrun || cgroup::is_unified()
    }

    /// The shim, as containerd is asked for it.
    pub(crate) fn shim(self) -> Runtime {
        match self {
            Self::Embedded | Self::PalisadeRunc | Self::PalisadeCrun => Runtime::Palisade,
            Self::Runc | Self::Crun => Runtime::Runc,
        }
    }

    /// The program under palisade is the admin's choice.
    pub(crate) fn policy(self, assets: &Assets) -> PolicyFile {
        let with = |binary: &Path| PolicyFile::of(&format!("[runtime]\nbinary = \"{}\"\n", binary.display()));
        match self {
            Self::PalisadeRunc => with(&assets.runc),
            Self::PalisadeCrun => with(&assets.crun),
            Self::Embedded | Self::Runc | Self::Crun => PolicyFile::defaults(),
        }
    }

    /// The program under runc's shim is the client's choice.
    pub(crate) fn options(self, assets: &Assets) -> CreateOptions {
        let options = (self == Self::Crun).then(|| binary_name(&assets.crun));
        CreateOptions { options, ..CreateOptions::default() }
    }
}

/// `containerd.runc.v1.Options` with `binary_name`, its sixth field. Source: containerd `api/types/runc/options/oci.proto`.
fn binary_name(path: &Path) -> Any {
    let name = path.display().to_string().into_bytes();
    let mut value = vec![6 << 3 | 2];
    prost::encoding::encode_varint(u64::try_from(name.len()).unwrap_or(0), &mut value);
    value.extend(name);
    Any { type_url: "containerd.runc.v1.Options".to_owned(), value }
}

/// The sides in another order each round, so that each comes after each other one as often: what the one before has left behind counts
/// for all.
pub(crate) fn in_turn<T: Clone>(all: &[T], round: u32) -> Vec<T> {
    let mut turns = all.to_vec();
    if !turns.is_empty() {
        let places = turns.len();
        turns.rotate_left(usize::try_from(round).unwrap_or(0) % places);
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_side_is_found_by_its_name() {
        for side in Side::ALL {
            assert_eq!(Side::named(side.name()), Some(side));
        }
        assert_eq!(Side::named("kata"), None);
    }

    #[test]
    fn every_side_is_first_once_in_as_many_rounds() {
        let firsts: Vec<u32> = (0..3).filter_map(|round| in_turn(&[7, 8, 9], round).first().copied()).collect();
        assert_eq!(firsts, [7, 8, 9]);
        assert!(in_turn::<u32>(&[], 1).is_empty());
    }

    #[test]
    fn a_long_path_is_encoded_as_protobuf_has_it() {
        let path = format!("/{}", "x".repeat(199));
        let any = binary_name(Path::new(&path));
        // Field 6, bytes; 200 as a varint.
        assert_eq!(any.value.get(..3), Some(&[0x32, 0xc8, 0x01][..]));
        assert_eq!(any.value.len(), 203);
    }
}
