//! `/api/v1/…`. Work is text, for it may be larger than what JSON's readers take for a number;
//! rates are hashes a second; times are milliseconds since 1970, a span's start is in seconds.

use serde_json::{Value, json};

use super::{ACTIVE_MS, Api, Asked, Refusal, block_state, cursor, difficulty_of};
use crate::accounting::store::rates::Rates;
use crate::accounting::store::{Block, Line, Reader, Scope, Span, Total};
use crate::roster::Seat;

/// Of the windows of rates.
const OVER_AN_HOUR: usize = 2;
/// Channels of one answer.
const CHANNELS_MAX: usize = 1_000;

impl Asked<'_> {
    pub(super) fn pool(&self) -> Result<Value, Refusal> {
        let active = self.reader.active(self.now_ms.saturating_sub(ACTIVE_MS))?;
        let mut shown = self.sums(Scope::Pool)?;
        let mined = self.api.mined().ok();
        if let Some(shown) = shown.as_object_mut() {
            shown.insert("miners".to_owned(), active.accounts.into());
            shown.insert("workers".to_owned(), active.workers.into());
            let mined = mined.map(|it| json!({"height": it.height, "difficulty": it.difficulty}));
            shown.insert("mined_now".to_owned(), mined.into());
            shown.insert("blocks".to_owned(), self.reader.block_count()?.into());
            shown.insert("active_seconds".to_owned(), (ACTIVE_MS / 1_000).into());
        }
        Ok(shown)
    }

    pub(super) fn miner(&self, account: &str) -> Result<Value, Refusal> {
        self.known_total(account)?;
        let mut shown = self.sums(Scope::Account(account))?;
        let balance = self.balance(account)?;
        if let Some(shown) = shown.as_object_mut() {
            shown.insert("balance".to_owned(), balance);
        }
        Ok(shown)
    }

    fn sums(&self, scope: Scope<'_>) -> Result<Value, Refusal> {
        let total = self.reader.total(scope)?;
        let mut shown = sums(&total, &self.reader.rates(scope, self.now_ms)?);
        let rejects = self.reader.rejects(scope)?;
        let rejects: serde_json::Map<_, _> =
            rejects.into_iter().map(|(why, count)| (why.name().to_owned(), count.into())).collect();
        if let Some(shown) = shown.as_object_mut() {
            shown.insert("rejects".to_owned(), rejects.into());
        }
        Ok(shown)
    }

    pub(super) fn miners(&self) -> Result<Value, Refusal> {
        let after = self.question.parameter("after");
        let lines = match (self.question.parameter("order"), after) {
            (None | Some("name"), after) => {
                let after = after.unwrap_or_default();
                self.reader.accounts(after, self.limit()?, self.now_ms)?
            }
            (Some("hashrate"), None) => return self.fastest(),
            (Some("hashrate"), Some(_)) => {
                let what = "after goes with the order by name alone: who is fastest changes";
                return Err(Refusal::Wrong(what.to_owned()));
            }
            _ => return Err(Refusal::Wrong("order must be name or hashrate".to_owned())),
        };
        Ok(page("miners", &lines))
    }

    /// Of those who mine at the moment.
    fn fastest(&self) -> Result<Value, Refusal> {
        let since_ms = self.now_ms.saturating_sub(ACTIVE_MS);
        let mut lines = self.reader.fastest(since_ms, OVER_AN_HOUR, self.now_ms)?;
        lines.truncate(usize::try_from(self.limit()?).unwrap_or(usize::MAX));
        let mut shown = page("miners", &lines);
        if let Some(shown) = shown.as_object_mut() {
            shown.insert("next".to_owned(), Value::Null);
        }
        Ok(shown)
    }

    pub(super) fn workers(&self, account: &str) -> Result<Value, Refusal> {
        let after = self.question.parameter("after");
        let lines = self.reader.workers(account, after, self.limit()?, self.now_ms)?;
        Ok(page("workers", &lines))
    }

    pub(super) fn history(&self) -> Result<Value, Refusal> {
        let span = match self.question.parameter("span") {
            None | Some("slice") => Span::Slice,
            Some("day") => Span::Day,
            Some(_) => return Err(Refusal::Wrong("span must be slice or day".to_owned())),
        };
        let scope = match (self.question.parameter("account"), self.question.parameter("worker")) {
            (None, None) => Scope::Pool,
            (Some(account), None) => Scope::Account(account),
            (Some(account), Some(worker)) => Scope::Worker(account, worker),
            (None, Some(_)) => return Err(Refusal::Wrong("worker of which account?".to_owned())),
        };
        let now_s = self.now_ms / 1_000;
        let (to_s, usual_s) = (self.number("to", now_s)?, span.seconds().saturating_mul(144));
        let from_s = self.number("from", to_s.saturating_sub(usual_s))?;
        let slices = self.reader.history(scope, span, from_s, to_s.min(now_s))?;
        let spans: Vec<_> = slices
            .iter()
            .map(|it| {
                let work = it.work.to_string();
                json!({"start_s": it.start_s, "shares": it.shares, "work": work})
            })
            .collect();
        Ok(json!({ "span_s": span.seconds(), "spans": spans }))
    }

    pub(super) fn blocks(&self) -> Result<Value, Refusal> {
        let blocks = self.reader.blocks(self.after()?, self.limit()?)?;
        let next = blocks.last().map(|block| cursor(block.time_ms, &block.found.hash));
        let blocks: Vec<_> = blocks.iter().map(block).collect();
        Ok(json!({ "blocks": blocks, "next": next }))
    }
}

