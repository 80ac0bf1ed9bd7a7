//! What is mined now, kept ready for those who show it: the newest work, and since when.
//!
//! It only looks; jobs and miners know nothing of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mining::coinbase::EXTRANONCE_BYTES;
use mining::job::Job;
use service::clock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::accounting::api::template::TemplateNow;
use crate::payout::identity::{Identities, Mode, Payee};
use crate::tip_reach::TipReach;
use crate::work::Work;

/// The newest template. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(super) struct Mined {
    newest: Arc<Mutex<Option<TemplateNow>>>,
    reach: TipReach,
}

impl Mined {
    /// Nothing yet.
    pub(super) fn new(reach: TipReach) -> Self {
        Self { newest: Arc::default(), reach }
    }

    /// None while there is no work.
    pub(super) fn now(&self) -> Option<TemplateNow> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reached = self.reach.newest();
        newest.map(|newest| TemplateNow {
            tip_connections: reached.connections,
            tip_last: reached.last,
            ..newest
        })
    }

    /// Keeps it up to the work until `shutdown`; it is shown as the blocks of `payee` pay.
    pub(super) async fn follow(
        self,
        mut work: watch::Receiver<Option<Arc<Work>>>,
        payee: Payee,
        shutdown: CancellationToken,
    ) {
        let mut known: Option<Arc<Job>> = None;
        loop {
            let newest = work.borrow_and_update().clone();
            let newest = newest.and_then(|work| work.of(&payee));
            // A job that is sent again is no newer one.
            let is_known = match (&known, &newest) {
                (Some(known), Some(newest)) => Arc::ptr_eq(known, &newest.job),
                (None, None) => true,
                _ => false,
            };
            if !is_known {
                self.show(newest.as_deref());
                known = newest.map(|work| Arc::clone(&work.job));
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = work.changed() => if changed.is_err() { return },
            }
        }
    }

    fn show(&self, work: Option<&Work>) {
        let now_ms = clock::unix_now_milliseconds();
        let mut shown = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let before = shown.take();
        *shown = work.map(|work| {
            let (tip, template) = (&work.job.tip, &work.job.template);
            let same_tip = before.filter(|before| before.prev_hash == tip.hash);
            TemplateNow {
                height: template.height(),
                prev_hash: tip.hash,
                nbits: tip.nbits,
                difficulty: tip.target.difficulty(),
                id: template.id,
                branches: template.merkle_path.len(),
                since_ms: now_ms,
                tip_since_ms: same_tip.map_or(now_ms, |before| before.tip_since_ms),
                tip_connections: 0,
                tip_last: Duration::ZERO,
                coinbase: coinbase(&work.job),
            }
        });
    }
}

/// Stripped, with an extranonce of zeros.
fn coinbase(job: &Job) -> Bytes {
    let mut whole = BytesMut::from(job.coinbase.prefix.as_ref());
    whole.extend_from_slice(&[0; EXTRANONCE_BYTES]);
    whole.extend_from_slice(&job.coinbase.suffix);
    whole.freeze()
}

/// Whose blocks are shown for a port: where they pay who finds them, nobody's in particular, with
/// an empty script in the place of his.
pub(super) fn shown_payee(port: &Identities) -> Payee {
    match port.mode {
        Mode::Pool | Mode::Fpps => Payee::Pool,
        Mode::Solo => Payee::Finder { script: Default::default(), donated_percent: 0 },
        Mode::Pplns => Payee::Shared(port.room),
    }
}
