//! How fast one miner may speak.
//!
//! Who sends too much is read later: his lines wait in his own socket, no share and no block among
//! them is lost, and nobody else waits for him. The same goes for one with too many shares that
//! have no answer yet.

use std::time::{Duration, Instant};

use tracing::debug;
use wire::pace::Allowance;

use super::Event;
use super::session::MinerSession;

/// Lines may come at once for so long a time of their limit.
const BURST_SECONDS: u32 = 2;
/// Who has to wait for something that has no time is looked at again after this.
const FOR_EVER: Duration = Duration::from_secs(365 * 86_400);

/// What one miner has sent, against its limit.
#[derive(Debug)]
pub(super) struct Pace {
    lines: Allowance,
    lines_per_second_max: u32,
    paused_until: Option<Instant>,
    was_slowed: bool,
    for_ever: Instant,
}

impl Pace {
    pub(super) fn new(lines_per_second_max: u32, now: Instant) -> Self {
        Self {
            lines: Allowance::new(now),
            lines_per_second_max,
            paused_until: None,
            was_slowed: false,
            for_ever: now + FOR_EVER,
        }
    }
}

impl MinerSession {
    /// Counts lines that came at `now`, and decides when the next may.
    pub(super) fn pace(&mut self, now: Instant, lines: u32) {
        let second = Duration::from_secs(1);
        let cost = second / self.pace.lines_per_second_max.max(1);
        self.pace.paused_until = self.pace.lines.take(now, lines, cost, second * BURST_SECONDS);
        if self.pace.paused_until.is_none() {
            return;
        }
        debug!("miner slowed down");
        if !std::mem::replace(&mut self.pace.was_slowed, true) {
            self.events.push_back(Event::SlowedDown);
        }
    }

    /// Until when the miner is not to be read.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        match self.replies.is_over() {
            true => Some(self.pace.for_ever),
            false => self.pace.paused_until,
        }
    }
}
