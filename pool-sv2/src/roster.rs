//! Who is connected at the moment, and what each connection says of its channels: for people who
//! ask, and for an operator who sends one away.
//!
//! A connection says it every few seconds, all channels at once: nothing here is touched for a
//! share, and who asks waits for no connection, not even for one that hangs. The store knows what
//! was; this is gone with its connection.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use mining::target::{Hashes, Target};
use serde::Serialize;
use service::clock;
use tokio_util::sync::CancellationToken;

use crate::shares::{Earner, Reason};

/// Connections that are looked at before others may enter or leave again.
const AT_ONCE: usize = 1_024;

/// All who are connected. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Roster(Arc<Mutex<Seats>>);

/// As many as there are connections, which the gate bounds.
#[derive(Debug, Default)]
struct Seats {
    next: u64,
    taken: BTreeMap<u64, Arc<Seat>>,
}

/// One connection.
#[derive(Debug)]
pub struct Seat {
    /// Its number, of this start of the pool.
    pub id: u64,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// The port that it came to, by its place in the settings.
    pub listener: u16,
    /// When it came, milliseconds since 1970.
    pub since_ms: u64,
    since: Instant,
    leave: CancellationToken,
    channels: Mutex<Arc<[ChannelNow]>>,
}

/// A channel as it was a few seconds ago.
#[derive(Debug, Clone)]
pub struct ChannelNow {
    /// Its number on its connection.
    pub id: u32,
    /// True of a standard channel, false of an extended one.
    pub is_standard: bool,
    /// Who is credited; workers that shares name are among him.
    pub earner: Arc<Earner>,
    /// The difficulty in force.
    pub difficulty: f64,
    /// What came of its shares.
    pub tally: Tally,
}

/// A channel for people. Its numbers are of this connection alone; the store knows what all of a
/// worker's have done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChannelShown {
    /// Its number on its connection. Which connection that is stays unsaid: it would tell strangers
    /// whose machines stand behind one address.
    pub channel: u32,
    /// Who is credited.
    pub account: String,
    /// Which of the account's machines; empty for none.
    pub worker: String,
    /// `standard` or `extended`.
    pub kind: &'static str,
    /// The difficulty in force.
    pub difficulty: f64,
    /// When it was opened, milliseconds since 1970.
    pub opened_ms: u64,
    /// When its last share was accepted.
    pub last_share_ms: Option<u64>,
    /// Accepted shares.
    pub shares: u64,
    /// Their work in hashes, as text.
    pub work: String,
    /// Of the best share.
    pub best_difficulty: Option<f64>,
    /// Rejected shares by reason.
    pub rejects: BTreeMap<&'static str, u32>,
}

/// What came of a channel's shares since it was opened.
#[derive(Debug, Clone)]
pub struct Tally {
    /// When it was opened.
    pub opened: Instant,
    /// When the last share was accepted.
    pub last: Option<Instant>,
    /// Shares that were accepted.
    pub accepted: u64,
    /// Their work.
    pub work: Hashes,
    /// The upper half of the lowest hash among them; all ones before the first.
    best_high: u128,
    /// Shares that were rejected, by the reason's code.
    pub rejects: [u32; Reason::ALL.len()],
}

impl Tally {
    /// Nothing yet, of a channel that is opened now.
    pub fn new(opened: Instant) -> Self {
        Self {
            opened,
            last: None,
            accepted: 0,
            work: Hashes::default(),
            best_high: u128::MAX,
            rejects: Default::default(),
        }
    }

    /// A share was accepted; its hash in internal byte order.
    pub fn accept(&mut self, now: Instant, work: Hashes, hash: &[u8; 32]) {
        self.last = Some(now);
        self.accepted += 1;
        self.work = self.work.plus(work);
        // Internal byte order is little-endian: the upper half stands behind.
        let high = hash.last_chunk().copied().map_or(u128::MAX, u128::from_le_bytes);
        self.best_high = self.best_high.min(high);
    }

