//! Says in /metrics since when the present tip and the present template are mined: an alarm that no
//! work comes any more is made of these. It must not hold up the work.

use std::sync::Arc;

use mining::template::ChainTip;
use service::clock;
use service::health::Health;
use service::metrics::{Gauge, Metrics};
use tokio::sync::watch;

use crate::work::Work;

/// When something last was new, in seconds since 1970.
pub(super) struct WorkTimes {
    tip: Gauge,
    template: Gauge,
    /// Tip and template of the work before. The work itself is not held: as long as it lives, what
    /// its blocks would pay counts as promised.
    before: Option<(Arc<ChainTip>, u64)>,
}

impl WorkTimes {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let tip = "When the present tip was first mined on, seconds since 1970; 0 for never";
        let template = "When the present template was first mined, seconds since 1970; 0 for never";
        Self {
            tip: metrics.gauge("tip_timestamp_seconds", tip),
            template: metrics.gauge("template_timestamp_seconds", template),
            before: None,
        }
    }

    /// Lets /health say how old tip and template are.
    pub(super) fn shown_in(self, health: &Health) -> Self {
        for (name, since) in
            [("tip_age_seconds", &self.tip), ("template_age_seconds", &self.template)]
        {
            let since = since.clone();
            health.shows(name, move || age(since.get(), clock::unix_now_seconds().into()));
        }
        self
    }

    /// Follows the work until there is no one left to make any.
    pub(super) async fn follow(mut self, mut work: watch::Receiver<Option<Arc<Work>>>) {
        while work.changed().await.is_ok() {
            let present = work.borrow_and_update().clone();
            if let Some(present) = present {
                self.note(&present);
            }
        }
    }

    fn note(&mut self, work: &Work) {
        let (tip, template) = (&work.job.tip, work.job.template.id);
        let (before, now) = (self.before.as_ref(), clock::unix_now_seconds().into());
        if before.is_none_or(|(known, _)| !Arc::ptr_eq(known, tip)) {
            self.tip.set(now);
        }
        // The same job goes out again and again, so that miners do not take the pool for dead.
        if before.is_none_or(|(_, known)| *known != template) {
            self.template.set(now);
        }
        self.before = Some((Arc::clone(tip), template));
    }
}

/// Of what began at `since`; none of what never did. All in seconds since 1970.
fn age(since: i64, now: i64) -> Option<i64> {
    (since > 0).then(|| now.saturating_sub(since).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_never_begun_has_no_age_and_nothing_is_younger_than_now() {
        assert_eq!((age(0, 50), age(40, 50), age(60, 50)), (None, Some(10), Some(0)));
    }
}
