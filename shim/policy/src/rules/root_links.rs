//! `root.links`.

use std::path::Path;

use serde_json::Value;

use crate::rootfs::{PlaceFact, is_kernel_place, is_kernel_root};
use crate::sheet::{Found, Sheet};

/// An image whose /dev, /proc or /sys is a symbolic link made runtimes mount, create and write elsewhere, on the host
/// too (CVE-2025-54867, CVE-2026-41579, CVE-2026-47766); one that leads a volume's destination into /proc has it stand
/// where the runtime writes labels and sysctls (CVE-2019-16884, CVE-2025-52881). One that leads it to the root has it
/// cover all of these together: the runtime goes on in a `/dev` of the volume's, which can be a link to a directory of the
/// host. A volume that is mounted before can hold such a link as well.
pub(super) fn judge(places: &[PlaceFact], sheet: &mut Sheet) {
    for place in places {
        let text = place.destination.to_string_lossy();
        let reason = match &place.leads_to {
            None => format!("links lead round in a circle at {text:?}"),
            Some(end) if is_kernel_place(&place.destination) && *end != place.destination => {
                format!("there is a link at {text:?}")
            }
            Some(end) if is_kernel_place(end) && !is_kernel_place(&place.destination) => {
                format!("a link leads {text:?} to {:?}", end.to_string_lossy())
            }
            Some(end) if *end == Path::new("/") => format!("a link leads {text:?} to the root itself"),
            Some(_) if is_kernel_root(&place.destination) && place.is_file => {
                format!("the image has a file at {text:?}")
            }
            Some(_) => continue,
        };
        let found = Found::new("/root/path", Value::from(text.as_ref()), reason);
        sheet.refuses(found, "directories at /dev, /proc, /sys, and no links into them");
    }
}
