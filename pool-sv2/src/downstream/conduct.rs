//! The share of invalid submits on a channel: whose device sends nearly nothing but junk is not
//! helped by being told so a thousand times.
//!
//! It is reckoned by channel, so that one broken device behind a proxy costs its own channel and
//! none of its neighbours'. Nobody is banned for it: a farm's address would pay for one device.

use std::time::Instant;

use mining::share::Rejection;
use tracing::info;
use wire::session::PeerError;
use wire::sv2::codec::Str255;
use wire::sv2::mining::CloseChannel;

use super::connection::Downstream;
use super::limits::Limit;

/// Submits that are looked at together: enough that no restart and no new difficulty fills them.
const WINDOW: u32 = 1_000;
/// `CloseChannel.reason_code`.
const REASON_INVALID_SHARES: &str = "too-many-invalid-shares";

/// How a channel's latest submits were judged.
#[derive(Debug, Default)]
pub(super) struct Conduct {
    submits: u32,
    invalid: u32,
}

impl Conduct {
    /// A submit that was accepted.
    pub(super) fn count_valid(&mut self) {
        self.submits += 1;
        if self.submits >= WINDOW {
            *self = Self::default();
        }
    }

    /// A submit that was rejected. True if so many of the latest were that the channel must end.
    pub(super) fn count_rejected(&mut self, rejection: Rejection, percent_max: u32) -> bool {
        // A late share is nobody's fault, and that this program forgets no more shares is its own.
        if matches!(rejection, Rejection::Stale | Rejection::TooManyShares) {
            return false;
        }
        self.submits += 1;
        self.invalid += 1;
        if self.submits < WINDOW {
            return false;
        }
        let is_over = self.invalid * 100 > self.submits * percent_max;
        *self = Self::default();
        is_over
    }
}

impl Downstream {
    /// Closes a channel that sends junk.
    pub(super) fn close_for_conduct(
        &mut self,
        now: Instant,
        channel_id: u32,
    ) -> Result<(), PeerError> {
        let limit = Limit::InvalidShares;
        self.settings.counts.met(limit);
        info!(channel = channel_id, limit = limit.name(), "channel sends nearly nothing but junk");
        let reason_code = Str255::from(REASON_INVALID_SHARES);
        let close = CloseChannel { channel_id, reason_code };
        self.link.send(&close)?;
        self.close_channel(now, &close);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn junk_alone_ends_a_channel_and_a_bad_device_among_good_ones_does_not() {
        let mut junk = Conduct::default();
        let verdicts: Vec<_> =
            (0..WINDOW).map(|_| junk.count_rejected(Rejection::DifficultyTooLow, 95)).collect();
        assert_eq!(verdicts.iter().filter(|ends| **ends).count(), 1);
        let mut mixed = Conduct::default();
        for _ in 0..10 * WINDOW {
            for _ in 0..9 {
                assert!(!mixed.count_rejected(Rejection::Duplicate, 95));
            }
            mixed.count_valid();
        }
    }

    #[test]
    fn late_shares_are_nobodys_fault() {
        let mut late = Conduct::default();
        for _ in 0..10 * WINDOW {
            assert!(!late.count_rejected(Rejection::Stale, 0));
        }
    }
}
