//! The contract of every protocol role: a state machine that takes bytes, commands and the time,
//! and gives bytes, events and its next deadline.
//!
//! A session must not read a clock, open a socket or spawn anything. One driver (in `service`) runs
//! any session over any byte stream; a test runs two of them against each other with no stream at
//! all.

use std::time::Instant;

use bytes::BytesMut;

use crate::sv2::codec::DecodeError;
use crate::sv2::noise::NoiseError;

/// A protocol role, free of I/O.
///
/// Call order for a driver: feed what happened (`handle_*`), then drain `poll_transmit` and
/// `poll_event`, then sleep until `poll_timeout` or until something happens. An error from a
/// `handle_*` method ends this session and no other; what was queued before it is still to be sent.
pub trait Session {
    /// What the program tells the session.
    type Command;
    /// What the session tells the program.
    type Event;

    /// Takes bytes as they came from the peer, in any fragmentation.
    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), PeerError>;

    /// Takes a command of the program.
    fn handle_command(&mut self, now: Instant, command: Self::Command) -> Result<(), PeerError>;

    /// Acts on the deadlines that have passed. Calling it early is harmless.
    fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError>;

    /// Appends bytes for the peer to `out`; false if there were none.
    fn poll_transmit(&mut self, out: &mut BytesMut) -> bool;

    /// Gives the next event, if any.
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// The next deadline at which `handle_timeout` wants to be called.
    fn poll_timeout(&self) -> Option<Instant>;

    /// The peer is not to be read before this: what it sends waits in its own socket. It may have
    /// passed.
    fn poll_pause(&self) -> Option<Instant> {
        None
    }

    /// True once the session has said its last word: the driver flushes and closes.
    fn is_finished(&self) -> bool {
        false
    }
}

/// Why a session ended: says whose fault it was.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Bytes that are no message of the protocol.
    #[error("invalid message: {0}")]
    InvalidMessage(#[from] DecodeError),
    /// The Noise handshake or a later authentication failed.
    #[error("encryption: {0}")]
    Noise(#[from] NoiseError),
    /// A message that the protocol forbids here.
    #[error("broke the protocol: {0}")]
    Misbehaved(&'static str),
    /// An honest peer that asks for what is not offered.
    #[error("incompatible: {0}")]
    Incompatible(String),
    /// A deadline passed.
    #[error("timed out: {0}")]
    TimedOut(&'static str),
    /// A named limit was reached.
    #[error("over the limit: {0}")]
    OverLimit(&'static str),
    /// The program itself ended the session.
    #[error("closed: {0}")]
    Closed(&'static str),
}

/// Deadlines of one session, few enough that a scan beats a heap.
///
/// Invariant: at most one deadline per kind.
#[derive(Debug, Clone)]
pub struct Timers<K> {
    deadlines: Vec<(K, Instant)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { deadlines: Vec::new() }
    }
}

impl<K: Copy + Eq> Timers<K> {
    /// Arms `kind`, replacing an earlier deadline of the same kind.
    pub fn set(&mut self, kind: K, at: Instant) {
        self.stop(kind);
        self.deadlines.push((kind, at));
    }

    /// Disarms `kind`.
    pub fn stop(&mut self, kind: K) {
        self.deadlines.retain(|(armed, _)| *armed != kind);
    }

    /// True while `kind` is armed.
    pub fn is_set(&self, kind: K) -> bool {
        self.deadlines.iter().any(|(armed, _)| *armed == kind)
    }

    /// Takes one deadline that has passed, the earliest first.
    pub fn pop_expired(&mut self, now: Instant) -> Option<K> {
        let (kind, at) = self.deadlines.iter().copied().min_by_key(|(_, at)| *at)?;
        if at > now {
            return None;
        }
        self.stop(kind);
        Some(kind)
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.deadlines.iter().map(|(_, at)| *at).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_earliest_deadline_expires_first_and_only_once() {
        let start = Instant::now();
        let mut timers = Timers::default();
        timers.set('b', start + Duration::from_secs(2));
        timers.set('a', start + Duration::from_secs(1));
        assert_eq!(timers.next(), Some(start + Duration::from_secs(1)));
        assert_eq!(timers.pop_expired(start), None);
        let late = start + Duration::from_secs(3);
        assert_eq!(timers.pop_expired(late), Some('a'));
        assert_eq!(timers.pop_expired(late), Some('b'));
        assert_eq!(timers.pop_expired(late), None);
    }

    #[test]
    fn setting_a_timer_again_moves_its_deadline() {
        let start = Instant::now();
        let mut timers = Timers::default();
        timers.set('a', start);
        timers.set('a', start + Duration::from_secs(5));
        assert_eq!(timers.pop_expired(start), None);
        assert!(timers.is_set('a'));
    }
}