impl Api {
    /// `/api/v1/health`.
    pub(super) fn health(&self) -> Result<Value, Refusal> {
        let health = &self.facts.health;
        let neighbours: Vec<_> = health
            .all()
            .into_iter()
            .map(|it| {
                let (name, detail) = (it.name, it.detail);
                json!({"name": name, "up": it.up, "needed": it.is_needed, "detail": detail})
            })
            .collect();
        Ok(json!({ "is_well": health.is_well(), "neighbours": neighbours }))
    }

    /// `/api/v1/miners/ACCOUNT/channels`: where he comes from is nobody's business.
    pub(super) fn channels(&self, account: &str) -> Value {
        let is_his = |seat: &Seat| seat.channels().iter().any(|it| *it.earner.account == *account);
        let seats = self.facts.roster.list(None, CHANNELS_MAX + 1, is_his);
        let shown = seats.iter().flat_map(|seat| seat.shown());
        let shown = shown.filter(|it| it.account == account).take(CHANNELS_MAX + 1);
        let mut shown: Vec<_> = shown.collect();
        let more = shown.len() > CHANNELS_MAX;
        shown.truncate(CHANNELS_MAX);
        json!({ "channels": shown, "more": more })
    }

    /// `/api/v1/connect`.
    pub(super) fn connect(&self) -> Result<Value, Refusal> {
        let facts = &self.facts;
        let ports = facts.ports.iter().map(|it| {
            json!({"host": it.host, "port": it.port, "min_difficulty": it.min_difficulty,
                "pays": it.mode.name()})
        });
        Ok(json!({
            "authority_key": facts.authority_key,
            "network": facts.sources.network.to_string(),
            "fee_basis_points": facts.fee_basis_points,
            "ports": ports.collect::<Vec<_>>(),
        }))
    }
}

/// Lines, and what to ask for those behind them; null on an empty page.
fn page(name: &str, lines: &[Line]) -> Value {
    let shown: Vec<_> = lines
        .iter()
        .map(|line| {
            let mut shown = sums(&line.total, &line.rates);
            if let Some(shown) = shown.as_object_mut() {
                shown.insert("name".to_owned(), line.name.as_str().into());
            }
            shown
        })
        .collect();
    json!({ name: shown, "next": lines.last().map(|line| &line.name) })
}

fn sums(total: &Total, rates: &Rates) -> Value {
    let [m1, m5, h1, d1, d7] = rates.per_second;
    json!({
        "shares": total.shares,
        "work": total.work.to_string(),
        "first_share_ms": total.first_ms,
        "last_share_ms": total.last_ms,
        "best_difficulty": total.best_ever.map(difficulty_of),
        "best_difficulty_of_round": total.best_of_round.map(difficulty_of),
        "hashrate": {"1m": m1, "5m": m5, "1h": h1, "1d": d1, "7d": d7},
    })
}

fn block(block: &Block) -> Value {
    let shown = |hash: &[u8; 32]| mining::hash::display(hash);
    json!({
        "hash": shown(&block.found.hash),
        "height": block.found.height,
        "time_ms": block.time_ms,
        "account": block.account,
        "worker": block.worker,
        "prev_hash": shown(&block.found.prev_hash),
        "coinbase_value": block.found.coinbase_value,
        "state": block_state(block.state),
    })
}
