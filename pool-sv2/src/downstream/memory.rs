//! What one session can hold in memory, reckoned from its limits.
//!
//! Everything here is a bound and no measure: an honest connection with one channel takes a few
//! kilobytes. Shares are the greatest part of it, and each has cost its work.

use super::extensions::NAMES_MAX;
use super::limits::Limits;

/// What a session holds beside what is counted: shares that wait for the ledger, and requests that
/// wait for work.
const SESSION_BYTES: usize = 2 << 20;
/// A channel with its user's name and its jobs, which may be all its own.
const CHANNEL_BYTES: usize = 48 << 10;
/// A share's place in its table, which is half empty at worst, and there twice while it grows.
const REMEMBERED_SHARE_BYTES: usize = 32;
/// A worker's name, by itself and behind its user's.
const NAME_BYTES: usize = 768;
/// A buffer that grows is there twice for a moment, and may be half empty.
const COPIES: usize = 3;

impl Limits {
    /// The most bytes that one session holds, whatever its peer sends. Templates are the node's,
    /// and shared by all sessions.
    pub fn session_bytes_max(&self) -> usize {
        let parts = [
            SESSION_BYTES,
            NAMES_MAX.saturating_mul(NAME_BYTES),
            self.channels_per_connection_max.saturating_mul(CHANNEL_BYTES),
            self.remembered_shares_max.saturating_mul(REMEMBERED_SHARE_BYTES),
            self.frame_bytes_max.saturating_add(self.output_bytes_max).saturating_mul(COPIES),
        ];
        parts.into_iter().fold(0, usize::saturating_add)
    }
}
