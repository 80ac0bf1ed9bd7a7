//! Work whose blocks pay miners: made when the first channel of a payee asks for it, and shared by
//! all channels of that payee.
//!
//! The lock is held while a job is looked up, or made, at a new template; no share waits for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mining::job::Job;
use mining::memo::Memo;
use tracing::error;

use crate::payout::Payout;
use crate::payout::identity::Payee;
use crate::payout::promises::Sharing;
use crate::work::Work;
use service::advice;

/// Payees whose work is kept for others of their channels: more than there may be connections. It
/// is made anew for each channel of further ones.
const PAYEES_MAX: usize = 1 << 16;

type ByPayee<T> = Mutex<BTreeMap<Payee, Arc<T>>>;

/// The work of all payees on one template.
#[derive(Default)]
pub(crate) struct Payees {
    /// None where no block pays a miner.
    payout: Option<Arc<Payout>>,
    /// What all who share blocks had worked when the template came; none where nobody shares.
    sharing: Option<Sharing>,
    /// Shared with the same template's work before and after it, if the claims are the same.
    jobs: Arc<ByPayee<Job>>,
    works: ByPayee<Work>,
}

impl Payees {
    /// `earlier` is the work of the same template, sent before.
    pub(crate) fn new(
        payout: Arc<Payout>,
        sharing: Option<Sharing>,
        earlier: Option<&Self>,
    ) -> Self {
        let jobs = earlier.map_or_else(Arc::default, |it| it.jobs_for(sharing.as_ref()));
        Self { payout: Some(payout), sharing, jobs, works: Mutex::default() }
    }

    /// The jobs that are still right by the claims of `sharing`.
    fn jobs_for(&self, sharing: Option<&Sharing>) -> Arc<ByPayee<Job>> {
        let [before, now] = [self.sharing.as_ref(), sharing].map(|it| it.map(|it| &it.claims));
        let is_same = match (before, now) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (before, now) => before.is_none() && now.is_none(),
        };
        if is_same {
            return Arc::clone(&self.jobs);
        }
        let jobs = lock(&self.jobs);
        let others = jobs.iter().filter(|(payee, _)| !matches!(payee, Payee::Shared(_)));
        let others = others.map(|(payee, job)| (payee.clone(), Arc::clone(job)));
        Arc::new(Mutex::new(others.collect()))
    }

    /// The work of one payee, at the time of `base`.
    pub(crate) fn work(&self, base: &Work, payee: &Payee) -> Option<Arc<Work>> {
        let payout = self.payout.as_ref()?;
        let mut works = lock(&self.works);
        if let Some(known) = works.get(payee) {
            return Some(Arc::clone(known));
        }
        let job = self.job(payout, base, payee)?;
        let made = Work::new(job, base.tip_epoch, base.ntime, base.made_at);
        let made = made.inspect_err(|error| {
            error!(code = advice::TEMPLATE_UNUSABLE, %error, "no work for a miner");
        });
        let work = Arc::new(made.ok()?);
        if works.len() < PAYEES_MAX {
            works.insert(payee.clone(), Arc::clone(&work));
        }
        Some(work)
    }

    fn job(&self, payout: &Payout, base: &Work, payee: &Payee) -> Option<Arc<Job>> {
        let mut jobs = lock(&self.jobs);
        if let Some(known) = jobs.get(payee) {
            return Some(Arc::clone(known));
        }
        let (tip, template) = (Arc::clone(&base.job.tip), Arc::clone(&base.job.template));
        let value = template.value_remaining;
        let (outputs, memo) = match (payee, &self.sharing) {
            (Payee::Shared(room), Some(sharing)) => payout.shared(*room, value, sharing),
            _ => (payout.outputs(payee, value), Memo::default()),
        };
        let made = Job::new(tip, template, payout.tag(), &outputs);
        let made = made.inspect_err(|error| {
            error!(code = advice::TEMPLATE_UNUSABLE, %error, "no job for a miner");
        });
        let job = Arc::new(made.ok()?.with_memo(memo));
        if jobs.len() < PAYEES_MAX {
            jobs.insert(payee.clone(), Arc::clone(&job));
        }
        Some(job)
    }
}

/// A holder that panicked has changed nothing half.
fn lock<T>(by_payee: &ByPayee<T>) -> MutexGuard<'_, BTreeMap<Payee, Arc<T>>> {
    by_payee.lock().unwrap_or_else(PoisonError::into_inner)
}
