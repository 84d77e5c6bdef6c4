use proptest::prelude::*;

use super::{ArgumentSet, HalfRange};

const EDGES: [u64; 10] = [0, 1, 2, 38, 0x5412, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0026, u64::MAX - 1, u64::MAX];

fn value() -> impl Strategy<Value = u64> {
    let edge = (prop::sample::select(EDGES.to_vec()), -1_i64..=1);
    prop_oneof![3 => edge.prop_map(|(edge, step)| edge.wrapping_add_signed(step)), 1 => any::<u64>()]
}

fn half() -> impl Strategy<Value = HalfRange> {
    let lower = || value().prop_map(|value| u32::try_from(value & 0xffff_ffff).unwrap());
    (lower(), lower()).prop_map(|(a, b)| (a.min(b), a.max(b)))
}

fn set() -> impl Strategy<Value = ArgumentSet> {
    let range = (value(), value()).prop_map(|(a, b)| ArgumentSet::Between { low: a.min(b), high: a.max(b) });
    let masked = (value(), value()).prop_map(|(mask, value)| ArgumentSet::masked(mask, value));
    let halves = (half(), half()).prop_map(|(upper, lower)| ArgumentSet::halves(upper, lower));
    prop_oneof![range, masked, halves]
}

fn in_any(sets: &[ArgumentSet], argument: u64) -> bool {
    sets.iter().any(|set| set.holds(argument))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn operations_mean_what_they_say(a in set(), b in set(), arguments in prop::collection::vec(value(), 40)) {
        let (common, outside) = (a.intersect(b), a.complement());
        let (bits, joined) = (a.bits(), a.join(b));
        let (smallest, largest) = a.bounds();
        let edges = [smallest, largest, b.bounds().0, b.bounds().1];
        for argument in arguments.into_iter().chain(edges) {
            let (in_a, in_b) = (a.holds(argument), b.holds(argument));
            prop_assert_eq!(in_any(&common, argument), in_a && in_b);
            prop_assert_eq!(in_any(&outside, argument), !in_a);
            prop_assert_eq!(bits.iter().any(|(mask, value)| argument & mask == *value), in_a);
            prop_assert!(joined.is_none_or(|union| union.holds(argument) == (in_a || in_b)));
            prop_assert!(!(a.covers(b) && in_b && !in_a));
            prop_assert!(!in_a || (smallest..=largest).contains(&argument));
        }
        prop_assert!(a.holds(smallest) && a.holds(largest));
        prop_assert!(a.covers(a) && ArgumentSet::ALL.covers(a));
    }
}

#[test]
fn equal_sets_are_written_alike() {
    let pairs = [
        (ArgumentSet::masked(0, 7), ArgumentSet::ALL),
        (ArgumentSet::masked(u64::MAX, 7), ArgumentSet::Between { low: 7, high: 7 }),
        (ArgumentSet::masked(!0x1f, 0), ArgumentSet::Between { low: 0, high: 31 }),
        (ArgumentSet::masked(0xffff_ffe0, 32), ArgumentSet::halves((0, u32::MAX), (32, 63))),
        (ArgumentSet::halves((0, u32::MAX), (0, u32::MAX)), ArgumentSet::ALL),
        (ArgumentSet::halves((1, 1), (2, 3)), ArgumentSet::Between { low: 0x1_0000_0002, high: 0x1_0000_0003 }),
    ];
    for (one, other) in pairs {
        assert_eq!(one, other);
    }
}

#[test]
fn a_range_needs_few_blocks() {
    let blocks = |low, high| ArgumentSet::Between { low, high }.bits();
    assert_eq!(blocks(0, u64::MAX), [(0, 0)]);
    assert_eq!(blocks(5, 5), [(u64::MAX, 5)]);
    assert_eq!(blocks(0, 37), [(!31, 0), (!3, 32), (!1, 36)]);
    assert_eq!(blocks(1, u64::MAX - 1).len(), 126);
}
