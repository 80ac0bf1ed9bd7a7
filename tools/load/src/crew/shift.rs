//! The event loop of a crew: sockets, orders and what is due by the clock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use super::seat::{Lost, Seat, Turn};
use super::{Kinds, Order, Target, token};
use crate::tally::{Live, Tally};

/// Wakes the loop for an order.
pub(super) const WAKER: Token = Token(usize::MAX);
/// Events taken at once.
const EVENTS_MAX: usize = 1_024;
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1_024;
/// Reads whose bytes may wait until nothing else has arrived.
const UNREAD_MAX: usize = 1 << 16;
/// Of these so many are looked at before the sockets are asked again.
const UNREAD_AT_ONCE: usize = 32;
/// Shares and visitors that are made up for at once when the loop was late.
const DUE_MAX: u64 = 20_000;
/// How long a visitor stays once it has its channel.
const STAY: Duration = Duration::from_secs(2);
/// Numbers of visitors start here: their names are no miner's.
const FIRST_VISITOR: usize = 1 << 24;

/// What happens on all connections without being asked for.
#[derive(Debug, Clone, Copy)]
enum Flow {
    Quiet,
    Flood { window: usize },
    Pace { clockwork: Clockwork, wrong_every: u32 },
}

/// Something that is to happen so often in 1000 seconds.
#[derive(Debug, Clone, Copy)]
struct Clockwork {
    start: Instant,
    per_1000_seconds: u64,
    done: u64,
}

impl Clockwork {
    fn new(per_1000_seconds: u64) -> Self {
        Self { start: Instant::now(), per_1000_seconds, done: 0 }
    }

    /// How many times it is due at `now`; they count as done.
    fn take_due(&mut self, now: Instant) -> u64 {
        let elapsed_us = now.saturating_duration_since(self.start).as_micros();
        let wanted = elapsed_us * u128::from(self.per_1000_seconds) / 1_000_000_000;
        let due = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_sub(self.done);
        self.done += due;
        due.min(DUE_MAX)
    }

    /// When the next one is due.
    fn next(&self) -> Option<Instant> {
        let elapsed_us = u128::from(self.done + 1)
            .saturating_mul(1_000_000_000)
            .checked_div(u128::from(self.per_1000_seconds))?;
        Some(self.start + Duration::from_micros(u64::try_from(elapsed_us).ok()?.saturating_add(1)))
    }
}

/// Bytes that arrived on a connection, still encrypted.
struct Arrival {
    index: usize,
    at: Instant,
    bytes: Box<[u8]>,
}

/// A crew at work.
pub(super) struct Shift {
    poll: Poll,
    target: Target,
    kinds: Kinds,
    live: Arc<Live>,
    orders: Receiver<Order>,
    reports: Sender<Tally>,
    seats: Vec<Option<Seat>>,
    free: Vec<usize>,
    /// In the order in which they arrived.
    unread: VecDeque<Arrival>,
    tally: Tally,
    flow: Flow,
    visits: Option<Clockwork>,
    /// When and where a visitor leaves, and the number by which it is known.
    leaving: VecDeque<(Instant, usize)>,
    to_open: usize,
    opening: usize,
    parallel: usize,
    numbered: usize,
    visitors: usize,
    /// Where the next paced share goes.
    turn: usize,
}

impl Shift {
    pub(super) fn new(
        poll: Poll,
        target: Target,
        kinds: Kinds,
        live: Arc<Live>,
        orders: Receiver<Order>,
        reports: Sender<Tally>,
    ) -> Self {
        Self {
            poll,
            target,
            kinds,
            live,
            orders,
            reports,
            seats: Vec::new(),
            free: Vec::new(),
            unread: VecDeque::new(),
            tally: Tally::default(),
            flow: Flow::Quiet,
            visits: None,
            leaving: VecDeque::new(),
            to_open: 0,
            opening: 0,
            parallel: 1,
            numbered: 0,
            visitors: FIRST_VISITOR,
            turn: 0,
        }
    }

