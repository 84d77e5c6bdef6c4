//! A date, for what expires.

use std::fmt;

use chrono::{DateTime, NaiveDate, NaiveTime};

/// A day of the UTC calendar. Whoever asks for a judgement says which day it is: this crate reads no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(NaiveDate);

impl Day {
    /// The day of a moment in seconds since 1970-01-01T00:00:00Z. A moment beyond chrono's range (the year
    /// 262143) is its last day, on which every exemption has expired.
    #[must_use]
    pub fn of_unix_seconds(seconds: u64) -> Self {
        let moment = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        Self(moment.map_or(NaiveDate::MAX, |moment| moment.date_naive()))
    }

    /// The moment at which it begins, in seconds since 1970-01-01T00:00:00Z; negative before.
    #[must_use]
    pub fn unix_seconds(self) -> i64 {
        self.0.and_time(NaiveTime::MIN).and_utc().timestamp()
    }

    /// The day, in UTC, of a moment as RFC 3339 has it.
    #[must_use]
    pub fn of_rfc3339(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text).ok().map(|moment| Self(moment.to_utc().date_naive()))
    }

    /// Days from an earlier one to this; negative from a later one.
    pub(crate) fn days_since(self, earlier: Self) -> i64 {
        self.0.signed_duration_since(earlier.0).num_days()
    }

    /// The day written as ISO 8601 has it, `2027-03-01`, and in no other way.
    #[must_use]
    pub fn from_iso(text: &str) -> Option<Self> {
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(Self)?;
        (day.to_string() == text).then_some(day)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.format("%Y-%m-%d"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_utc() {
        let day = Day::from_iso("2027-03-01").unwrap();
        assert_eq!(Day::of_unix_seconds(1_803_859_200), day);
        assert_eq!(day.unix_seconds(), 1_803_859_200);
        assert_eq!(Day::of_unix_seconds(1_803_859_199).to_string(), "2027-02-28");
        assert!(Day::of_unix_seconds(u64::MAX) > day);
    }

    #[test]
    fn only_whole_iso_dates_are_read() {
        for text in ["2027-3-1", "2027-02-29", "01.03.2027", "2027-03-01T00:00:00Z", "", " 2027-03-01"] {
            assert_eq!(Day::from_iso(text), None, "{text}");
        }
    }
}
