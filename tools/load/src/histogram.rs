//! How long things took: a histogram of fixed size, exact to 1.6 %, however many there were.

use std::time::Duration;

/// Values below this have a bucket each, in microseconds.
const EXACT: u64 = 128;
/// Buckets for each doubling above that.
const PER_OCTAVE: u64 = 64;
/// The longest time that is told apart: 2^36 µs, 19 hours.
const EXPONENT_MAX: u64 = 36;
/// Exponent of `EXACT`.
const EXACT_EXPONENT: u64 = 7;

/// Durations in microseconds, by buckets.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    longest_us: u64,
    shortest_us: Option<u64>,
}

impl Histogram {
    /// Adds one duration.
    pub fn record(&mut self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = bucket_of(us);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.total += 1;
        self.longest_us = self.longest_us.max(us);
        self.shortest_us = Some(self.shortest_us.map_or(us, |shortest| shortest.min(us)));
    }

    /// Adds what another one holds.
    pub fn add(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.longest_us = self.longest_us.max(other.longest_us);
        self.shortest_us = match (self.shortest_us, other.shortest_us) {
            (Some(mine), Some(theirs)) => Some(mine.min(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
    }

    /// How many were added.
    pub fn len(&self) -> u64 {
        self.total
    }

    /// True if none was added.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The duration that `per_mille` of a thousand do not exceed; 1000 gives the longest, exactly,
    /// 0 the shortest. `None` without any.
    pub fn quantile(&self, per_mille: u64) -> Option<Duration> {
        let shortest = self.shortest_us?;
        let rank = self.total.saturating_mul(per_mille).div_ceil(1_000);
        if rank == 0 {
            return Some(Duration::from_micros(shortest));
        }
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                let us = highest_of(bucket).clamp(shortest, self.longest_us);
                return Some(Duration::from_micros(us));
            }
        }
        Some(Duration::from_micros(self.longest_us))
    }
}

fn bucket_of(us: u64) -> usize {
    if us < EXACT {
        return usize::try_from(us).unwrap_or(0);
    }
    let exponent = u64::from(us.ilog2());
    if exponent > EXPONENT_MAX {
        return bucket_of((1 << (EXPONENT_MAX + 1)) - 1);
    }
    // The six bits after the leading one.
    let within = (us >> (exponent - 6)) - PER_OCTAVE;
    usize::try_from(EXACT + (exponent - EXACT_EXPONENT) * PER_OCTAVE + within).unwrap_or(0)
}

/// The highest value that falls into `bucket`.
fn highest_of(bucket: usize) -> u64 {
    let bucket = u64::try_from(bucket).unwrap_or(u64::MAX);
    if bucket < EXACT {
        return bucket;
    }
    let above = bucket - EXACT;
    let exponent = EXACT_EXPONENT + above / PER_OCTAVE;
    let within = PER_OCTAVE + above % PER_OCTAVE;
    ((within + 1) << (exponent - 6)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        values.into_iter().for_each(|us| histogram.record(Duration::from_micros(us)));
        histogram
    }

    fn us(histogram: &Histogram, per_mille: u64) -> u128 {
        histogram.quantile(per_mille).unwrap().as_micros()
    }

    #[test]
    fn small_values_are_exact() {
        let histogram = of(1..=100);
        assert_eq!(us(&histogram, 500), 50);
        assert_eq!(us(&histogram, 990), 99);
        assert_eq!(us(&histogram, 1_000), 100);
        assert_eq!(us(&histogram, 0), 1);
    }

    #[test]
    fn large_values_are_within_two_percent_and_the_ends_exact() {
        let histogram = of((1..=10_000).map(|value| value * 1_003));
        for (per_mille, expected) in [(10, 100_300), (500, 5_015_000), (990, 9_929_700)] {
            let found = us(&histogram, per_mille);
            assert!(found >= expected && found * 100 <= expected * 102, "{per_mille}: {found}");
        }
        assert_eq!(us(&histogram, 1_000), 10_030_000);
        assert_eq!(us(&histogram, 0), 1_003);
    }

    #[test]
    fn every_value_falls_into_the_bucket_that_holds_it() {
        for value in
            (0..40).flat_map(|exponent| [(1 << exponent) - 1, 1 << exponent, 3 << exponent])
        {
            let highest = highest_of(bucket_of(value));
            let held = value <= highest && highest <= value + value / 64 + 1;
            assert!(held || value >= 1 << 37, "{value} in a bucket up to {highest}");
        }
    }

    #[test]
    fn two_histograms_added_are_one_of_all_values() {
        let mut sum = of(1..=50);
        sum.add(&of(51..=100));
        assert_eq!((sum.len(), us(&sum, 500), us(&sum, 0)), (100, 50, 1));
        let mut none = Histogram::default();
        assert!(none.is_empty() && none.quantile(500).is_none());
        none.add(&sum);
        assert_eq!(us(&none, 1_000), 100);
    }
}
