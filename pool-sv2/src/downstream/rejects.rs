//! Rejected shares of a channel, counted by reason, for the ledger; and how the channels are, for
//! who asks.
//!
//! They are counted, not kept: junk costs a number, whoever sends it and however fast.

use std::sync::Arc;

use super::connection::{Downstream, Event, OpenChannel};
use crate::roster::ChannelNow;
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

impl OpenChannel {
    /// Counts a rejected share, for the ledger and for who asks.
    pub(super) fn count_rejected(&mut self, reason: Reason) {
        self.rejects.count(reason);
        self.tally.reject(reason);
    }
}

impl Downstream {
    /// Tells the program how its channels are.
    pub(super) fn report_channels(&mut self) {
        let channels = self.channels.iter().map(|(id, open)| ChannelNow {
            id: *id,
            is_standard: open.channel.is_standard(),
            earner: Arc::clone(open.credited.earner()),
            difficulty: open.channel.target().difficulty(),
            tally: open.tally.clone(),
        });
        let channels = channels.collect();
        self.events.push_back(Event::Channels(channels));
    }

    /// Tells the program what was rejected since the last time.
    pub(super) fn report_rejects(&mut self) {
        for open in self.channels.values_mut() {
            let entries = open.rejects.take(open.credited.earner());
            self.events.extend(entries.map(Event::Entry));
        }
    }
}
