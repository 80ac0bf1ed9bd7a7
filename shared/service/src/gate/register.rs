//! Who is connected, and who misbehaved: the gate's memory, without a clock or a socket.
//!
//! It counts by address and by network, and remembers faults for a minute. Who is let in is decided
//! here; nothing is sent or closed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::network::Network;
use super::{GateLimits, Refusal};

/// Sources that are remembered for their faults or for their shares. When so many are known and
/// none of them can be forgotten, a further one is not remembered: no ban helps against that many.
const RECORDS_MAX: usize = 1 << 16;
/// Bans by the operator's own word; each is looked at for every connection that comes.
const DECREED_MAX: usize = 1_024;
/// Faults are forgotten after this.
const FAULT_MEMORY: Duration = Duration::from_secs(60);
/// A source that has mined is trusted for so long after its last such connection has gone: as long
/// as a farm may be without power, say.
const HONEST_MEMORY: Duration = Duration::from_secs(3_600);
/// While no record can be forgotten, the next look is not before this: looking costs time too.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);

/// What is known of all peers.
pub(super) struct Register {
    limits: GateLimits,
    connections: usize,
    addresses: HashMap<IpAddr, usize>,
    networks: HashMap<Network, usize>,
    records: HashMap<Network, Record>,
    /// The operator's own bans, and when they end.
    decreed: Vec<(Network, Instant)>,
    next_sweep: Option<Instant>,
}

/// What is known of one source.
#[derive(Debug, Default)]
struct Record {
    faults: u32,
    /// When the first of `faults` was.
    since: Option<Instant>,
    banned_until: Option<Instant>,
    /// Connections that have mined and are still there.
    honest: usize,
    honest_until: Option<Instant>,
}

impl Record {
    fn is_honest(&self, now: Instant) -> bool {
        self.honest > 0 || self.honest_until.is_some_and(|until| now < until)
    }

    fn is_banned(&self, now: Instant) -> bool {
        self.banned_until.is_some_and(|until| now < until)
    }

    fn can_be_forgotten(&self, now: Instant) -> bool {
        let faults = self.since.is_some_and(|since| now < since + FAULT_MEMORY);
        !(faults || self.is_banned(now) || self.is_honest(now))
    }
}

impl Register {
    pub(super) fn new(limits: GateLimits) -> Self {
        Self {
            limits,
            connections: 0,
            addresses: HashMap::new(),
            networks: HashMap::new(),
            records: HashMap::new(),
            decreed: Vec::new(),
            next_sweep: None,
        }
    }

    pub(super) fn connections(&self) -> usize {
        self.connections
    }

    /// Counts a connection in, or says why it must go. Who is counted in has to `leave`.
    pub(super) fn admit(&mut self, address: IpAddr, now: Instant) -> Result<(), Refusal> {
        if self.connections >= self.limits.connections_max {
            return Err(Refusal::Full);
        }
        if self.decreed.iter().any(|(network, until)| now < *until && network.holds(address)) {
            return Err(Refusal::Banned);
        }
        if !self.is_trusted(address) {
            self.check_one(address, now)?;
        }
        self.connections += 1;
        *self.addresses.entry(address).or_default() += 1;
        *self.networks.entry(Network::around(address)).or_default() += 1;
        Ok(())
    }

    fn check_one(&self, address: IpAddr, now: Instant) -> Result<(), Refusal> {
        let record = self.records.get(&Network::source(address));
        if record.is_some_and(|record| record.is_banned(now)) {
            return Err(Refusal::Banned);
        }
        let of = |count: Option<&usize>| count.copied().unwrap_or(0);
        if of(self.addresses.get(&address)) >= self.limits.connections_per_address_max {
            return Err(Refusal::Address);
        }
        let network = self.networks.get(&Network::around(address));
        if of(network) >= self.limits.connections_per_network_max {
            return Err(Refusal::Network);
        }
        Ok(())
    }

