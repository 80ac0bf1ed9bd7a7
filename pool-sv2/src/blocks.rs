//! Found blocks on their way to the template providers.
//!
//! This path waits for nothing: no disk, no ledger, no other connection. What cannot be sent
//! because no provider is connected is kept for a while and sent to the next one that is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mining::share::Solution;
use tokio::sync::broadcast;

/// Solutions in flight to a connection that is slow to take them; more than are ever found at once.
const QUEUE_MAX: usize = 256;
/// Solutions that are kept for a provider that comes back.
const KEPT_MAX: usize = 64;
/// For how long: providers forget a template soon after its tip has gone.
const KEPT_FOR: Duration = Duration::from_secs(120);

/// Found blocks that are known again when a miner sends them once more.
const REMEMBERED_MAX: usize = 64;

/// The hashes of the last found blocks.
#[derive(Debug, Default)]
struct Remembered(VecDeque<[u8; 32]>);

impl Remembered {
    /// True if `hash` is not among them; it is from then on.
    fn is_new(&mut self, hash: &[u8; 32]) -> bool {
        if self.0.contains(hash) {
            return false;
        }
        if self.0.len() >= REMEMBERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(*hash);
        true
    }
}

/// Hands solutions to all connected template providers. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Solutions {
    sender: broadcast::Sender<Solution>,
    kept: Arc<Mutex<VecDeque<(Instant, Solution)>>>,
    sent: Arc<Mutex<Remembered>>,
    recorded: Arc<Mutex<Remembered>>,
}

impl Default for Solutions {
    fn default() -> Self {
        Self {
            sender: broadcast::Sender::new(QUEUE_MAX),
            kept: Arc::default(),
            sent: Arc::default(),
            recorded: Arc::default(),
        }
    }
}

impl Solutions {
    /// Sends `solution` to every connected provider, and keeps it for those that come back. One
    /// that was sent already is not sent again, lest copies drive out other blocks.
    pub fn send(&self, solution: Solution, now: Instant) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if !sent.is_new(&solution.hash) {
            return;
        }
        drop(sent);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(found_at, _)| now.saturating_duration_since(*found_at) < KEPT_FOR);
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back((now, solution.clone()));
        // Within the lock, so that a provider that subscribes now gets it exactly once. No receiver
        // is no error: it is kept.
        drop(self.sender.send(solution));
    }

    /// True if the block of this hash is to be written into the ledger: not a second time.
    pub fn is_to_record(&self, hash: &[u8; 32]) -> bool {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner).is_new(hash)
    }

    /// What was found lately, and all that will be found.
    pub fn subscribe(&self, now: Instant) -> (Vec<Solution>, broadcast::Receiver<Solution>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = kept
            .iter()
            .filter(|(found_at, _)| now.saturating_duration_since(*found_at) < KEPT_FOR)
            .map(|(_, solution)| solution.clone());
        (fresh.collect(), self.sender.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mining::memo::Memo;
    use mining::target::Target;
    use mining::template::ChainTip;

    use super::*;

    fn solution(nonce: u32) -> Solution {
        let tip = ChainTip { hash: [1; 32], header_timestamp: 1, nbits: 1, target: Target::MAX };
        Solution {
            template_id: 1,
            version: 0,
            ntime: 0,
            nonce,
            coinbase: Bytes::new(),
            hash: [u8::try_from(nonce).unwrap(); 32],
            height: None,
            tip: Arc::new(tip),
            memo: Memo::default(),
        }
    }

    #[test]
    fn a_block_found_while_no_provider_is_there_waits_for_one() {
        let (solutions, now) = (Solutions::default(), Instant::now());
        solutions.send(solution(1), now);
        let (kept, mut receiver) = solutions.subscribe(now);
        assert_eq!(kept, [solution(1)]);
        assert!(receiver.try_recv().is_err(), "it must not come twice");
        solutions.send(solution(2), now);
        assert_eq!(receiver.try_recv(), Ok(solution(2)));
    }

    /// Flaw 17: a second block that is found while the first is on its way goes out too.
    #[test]
    fn blocks_found_at_the_same_moment_all_go_out() {
        let (solutions, now) = (Solutions::default(), Instant::now());
        let (_, mut receiver) = solutions.subscribe(now);
        for nonce in 1..=3 {
            solutions.send(solution(nonce), now);
        }
        for nonce in 1..=3 {
            assert_eq!(receiver.try_recv(), Ok(solution(nonce)));
        }
    }

    #[test]
    fn an_old_block_is_not_sent_again() {
        let (solutions, now) = (Solutions::default(), Instant::now());
        solutions.send(solution(1), now);
        assert!(solutions.subscribe(now + KEPT_FOR).0.is_empty());
    }

    #[test]
    fn a_block_that_is_sent_again_drives_out_no_other() {
        let (solutions, now) = (Solutions::default(), Instant::now());
        let (_, mut receiver) = solutions.subscribe(now);
        for nonce in [1, 2].into_iter().chain([2; 2 * KEPT_MAX]) {
            solutions.send(solution(nonce), now);
        }
        assert_eq!(solutions.subscribe(now).0, [solution(1), solution(2)]);
        assert_eq!(receiver.try_recv(), Ok(solution(1)));
        assert_eq!(receiver.try_recv(), Ok(solution(2)));
        assert!(receiver.try_recv().is_err());
    }

    #[test]
    fn no_more_than_the_last_blocks_are_remembered() {
        let mut remembered = Remembered::default();
        for number in 0..=u8::try_from(REMEMBERED_MAX).unwrap() {
            assert!(remembered.is_new(&[number; 32]));
        }
        assert_eq!(remembered.0.len(), REMEMBERED_MAX);
        assert!(remembered.is_new(&[0; 32]) && !remembered.is_new(&[2; 32]));
    }
}
