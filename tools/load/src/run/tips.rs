//! New tips: from the provider's write to each miner's receipt.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{LOOK_PERIOD, Run, count, length};
use crate::figures::{Better, Figures, milliseconds};
use crate::histogram::Histogram;
use crate::provider::Tip;
use crate::tally::Tally;

/// What has not arrived after this is missing.
const TIP_MAX: Duration = Duration::from_secs(15);

impl Run<'_> {
    /// As many tips as the plan wants, with nothing else going on.
    pub(super) fn tips(&mut self) -> Result<()> {
        self.progress.begin("new tips", u64::try_from(self.plan.tips)?);
        let expected = self.connected();
        let mut rounds = Vec::new();
        let (before, mut delivered) = (self.usage()?, 0);
        for round in 0..self.plan.tips {
            let (times, tally) = self.one_tip(expected)?;
            delivered += times.len();
            rounds.push(times_of_round(&times, expected));
            self.put_reasons(&tally);
            self.progress.at(u64::try_from(round)? + 1);
        }
        let after = self.usage()?;
        self.figures.0.extend(Figures::median_of(&rounds).0);
        let expected = expected.saturating_mul(length(&rounds));
        self.figures.put_faults("new tips missing", expected.saturating_sub(delivered));
        self.put_cost("connection and tip", before, after, delivered);
        Ok(())
    }

    fn one_tip(&mut self, expected: u64) -> Result<(Histogram, Tally)> {
        let _ = self.crews.report()?;
        let start = count(&self.live.receipts);
        let (tip, written) = self.move_tip()?;
        while count(&self.live.receipts) - start < expected && written.elapsed() < TIP_MAX {
            sleep(LOOK_PERIOD);
        }
        sleep(self.plan.tip_interval.saturating_sub(written.elapsed()));
        let tally = self.crews.report()?;
        Ok((times_since(&tally, &[(tip, written)]), tally))
    }

    pub(super) fn move_tip(&mut self) -> Result<(Tip, Instant)> {
        self.provider.as_mut().context("no template provider, no new tip")?.move_tip()
    }
}

/// How long each receipt in `tally` took since the write of its tip.
pub(super) fn times_since(tally: &Tally, written: &[(Tip, Instant)]) -> Histogram {
    let mut times = Histogram::default();
    for (name, at) in &tally.receipts {
        if let Some((_, written)) = written.iter().find(|(tip, _)| tip.name() == *name) {
            times.record(at.saturating_duration_since(*written));
        }
    }
    times
}

fn times_of_round(times: &Histogram, expected: u64) -> Figures {
    let mut figures = Figures::default();
    // A round with somebody missing has no last one.
    let last = (times.len() >= expected).then_some(("last", 1_000));
    for (name, per_mille) in [("first", 0), ("p50", 500), ("p99", 990)].into_iter().chain(last) {
        if let Some(time) = times.quantile(per_mille) {
            let name = format!("new tip, {name}");
            figures.put(&name, "ms", milliseconds(time), Better::Lower);
        }
    }
    figures
}
