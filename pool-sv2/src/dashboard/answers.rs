//! What the pages ask, and what of the answers they show. The names are the API's.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use service::questions::{Answerer, Question, Reply};

/// Asks.
pub(super) struct Asker<'a>(pub(super) &'a Answerer);

/// Why there is nothing to show: a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missing {
    NotThere(String),
    NotNow(String),
}

impl Missing {
    pub(super) fn why(&self) -> &str {
        let (Self::NotThere(why) | Self::NotNow(why)) = self;
        why
    }
}

impl Asker<'_> {
    pub(super) fn about<T: DeserializeOwned>(&self, path: &str) -> Result<T, Missing> {
        self.with(path, &[])
    }

    pub(super) fn with<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<T, Missing> {
        let parameters = parameters.iter().map(|(name, value)| {
            let (name, value): (&str, &str) = (name, value);
            (name.to_owned(), value.to_owned())
        });
        let path = format!("api/v1/{path}");
        match (self.0)(&Question { path, parameters: parameters.collect() }) {
            Reply::Found(text) => {
                serde_json::from_str(&text).map_err(|error| Missing::NotNow(error.to_string()))
            }
            Reply::NotFound(what) | Reply::Wrong(what) => Err(Missing::NotThere(what)),
            Reply::Unavailable(what) | Reply::Text(what) => Err(Missing::NotNow(what)),
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Hashrate {
    #[serde(rename = "1m")]
    pub(super) m1: f64,
    #[serde(rename = "5m")]
    pub(super) m5: f64,
    #[serde(rename = "1h")]
    pub(super) h1: f64,
    #[serde(rename = "1d")]
    pub(super) d1: f64,
    #[serde(rename = "7d")]
    pub(super) d7: f64,
}

/// Of the pool, a miner or a worker.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Sums {
    #[serde(default)]
    pub(super) name: String,
    pub(super) shares: u64,
    pub(super) first_share_ms: u64,
    pub(super) last_share_ms: u64,
    pub(super) best_difficulty: Option<f64>,
    pub(super) best_difficulty_of_round: Option<f64>,
    pub(super) hashrate: Hashrate,
    #[serde(default)]
    pub(super) rejects: BTreeMap<String, u64>,
    pub(super) balance: Option<Balance>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Pool {
    #[serde(flatten)]
    pub(super) sums: Sums,
    pub(super) miners: u64,
    pub(super) workers: u64,
    pub(super) blocks: u64,
    pub(super) active_seconds: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Balance {
    pub(super) owed: i64,
    pub(super) spendable: i64,
    pub(super) paid: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct History {
    pub(super) span_s: u64,
    pub(super) spans: Vec<Span>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Span {
    pub(super) start_s: u64,
    pub(super) shares: u64,
    /// Expected hashes as text.
    pub(super) work: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Miners {
    pub(super) miners: Vec<Sums>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Channels {
    pub(super) channels: Vec<Channel>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Channel {
    pub(super) worker: String,
    pub(super) kind: String,
    pub(super) difficulty: f64,
    pub(super) opened_ms: u64,
    pub(super) last_share_ms: Option<u64>,
    pub(super) shares: u64,
    pub(super) rejects: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Workers {
    pub(super) workers: Vec<Sums>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Blocks {
    pub(super) blocks: Vec<Block>,
    pub(super) next: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Block {
    pub(super) hash: String,
    pub(super) height: Option<u32>,
    pub(super) time_ms: u64,
    pub(super) account: String,
    pub(super) worker: String,
    pub(super) coinbase_value: u64,
    pub(super) state: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Credits {
    pub(super) payouts: Vec<Credit>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Credit {
    pub(super) kind: String,
    pub(super) hash: String,
    pub(super) time_ms: u64,
    pub(super) state: String,
    pub(super) entitled: u64,
    pub(super) paid: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Template {
    pub(super) height: Option<u32>,
    pub(super) prev_hash: String,
    pub(super) network_difficulty: f64,
    pub(super) since_ms: u64,
    pub(super) tip_since_ms: u64,
    pub(super) tip_reached: TipReached,
    pub(super) merkle_branches: u32,
    pub(super) value: u64,
    pub(super) outputs: Vec<Output>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct TipReached {
    pub(super) connections: u64,
    pub(super) last_ms: f64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Output {
    pub(super) value: u64,
    pub(super) script: String,
    pub(super) kind: String,
    pub(super) address: Option<String>,
    pub(super) detail: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Health {
    pub(super) is_well: bool,
    pub(super) neighbours: Vec<Neighbour>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Neighbour {
    pub(super) name: String,
    pub(super) up: bool,
    pub(super) needed: bool,
    pub(super) detail: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Connect {
    pub(super) authority_key: String,
    pub(super) fee_basis_points: u16,
    pub(super) ports: Vec<Port>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Port {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) min_difficulty: f64,
    pub(super) pays: String,
}
