//! miningcore's `/api/pools…`, by its shapes: many front ends ask them. The pool is called `adit`;
//! what this pool does not know is 0, empty or null.

use serde_json::{Value, json};

use super::dates::iso;
use super::{ACTIVE_MS, Asked, LINES_MAX, Refusal, block_state, float};
use crate::accounting::store::{After, Block, Credit, Line, Reader, Scope, Slice, Span};
use crate::coin::{Coin, UNITS_AS_FLOAT};
use crate::shares::BlockStage;

/// The one pool.
const POOL: &str = "adit";
/// Lines of a page that names no size, and the most.
const PAGE: u64 = 15;
const PAGE_MAX: u64 = 100;
/// Pages go back so far; further lines are to be had from `/api/v1`.
const LINES_BACK_MAX: u64 = 10_000;
/// Of the windows of rates.
const OVER_FIVE_MINUTES: usize = 1;

impl Asked<'_> {
    /// `/api/pools`.
    pub(super) fn core_pools(&self) -> Result<Value, Refusal> {
        Ok(json!({ "pools": [self.core_summary()?] }))
    }

    /// `/api/pools/adit`.
    pub(super) fn core_pool(&self, id: &str) -> Result<Value, Refusal> {
        check(id)?;
        Ok(json!({ "pool": self.core_summary()? }))
    }

    fn core_summary(&self) -> Result<Value, Refusal> {
        let active = self.reader.active(self.now_ms.saturating_sub(ACTIVE_MS))?;
        let rates = self.reader.rates(Scope::Pool, self.now_ms)?;
        let (mined, facts) = (self.api.mined().ok(), &self.api.facts);
        let difficulty = mined.as_ref().map_or(0.0, |it| it.difficulty);
        let blocks = self.reader.blocks(After::START, 1)?;
        let network = facts.sources.network.to_string();
        let Coin { name, symbol } = &facts.coin;
        Ok(json!({
            "id": POOL,
            "coin": {"type": symbol, "name": name, "symbol": symbol, "family": "bitcoin",
                "algorithm": "sha256d", "canonicalName": name},
            "ports": {},
            "paymentProcessing": {"enabled": facts.shelf.is_some(), "minimumPayment": 0.0,
                "payoutScheme": facts.mode.name().to_uppercase(), "payoutSchemeConfig": {}},
            "poolFeePercent": f64::from(facts.fee_basis_points) / 100.0,
            "address": "",
            "addressInfoLink": "",
            "poolStats": {"connectedMiners": active.workers,
                "poolHashrate": rates.per_second[1].round(), "sharesPerSecond": 0},
            "networkStats": {"networkType": network, "networkHashrate": self.network_hashrate(),
                "networkDifficulty": difficulty, "nextNetworkTarget": "", "nextNetworkBits": "",
                "lastNetworkBlockTime": mined.as_ref().map(|it| iso(it.tip_since_ms)),
                "blockHeight": self.tip_height(), "connectedPeers": 0, "rewardType": "POW"},
            "topMiners": [],
            "totalPaid": float(self.reader.paid_to_all()?.into()) / UNITS_AS_FLOAT,
            "totalBlocks": self.reader.block_count()?,
            "lastPoolBlockTime": blocks.first().map(|it| iso(it.time_ms)),
        }))
    }

    /// `/api/pools/adit/performance`: the last day by slices.
    pub(super) fn core_performance(&self, id: &str) -> Result<Value, Refusal> {
        check(id)?;
        let difficulty = self.api.mined().map_or(0.0, |it| it.difficulty);
        let (slices, network) = (self.last_day(Scope::Pool)?, self.network_hashrate());
        let stat = |it: &Slice| {
            json!({"poolHashrate": hashrate(it), "connectedMiners": 0,
                "validSharesPerSecond": float(it.shares.into()) / Span::Slice.float_seconds(),
                "networkHashrate": network, "networkDifficulty": difficulty,
                "created": iso(it.start_s * 1_000)})
        };
        Ok(json!({ "stats": slices.iter().map(stat).collect::<Vec<_>>() }))
    }

    /// `/api/pools/adit/miners`.
    pub(super) fn core_miners(&self, id: &str) -> Result<Value, Refusal> {
        check(id)?;
        let page = self.core_page()?;
        let since_ms = self.now_ms.saturating_sub(ACTIVE_MS);
        let lines = self.reader.fastest(since_ms, OVER_FIVE_MINUTES, self.now_ms)?;
        let shown = lines.into_iter().skip(page.skipped).take(page.size).map(|line| {
            json!({"miner": line.name, "hashrate": line.rates.per_second[1].round(),
                "sharesPerSecond": 0})
        });
        Ok(shown.collect())
    }

    /// `/api/pools/adit/blocks`.
    pub(super) fn core_blocks(&self, id: &str) -> Result<Value, Refusal> {
        check(id)?;
        let page = self.core_page()?;
        let blocks = self.reader.blocks(After::START, page.needed()?)?;
        Ok(blocks.iter().skip(page.skipped).map(core_block).collect())
    }

    /// `/api/pools/adit/payments`: blocks and transactions of the wallet that have paid somebody.
    pub(super) fn core_payments(&self, id: &str) -> Result<Value, Refusal> {
        check(id)?;
        let page = self.core_page()?;
        let payments = self.reader.payments(After::START, page.needed()?)?;
        let shown = payments.iter().skip(page.skipped).map(|it| {
            let hash = mining::hash::display(&it.hash);
            json!({"coin": self.api.facts.coin.symbol, "address": "", "addressInfoLink": "",
                "amount": float(it.paid.into()) / UNITS_AS_FLOAT,
                "transactionConfirmationData": hash, "transactionInfoLink": "",
                "created": iso(it.time_ms)})
        });
        Ok(shown.collect())
    }

    /// `/api/pools/adit/miners/ADDRESS`.
    pub(super) fn core_miner(&self, id: &str, address: &str) -> Result<Value, Refusal> {
        check(id)?;
        self.known_total(address)?;
        let lines = self.reader.workers(address, None, LINES_MAX, self.now_ms)?;
        let workers: serde_json::Map<_, _> = lines
            .iter()
            .filter(|it| self.is_active(it))
            .map(|it| {
                let rate = it.rates.per_second[1].round();
                (it.name.clone(), json!({"hashrate": rate, "sharesPerSecond": 0}))
            })
            .collect();
        let paid = self.reader.paid(address)?;
        let owed = self.api.facts.shelf.as_ref().map_or(0, |it| it.balance(address).owed);
        let last = self.reader.payments_of(address, After::START, 1)?;
        let last = last.first().map(|it| iso(it.settled.time_ms));
        Ok(json!({
            "pendingShares": 0,
            "pendingBalance": float(owed.max(0).unsigned_abs().into()) / UNITS_AS_FLOAT,
            "totalPaid": float(paid.into()) / UNITS_AS_FLOAT,
            "todayPaid": 0,
            "lastPayment": last,
            "lastPaymentLink": null,
            "performance": {"created": iso(self.now_ms), "workers": workers},
            "performanceSamples": self.core_samples(address)?,
        }))
    }

    /// `/api/pools/adit/miners/ADDRESS/performance`: the last day by slices.
    pub(super) fn core_miner_performance(&self, id: &str, address: &str) -> Result<Value, Refusal> {
        check(id)?;
        Ok(self.core_samples(address)?.into())
    }

    fn core_samples(&self, address: &str) -> Result<Vec<Value>, Refusal> {
        let slices = self.last_day(Scope::Account(address))?;
        let sample = |it: &Slice| {
            json!({"created": iso(it.start_s * 1_000),
                "workers": {"": {"hashrate": hashrate(it), "sharesPerSecond": 0}}})
        };
        Ok(slices.iter().map(sample).collect())
    }

    /// `/api/pools/adit/miners/ADDRESS/payments`.
    pub(super) fn core_miner_payments(&self, id: &str, address: &str) -> Result<Value, Refusal> {
        check(id)?;
        let page = self.core_page()?;
        let credits = self.reader.payments_of(address, After::START, page.needed()?)?;
        let symbol = &self.api.facts.coin.symbol;
        let shown = credits.iter().skip(page.skipped).map(|it| core_payment(symbol, address, it));
        Ok(shown.collect())
    }

    fn is_active(&self, line: &Line) -> bool {
        line.total.last_ms >= self.now_ms.saturating_sub(ACTIVE_MS)
    }

    /// `page` counts from 0.
    fn core_page(&self) -> Result<Page, Refusal> {
        let size = self.number("pageSize", PAGE)?.clamp(1, PAGE_MAX);
        let skipped = self.number("page", 0)?.saturating_mul(size);
        let number = |value| usize::try_from(value).unwrap_or(usize::MAX);
        Ok(Page { skipped: number(skipped), size: number(size) })
    }
}

