//! Waiting for a condition with a deadline instead of sleeping for a guess.

use std::time::{Duration, Instant};

use crate::Failure;

const PAUSE: Duration = Duration::from_millis(10);

/// Asks every 10 ms until `attempt` gives `Ok`, which it returns; `Err` is what was seen instead.
///
/// # Errors
/// [`Failure::Late`] with the last thing seen when `seconds` have passed.
pub fn eventually<T>(what: &str, seconds: u64, mut attempt: impl FnMut() -> Result<T, String>) -> Result<T, Failure> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(last) if Instant::now() >= deadline => {
                return Err(Failure::Late { what: what.to_owned(), seconds, last });
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}