    /// Runs until `Order::End`.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let now = Instant::now();
            let until = self.next_deadline().map(|at| at.saturating_duration_since(now));
            let timeout = if self.unread.is_empty() { until } else { Some(Duration::ZERO) };
            // Interrupted, say: the loop goes on.
            drop(self.poll.poll(&mut events, timeout));
            for event in &events {
                if event.token() != WAKER {
                    self.serve(event.token().0, &mut buffer);
                }
            }
            if events.is_empty() {
                self.look_at_unread(UNREAD_AT_ONCE);
            }
            if !self.take_orders() {
                return;
            }
            self.do_due(Instant::now());
            self.open_more();
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let share = match &self.flow {
            Flow::Pace { clockwork, .. } => clockwork.next(),
            Flow::Quiet | Flow::Flood { .. } => None,
        };
        let visit = self.visits.as_ref().and_then(Clockwork::next);
        let leave = self.leaving.front().map(|(at, _)| *at);
        [share, visit, leave].into_iter().flatten().min()
    }

    /// False once the crew is to end.
    fn take_orders(&mut self) -> bool {
        loop {
            let order = match self.orders.try_recv() {
                Ok(order) => order,
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            };
            match order {
                Order::Open { connections, parallel } => {
                    (self.to_open, self.parallel) = (self.to_open + connections, parallel);
                }
                Order::Flood { window } => self.flood(window),
                Order::Pace { per_1000_seconds, wrong_every } => {
                    let clockwork = Clockwork::new(per_1000_seconds);
                    self.flow = Flow::Pace { clockwork, wrong_every };
                }
                Order::Visit { per_1000_seconds } => {
                    self.visits = Some(Clockwork::new(per_1000_seconds));
                }
                Order::Rest => (self.flow, self.visits) = (Flow::Quiet, None),
                Order::Report => self.report(),
                Order::End => return false,
            }
        }
    }

    fn flood(&mut self, window: usize) {
        self.flow = Flow::Flood { window };
        for index in 0..self.seats.len() {
            self.act(index, |seat, tally| {
                seat.fill(window, tally)?;
                seat.flush()
            });
        }
    }

    fn report(&mut self) {
        self.look_at_unread(usize::MAX);
        let mut tally = std::mem::take(&mut self.tally);
        let seats = self.seats.iter_mut().flatten();
        tally.per_connection = seats.filter_map(Seat::take_acknowledged).collect();
        // Who asked has gone only when the run is over.
        drop(self.reports.send(tally));
    }

    /// Reads a connection dry. What arrives is looked at at once while shares flow, for the answer
    /// lets the next ones go; otherwise when nothing else has arrived: a new tip goes to all at
    /// the same moment, and to decrypt it here for one would delay the receipt of the next.
    fn serve(&mut self, index: usize, buffer: &mut [u8]) {
        loop {
            let read = self.act(index, |seat, _| seat.read(buffer));
            let Some(bytes) = read.and_then(|read| buffer.get(..read)) else { return };
            let at = Instant::now();
            if !bytes.is_empty() {
                let may_wait = matches!(self.flow, Flow::Quiet) && self.opening == 0;
                if may_wait && self.unread.len() < UNREAD_MAX {
                    self.unread.push_back(Arrival { index, at, bytes: bytes.into() });
                } else {
                    self.look_at_unread(usize::MAX);
                    self.take(index, at, bytes);
                }
            }
            // Less than was asked for: nothing is left, and what comes will wake us.
            if bytes.len() < buffer.len() {
                break;
            }
        }
        self.act(index, |seat, _| seat.flush());
    }

    fn look_at_unread(&mut self, most: usize) {
        for _ in 0..most {
            let Some(Arrival { index, at, bytes }) = self.unread.pop_front() else { return };
            self.take(index, at, &bytes);
        }
    }

    fn take(&mut self, index: usize, at: Instant, bytes: &[u8]) {
        let window = match self.flow {
            Flow::Flood { window } => Some(window),
            Flow::Quiet | Flow::Pace { .. } => None,
        };
        let turn = self.act(index, |seat, tally| {
            let turn = seat.take(at, bytes, tally)?;
            if let (Some(window), false) = (window, seat.is_visitor) {
                seat.fill(window, tally)?;
            }
            seat.flush()?;
            Ok(turn)
        });
        if let Some(turn) = turn {
            self.take_turn(index, turn);
        }
    }

    fn take_turn(&mut self, index: usize, turn: Turn) {
        let Turn { is_now_ready, tips, accepted } = turn;
        if tips > 0 {
            self.live.receipts.fetch_add(tips, Ordering::Relaxed);
        }
        if accepted > 0 {
            self.live.accepted.fetch_add(accepted, Ordering::Relaxed);
        }
        if !is_now_ready {
            return;
        }
        let is_visitor = self.seat(index).is_some_and(|seat| seat.is_visitor);
        if is_visitor {
            self.leaving.push_back((Instant::now() + STAY, index));
        } else {
            self.opening = self.opening.saturating_sub(1);
            self.live.ready.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn seat(&self, index: usize) -> Option<&Seat> {
        self.seats.get(index).and_then(Option::as_ref)
    }

    /// Does something with a connection that is there; an error ends it.
    fn act<T>(
        &mut self,
        index: usize,
        action: impl FnOnce(&mut Seat, &mut Tally) -> Result<T, Lost>,
    ) -> Option<T> {
        let seat = self.seats.get_mut(index).and_then(Option::as_mut)?;
        match action(seat, &mut self.tally) {
            Ok(done) => Some(done),
            Err(lost) => {
                self.lose(index, &lost);
                None
            }
        }
    }

    fn lose(&mut self, index: usize, lost: &Lost) {
        let Some(seat) = self.vacate(index) else { return };
        let reason = lost.to_string();
        if seat.is_visitor {
            self.tally.failed_visits.count(&reason);
            self.leaving.retain(|(_, leaving)| *leaving != index);
            return;
        }
        if !seat.is_ready() {
            self.opening = self.opening.saturating_sub(1);
        }
        self.tally.lost.count(&reason);
        self.live.lost.fetch_add(1, Ordering::Relaxed);
    }

    fn vacate(&mut self, index: usize) -> Option<Seat> {
        let mut seat = self.seats.get_mut(index)?.take()?;
        // A closed descriptor leaves the queue by itself.
        drop(self.poll.registry().deregister(&mut seat.stream));
        self.unread.retain(|arrival| arrival.index != index);
        self.free.push(index);
        Some(seat)
    }

    fn do_due(&mut self, now: Instant) {
        if let Flow::Pace { mut clockwork, wrong_every } = self.flow {
            let first = clockwork.done;
            for number in first..first + clockwork.take_due(now) {
                let every = u64::from(wrong_every);
                self.send_one(now, every > 0 && number % every == every - 1);
            }
            self.flow = Flow::Pace { clockwork, wrong_every };
        }
        if let Some(mut visits) = self.visits {
            for _ in 0..visits.take_due(now) {
                self.visitors += 1;
                self.take_seat(self.visitors, true);
            }
            self.visits = Some(visits);
        }
        while let Some((at, index)) = self.leaving.front().copied()
            && at <= now
        {
            self.leaving.pop_front();
            self.vacate(index);
            self.tally.visits += 1;
        }
    }

    /// Sends a share on the next connection that has a channel.
    fn send_one(&mut self, now: Instant, is_wrong: bool) {
        for _ in 0..self.seats.len() {
            self.turn = (self.turn + 1) % self.seats.len();
            let index = self.turn;
            if self.seat(index).is_some_and(|seat| seat.is_ready() && !seat.is_visitor) {
                let sent = self.act(index, |seat, tally| {
                    let sent = seat.submit(now, is_wrong, tally)?;
                    seat.flush()?;
                    Ok(sent)
                });
                if sent != Some(true) {
                    self.tally.withheld += 1;
                }
                return;
            }
        }
    }

    fn open_more(&mut self) {
        while self.to_open > 0 && self.opening < self.parallel {
            self.to_open -= 1;
            self.opening += 1;
            let number = self.numbered;
            self.numbered += 1;
            self.take_seat(number, false);
        }
    }

    fn take_seat(&mut self, number: usize, is_visitor: bool) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.seats.push(None);
            self.seats.len() - 1
        });
        let mut seat = match Seat::connect(&self.target, self.kinds, number, is_visitor) {
            Ok(seat) => seat,
            Err(lost) => return self.not_seated(index, is_visitor, &lost),
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self.poll.registry().register(&mut seat.stream, token(index), interest);
        if let Err(error) = registered {
            return self.not_seated(index, is_visitor, &error.into());
        }
        if let Some(place) = self.seats.get_mut(index) {
            *place = Some(seat);
        }
    }

    fn not_seated(&mut self, index: usize, is_visitor: bool, lost: &Lost) {
        self.free.push(index);
        if is_visitor {
            self.tally.failed_visits.count(&lost.to_string());
        } else {
            self.opening = self.opening.saturating_sub(1);
            self.tally.lost.count(&lost.to_string());
            self.live.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clockwork_is_due_as_often_as_it_was_told_and_catches_up() {
        let mut clockwork = Clockwork::new(2_000_000);
        let start = clockwork.start;
        assert_eq!(clockwork.take_due(start), 0);
        assert_eq!(clockwork.take_due(start + Duration::from_millis(5)), 10);
        assert_eq!(clockwork.take_due(start + Duration::from_millis(5)), 0);
        assert_eq!(clockwork.take_due(start + Duration::from_secs(1)), 1_990);
    }

    #[test]
    fn a_slow_clockwork_says_when_it_is_due() {
        let mut clockwork = Clockwork::new(500);
        let start = clockwork.start;
        let next = clockwork.next().unwrap();
        assert!(next >= start + Duration::from_secs(2));
        assert_eq!(clockwork.take_due(next), 1);
        assert_eq!(Clockwork::new(0).next(), None);
    }
}