struct Page {
    skipped: usize,
    size: usize,
}

impl Page {
    /// Lines that must be read.
    fn needed(&self) -> Result<u32, Refusal> {
        let needed = u64::try_from(self.skipped.saturating_add(self.size)).unwrap_or(u64::MAX);
        let needed = Some(needed).filter(|it| *it <= LINES_BACK_MAX);
        let needed = needed.and_then(|it| u32::try_from(it).ok());
        let far = || Refusal::Wrong("so far back only /api/v1 goes".to_owned());
        needed.ok_or_else(far)
    }
}

fn check(id: &str) -> Result<(), Refusal> {
    if id == POOL { Ok(()) } else { Err(Refusal::NotFound("the pool's id is adit")) }
}

fn hashrate(slice: &Slice) -> f64 {
    (float(slice.work) / Span::Slice.float_seconds()).round()
}

fn core_block(block: &Block) -> Value {
    let status = match block.state.map(|_| block_state(block.state)) {
        Some(name) if name == BlockStage::Mature.name() => "confirmed",
        Some(name) if name == BlockStage::Orphaned.name() => "orphaned",
        _ => "pending",
    };
    let hash = mining::hash::display(&block.found.hash);
    json!({
        "poolId": POOL,
        "blockHeight": block.found.height,
        "networkDifficulty": mining::target::Target::from_nbits(block.found.nbits)
            .map_or(0.0, |target| target.difficulty()),
        "status": status,
        "confirmationProgress": f64::from(u8::from(status == "confirmed")),
        "transactionConfirmationData": hash,
        "reward": float(block.found.coinbase_value.into()) / UNITS_AS_FLOAT,
        "infoLink": "",
        "hash": hash,
        "miner": block.account,
        "worker": block.worker,
        "source": "",
        "created": iso(block.time_ms),
    })
}

fn core_payment(symbol: &str, address: &str, credit: &Credit) -> Value {
    json!({
        "coin": symbol,
        "address": address,
        "addressInfoLink": "",
        "amount": float(credit.paid.into()) / UNITS_AS_FLOAT,
        "transactionConfirmationData": mining::hash::display(&credit.settled.hash),
        "transactionInfoLink": "",
        "created": iso(credit.settled.time_ms),
    })
}
