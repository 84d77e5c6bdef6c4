//! `uts.hostname`.

use crate::draft::Draft;
use crate::rules::Case;
use crate::sheet::{Found, Sheet};

/// Longest name of a host that Linux takes, in bytes (sethostname(2): `__NEW_UTS_LEN`).
const MAX_BYTES: usize = 64;

/// A name with other characters than those of RFC 1123 ends up in prompts, logs and other systems' parsers.
pub(super) fn judge(draft: &mut Draft, _: &Case<'_>, sheet: &mut Sheet) {
    for (place, name) in [("/hostname", draft.hostname()), ("/domainname", draft.domain_name())] {
        let fits = name.len() <= MAX_BYTES
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
        if !fits {
            let found = Found::new(place, name, "is no host name");
            sheet.refuses(found, "at most 64 letters, digits, dots, hyphens");
        }
    }
}
