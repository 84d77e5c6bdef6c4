//! Every order of events, one after the other.
//!
//! The shim is one thread, so its code runs from one `await` to the next undisturbed, and an order is fully told by what
//! comes next whenever nothing can go on by itself: a client's next verb, the answer of a runtime, the end of a process,
//! the wait for it, a caller that goes away. These are the moves; [`explore`] plays every sequence of them from the
//! beginning, the last choice changed first.
//!
//! loom and shuttle explore what threads do between two accesses to memory, of which there is nothing here, and want the
//! code written against their own locks, channels and runtime; turmoil makes the network between hosts unreliable and
//! draws its orders by lot. tokio's paused clock does what is needed: a sleep ends exactly when no task can go on.

use std::collections::BTreeSet;

/// The choices of one run: those that are given, then the first of each.
#[derive(Debug, Default)]
pub(crate) struct Choices {
    /// (what was chosen, of how many).
    made: Vec<(usize, usize)>,
    at: usize,
}

impl Choices {
    /// One of `count`.
    pub(crate) fn pick(&mut self, count: usize) -> usize {
        if self.at == self.made.len() {
            self.made.push((0, count));
        }
        let (chosen, of) = self.made[self.at];
        assert_eq!(of, count, "a run is not the same when it is played again");
        self.at += 1;
        chosen
    }

    /// Whether there is another run, which is then the next one.
    fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((chosen, of)) = self.made.pop() {
            if chosen + 1 < of {
                self.made.push((chosen + 1, of));
                return true;
            }
        }
        false
    }
}

/// What exploring came to.
#[derive(Debug, Default)]
pub(crate) struct Explored<T> {
    pub(crate) orders: usize,
    /// The different outcomes.
    pub(crate) outcomes: BTreeSet<T>,
}

/// Most orders of one scenario: a few seconds. One that has more is to be cut in two, not to be played in part.
const MOST_ORDERS: usize = 2000;

/// Plays every run there is.
pub(crate) fn explore<T: Ord>(mut run: impl FnMut(&mut Choices) -> T) -> Explored<T> {
    let mut choices = Choices::default();
    let mut explored = Explored { orders: 0, outcomes: BTreeSet::new() };
    loop {
        explored.outcomes.insert(run(&mut choices));
        explored.orders += 1;
        if !choices.advance() {
            return explored;
        }
        assert!(explored.orders < MOST_ORDERS, "the scenario is too large");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_interleavings_of_two_sequences_are_played_once() {
        let explored = explore(|choices| {
            let mut left = [2_usize, 3];
            let mut order = String::new();
            while left != [0, 0] {
                let open: Vec<usize> = (0..2).filter(|side| left[*side] > 0).collect();
                let side = open[choices.pick(open.len())];
                left[side] -= 1;
                order.push(if side == 0 { 'a' } else { 'b' });
            }
            order
        });
        assert_eq!((explored.orders, explored.outcomes.len()), (10, 10), "5! / (2! 3!)");
    }
}
