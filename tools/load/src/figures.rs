//! What was measured, as named figures, and how two pools compare.

use std::time::Duration;

use serde::Serialize;

use crate::histogram::Histogram;

/// Which way is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Less is better.
    Lower,
    /// More is better.
    Higher,
    /// It only tells how the rest came about.
    Neither,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What it is; the same for each pool.
    pub name: String,
    /// Of what.
    pub unit: &'static str,
    /// How much.
    pub value: f64,
    /// Which way is good.
    pub better: Better,
}

/// Figures in the order in which they were measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Figures(pub Vec<Figure>);

impl Figures {
    /// Adds one.
    pub fn put(&mut self, name: &str, unit: &'static str, value: f64, better: Better) {
        self.0.push(Figure { name: name.to_owned(), unit, value, better });
    }

    /// Adds a count of things that should not have happened.
    pub fn put_faults(&mut self, name: &str, count: u64) {
        self.put(name, "", to_f64(count), Better::Lower);
    }

    /// Adds median, 99 % and longest of `times` in milliseconds; nothing without any.
    pub fn put_times(&mut self, name: &str, times: &Histogram) {
        for (suffix, per_mille) in [("p50", 500), ("p99", 990), ("max", 1_000)] {
            if let Some(time) = times.quantile(per_mille) {
                self.put(&format!("{name}, {suffix}"), "ms", milliseconds(time), Better::Lower);
            }
        }
    }

    /// The value of the figure of that name.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }

    /// For each figure of the first run the median of all runs.
    pub fn median_of(runs: &[Self]) -> Self {
        let first = runs.first().cloned().unwrap_or_default();
        let medians = first.0.into_iter().map(|figure| {
            let all = runs.iter().filter_map(|run| run.value(&figure.name)).collect();
            Figure { value: median(all).unwrap_or(figure.value), ..figure }
        });
        Self(medians.collect())
    }
}

/// How many times better `ours` is than `theirs`; `None` where that means nothing.
pub fn times_better(ours: &Figure, theirs: &Figure) -> Option<f64> {
    let ratio = match ours.better {
        Better::Lower => theirs.value / ours.value,
        Better::Higher => ours.value / theirs.value,
        Better::Neither => return None,
    };
    ratio.is_finite().then_some(ratio)
}

/// The middle one; of an even number the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if !values.len().is_multiple_of(2) {
        return Some(upper);
    }
    let lower = *values.get(values.len() / 2 - 1)?;
    Some(f64::midpoint(lower, upper))
}

/// Milliseconds with their fraction.
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Microseconds for each of `count`; `None` without any.
pub fn microseconds_each(duration: Duration, count: u64) -> Option<f64> {
    (count > 0).then(|| duration.as_secs_f64() * 1e6 / to_f64(count))
}

/// For ratios and rates: exact below 2^53.
#[expect(clippy::as_conversions, reason = "counts of this program are far below 2^53")]
pub fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(value: f64, better: Better) -> Figure {
        Figure { name: "x".to_owned(), unit: "ms", value, better }
    }

    #[test]
    fn half_the_time_and_twice_the_rate_are_both_two_times_better() {
        let ratio =
            |ours, theirs, better| times_better(&figure(ours, better), &figure(theirs, better));
        assert_eq!(ratio(5.0, 10.0, Better::Lower), Some(2.0));
        assert_eq!(ratio(10.0, 5.0, Better::Higher), Some(2.0));
        assert_eq!(ratio(10.0, 5.0, Better::Neither), None);
        assert_eq!(ratio(0.0, 5.0, Better::Lower), None);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn runs_are_joined_by_the_median_of_each_figure() {
        let run = |value| Figures(vec![figure(value, Better::Lower)]);
        let joined = Figures::median_of(&[run(9.0), run(1.0), run(2.0)]);
        assert_eq!(joined.value("x"), Some(2.0));
    }

    #[test]
    fn cost_is_reckoned_for_each_share() {
        assert_eq!(microseconds_each(Duration::from_millis(10), 5_000), Some(2.0));
        assert_eq!(microseconds_each(Duration::from_millis(10), 0), None);
    }
}
