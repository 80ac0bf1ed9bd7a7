//! Endpoints of public-pool, by its shapes: NerdMiner, BTClock, Bitaxe dashboards and Home
//! Assistant ask them. What this pool does not know (which firmware somebody has) is left empty.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};

use super::dates::iso;
use super::{ACTIVE_MS, Asked, LINES_MAX, Refusal, difficulty_of, float};
use crate::accounting::store::{After, Block, Reader, Scope, Slice, Span, StoreError};

/// Blocks that are shown.
const BLOCKS: u32 = 20;
/// Slices of a day.
const DAY_SLICES: u64 = 144;
/// What a worker without a name is called.
const UNNAMED: &str = "worker";
const NO_SESSION: Refusal = Refusal::NotFound("no such session");

impl Asked<'_> {
    /// `/api/client/ADDRESS`.
    pub(super) fn client(&self, address: &str) -> Result<Value, Refusal> {
        let total = self.reader.total(Scope::Account(address))?;
        let lines = self.reader.workers(address, None, LINES_MAX, self.now_ms)?;
        let since_ms = self.now_ms.saturating_sub(ACTIVE_MS);
        let workers: Vec<_> = lines
            .iter()
            .filter(|line| line.total.last_ms >= since_ms)
            .map(|line| {
                let best = line.total.best_ever.map_or(0.0, difficulty_of);
                json!({
                    "sessionId": session_id(address, &line.name),
                    "name": if line.name.is_empty() { UNNAMED } else { &line.name },
                    "bestDifficulty": format!("{best:.2}"),
                    "hashRate": line.rates.per_second[1].round(),
                    "startTime": iso(line.total.first_ms),
                    "lastSeen": iso(line.total.last_ms),
                })
            })
            .collect();
        Ok(json!({
            "bestDifficulty": total.best_ever.map_or(0.0, difficulty_of),
            "workersCount": workers.len(),
            "workers": workers,
        }))
    }

    /// `/api/info`.
    pub(super) fn info(&self) -> Result<Value, Refusal> {
        let total = self.reader.total(Scope::Pool)?;
        let best = total.best_ever.map(|best| {
            json!({
                "updatedAt": iso(total.last_ms),
                "bestDifficulty": difficulty_of(best),
                "bestDifficultyUserAgent": "",
            })
        });
        Ok(json!({
            "blockData": self.found()?,
            "userAgents": [],
            "highScores": best.into_iter().collect::<Vec<_>>(),
            "uptime": iso(self.api.started_ms),
        }))
    }

    /// `/api/pool`.
    pub(super) fn pool_status(&self) -> Result<Value, Refusal> {
        let rates = self.reader.rates(Scope::Pool, self.now_ms)?;
        let active = self.reader.active(self.now_ms.saturating_sub(ACTIVE_MS))?;
        Ok(json!({
            "totalHashRate": rates.per_second[1].round(),
            "blockHeight": self.tip_height(),
            "totalMiners": active.workers,
            "blocksFound": self.found()?,
            "fee": f64::from(self.api.facts.fee_basis_points) / 100.0,
        }))
    }

    /// `/api/network`: the part of a node's getmininginfo that follows from the work.
    pub(super) fn network(&self) -> Result<Value, Refusal> {
        let now = self.api.mined()?;
        Ok(json!({
            "blocks": self.tip_height(),
            "difficulty": now.difficulty,
            "networkhashps": self.network_hashrate(),
            "warnings": "",
        }))
    }

    /// `/api/info/chart`.
    pub(super) fn info_chart(&self) -> Result<Value, Refusal> {
        Ok(self.chart(Scope::Pool)?)
    }

    /// `/api/client/ADDRESS/chart`.
    pub(super) fn client_chart(&self, address: &str) -> Result<Value, Refusal> {
        Ok(self.chart(Scope::Account(address))?)
    }

    /// `/api/client/ADDRESS/WORKER`.
    pub(super) fn client_worker(&self, address: &str, worker: &str) -> Result<Value, Refusal> {
        let (scope, best, _) = self.worker_named(address, worker)?;
        let chart = self.chart(scope)?;
        Ok(json!({ "name": worker, "bestDifficulty": best.floor(), "chartData": chart }))
    }

    /// `/api/client/ADDRESS/WORKER/SESSION`: all sessions of a worker are one here.
    pub(super) fn client_session(&self, at: [&str; 3]) -> Result<Value, Refusal> {
        let [address, worker, session] = at;
        let (scope, best, first_ms) = self.worker_named(address, worker)?;
        let Scope::Worker(_, name) = scope else { return Err(NO_SESSION) };
        if session != session_id(address, name) {
            return Err(NO_SESSION);
        }
        let chart = self.chart(scope)?;
        Ok(json!({
            "sessionId": session,
            "workerName": worker,
            "bestDifficulty": best.floor(),
            "chartData": chart,
            "startTime": iso(first_ms),
        }))
    }

    /// One worker by the name that `client` gives it: its best difficulty and its first share.
    fn worker_named<'b>(
        &self,
        address: &'b str,
        worker: &'b str,
    ) -> Result<(Scope<'b>, f64, u64), Refusal> {
        for name in [worker, ""] {
            let scope = Scope::Worker(address, name);
            let total = self.reader.total(scope)?;
            if total.shares > 0 && (name == worker || worker == UNNAMED) {
                return Ok((scope, total.best_ever.map_or(0.0, difficulty_of), total.first_ms));
            }
        }
        Err(Refusal::NotFound("no worker of that name has sent a share"))
    }

    /// Hashrate by slices of ten minutes, over the last day.
    fn chart(&self, scope: Scope<'_>) -> Result<Value, StoreError> {
        let point = |slice: &Slice| {
            let rate = float(slice.work) / Span::Slice.float_seconds();
            json!({ "label": iso(slice.start_s * 1_000), "data": rate.round() })
        };
        Ok(self.last_day(scope)?.iter().map(point).collect())
    }

    /// Slices of the last day.
    pub(super) fn last_day(&self, scope: Scope<'_>) -> Result<Vec<Slice>, StoreError> {
        let now_s = self.now_ms / 1_000;
        let from_s = now_s.saturating_sub(DAY_SLICES * Span::Slice.seconds());
        self.reader.history(scope, Span::Slice, from_s, now_s)
    }

    fn found(&self) -> Result<Vec<Value>, Refusal> {
        let blocks = self.reader.blocks(After::START, BLOCKS)?;
        let shown = |block: &Block| {
            json!({
                "height": block.found.height,
                "minerAddress": block.account,
                "worker": block.worker,
                "sessionId": session_id(&block.account, &block.worker),
            })
        };
        Ok(blocks.iter().map(shown).collect())
    }
}

/// Eight hex digits, the same for a worker for as long as the program is the same.
fn session_id(account: &str, worker: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (account, worker).hash(&mut hasher);
    format!("{:08x}", hasher.finish() & 0xffff_ffff)
}