    /// A share was rejected.
    pub fn reject(&mut self, reason: Reason) {
        if let Some(count) = self.rejects.get_mut(usize::from(reason.code())) {
            *count = count.saturating_add(1);
        }
    }

    /// Why shares were rejected, and how many; reasons that there were.
    pub fn rejected(&self) -> impl Iterator<Item = (Reason, u32)> {
        Reason::ALL.into_iter().zip(self.rejects).filter(|(_, count)| *count > 0)
    }
}

impl Roster {
    /// Counts a connection in, which came to the port `listener`; it ends with `shutdown`.
    pub fn enter(
        &self,
        peer: SocketAddr,
        listener: u16,
        shutdown: &CancellationToken,
    ) -> Attendance {
        let mut seats = self.seats();
        let id = seats.next;
        seats.next += 1;
        let seat = Arc::new(Seat {
            id,
            peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            listener,
            since_ms: clock::unix_now_milliseconds(),
            since: clock::now(),
            leave: shutdown.child_token(),
            channels: Mutex::default(),
        });
        seats.taken.insert(id, Arc::clone(&seat));
        Attendance { roster: self.clone(), seat }
    }

    /// One connection by its number.
    pub fn seat(&self, id: u64) -> Option<Arc<Seat>> {
        self.seats().taken.get(&id).cloned()
    }

    /// The first `count` connections behind number `after` (from the start on, if none is named)
    /// that are `wanted`, in the order in which they came.
    pub fn list(
        &self,
        after: Option<u64>,
        count: usize,
        wanted: impl Fn(&Seat) -> bool,
    ) -> Vec<Arc<Seat>> {
        let (mut found, mut from) = (Vec::new(), after.map_or(Bound::Unbounded, Bound::Excluded));
        while found.len() < count {
            let some: Vec<_> = {
                let seats = self.seats();
                let range = seats.taken.range((from, Bound::Unbounded)).take(AT_ONCE);
                range.map(|(_, seat)| Arc::clone(seat)).collect()
            };
            let Some(last) = some.last() else {
                break;
            };
            from = Bound::Excluded(last.id);
            let room = count - found.len();
            found.extend(some.into_iter().filter(|seat| wanted(seat)).take(room));
        }
        found
    }

    /// How many are connected.
    pub fn count(&self) -> usize {
        self.seats().taken.len()
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        lock(&self.0)
    }
}

impl Seat {
    /// Its channels, as they were a few seconds ago.
    pub fn channels(&self) -> Arc<[ChannelNow]> {
        Arc::clone(&lock(&self.channels))
    }

    /// Its address without the port.
    pub fn address(&self) -> IpAddr {
        self.peer.ip()
    }

    /// Its channels, for people.
    pub fn shown(&self) -> Vec<ChannelShown> {
        self.channels().iter().map(|channel| self.show(channel)).collect()
    }

    fn show(&self, channel: &ChannelNow) -> ChannelShown {
        let (tally, earner) = (&channel.tally, &channel.earner);
        ChannelShown {
            channel: channel.id,
            account: String::from(&*earner.account),
            worker: String::from(&*earner.worker),
            kind: if channel.is_standard { "standard" } else { "extended" },
            difficulty: channel.difficulty,
            opened_ms: self.time_ms(tally.opened),
            last_share_ms: tally.last.map(|last| self.time_ms(last)),
            shares: tally.accepted,
            work: tally.work.0.to_string(),
            best_difficulty: (tally.accepted > 0).then(|| difficulty_of(tally.best_high)),
            rejects: tally.rejected().map(|(why, count)| (why.name(), count)).collect(),
        }
    }

    /// Ends the connection: its miner is told that its channels are closed.
    pub fn send_away(&self) {
        self.leave.cancel();
    }

    /// A moment of its life in milliseconds since 1970.
    pub fn time_ms(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.since).as_millis();
        self.since_ms.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }
}

/// A connection's place on the roster, until it is dropped.
#[derive(Debug)]
pub struct Attendance {
    roster: Roster,
    seat: Arc<Seat>,
}

impl Attendance {
    /// Cancelled when the connection is to end: by itself, or with the whole pool.
    pub fn leave(&self) -> &CancellationToken {
        &self.seat.leave
    }