    /// A connection that was admitted is gone; `was_honest` if it had proved itself.
    pub(super) fn leave(&mut self, address: IpAddr, was_honest: bool, now: Instant) {
        self.connections = self.connections.saturating_sub(1);
        count_down(&mut self.addresses, &address);
        count_down(&mut self.networks, &Network::around(address));
        let source = Network::source(address);
        if was_honest && let Some(record) = self.records.get_mut(&source) {
            record.honest = record.honest.saturating_sub(1);
            record.honest_until = Some(now + HONEST_MEMORY);
        }
    }

    /// A connection from there has mined; false if that cannot be remembered.
    pub(super) fn prove(&mut self, address: IpAddr, now: Instant) -> bool {
        let Some(record) = self.record(address, now) else {
            return false;
        };
        record.honest += 1;
        record.banned_until = None;
        true
    }

    /// A connection from there has misbehaved. True if its address is banned from now on.
    ///
    /// Who has mined is never banned, whatever else comes from there: behind the address of a farm
    /// one device with the wrong firmware can make any number of faults, and thousands of others
    /// would pay for it. Its own connections are closed, and no more is needed.
    pub(super) fn fault(&mut self, address: IpAddr, now: Instant) -> bool {
        let (faults_max, ban) = (self.limits.faults_per_minute_max, self.limits.ban);
        if self.is_trusted(address) {
            return false;
        }
        let Some(record) = self.record(address, now) else {
            return false;
        };
        let since = record.since.filter(|since| now < *since + FAULT_MEMORY);
        if since.is_none() {
            record.faults = 0;
        }
        record.since = Some(since.unwrap_or(now));
        record.faults = record.faults.saturating_add(1);
        if record.faults <= faults_max || record.is_honest(now) || record.is_banned(now) {
            return false;
        }
        record.banned_until = Some(now + ban);
        record.faults = 0;
        true
    }

    /// The operator bans a network, whoever mines from there: what he says holds above all else.
    /// False if there are too many of his bans already.
    pub(super) fn ban(&mut self, network: Network, until: Instant, now: Instant) -> bool {
        self.decreed.retain(|(known, until)| *known != network && now < *until);
        let has_room = self.decreed.len() < DECREED_MAX;
        if has_room {
            self.decreed.push((network, until));
        }
        has_room
    }

    /// Takes bans of exactly this network back, whoever made them; false if there is none.
    pub(super) fn lift(&mut self, network: Network, now: Instant) -> bool {
        let before = self.decreed.len();
        self.decreed.retain(|(known, _)| *known != network);
        let record = self.records.get_mut(&network).filter(|record| record.is_banned(now));
        let was_banned = record.is_some();
        if let Some(record) = record {
            record.banned_until = None;
        }
        was_banned || self.decreed.len() < before
    }

    /// All bans that hold: the network, when it ends, and whether the operator has said so.
    pub(super) fn bans(&self, now: Instant) -> Vec<(Network, Instant, bool)> {
        let decreed = self.decreed.iter().map(|(network, until)| (*network, *until, true));
        let earned = self.records.iter();
        let earned = earned.filter_map(|(network, it)| Some((*network, it.banned_until?, false)));
        decreed.chain(earned).filter(|(_, until, _)| now < *until).collect()
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        self.limits.trusted_networks.iter().any(|network| network.holds(address))
    }

    fn record(&mut self, address: IpAddr, now: Instant) -> Option<&mut Record> {
        let source = Network::source(address);
        if self.records.len() >= RECORDS_MAX && !self.records.contains_key(&source) {
            if self.next_sweep.is_some_and(|at| now < at) {
                return None;
            }
            self.records.retain(|_, record| !record.can_be_forgotten(now));
            if self.records.len() >= RECORDS_MAX {
                self.next_sweep = Some(now + SWEEP_PERIOD);
                return None;
            }
        }
        Some(self.records.entry(source).or_default())
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 3] {
        [self.addresses.len(), self.networks.len(), self.records.len()]
    }
}

fn count_down<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
