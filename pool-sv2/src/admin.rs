//! What an operator may order while the pool runs: see who is connected, send somebody away, keep a
//! network out, hold payouts back. `admin/openapi.json` describes all of it.
//!
//! It knows nothing of HTTP nor of the token, and touches no session, no share and no book: it asks
//! the roster, the gate and the till, which do what is to be done by themselves.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use service::admin::{Order, Verb};
use service::gate::{Gate, Network};
use service::questions::Reply;
use tracing::{info, warn};

use crate::roster::{Roster, Seat};

const OPENAPI: &str = include_str!("admin/openapi.json");
/// Connections of one answer.
const LINES_MAX: u64 = 1_000;
const LINES_DEFAULT: u64 = 100;
/// Channels of one connection in a list; a proxy may have thousands. Asked for alone, it shows all.
const CHANNELS_SHOWN: usize = 16;
/// A ban's length in seconds: an hour if none is named, and at most a year.
const BAN_SECONDS: u64 = 3_600;
const BAN_SECONDS_MAX: u64 = 31_536_000;

/// Payouts from the wallet, as they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TillNow {
    /// True while nothing new is paid.
    pub is_paused: bool,
    /// True if the settings say that nothing is ever paid.
    pub is_dry_run: bool,
    /// From how many satoshis on.
    pub threshold: u64,
    /// How often it is looked.
    pub every_seconds: u64,
    /// Whom it would pay now, and how many satoshis: the largest first.
    pub due: Vec<(String, u64)>,
    /// What was sent and is not in the chain for good.
    pub sent: Vec<Sent>,
}

/// A transaction of the wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its id.
    pub transaction: String,
    /// How many it pays.
    pub accounts: usize,
    /// How much, in satoshis.
    pub amount: u64,
    /// What the network got.
    pub fee: u64,
}

/// Where payouts are made.
pub trait Till: Send + Sync {
    /// How they stand.
    fn now(&self) -> TillNow;
    /// Nothing new is paid from here on, over restarts too.
    fn pause(&self) -> io::Result<()>;
    /// They go on.
    fn go_on(&self) -> io::Result<()>;
}

/// What orders are about.
pub struct Admin {
    /// Who is connected.
    pub roster: Roster,
    /// Before all ports for miners.
    pub gate: Gate,
    /// Their numbers, in the order of the settings.
    pub ports: Vec<u16>,
    /// None where no wallet is named.
    pub till: Option<Box<dyn Till>>,
    /// The settings in force as text, secrets left out.
    pub settings: String,
}

/// Why an order is not obeyed.
enum Refusal {
    Wrong(String),
    NotFound(&'static str),
    Failed(String),
}

impl Admin {
    /// Obeys one order.
    pub fn obey(&self, order: &Order) -> Reply {
        let parts: Vec<_> = order.path.split('/').collect();
        let done = match (order.verb, &parts[..]) {
            (Verb::Get, ["admin", "v1", "openapi.json"]) => {
                return Reply::Found(OPENAPI.to_owned());
            }
            (Verb::Get, ["admin", "v1", "settings"]) => return Reply::Text(self.settings.clone()),
            (Verb::Get, ["admin", "v1", "connections"]) => self.connections(order),
            (Verb::Get, ["admin", "v1", "connections", id]) => self.connection(id),
            (Verb::Post, ["admin", "v1", "connections", id, "close"]) => self.close(id),
            (Verb::Get, ["admin", "v1", "bans"]) => Ok(self.bans()),
            (Verb::Post, ["admin", "v1", "bans"]) => self.ban(order),
            (Verb::Delete, ["admin", "v1", "bans"]) => self.lift(order),
            (Verb::Get, ["admin", "v1", "payouts"]) => self.till().map(payouts),
            (Verb::Post, ["admin", "v1", "payouts", "pause"]) => self.pause(),
            (Verb::Post, ["admin", "v1", "payouts", "continue"]) => self.go_on(),
            _ => Err(Refusal::NotFound("no such order: GET /admin/v1/openapi.json names them all")),
        };
        match done {
            Ok(value) => Reply::of(&value),
            Err(Refusal::Wrong(what)) => Reply::Wrong(what),
            Err(Refusal::NotFound(what)) => Reply::NotFound(what.to_owned()),
            Err(Refusal::Failed(what)) => Reply::Unavailable(what),
        }
    }

