//! A thread that runs many miners over sockets: it opens them, sends their shares and writes down
//! what comes back and when.
//!
//! One event loop and no task a connection, so that the generator costs less than what it
//! measures. What is sent and when is decided by the orders of `run`.

mod seat;
mod shift;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use mio::{Poll, Token, Waker};
use service::clock;
use wire::sv2::keys::AuthorityKey;
use wire::sv2::link::Link;

use crate::miner::Channel;
use crate::miner::device::Device;
use crate::miner::v1::V1Miner;
use crate::miner::{LIMITS, Miner};
use crate::tally::{Live, Tally};
use shift::Shift;

/// How long a crew may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// The server, as miners are told of it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// The key that it must prove; any server is taken without one.
    pub authority: Option<AuthorityKey>,
}

/// Which miners there are, by what they open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinds {
    /// Connections to a V1 server.
    V1,
    /// Standard ones alone.
    Standard,
    /// Extended ones alone.
    Extended,
    /// By turns.
    Mixed,
}

impl Kinds {
    /// The channel of the connection with this number; Stratum V1 has none.
    fn channel(self, number: usize) -> Option<Channel> {
        match self {
            Self::V1 => None,
            Self::Standard => Some(Channel::Standard),
            Self::Extended => Some(Channel::Extended),
            Self::Mixed if number.is_multiple_of(2) => Some(Channel::Extended),
            Self::Mixed => Some(Channel::Standard),
        }
    }

    /// The miner with this number.
    fn device(self, number: usize, target: &Target) -> Device {
        let user = format!("load.{number}");
        let Some(channel) = self.channel(number) else {
            return Device::V1(Box::new(V1Miner::new(&user)));
        };
        let (seed, now) = (clock::fresh_seed(), clock::unix_now_seconds());
        let link = Link::client(target.authority, LIMITS, seed, now);
        let (host, port) = (target.address.ip().to_string(), target.address.port());
        Device::V2(Box::new(Miner::new(link, channel, &user, &host, port)))
    }
}

/// What a crew is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Open so many connections more, at most `parallel` at the same time.
    Open {
        /// How many.
        connections: usize,
        /// Connections whose opening is under way.
        parallel: usize,
    },
    /// Keep so many shares in flight on each connection.
    Flood {
        /// Shares in flight.
        window: usize,
    },
    /// Send so many shares a second, by turns over all connections.
    Pace {
        /// Shares for each 1000 seconds, so that slow paces can be told.
        per_1000_seconds: u64,
        /// Each share with such a number is wrong; 0 for none.
        wrong_every: u32,
    },
    /// Let visitors come, open a channel, and go.
    Visit {
        /// Visitors for each 1000 seconds.
        per_1000_seconds: u64,
    },
    /// Send no more shares, let no more visitors come.
    Rest,
    /// Tell what was counted since the last report, and start over.
    Report,
    /// Close everything.
    End,
}

/// All crews.
pub struct Crews {
    crews: Vec<Crew>,
}

struct Crew {
    orders: Sender<Order>,
    waker: Waker,
    reports: Receiver<Tally>,
    thread: Option<JoinHandle<()>>,
}

impl Crews {
    /// Starts `threads` crews without a connection.
    pub fn start(threads: usize, target: &Target, kinds: Kinds, live: &Arc<Live>) -> Result<Self> {
        let crews: Result<Vec<_>> = (0..threads.max(1))
            .map(|_| Crew::start(target.clone(), kinds, Arc::clone(live)))
            .collect();
        Ok(Self { crews: crews? })
    }

    /// Opens `connections`, spread over the crews.
    pub fn open(&self, connections: usize, parallel: usize) -> Result<()> {
        let parallel = parallel.div_ceil(self.crews.len()).max(1);
        for (index, crew) in self.crews.iter().enumerate() {
            let share = self.share_of(connections, index);
            crew.order(Order::Open { connections: share, parallel })?;
        }
        Ok(())
    }

    fn share_of(&self, whole: usize, index: usize) -> usize {
        let rest = whole % self.crews.len();
        whole / self.crews.len() + usize::from(index < rest)
    }

    /// Keeps `window` shares in flight on each connection.
    pub fn flood(&self, window: usize) -> Result<()> {
        self.crews.iter().try_for_each(|crew| crew.order(Order::Flood { window }))
    }

    /// Sends shares at a pace that all crews keep together.
    pub fn pace(&self, per_1000_seconds: u64, wrong_every: u32) -> Result<()> {
        let per_1000_seconds = per_1000_seconds / self.count();
        let order = Order::Pace { per_1000_seconds, wrong_every };
        self.crews.iter().try_for_each(|crew| crew.order(order))
    }

    /// Lets visitors come, so many in 1000 seconds to all crews together.
    pub fn visit(&self, per_1000_seconds: u64) -> Result<()> {
        let order = Order::Visit { per_1000_seconds: per_1000_seconds / self.count() };
        self.crews.iter().try_for_each(|crew| crew.order(order))
    }

    fn count(&self) -> u64 {
        u64::try_from(self.crews.len()).unwrap_or(1).max(1)
    }

    /// Ends shares and visits.
    pub fn rest(&self) -> Result<()> {
        self.crews.iter().try_for_each(|crew| crew.order(Order::Rest))
    }

    /// What was counted since the last report.
    pub fn report(&self) -> Result<Tally> {
        self.crews.iter().try_for_each(|crew| crew.order(Order::Report))?;
        let mut sum = Tally::default();
        for crew in &self.crews {
            let tally = crew.reports.recv_timeout(ANSWER_MAX);
            sum.add(tally.context("a crew of miners does not answer")?);
        }
        Ok(sum)
    }
}

impl Crew {
    fn start(target: Target, kinds: Kinds, live: Arc<Live>) -> Result<Self> {
        let poll = Poll::new().context("no event queue")?;
        let waker = Waker::new(poll.registry(), shift::WAKER).context("no waker")?;
        let (orders, incoming) = channel();
        let (outgoing, reports) = channel();
        let shift = Shift::new(poll, target, kinds, live, incoming, outgoing);
        let thread = std::thread::Builder::new().name("crew".to_owned()).spawn(|| shift.run())?;
        Ok(Self { orders, waker, reports, thread: Some(thread) })
    }

    fn order(&self, order: Order) -> Result<()> {
        self.orders.send(order).ok().context("a crew of miners is gone")?;
        Ok(self.waker.wake()?)
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        // A crew that is gone already has closed everything.
        drop(self.order(Order::End));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The token of the connection with this index.
fn token(index: usize) -> Token {
    Token(index)
}