    /// Says what its channels are now.
    pub fn show(&self, channels: Vec<ChannelNow>) {
        *lock(&self.seat.channels) = channels.into();
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.roster.seats().taken.remove(&self.seat.id);
    }
}

/// The difficulty that a hash with this upper half would just meet.
fn difficulty_of(hash_high: u128) -> f64 {
    let mut hash = [0; 32];
    hash[16..].copy_from_slice(&hash_high.to_le_bytes());
    Target::from_le_bytes(hash).difficulty()
}

/// A holder that panicked has changed nothing half.
fn lock<T: ?Sized>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn peer(number: u8) -> SocketAddr {
        ([10, 0, 0, number], 1_000).into()
    }

    #[test]
    fn who_leaves_is_gone_and_lists_go_on_behind_the_last_one() {
        let (roster, shutdown) = (Roster::default(), CancellationToken::new());
        let mut all: Vec<_> = (0..5).map(|it| roster.enter(peer(it), 0, &shutdown)).collect();
        let listed = |after, count| -> Vec<u64> {
            roster.list(after, count, |_| true).iter().map(|seat| seat.id).collect()
        };
        assert_eq!(listed(None, 2), [0, 1]);
        drop(all.remove(1));
        assert_eq!((listed(Some(1), 2), listed(Some(3), 9)), (vec![2, 3], vec![4]));
        let even = roster.list(None, 9, |seat| seat.id % 2 == 0);
        assert_eq!(even.iter().map(|seat| seat.id).collect::<Vec<_>>(), [0, 2, 4]);
        drop(all);
        assert_eq!((roster.count(), listed(None, 9)), (0, vec![]));
    }

    #[test]
    fn more_connections_than_are_looked_at_at_once_are_all_found() {
        let (roster, shutdown) = (Roster::default(), CancellationToken::new());
        let all: Vec<_> = (0..3 * AT_ONCE).map(|_| roster.enter(peer(1), 0, &shutdown)).collect();
        let last = all.last().unwrap().seat.id;
        assert_eq!(roster.list(None, usize::MAX, |_| true).len(), all.len());
        let found = roster.list(None, 1, |seat| seat.id == last);
        assert_eq!(found[0].id, last);
    }

    #[test]
    fn one_is_sent_away_alone_and_with_the_pool_all_are() {
        let (roster, shutdown) = (Roster::default(), CancellationToken::new());
        let (one, other) =
            (roster.enter(peer(1), 0, &shutdown), roster.enter(peer(2), 0, &shutdown));
        roster.seat(one.seat.id).unwrap().send_away();
        assert!(one.leave().is_cancelled() && !other.leave().is_cancelled());
        assert!(!shutdown.is_cancelled());
        shutdown.cancel();
        assert!(other.leave().is_cancelled());
    }

    #[test]
    fn a_tally_knows_the_best_hash_by_its_upper_half_and_rejects_by_reason() {
        let now = Instant::now();
        let mut tally = Tally::new(now);
        let hash = |last: u8| {
            let mut hash = [0xff; 32];
            hash[31] = last;
            hash
        };
        for last in [9, 3, 5] {
            tally.accept(now, Hashes(7), &hash(last));
        }
        tally.reject(Reason::Stale);
        tally.reject(Reason::Stale);
        assert_eq!((tally.accepted, tally.work), (3, Hashes(21)));
        assert_eq!(tally.best_high, (u128::MAX >> 8) | (3 << 120));
        assert_eq!(tally.rejected().collect::<Vec<_>>(), [(Reason::Stale, 2)]);
    }

    #[test]
    fn moments_of_a_connection_are_told_by_its_own_beginning() {
        let roster = Roster::default();
        let one = roster.enter(peer(1), 0, &CancellationToken::new());
        let later = one.seat.since + Duration::from_secs(2);
        assert_eq!(one.seat.time_ms(later), one.seat.since_ms + 2_000);
        assert_eq!(one.seat.time_ms(later), one.seat.since_ms + 2_000);
    }
}
