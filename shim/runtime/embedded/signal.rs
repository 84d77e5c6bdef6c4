//! Signals by name and by number, real-time ones included.

use nix::sys::signal::Signal;
use thiserror::Error;

/// Number of SIGRTMIN as programs see it: the C libraries keep the kernel's 32 and 33 for themselves. Source: signal(7).
const SIGRTMIN: i32 = 34;
/// Number of SIGRTMAX on every Linux architecture but MIPS.
const SIGRTMAX: i32 = 64;

/// A word that is no signal.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("unknown signal {0:?}: a number from 1 to 64, a name such as SIGTERM or TERM, or SIGRTMIN+n is allowed")]
pub(super) struct UnknownSignal(String);

/// The number of a signal.
pub(super) fn parse(word: &str) -> Result<i32, UnknownSignal> {
    let unknown = || UnknownSignal(word.to_owned());
    if let Ok(number) = word.parse::<i32>() {
        return if (1..=SIGRTMAX).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(number) = real_time(name) {
        return Ok(number);
    }
    format!("SIG{name}").parse::<Signal>().map(|signal| signal as i32).map_err(|_| unknown())
}

fn real_time(name: &str) -> Option<i32> {
    let (base, offset) = if let Some(rest) = name.strip_prefix("RTMIN") {
        (SIGRTMIN, rest)
    } else {
        (SIGRTMAX, name.strip_prefix("RTMAX")?)
    };
    let offset = if offset.is_empty() { 0 } else { offset.parse::<i32>().ok()? };
    let number = base.checked_add(offset)?;
    (SIGRTMIN..=SIGRTMAX).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_real_time_signals() {
        for (word, number) in [
            ("9", 9),
            ("SIGKILL", 9),
            ("kill", 9),
            ("SIGUSR1", 10),
            ("37", 37),
            ("SIGRTMIN+3", 37),
            ("RTMIN", 34),
            ("SIGRTMAX-1", 63),
            ("64", 64),
        ] {
            assert_eq!(parse(word), Ok(number), "{word}");
        }
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for word in ["", "0", "65", "-9", "SIGNONE", "SIGRTMIN+31", "RTMAX+1", "SIG", "9x"] {
            assert!(parse(word).is_err(), "{word}");
        }
    }
}
