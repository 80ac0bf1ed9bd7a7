//! Shares that were sent and have no verdict yet, by sequence number.
//!
//! SubmitShares.Success answers all shares up to its number that were not refused before
//! (spec 5.3.13).

use std::collections::VecDeque;
use std::time::Instant;

/// Shares that may wait; with so many unanswered the upstream is as good as gone, and further
/// shares are refused. Blocks are sent all the same.
pub(super) const WAITING_MAX: usize = 4096;

/// The shares that wait, in the order of their sequence numbers and deadlines.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    shares: VecDeque<Share<T>>,
    next_sequence: u32,
}

#[derive(Debug)]
struct Share<T> {
    sequence: u32,
    deadline: Instant,
    ticket: T,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { shares: VecDeque::new(), next_sequence: 1 }
    }
}

impl<T> Waiting<T> {
    /// Numbers a share; gives the ticket back if too many wait.
    pub(super) fn push(&mut self, ticket: T, deadline: Instant) -> Result<u32, T> {
        if self.shares.len() >= WAITING_MAX {
            return Err(ticket);
        }
        let sequence = self.number();
        self.shares.push_back(Share { sequence, deadline, ticket });
        Ok(sequence)
    }

    /// Numbers a share whose verdict is not waited for.
    pub(super) fn number(&mut self) -> u32 {
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        sequence
    }

    /// Takes the oldest share if it is covered by an acceptance of all up to `sequence`.
    pub(super) fn pop_accepted(&mut self, sequence: u32) -> Option<T> {
        // Sequence numbers wrap: "up to" means less than half the circle behind.
        let is_covered = |share: &mut Share<T>| sequence.wrapping_sub(share.sequence) < 1 << 31;
        self.shares.pop_front_if(is_covered).map(|share| share.ticket)
    }

    /// Takes the share with exactly this number.
    pub(super) fn take(&mut self, sequence: u32) -> Option<T> {
        let index = self.shares.iter().position(|share| share.sequence == sequence)?;
        self.shares.remove(index).map(|share| share.ticket)
    }

    /// Takes the oldest share if its deadline has passed.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<T> {
        self.shares.pop_front_if(|share| share.deadline <= now).map(|share| share.ticket)
    }

    /// When the oldest share expires.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.shares.front().map(|share| share.deadline)
    }

    /// Takes all shares.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.shares.drain(..).map(|share| share.ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(waiting: &mut Waiting<char>, sequence: u32) -> String {
        std::iter::from_fn(|| waiting.pop_accepted(sequence)).collect()
    }

    #[test]
    fn an_acceptance_covers_all_up_to_it_that_were_not_refused() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let numbers: Vec<_> = "abcd".chars().map(|c| waiting.push(c, now).unwrap()).collect();
        assert_eq!(waiting.take(numbers[1]), Some('b'));
        assert_eq!(waiting.take(numbers[1]), None);
        assert_eq!(accepted(&mut waiting, numbers[2]), "ac");
        assert_eq!(accepted(&mut waiting, numbers[2]), "");
        assert_eq!(accepted(&mut waiting, numbers[3]), "d");
    }

    #[test]
    fn sequence_numbers_wrap() {
        let now = Instant::now();
        let mut waiting = Waiting { shares: VecDeque::new(), next_sequence: u32::MAX };
        let last = waiting.push('a', now).unwrap();
        let first = waiting.push('b', now).unwrap();
        assert_eq!((last, first), (u32::MAX, 0));
        assert_eq!(accepted(&mut waiting, last), "a");
        assert_eq!(accepted(&mut waiting, first), "b");
    }

    #[test]
    fn no_more_shares_wait_than_the_limit() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let pushed = (0..WAITING_MAX + 5).filter(|_| waiting.push('a', now).is_ok()).count();
        assert_eq!(pushed, WAITING_MAX);
    }
}
