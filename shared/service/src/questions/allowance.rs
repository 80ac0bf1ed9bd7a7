//! How many questions an address may ask: so many a minute, which it may also save up for half a
//! minute and ask at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::gate::network::Network;

/// Addresses that are remembered. When all of them have asked lately, further ones share one
/// allowance.
const ADDRESSES_MAX: usize = 4_096;
/// So much of a minute's questions may be asked at once.
const BURST: f64 = 0.5;

/// What is left to everybody.
#[derive(Debug)]
pub(crate) struct Allowances {
    /// None: as many as they like.
    per_minute: Option<f64>,
    by_source: HashMap<Network, Left>,
    /// Of those for whom there is no room.
    others: Left,
}

/// Questions that may be asked at once.
#[derive(Debug, Clone, Copy)]
struct Left {
    questions: f64,
    at: Instant,
}

impl Allowances {
    /// `per_minute` questions; 0 is as many as they like.
    pub(crate) fn new(per_minute: u32, now: Instant) -> Self {
        let per_minute = (per_minute > 0).then(|| f64::from(per_minute));
        let others = Left { questions: burst(per_minute.unwrap_or(0.0)), at: now };
        Self { per_minute, by_source: HashMap::new(), others }
    }

    /// True if the address may ask a question now; else when it may.
    pub(crate) fn take(&mut self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let Some(per_minute) = self.per_minute else {
            return Ok(());
        };
        let source = Network::source(address);
        if self.by_source.len() >= ADDRESSES_MAX && !self.by_source.contains_key(&source) {
            self.by_source.retain(|_, left| !left.is_whole(per_minute, now));
        }
        let whole = Left { questions: burst(per_minute), at: now };
        let left = match self.by_source.len() < ADDRESSES_MAX {
            true => self.by_source.entry(source).or_insert(whole),
            false => self.by_source.get_mut(&source).unwrap_or(&mut self.others),
        };
        left.take(per_minute, now)
    }
}

/// At least one, or nobody could ask anything.
fn burst(per_minute: f64) -> f64 {
    (per_minute * BURST).max(1.0)
}

impl Left {
    fn refill(&mut self, per_minute: f64, now: Instant) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.questions = (self.questions + seconds * per_minute / 60.0).min(burst(per_minute));
        self.at = now;
    }

    fn is_whole(mut self, per_minute: f64, now: Instant) -> bool {
        self.refill(per_minute, now);
        self.questions >= burst(per_minute)
    }

    fn take(&mut self, per_minute: f64, now: Instant) -> Result<(), Duration> {
        self.refill(per_minute, now);
        if self.questions < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.questions) * 60.0 / per_minute));
        }
        self.questions -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn who_asks_too_much_waits_and_others_do_not() {
        let now = Instant::now();
        let mut allowances = Allowances::new(60, now);
        for _ in 0..30 {
            assert_eq!(allowances.take(address(1), now), Ok(()));
        }
        let wait = allowances.take(address(1), now).unwrap_err();
        assert!(wait <= Duration::from_secs(1) && wait > Duration::from_millis(990), "{wait:?}");
        assert_eq!(allowances.take(address(2), now), Ok(()));
        assert_eq!(allowances.take(address(1), now + Duration::from_secs(1)), Ok(()));
        assert!(allowances.take(address(1), now + Duration::from_secs(1)).is_err());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_strangers_share_what_is_left() {
        let now = Instant::now();
        let mut allowances = Allowances::new(60, now);
        let crowd = u32::try_from(ADDRESSES_MAX).unwrap();
        let asked = (0..2 * crowd).filter(|it| allowances.take(address(*it), now).is_ok()).count();
        assert_eq!((allowances.by_source.len(), asked), (ADDRESSES_MAX, ADDRESSES_MAX + 30));
        // They have been silent for long enough to be forgotten.
        let later = now + Duration::from_secs(60);
        assert_eq!(allowances.take(address(3 * crowd), later), Ok(()));
        assert_eq!(allowances.by_source.len(), 1);
    }

    #[test]
    fn without_a_limit_anybody_asks_on() {
        let now = Instant::now();
        let mut allowances = Allowances::new(0, now);
        assert!((0..10_000).all(|_| allowances.take(address(1), now).is_ok()));
    }
}
