//! Who may connect: limits on connections, bans, and how many may be on their way in.
//!
//! A gate stands before one listener, or before several that share their limits. It knows no
//! protocol: a program tells it which connections have proved themselves and which have
//! misbehaved. It is asked when a connection begins and ends, never on the way of a share.
//!
//! What it protects, and from whom: thousands of devices of one farm come from one address, and
//! all of them at once after a power cut. So the limits by address are near what the server can
//! hold at all, nobody is counted by how often he connects, and an address from which somebody
//! mines cannot be banned. A ban is for who does nothing but misbehave; it is short, since
//! addresses change hands, and it ends by itself.

pub(crate) mod network;
pub(crate) mod places;
mod register;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{info, warn};
use wire::session::PeerError;

use crate::clock;
use crate::driver::Ended;
use crate::metrics::{Counter, Gauge, Labelled, Metrics};

pub use network::{Network, NotANetwork};
use register::Register;

/// What a gate lets in.
#[derive(Debug, Clone)]
pub struct GateLimits {
    /// Connections at a time; further ones are closed at once, so that they look for another
    /// server.
    pub connections_max: usize,
    /// The same for one address.
    pub connections_per_address_max: usize,
    /// The same for one network: /24 of IPv4, /64 of IPv6.
    pub connections_per_network_max: usize,
    /// Connections that have not settled yet; further ones wait in the kernel's queue.
    pub unsettled_max: usize,
    /// Faults of one address in a minute; with one more it is banned.
    pub faults_per_minute_max: u32,
    /// How long a ban lasts.
    pub ban: Duration,
    /// Networks for which only `connections_max` holds: what comes through an operator's own
    /// machines has many owners.
    pub trusted_networks: Vec<Network>,
}

impl GateLimits {
    /// A gate that counts and does nothing else.
    pub fn of_connections(connections_max: usize) -> Self {
        Self {
            connections_max,
            connections_per_address_max: connections_max,
            connections_per_network_max: connections_max,
            unsettled_max: connections_max,
            faults_per_minute_max: u32::MAX,
            ban: Duration::ZERO,
            trusted_networks: Vec::new(),
        }
    }
}

/// Why a connection was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// As many are there as may be.
    Full,
    /// As many are there on its port as may be there.
    Port,
    /// As many are there from its address as may be.
    Address,
    /// As many are there from its network as may be.
    Network,
    /// Its address misbehaved.
    Banned,
}

impl Refusal {
    /// As in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "connections_max",
            Self::Port => "port_connections_max",
            Self::Address => "connections_per_address_max",
            Self::Network => "connections_per_network_max",
            Self::Banned => "banned",
        }
    }
}

/// In place of a fault's name: the operator has said so.
const OPERATOR: &str = "operator";

/// Who is kept out, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Whom.
    pub network: Network,
    /// How long it lasts from now on.
    pub left: Duration,
    /// True if the operator has said so, false if it was for faults.
    pub by_operator: bool,
}

/// Stands before a listener. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Gate {
    register: Arc<Mutex<Register>>,
    unsettled: Arc<Semaphore>,
    ban: Duration,
    counts: Counts,
    port: Option<Port>,
}

/// What one of several listeners behind the same limits may hold.
#[derive(Clone)]
struct Port {
    connections: Arc<AtomicUsize>,
    connections_max: usize,
}

impl Port {
    /// Room for one more, free again when it is dropped.
    fn enter(&self) -> Option<InPort> {
        let taken = InPort(Arc::clone(&self.connections));
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        (before < self.connections_max).then_some(taken)
    }
}

struct InPort(Arc<AtomicUsize>);

impl Drop for InPort {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct Counts {
    connections: Gauge,
    unsettled: Gauge,
    refused: Labelled<Counter>,
    faults: Labelled<Counter>,
    bans: Labelled<Counter>,
}

impl Gate {
    /// Connections that are there.
    pub fn connections(&self) -> i64 {
        self.counts.connections.get()
    }

    /// A gate with nobody behind it yet.
    pub fn new(limits: GateLimits, metrics: &Metrics) -> Self {
        let counts = Counts {
            connections: metrics.gauge("connections", "Connections that are there"),
            unsettled: metrics.gauge("connections_unsettled", "Of these, those on their way in"),
            refused: metrics.counters(
                "connections_refused",
                "Connections that were closed as they came",
                "limit",
            ),
            faults: metrics.counters("peer_faults", "Misbehaviour of peers", "fault"),
            bans: metrics.counters("bans", "Addresses that were banned for a while", "fault"),
        };
        Self {
            unsettled: Arc::new(Semaphore::new(limits.unsettled_max.min(Semaphore::MAX_PERMITS))),
            ban: limits.ban,
            register: Arc::new(Mutex::new(Register::new(limits))),
            counts,
            port: None,
        }
    }

    /// The same gate before one of several listeners, which holds so many connections at a time
    /// and leaves the rest to the others.
    #[must_use]
    pub fn of_port(&self, connections_max: usize) -> Self {
        let port = Port { connections: Arc::default(), connections_max };
        Self { port: Some(port), ..self.clone() }
    }

