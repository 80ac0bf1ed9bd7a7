//! Two sessions against each other, with no socket and no waiting: time moves when nothing else is
//! left to do.
//!
//! It does what the driver in `service` does, in the same order, and keeps events and endings for
//! the test to look at.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use wire::session::{PeerError, Session};

/// One side of a pair.
pub struct Peer<T: Session> {
    /// The session itself.
    pub session: T,
    /// Its events that no test has taken.
    pub events: VecDeque<T::Event>,
    /// Why it is over; `None` while it runs.
    pub ended: Option<Ended>,
    /// Bytes on their way to it, by arrival.
    coming: VecDeque<(Instant, Bytes)>,
}

/// Why one side is over.
#[derive(Debug)]
pub enum Ended {
    /// It said its last word by itself.
    Finished,
    /// It failed.
    Failed(PeerError),
    /// The other side closed.
    PeerClosed,
}

/// A client and a server that talk to each other.
pub struct Pair<C: Session, S: Session> {
    /// The side that spoke first.
    pub client: Peer<C>,
    /// The other side.
    pub server: Peer<S>,
    /// The virtual time.
    pub now: Instant,
    /// How long bytes are on their way.
    pub latency: Duration,
    /// Bytes arrive in pieces of at most so many.
    pub fragment_bytes: usize,
}

impl<C: Session, S: Session> Pair<C, S> {
    /// Connects the two at `now`; bytes need a millisecond.
    pub fn new(client: C, server: S, now: Instant) -> Self {
        Self {
            client: Peer::new(client),
            server: Peer::new(server),
            now,
            latency: Duration::from_millis(1),
            fragment_bytes: usize::MAX,
        }
    }

    /// Gives the client a command and lets both talk until they have nothing to say.
    pub fn command_client(&mut self, command: C::Command) {
        self.client.act(|session| session.handle_command(self.now, command));
        self.drive();
    }

    /// Gives the server a command and lets both talk until they have nothing to say.
    pub fn command_server(&mut self, command: S::Command) {
        self.server.act(|session| session.handle_command(self.now, command));
        self.drive();
    }

    /// Delivers bytes until none is on its way. Deadlines that lie further ahead do not pass.
    pub fn drive(&mut self) {
        while let Some(arrival) = self.exchange() {
            self.advance_to(arrival);
        }
    }

    /// Lets `duration` pass: bytes arrive and deadlines pass in their order.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.next_wakeup().filter(|at| *at <= end) {
            self.advance_to(at);
        }
        self.now = end;
    }

    /// Jumps to the next arrival or deadline; false if there is none.
    pub fn step(&mut self) -> bool {
        let next = self.next_wakeup();
        if let Some(at) = next {
            self.advance_to(at);
        }
        next.is_some()
    }

    fn next_wakeup(&mut self) -> Option<Instant> {
        let arrival = self.exchange();
        let deadlines = [self.client.deadline(), self.server.deadline()];
        let pauses = [self.client.pause(self.now), self.server.pause(self.now)];
        deadlines.into_iter().chain(pauses).chain([arrival]).flatten().min()
    }

    /// Puts on their way what both have to say; gives the next arrival.
    fn exchange(&mut self) -> Option<Instant> {
        let arrival = self.now + self.latency;
        self.client.speak(&mut self.server, arrival, self.fragment_bytes);
        self.server.speak(&mut self.client, arrival, self.fragment_bytes);
        let arrivals = [self.client.arrival(self.now), self.server.arrival(self.now)];
        arrivals.into_iter().flatten().min()
    }

    fn advance_to(&mut self, at: Instant) {
        self.now = self.now.max(at);
        self.client.wake(self.now);
        self.server.wake(self.now);
        self.exchange();
    }
}

impl<T: Session> Peer<T> {
    fn new(session: T) -> Self {
        Self { session, events: VecDeque::new(), ended: None, coming: VecDeque::new() }
    }

    /// The next event that no test has taken.
    pub fn event(&mut self) -> Option<T::Event> {
        self.events.pop_front()
    }

    fn deadline(&self) -> Option<Instant> {
        self.session.poll_timeout().filter(|_| self.ended.is_none())
    }

    /// When what is on its way to it arrives; none while it does not read.
    fn arrival(&self, now: Instant) -> Option<Instant> {
        let (at, _) = self.coming.front()?;
        self.pause(now).is_none().then_some(*at)
    }

    /// Until when it does not read.
    fn pause(&self, now: Instant) -> Option<Instant> {
        self.session.poll_pause().filter(|until| *until > now && self.ended.is_none())
    }

    fn act(&mut self, action: impl FnOnce(&mut T) -> Result<(), PeerError>) {
        if self.ended.is_some() {
            return;
        }
        if let Err(error) = action(&mut self.session) {
            self.ended = Some(Ended::Failed(error));
        }
        self.events.extend(std::iter::from_fn(|| self.session.poll_event()));
    }

    /// Takes what has arrived and acts on deadlines that have passed.
    fn wake(&mut self, now: Instant) {
        while self.arrival(now).is_some_and(|at| at <= now)
            && let Some((_, bytes)) = self.coming.pop_front()
        {
            self.act(|session| session.handle_bytes(now, &bytes));
        }
        if self.deadline().is_some_and(|at| at <= now) {
            self.act(|session| session.handle_timeout(now));
        }
    }

    /// Sends what the session has to say; the last words of a session that is over too.
    fn speak<U: Session>(&mut self, to: &mut Peer<U>, arrival: Instant, fragment_bytes: usize) {
        let mut out = BytesMut::new();
        while self.session.poll_transmit(&mut out) {}
        self.events.extend(std::iter::from_fn(|| self.session.poll_event()));
        while !out.is_empty() {
            let piece = out.split_to(out.len().min(fragment_bytes)).freeze();
            to.coming.push_back((arrival, piece));
        }
        if self.ended.is_none() && self.session.is_finished() {
            self.ended = Some(Ended::Finished);
        }
        // The other side learns of an ending when it has read everything.
        let closed = matches!(self.ended, Some(Ended::Finished | Ended::Failed(_)));
        if closed && to.ended.is_none() && to.coming.is_empty() {
            to.ended = Some(Ended::PeerClosed);
        }
    }
}
