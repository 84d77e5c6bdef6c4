//! Numbers of many values.

/// The middle and the high end of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    /// 95 of a hundred are below.
    pub(crate) p95: f64,
}

impl Summary {
    /// `None` of no values.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let values = sorted(values.iter().copied());
        Some(Self { median: quantile(&values, 0.5)?, p95: quantile(&values, 0.95)? })
    }
}

pub(crate) fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The value below which that part of the sorted values lies, between two values in proportion; `None` of no values.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index of a short list"
)]
pub(crate) fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let place = sorted.len().checked_sub(1)? as f64 * part;
    let (low, high) = (sorted.get(place.floor() as usize)?, sorted.get(place.ceil() as usize)?);
    Some(low + (high - low) * place.fract())
}

/// The median of unsorted values.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    Summary::of(values).map(|summary| summary.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: Option<f64>, expected: f64) {
        assert!(value.is_some_and(|value| (value - expected).abs() < 1e-9), "{value:?}, expected {expected}");
    }

    #[test]
    fn quantiles_lie_between_values() {
        let values = sorted([5.0, 1.0, 3.0, 2.0, 4.0].into_iter());
        near(quantile(&values, 0.0), 1.0);
        near(quantile(&values, 0.5), 3.0);
        near(quantile(&values, 0.95), 4.8);
        near(quantile(&values, 1.0), 5.0);
        near(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        near(median(&[7.0]), 7.0);
    }

    #[test]
    fn nothing_has_no_middle() {
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn one_outlier_moves_the_high_end_alone() {
        let mut values = vec![10.0; 19];
        values.push(1000.0);
        let summary = Summary::of(&values).unwrap();
        near(Some(summary.median), 10.0);
        assert!(summary.p95 > 10.0 && summary.p95 < 1000.0, "{summary:?}");
    }
}
