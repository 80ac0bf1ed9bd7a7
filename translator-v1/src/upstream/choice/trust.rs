//! How far one upstream's word on the others' tips is taken.
//!
//! A prev hash alone proves nothing: whoever makes one up seems to be a block ahead, and would get
//! the miners. Nobody but the one who is said to be late can tell, by how it goes on: whether on
//! the way that the other showed, or on one of its own.

use std::time::{Duration, Instant};

/// So long an upstream is not believed after a false alarm, and twice as long after each further
/// one.
const MISTRUST: Duration = Duration::from_secs(60 * 60);
/// How often that is doubled.
const DOUBLINGS_MAX: u32 = 6;

/// What is thought of one upstream's word.
#[derive(Debug, Clone, Default)]
pub(super) struct Trust {
    /// Since an alarm of it was right.
    false_alarms: u32,
    mistrusted_until: Option<Instant>,
}

impl Trust {
    /// It made another one late, which then went on by another way.
    pub(super) fn count_false_alarm(&mut self, now: Instant) {
        let doublings = self.false_alarms.min(DOUBLINGS_MAX);
        self.false_alarms = self.false_alarms.saturating_add(1);
        self.mistrusted_until = Some(now + MISTRUST.saturating_mul(1 << doublings));
    }

    /// It made another one late, which then went on by that way.
    pub(super) fn count_true_alarm(&mut self) {
        *self = Self::default();
    }

    /// True while it is believed.
    pub(super) fn holds(&self, now: Instant) -> bool {
        self.mistrusted_until.is_none_or(|until| until <= now)
    }

    /// When it is believed again.
    pub(super) fn returns_at(&self) -> Option<Instant> {
        self.mistrusted_until
    }
}
