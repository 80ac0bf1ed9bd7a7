//! Rejected shares of a channel, counted by reason, for the ledger.
//!
//! They are counted, not kept: junk costs a number, whoever sends it and however fast.

use std::sync::Arc;

use super::connection::{Downstream, Event};
use crate::shares::{Earner, Entry, Reason};

/// Counts since the last report, by the reason's code.
#[derive(Debug, Default)]
pub(super) struct Rejects([u32; Reason::ALL.len()]);

impl Rejects {
    pub(super) fn count(&mut self, reason: Reason) {
        if let Some(count) = self.0.get_mut(usize::from(reason.code())) {
            *count = count.saturating_add(1);
        }
    }

    /// What was counted, as entries on `user`; counting starts anew.
    pub(super) fn take(&mut self, user: &Arc<Earner>) -> impl Iterator<Item = Entry> {
        let counted = Reason::ALL.into_iter().zip(std::mem::take(&mut self.0));
        counted.filter(|(_, count)| *count > 0).map(|(reason, count)| Entry::Rejects {
            earner: Arc::clone(user),
            reason,
            count: count.into(),
        })
    }
}

impl Downstream {
    /// Tells the program what was rejected since the last time.
    pub(super) fn report_rejects(&mut self) {
        for open in self.channels.values_mut() {
            let entries = open.rejects.take(open.credited.earner());
            self.events.extend(entries.map(Event::Entry));
        }
    }
}
