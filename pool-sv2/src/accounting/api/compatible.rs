//! Endpoints of public-pool, by its shapes: NerdMiner, BTClock, Bitaxe dashboards and Home
//! Assistant ask them. What this pool does not know (which firmware somebody has) is left empty.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};

use super::{ACTIVE_MS, Asked, LINES_MAX, Refusal, difficulty_of};
use crate::accounting::store::{Block, Reader, Scope};

/// Blocks that are shown.
const BLOCKS: u32 = 20;
/// Hashes of a share of difficulty 1.
const HASHES_OF_DIFFICULTY_1: f64 = 4_294_967_296.0;
const SECONDS_OF_A_BLOCK: f64 = 600.0;

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
                    "name": if line.name.is_empty() { "worker" } else { &line.name },
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
            "fee": f64::from(self.api.fee_basis_points) / 100.0,
        }))
    }

    /// `/api/network`: the part of a node's getmininginfo that follows from the work.
    pub(super) fn network(&self) -> Result<Value, Refusal> {
        let chain =
            (self.api.chain)().ok_or(Refusal::NotFound("there is no work at the moment"))?;
        let per_second = chain.difficulty * HASHES_OF_DIFFICULTY_1 / SECONDS_OF_A_BLOCK;
        Ok(json!({
            "blocks": self.tip_height(),
            "difficulty": chain.difficulty,
            "networkhashps": per_second,
            "warnings": "",
        }))
    }

    /// The height of the last block of the chain.
    fn tip_height(&self) -> Option<u32> {
        (self.api.chain)()?.height?.checked_sub(1)
    }

    fn found(&self) -> Result<Vec<Value>, Refusal> {
        let blocks = self.reader.blocks(u64::MAX, BLOCKS)?;
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

/// As JavaScript writes a date, in UTC.
fn iso(time_ms: u64) -> String {
    let (days, in_day_ms) = (time_ms / 86_400_000, time_ms % 86_400_000);
    let (year, month, day) = date(days);
    let (seconds, ms) = (in_day_ms / 1_000, in_day_ms % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// The date so many days after 1970-01-01, in years that begin in March, so that a leap day is the
/// last one.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days.saturating_add(719_468);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let is_after_december = month >= 10;
    let month = if is_after_december { month - 9 } else { month + 3 };
    (year + era * 400 + u64::from(is_after_december), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_as_javascript_writes_them() {
        assert_eq!(iso(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(iso(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(iso(4_107_542_399_999), "2100-02-28T23:59:59.999Z");
        assert_eq!(iso(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }
}
