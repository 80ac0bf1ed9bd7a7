//! What a crew of miners has counted since it was last asked.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use crate::histogram::Histogram;

/// Receipts of new tips between two reports; further ones are not written down.
const RECEIPTS_MAX: usize = 1 << 22;
/// Different reasons that are told apart; the rest are counted together.
const REASONS_MAX: usize = 32;
/// How the rest are called.
const OTHER_REASONS: &str = "other reasons";

/// Counts that others look at while the crews run.
#[derive(Debug, Default)]
pub struct Live {
    /// Connections with a channel and a job.
    pub ready: AtomicU64,
    /// Connections that ended although nobody wanted them to, or never got ready.
    pub lost: AtomicU64,
    /// New tips that arrived.
    pub receipts: AtomicU64,
    /// Shares acknowledged.
    pub accepted: AtomicU64,
}

/// Reasons, and how often each was given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reasons(BTreeMap<String, u64>);

impl Reasons {
    /// Counts `reason` once.
    pub fn count(&mut self, reason: &str) {
        self.add_many(reason, 1);
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Self) {
        for (reason, count) in &other.0 {
            self.add_many(reason, *count);
        }
    }

    fn add_many(&mut self, reason: &str, count: u64) {
        let is_known = self.0.len() < REASONS_MAX || self.0.contains_key(reason);
        let reason = if is_known { reason } else { OTHER_REASONS };
        *self.0.entry(reason.to_owned()).or_default() += count;
    }

    /// How often any was given.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Each reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(reason, count)| (reason.as_str(), *count))
    }
}

/// What was counted.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// From the start of a connection to its channel's first job.
    pub opening: Histogram,
    /// Why connections were lost that should have stayed.
    pub lost: Reasons,
    /// Shares sent.
    pub sent: u64,
    /// Shares that were due and not sent, because their connection had too many in flight.
    pub withheld: u64,
    /// Shares that the pool says it accepted.
    pub accepted: u64,
    /// Rejected shares by the pool's code.
    pub rejected: Reasons,
    /// From sending a share to the acknowledgement that covers it.
    pub acknowledging: Histogram,
    /// From sending a share to its rejection.
    pub rejecting: Histogram,
    /// New tips: the first four bytes of the hash, and when they were read.
    pub receipts: Vec<(u32, Instant)>,
    /// Visitors that came, opened a channel and left.
    pub visits: u64,
    /// Why visitors did not get a channel.
    pub failed_visits: Reasons,
    /// Acknowledged shares of each connection that sent any.
    pub per_connection: Vec<u64>,
}

impl Tally {
    /// Writes down that the tip `name` arrived.
    pub fn receive(&mut self, name: u32, at: Instant) {
        if self.receipts.len() < RECEIPTS_MAX {
            self.receipts.push((name, at));
        }
    }

    /// Adds what another crew has counted.
    pub fn add(&mut self, other: Self) {
        self.opening.add(&other.opening);
        self.lost.add(&other.lost);
        self.sent += other.sent;
        self.withheld += other.withheld;
        self.accepted += other.accepted;
        self.rejected.add(&other.rejected);
        self.acknowledging.add(&other.acknowledging);
        self.rejecting.add(&other.rejecting);
        self.receipts.extend(other.receipts);
        self.visits += other.visits;
        self.failed_visits.add(&other.failed_visits);
        self.per_connection.extend(other.per_connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_apart_until_there_are_too_many() {
        let mut reasons = Reasons::default();
        for number in 0..REASONS_MAX + 5 {
            reasons.count(&format!("reason {number:02}"));
        }
        reasons.count("reason 00");
        assert_eq!(reasons.total(), 38);
        let counts: Vec<_> = reasons.iter().filter(|(_, count)| *count > 1).collect();
        assert_eq!(counts, [(OTHER_REASONS, 5), ("reason 00", 2)]);
    }

    #[test]
    fn tallies_of_two_crews_add_up() {
        let one = || {
            let mut tally = Tally { sent: 3, accepted: 2, ..Tally::default() };
            tally.rejected.count("stale-share");
            tally.per_connection = vec![2];
            tally
        };
        let mut sum = one();
        sum.add(one());
        assert_eq!((sum.sent, sum.accepted, sum.rejected.total()), (6, 4, 2));
        assert_eq!(sum.per_connection, [2, 2]);
    }
}
