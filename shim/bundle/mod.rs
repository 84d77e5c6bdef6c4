//! Bundles: containerd's, opened without trusting a path twice, and the private one that the runtime gets.
//!
//! containerd's `config.json` stays as it was, so that the difference can be shown afterwards. The hardened
//! one lives in `<bundle>/palisade`, mode 0700: containerd removes it with its own bundle, whatever happens
//! to the shim.

mod oci;
mod private;
mod secret_files;

pub use oci::{BundleError, OciBundle};
pub(crate) use private::CONFIG;
pub use private::{HardenedBundle, PrivateDir, PrivateDirError};
pub use secret_files::secret_files;
