//! Waiting for something that another process does: asking until a deadline, never just sleeping.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks.
const LOOK_PERIOD: Duration = Duration::from_millis(20);

/// Asks `look` until it gives something; an error ends the waiting. `what` completes the sentence
/// "waited N s for ...".
pub fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        if Instant::now() >= deadline {
            bail!("waited {} s for {what}, in vain", within.as_secs_f32());
        }
        thread::sleep(LOOK_PERIOD);
    }
}
