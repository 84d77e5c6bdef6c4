//! The time as runc and the OCI state write it.

use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};

/// Now, as RFC 3339 in UTC with nanoseconds.
pub(super) fn now() -> String {
    DateTime::<Utc>::from(SystemTime::now()).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_reads_back() {
        let text = now();
        assert!(text.ends_with('Z'), "{text}");
        assert!(DateTime::parse_from_rfc3339(&text).is_ok(), "{text}");
    }
}
