//! The values of all families.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use super::families::{Family, Kind};

/// Series of one family. The labels are the node's own words; should there be more, they are told together.
const MOST: usize = 1000;
/// What stands for labels beyond that.
const OTHER: &str = "other";
/// Longest value of a label, in characters.
const LONGEST: usize = 100;

/// Upper ends of the buckets of durations, in seconds: a judgement takes some 700 microseconds.
pub(super) const BUCKETS: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

/// Values of labels, in the order of the family's names.
pub(super) type Labels = Vec<String>;

/// How often something took how long.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Histogram {
    /// One for each bucket, not summed up; the last one is for what took longer than all of them.
    pub(super) counts: Vec<u64>,
    pub(super) sum: f64,
}

/// One family's.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct OfFamily {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", with = "pairs")]
    pub(super) values: BTreeMap<Labels, f64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", with = "pairs")]
    pub(super) histograms: BTreeMap<Labels, Histogram>,
}

/// Of all families, by their names.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Series(pub(super) BTreeMap<String, OfFamily>);

impl Series {
    /// Adds to what only grows.
    pub(super) fn add(&mut self, family: &str, labels: &[&str], more: f64) {
        let values = &mut self.of(family).values;
        let labels = bounded(labels, values);
        *values.entry(labels).or_default() += more;
    }

    /// Sets what goes up and down.
    pub(super) fn set(&mut self, family: &str, labels: &[&str], value: f64) {
        let values = &mut self.of(family).values;
        let labels = bounded(labels, values);
        values.insert(labels, value);
    }

    /// Adds one duration.
    pub(super) fn observe(&mut self, family: &str, labels: &[&str], seconds: f64) {
        let histograms = &mut self.of(family).histograms;
        let labels = bounded(labels, histograms);
        let histogram = histograms.entry(labels).or_default();
        histogram.counts.resize(BUCKETS.len() + 1, 0);
        let bucket = BUCKETS.iter().position(|end| seconds <= *end).unwrap_or(BUCKETS.len());
        if let Some(count) = histogram.counts.get_mut(bucket) {
            *count += 1;
        }
        histogram.sum += seconds;
    }

    fn of(&mut self, family: &str) -> &mut OfFamily {
        self.0.entry(family.to_owned()).or_default()
    }

    /// What only grows begins at zero, so that the first time is seen as a change.
    pub(super) fn begin(&mut self) {
        for family in
            super::families::FAMILIES.iter().filter(|family| family.labels.is_empty() && family.kind == Kind::Counter)
        {
            self.add(family.name, &[], 0.0);
        }
    }

    /// What is kept over a restart.
    pub(super) fn only_what_grows<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let grows = |name: &str| {
            Family::named(name).is_some_and(|family| matches!(family.kind, Kind::Counter | Kind::Histogram))
        };
        to.collect_map(self.0.iter().filter(|(name, _)| grows(name)))
    }

    /// Without what this version does not know.
    pub(super) fn known(mut self) -> Self {
        self.0.retain(|name, of_family| {
            let Some(family) = Family::named(name) else { return false };
            of_family.values.retain(|labels, _| labels.len() == family.labels.len());
            of_family.histograms.retain(|labels, histogram| {
                labels.len() == family.labels.len() && histogram.counts.len() == BUCKETS.len() + 1
            });
            true
        });
        self
    }
}

fn bounded<T>(labels: &[&str], known: &BTreeMap<Labels, T>) -> Labels {
    let labels: Labels = labels.iter().map(|label| label.chars().take(LONGEST).collect()).collect();
    if known.len() < MOST || known.contains_key(&labels) { labels } else { vec![OTHER.to_owned(); labels.len()] }
}

/// A JSON object has texts for keys, and here they are lists.
mod pairs {
    use std::collections::BTreeMap;

    use serde::de::DeserializeOwned;
    use serde::{Deserialize as _, Deserializer, Serialize, Serializer};

    use super::Labels;

    pub(super) fn serialize<S: Serializer, T: Serialize>(map: &BTreeMap<Labels, T>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, T: DeserializeOwned>(
        from: D,
    ) -> Result<BTreeMap<Labels, T>, D::Error> {
        Ok(Vec::<(Labels, T)>::deserialize(from)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::families::{DECISION_SECONDS, REFUSED_CALLS};
    use super::*;

    #[test]
    fn there_are_never_more_series_than_the_bound() {
        let mut series = Series::default();
        for number in 0..3 * MOST {
            series.add(REFUSED_CALLS, &[&number.to_string()], 1.0);
        }
        let values = &series.0[REFUSED_CALLS].values;
        assert_eq!(values.len(), MOST + 1);
        assert_eq!(values[&vec![OTHER.to_owned()]], 2.0 * MOST as f64);
        series.add(REFUSED_CALLS, &["7"], 1.0);
        assert_eq!(series.0[REFUSED_CALLS].values[&vec!["7".to_owned()]], 2.0, "a known one is still told apart");
        series.add(REFUSED_CALLS, &[&"x".repeat(5000)], 1.0);
        assert!(series.0[REFUSED_CALLS].values.keys().all(|labels| labels[0].len() <= LONGEST));
    }

    #[test]
    fn a_duration_is_in_the_first_bucket_that_holds_it() {
        let mut series = Series::default();
        for seconds in [0.0, 0.0001, 0.0002, 1.0, 7.0] {
            series.observe(DECISION_SECONDS, &["create"], seconds);
        }
        let histogram = &series.0[DECISION_SECONDS].histograms[&vec!["create".to_owned()]];
        assert_eq!(histogram.counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert!((histogram.sum - 8.0003).abs() < 1e-9);
        let text = serde_json::to_string(&series).unwrap();
        assert_eq!(serde_json::from_str::<Series>(&text).unwrap().known(), series);
    }
}
