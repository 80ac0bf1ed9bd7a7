//! Tells the ledger what work is worth, where shares are paid for at a fixed rate (FPPS).
//!
//! A rate counts for the shares that stand behind it in the log. One of another difficulty is told
//! at once; one that differs by its fees alone waits, for templates come often.

use std::sync::Arc;
use std::time::Duration;

use service::advice;
use service::clock;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::payout::Payout;
use crate::payout::fixed::Rate;
use crate::payout::settlement::{PAYOUT_VERSION, PayoutEntry};
use crate::shares::{Entry, Gathered, PayoutRecord, ShareSender};
use crate::work::Work;

/// How often a rate is told whose fees alone are others.
const EVERY: Duration = Duration::from_secs(30);

/// Who tells it.
pub(super) struct Rates {
    pub(super) payout: Arc<Payout>,
    pub(super) work: watch::Receiver<Option<Arc<Work>>>,
    pub(super) shares: ShareSender,
}

impl Rates {
    /// Tells it until `shutdown`; `rates` is none where no port pays so.
    pub(super) async fn run(rates: Option<Self>, shutdown: CancellationToken) {
        let Some(mut this) = rates else {
            return;
        };
        let mut told: Option<(Rate, Instant)> = None;
        loop {
            let rate = this.present();
            let due = rate.and_then(|rate| match told {
                Some((before, _)) if before == rate => None,
                Some((before, at)) if before.work == rate.work => Some(at + EVERY),
                _ => Some(Instant::now()),
            });
            if let Some(rate) = rate.filter(|_| due.is_some_and(|due| due <= Instant::now())) {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = this.tell(rate) => {}
                }
                told = Some((rate, Instant::now()));
                continue;
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = this.work.changed() => if changed.is_err() {
                    return;
                },
                () = clock::until(due) => {}
            }
        }
    }

    fn present(&mut self) -> Option<Rate> {
        let work = self.work.borrow_and_update().clone()?;
        Some(self.payout.rate(&work.job.tip, &work.job.template))
    }

    async fn tell(&self, rate: Rate) {
        let Rate { value, work, fee_basis_points } = rate;
        info!(value, %work, fee_basis_points, "rate told: so much is credited for so much work");
        let record = serde_json::to_vec(&PayoutEntry::Rate(rate)).ok();
        let record = record.and_then(|bytes| PayoutRecord::new(PAYOUT_VERSION, bytes));
        let entries: Vec<_> = record.map(Entry::Payout).into_iter().collect();
        let mut gathered = Gathered { entries, ..Gathered::default() };
        if self.shares.send(&mut gathered).await.is_none() {
            error!(code = advice::LEDGER_NOT_WRITTEN, "rate not told: the ledger is closed");
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mining::coinbase::Output;
    use mining::job::Job;
    use mining::target::Target;
    use mining::template::{ChainTip, Template};

    use super::*;
    use crate::payout::identity::Mode;
    use crate::payout::{NetworkName, PayoutConfig};
    use crate::shares;

    fn work(nbits: u32, value_remaining: u64) -> Option<Arc<Work>> {
        let target = Target::from_nbits(nbits).unwrap();
        let tip = ChainTip { hash: [1; 32], header_timestamp: 10, nbits, target };
        let template = Template {
            id: 1,
            version: 0x2000_0000,
            coinbase_version: 2,
            coinbase_prefix: Bytes::from_static(&[0x51]),
            coinbase_sequence: u32::MAX,
            value_remaining,
            outputs_count: 0,
            outputs: Bytes::new(),
            coinbase_locktime: 0,
            merkle_path: Vec::new(),
        };
        let output = Output { value: value_remaining, script: Bytes::from_static(&[0x51]) };
        let job = Job::new(Arc::new(tip), Arc::new(template), b"", &[output]).unwrap();
        Some(Arc::new(Work::new(Arc::new(job), 0, 10, clock::now()).unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn another_difficulty_is_told_at_once_and_other_fees_after_a_while() {
        let config = PayoutConfig {
            script: Some(format!("0014{}", "11".repeat(20))),
            mode: Mode::Fpps,
            ..PayoutConfig::on(NetworkName::Regtest)
        };
        let payout = Arc::new(Payout::from_config(&config, [0; 4]).unwrap());
        let (shares, mut queue) = shares::queue();
        let works = watch::Sender::new(work(0x1d00_ffff, 5_000_000_100));
        let rates = Rates { payout, work: works.subscribe(), shares };
        let telling = tokio::spawn(Rates::run(Some(rates), CancellationToken::new()));
        let start = Instant::now();
        let mut told = async || loop {
            if let Some(batch) = queue.take() {
                let [Entry::Payout(record)] = &batch.gathered.entries[..] else {
                    panic!("{batch:?}")
                };
                let entry = serde_json::from_slice(record.bytes()).unwrap();
                let PayoutEntry::Rate(rate) = entry else { panic!("{entry:?}") };
                return (rate.value, (Instant::now() - start).as_secs());
            }
            tokio::time::advance(Duration::from_secs(1)).await;
            tokio::task::yield_now().await;
        };
        assert_eq!(told().await.0, 5_000_000_100);
        works.send_replace(work(0x1d00_ffff, 5_000_000_200));
        let (value, at) = told().await;
        assert!(value == 5_000_000_200 && (29..=32).contains(&at), "after {at} s");
        works.send_replace(work(0x1d00_fffe, 5_000_000_300));
        let (value, later) = told().await;
        assert!(value == 5_000_000_300 && later - at < 3, "after {} s", later - at);
        telling.abort();
    }
}
