//! How many answers a container gets at most.

use std::time::Duration;

use tokio::time::Instant;

/// A bucket that fills at a steady rate up to its size; each answer takes one token.
#[derive(Debug)]
pub(super) struct Bucket {
    size: u32,
    per_second: u32,
    tokens: u32,
    filled: Instant,
}

/// Wait where there is none. Many answers are given at once then: waking for each would cost more than the answer.
pub(super) const PAUSE: Duration = Duration::from_millis(10);

impl Bucket {
    /// A full bucket.
    pub(super) fn new(size: u32, per_second: u32) -> Self {
        Self { size, per_second, tokens: size, filled: Instant::now() }
    }

    /// Takes a token, if there is one.
    pub(super) fn try_take(&mut self, now: Instant) -> bool {
        if self.tokens == 0 {
            self.fill(now);
        }
        let taken = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        taken
    }

    /// What comes in less than a token's time is left for the next look.
    fn fill(&mut self, now: Instant) {
        let waited = now.saturating_duration_since(self.filled).as_micros();
        let new = waited.saturating_mul(u128::from(self.per_second)) / 1_000_000;
        if new > 0 {
            self.tokens = u32::try_from(new).unwrap_or(u32::MAX).min(self.size);
            self.filled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_answered_at_once_and_then_at_the_rate() {
        let mut bucket = Bucket::new(100, 1000);
        let begun = Instant::now();
        let taken = |bucket: &mut Bucket, after: u64| {
            let now = begun + Duration::from_millis(after);
            std::iter::repeat_with(|| bucket.try_take(now)).take_while(|taken| *taken).count()
        };
        bucket.filled = begun;
        assert_eq!(taken(&mut bucket, 0), 100);
        assert_eq!(taken(&mut bucket, 10), 10);
        assert_eq!(taken(&mut bucket, 10), 0);
        assert_eq!(taken(&mut bucket, 60_000), 100, "no more than its size");
    }
}