    fn connections(&self, order: &Order) -> Result<Value, Refusal> {
        let from = order.parameter("network").map(network).transpose()?;
        let account = order.parameter("account");
        let after = number(order, "after")?;
        let limit = number(order, "limit")?.unwrap_or(LINES_DEFAULT);
        if !(1..=LINES_MAX).contains(&limit) {
            return Err(Refusal::Wrong(format!("limit must be from 1 to {LINES_MAX}")));
        }
        let is_wanted = |seat: &Seat| {
            from.is_none_or(|network| network.holds(seat.address()))
                && account.is_none_or(|account| {
                    seat.channels().iter().any(|it| *it.earner.account == *account)
                })
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let seats = self.roster.list(after, limit, is_wanted);
        let shown: Vec<_> = seats.iter().map(|seat| self.shown(seat, CHANNELS_SHOWN)).collect();
        let next = seats.last().map(|seat| seat.id);
        Ok(json!({ "connections": shown, "all": self.roster.count(), "next": next }))
    }

    fn connection(&self, id: &str) -> Result<Value, Refusal> {
        Ok(self.shown(&*self.seat(id)?, usize::MAX))
    }

    fn shown(&self, seat: &Seat, channels_max: usize) -> Value {
        let mut channels = seat.shown();
        let open = channels.len();
        channels.truncate(channels_max);
        json!({
            "id": seat.id,
            "peer": seat.peer.to_string(),
            "port": self.ports.get(usize::from(seat.listener)),
            "since_ms": seat.since_ms,
            "channels_open": open,
            "channels": channels,
        })
    }

    fn close(&self, id: &str) -> Result<Value, Refusal> {
        let seat = self.seat(id)?;
        seat.send_away();
        info!(connection = seat.id, peer = %seat.peer, "connection closed by the operator");
        Ok(json!({ "closed": 1 }))
    }

    fn seat(&self, id: &str) -> Result<std::sync::Arc<Seat>, Refusal> {
        let id = id.parse().map_err(|_| Refusal::Wrong("a connection has a number".to_owned()))?;
        self.roster.seat(id).ok_or(Refusal::NotFound("no such connection is there any more"))
    }

    fn bans(&self) -> Value {
        let bans = self.gate.bans().into_iter().map(|ban| {
            json!({"network": ban.network.to_string(), "seconds_left": ban.left.as_secs(),
                "by_operator": ban.by_operator})
        });
        json!({ "bans": bans.collect::<Vec<_>>() })
    }

    /// Whoever is there from that network leaves, too.
    fn ban(&self, order: &Order) -> Result<Value, Refusal> {
        let network = named_network(order)?;
        let seconds = number(order, "seconds")?.unwrap_or(BAN_SECONDS);
        if !(1..=BAN_SECONDS_MAX).contains(&seconds) {
            let what = format!("seconds must be from 1 to {BAN_SECONDS_MAX}");
            return Err(Refusal::Wrong(what));
        }
        if !self.gate.ban(network, Duration::from_secs(seconds)) {
            let what = "there are as many bans as may be: lift some, or ban larger networks";
            return Err(Refusal::Wrong(what.to_owned()));
        }
        let there = self.roster.list(None, usize::MAX, |seat| network.holds(seat.address()));
        there.iter().for_each(|seat| seat.send_away());
        Ok(json!({
            "network": network.to_string(), "seconds": seconds, "closed": there.len()
        }))
    }

    fn lift(&self, order: &Order) -> Result<Value, Refusal> {
        let network = named_network(order)?;
        match self.gate.lift(network) {
            true => Ok(json!({ "network": network.to_string() })),
            false => Err(Refusal::NotFound("no ban of exactly this network holds")),
        }
    }

    fn till(&self) -> Result<&dyn Till, Refusal> {
        let none = "no wallet pays balances here: [payout.wallet] is not set";
        self.till.as_deref().ok_or(Refusal::NotFound(none))
    }

    fn pause(&self) -> Result<Value, Refusal> {
        let till = self.till()?;
        till.pause().map_err(|error| Refusal::Failed(format!("not paused: {error}")))?;
        warn!("payouts paused by the operator");
        Ok(payouts(till))
    }

    fn go_on(&self) -> Result<Value, Refusal> {
        let till = self.till()?;
        till.go_on().map_err(|error| Refusal::Failed(format!("still paused: {error}")))?;
        info!("payouts continued by the operator");
        Ok(payouts(till))
    }
}

fn payouts(till: &dyn Till) -> Value {
    let now = till.now();
    let sum = now.due.iter().fold(0, |sum: u64, (_, amount)| sum.saturating_add(*amount));
    let due =
        now.due.iter().map(|(account, amount)| json!({ "account": account, "amount_sat": amount }));
    let sent = now.sent.iter().map(|it| {
        json!({"transaction": it.transaction, "accounts": it.accounts, "amount_sat": it.amount,
            "fee_sat": it.fee})
    });
    json!({
        "is_paused": now.is_paused,
        "is_dry_run": now.is_dry_run,
        "threshold_sat": now.threshold,
        "every_seconds": now.every_seconds,
        "due_sat": sum,
        "due": due.collect::<Vec<_>>(),
        "unconfirmed": sent.collect::<Vec<_>>(),
    })
}

fn named_network(order: &Order) -> Result<Network, Refusal> {
    let named = order.parameter("network");
    network(named.ok_or_else(|| {
        Refusal::Wrong(
            "network is missing: name an address, or \
        ADDRESS/BITS"
                .to_owned(),
        )
    })?)
}

fn network(text: &str) -> Result<Network, Refusal> {
    let wrong = |_| "network must be an address, or ADDRESS/BITS as 203.0.113.0/24".to_owned();
    Network::of_one_or_many(text).map_err(|error| Refusal::Wrong(wrong(error)))
}

fn number(order: &Order, name: &str) -> Result<Option<u64>, Refusal> {
    let read = |text: &str| {
        text.parse().map_err(|_| Refusal::Wrong(format!("{name} must be a whole number")))
    };
    order.parameter(name).map(read).transpose()
}

#[cfg(test)]
mod tests;
