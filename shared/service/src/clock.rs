//! Where time and randomness of the operating system enter the programs.
//!
//! Pure rooms get both as arguments; this is the one place that asks for them.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rand::RngCore;
use rand::rngs::OsRng;

/// Seconds since 1970, as block headers and certificates count them. Saturates in 2106.
pub fn unix_now_seconds() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// Milliseconds since 1970.
pub fn unix_now_milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The monotonic time that sessions get: tokio's, so that tests can pause it.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Waits for a deadline; for ever if there is none. For a branch of `select!`.
pub async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// 32 fresh bytes of the operating system's randomness.
pub fn fresh_seed() -> [u8; 32] {
    let mut seed = [0; 32];
    OsRng.fill_bytes(&mut seed);
    seed
}
