//! The mean of the last few times that something took.

use std::time::Duration;

/// The last `COUNT` of them.
#[derive(Debug, Clone, Copy)]
pub struct Recent<const COUNT: usize> {
    /// In microseconds; the oldest is overwritten.
    micros: [u32; COUNT],
    /// How many there were, over all.
    pushed: usize,
}

impl<const COUNT: usize> Default for Recent<COUNT> {
    fn default() -> Self {
        Self { micros: [0; COUNT], pushed: 0 }
    }
}

impl<const COUNT: usize> Recent<COUNT> {
    /// Adds one; what takes longer than an hour counts as an hour.
    pub fn push(&mut self, time: Duration) {
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        if let Some(oldest) = self.micros.get_mut(self.pushed % COUNT.max(1)) {
            *oldest = micros;
        }
        self.pushed = self.pushed.wrapping_add(1);
    }

    /// Their mean; none before the first.
    pub fn mean(&self) -> Option<Duration> {
        let count = self.pushed.min(COUNT);
        let sum: u64 = self.micros.iter().take(count).copied().map(u64::from).sum();
        let mean = sum.checked_div(u64::try_from(count).ok()?)?;
        Some(Duration::from_micros(mean))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_forgets_what_is_older_than_the_last_few() {
        let mut recent = Recent::<4>::default();
        assert_eq!(recent.mean(), None);
        recent.push(Duration::from_micros(10));
        assert_eq!(recent.mean(), Some(Duration::from_micros(10)));
        for micros in [20, 30, 40, 50] {
            recent.push(Duration::from_micros(micros));
        }
        assert_eq!(recent.mean(), Some(Duration::from_micros(35)));
        recent.push(Duration::MAX);
        assert!(recent.mean() > Some(Duration::from_secs(1_000)));
    }
}
