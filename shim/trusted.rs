//! Whose files and directories the shim goes by.

use rustix::process::geteuid;

/// Root, and the user that the shim itself runs as, who can do all that the shim can. A shim runs as root, so the two are
/// one; they differ where its parts are used by somebody else, as by a test.
pub(crate) fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}