    /// Lets `peer` in, who may have to wait, or says why it must go.
    pub async fn admit(&self, peer: SocketAddr) -> Result<Place, Refusal> {
        match self.ready().await {
            Some(entrance) => entrance.admit(peer),
            None => Err(Refusal::Full),
        }
    }

    /// Keeps a network out for a while, trusted or not, and whoever mines from there; connections
    /// that are there already stay. False if there are too many such bans already.
    pub fn ban(&self, network: Network, lasts: Duration) -> bool {
        let now = clock::now();
        let is_banned = self.register().ban(network, now + lasts, now);
        if is_banned {
            self.counts.bans.with(OPERATOR).inc();
            info!(%network, seconds = lasts.as_secs(), "network banned by the operator");
        }
        is_banned
    }

    /// Ends a ban, the operator's or one for faults; false if there is none of exactly this
    /// network.
    pub fn lift(&self, network: Network) -> bool {
        let is_lifted = self.register().lift(network, clock::now());
        if is_lifted {
            info!(%network, "ban lifted by the operator");
        }
        is_lifted
    }

    /// The bans that hold.
    pub fn bans(&self) -> Vec<Ban> {
        let now = clock::now();
        let bans = self.register().bans(now).into_iter();
        let bans = bans.map(|(network, until, by_operator)| Ban {
            network,
            left: until.saturating_duration_since(now),
            by_operator,
        });
        bans.collect()
    }

    /// Waits until one more may be on its way in.
    pub(crate) async fn ready(&self) -> Option<Entrance> {
        let permit = Arc::clone(&self.unsettled).acquire_owned().await.ok()?;
        Some(Entrance { permit, gate: self.clone() })
    }

    fn register(&self) -> MutexGuard<'_, Register> {
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for one connection on its way in.
pub(crate) struct Entrance {
    permit: OwnedSemaphorePermit,
    gate: Gate,
}

impl Entrance {
    /// Lets `peer` in, or says why it must go.
    pub(crate) fn admit(self, peer: SocketAddr) -> Result<Place, Refusal> {
        let (address, counts) = (peer.ip().to_canonical(), &self.gate.counts);
        let in_port = match self.enter(address) {
            Ok(in_port) => in_port,
            Err(refusal) => {
                let limit = refusal.name();
                counts.refused.with(limit).inc();
                info!(%peer, limit, "connection refused");
                return Err(refusal);
            }
        };
        counts.unsettled.inc();
        let Self { permit, gate } = self;
        Ok(Place {
            gate,
            address,
            unsettled: Some(permit),
            has_worked: false,
            is_honest: false,
            _in_port: in_port,
        })
    }

    /// Counts a connection in.
    fn enter(&self, address: IpAddr) -> Result<Option<InPort>, Refusal> {
        let entered = self.gate.port.as_ref().map(|port| port.enter().ok_or(Refusal::Port));
        let in_port = entered.transpose()?;
        let mut register = self.gate.register();
        register.admit(address, clock::now())?;
        let connections = i64::try_from(register.connections()).unwrap_or(i64::MAX);
        self.gate.counts.connections.set(connections);
        Ok(in_port)
    }
}

/// A connection's place behind the gate, free again when it is dropped.
pub struct Place {
    gate: Gate,
    address: IpAddr,
    unsettled: Option<OwnedSemaphorePermit>,
    has_worked: bool,
    /// True if the gate's memory has it.
    is_honest: bool,
    _in_port: Option<InPort>,
}

impl Place {
    /// The peer does what connections are there for: it no longer counts as on its way in.
    pub fn settle(&mut self) {
        if self.unsettled.take().is_some() {
            self.gate.counts.unsettled.dec();
        }
    }

    /// The peer has done work: its address is not banned for others' faults, nor for its own.
    pub fn prove(&mut self) {
        // Asked once, whatever comes of it: this is called for every share.
        if !std::mem::replace(&mut self.has_worked, true) {
            self.is_honest = self.gate.register().prove(self.address, clock::now());
        }
    }

    /// Its connection is over: counts a fault if it ended in a way that no honest peer ends one. To
    /// be late is none, for it may be the server that is slow; nor is to be silent or to leave.
    pub fn judge(&self, ended: &Ended) {
        match ended {
            Ended::Session(PeerError::InvalidMessage(_)) => self.fault("invalid_message"),
            Ended::Session(PeerError::Noise(_)) => self.fault("encryption"),
            Ended::Session(PeerError::Misbehaved(_)) => self.fault("protocol"),
            _ => {}
        }
    }

    /// The peer did what no honest one does; `fault` names it in a word.
    pub fn fault(&self, fault: &str) {
        self.gate.counts.faults.with(fault).inc();
        let is_banned = self.gate.register().fault(self.address, clock::now());
        if is_banned {
            self.gate.counts.bans.with(fault).inc();
            let seconds = self.gate.ban.as_secs();
            warn!(address = %Network::source(self.address), fault, seconds, "address banned");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.settle();
        let mut register = self.gate.register();
        register.leave(self.address, self.is_honest, clock::now());
        let left = i64::try_from(register.connections()).unwrap_or(i64::MAX);
        self.gate.counts.connections.set(left);
    }
}

#[cfg(test)]
mod tests;
