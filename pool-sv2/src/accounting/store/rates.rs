//! Decaying hashrates: what somebody does now, and did lately.
//!
//! Each is a sum of credited work that fades with its window: a share of work `w` counts `w / T` at
//! first and `w / T · e^(-t / T)` after `t`. Sums of rates are rates of sums. Floats: for people.

/// The windows, in seconds: one minute, five, an hour, a day, a week.
pub const WINDOWS: [f64; 5] = [60.0, 300.0, 3_600.0, 86_400.0, 604_800.0];

/// Hashes per second over each of the windows.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// As of when, milliseconds since 1970.
    pub at_ms: u64,
    /// In the order of `WINDOWS`.
    pub per_second: [f64; 5],
}

impl Rates {
    /// Adds a share; one that is older than what is there counts as if it came now.
    pub fn add(&mut self, time_ms: u64, work: u128) {
        self.fade_to(time_ms);
        let work = approximate(work);
        for (rate, window) in self.per_second.iter_mut().zip(WINDOWS) {
            *rate += work / window;
        }
    }

    /// Lets time pass.
    pub fn fade_to(&mut self, time_ms: u64) {
        let Some(passed) = time_ms.checked_sub(self.at_ms).filter(|passed| *passed > 0) else {
            return;
        };
        let seconds = approximate(passed.into()) / 1_000.0;
        for (rate, window) in self.per_second.iter_mut().zip(WINDOWS) {
            *rate *= (-seconds / window).exp();
        }
        self.at_ms = time_ms;
    }

    /// Adds another's, both as of the later moment.
    pub fn add_rates(&mut self, mut other: Self) {
        let at_ms = self.at_ms.max(other.at_ms);
        self.fade_to(at_ms);
        other.fade_to(at_ms);
        for (rate, more) in self.per_second.iter_mut().zip(other.per_second) {
            *rate += more;
        }
    }

    /// As if it had always been like this since `first_ms`: a window that is not full yet would
    /// show too little.
    #[must_use]
    pub fn since(mut self, first_ms: u64) -> Self {
        let age = approximate(self.at_ms.saturating_sub(first_ms).max(1_000).into()) / 1_000.0;
        for (rate, window) in self.per_second.iter_mut().zip(WINDOWS) {
            *rate /= 1.0 - (-age / window).exp();
        }
        self
    }
}

/// The nearest float, near enough for people: both halves are exact below 2^53.
fn approximate(value: u128) -> f64 {
    let part = |shift: u32| u32::try_from((value >> shift) & 0xffff_ffff).unwrap_or(0);
    [96, 64, 32, 0]
        .into_iter()
        .fold(0.0, |sum, shift| sum * 4_294_967_296.0 + f64::from(part(shift)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: u64 = 1_700_000_000_000;

    /// A share of 10^12 hashes each second is 10^12 hashes per second, in each window.
    fn steady(seconds: u64) -> Rates {
        let mut rates = Rates::default();
        for second in 1..=seconds {
            rates.add(START_MS + second * 1_000, 1_000_000_000_000);
        }
        rates
    }

    #[test]
    fn a_steady_miner_is_shown_as_he_is_in_each_window_from_his_first_minutes_on() {
        for seconds in [120, 4_000] {
            for rate in steady(seconds).since(START_MS).per_second {
                assert!((rate / 1e12 - 1.0).abs() < 0.02, "{rate} after {seconds} s");
            }
        }
    }

    #[test]
    fn who_is_silent_fades() {
        let mut rates = steady(4_000);
        let before = rates.per_second;
        rates.fade_to(START_MS + 4_060_000);
        assert!((rates.per_second[0] / before[0] - (-1.0_f64).exp()).abs() < 1e-9);
        assert!(rates.per_second[4] / before[4] > 0.999);
    }

    #[test]
    fn the_sum_of_rates_is_the_rate_of_both() {
        let (mut one, mut other, mut both) = (steady(100), Rates::default(), steady(100));
        other.add(START_MS + 150_000, 7 << 40);
        both.add(START_MS + 150_000, 7 << 40);
        one.add_rates(other);
        for (sum, rate) in one.per_second.iter().zip(both.per_second) {
            assert!((sum / rate - 1.0).abs() < 1e-9);
        }
    }
}
