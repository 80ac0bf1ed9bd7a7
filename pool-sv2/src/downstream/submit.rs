//! Shares in, verdicts out (spec 5.3.11 to 5.3.14): this is the file that answers a submit.
//!
//! An error is answered at once; an accepted share leaves as an event and is acknowledged only when
//! the program says that it is durable. A block leaves before either.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use mining::share::{Outcome, Rejection, Submission};
use mining::target::Hashes;
use tracing::{debug, info};
use wire::session::PeerError;
use wire::sv2::mining::{
    ERROR_BAD_EXTRANONCE_SIZE, ERROR_DIFFICULTY_TOO_LOW, ERROR_DUPLICATE_SHARE,
    ERROR_INVALID_CHANNEL_ID, ERROR_INVALID_JOB_ID, ERROR_INVALID_NON_ROLLABLE_VERSION_BIT,
    ERROR_INVALID_NTIME, ERROR_INVALID_SHARE, ERROR_INVALID_USER_IDENTITY, ERROR_STALE_SHARE,
    SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess,
};

use super::connection::{Downstream, Event, OpenChannel, Unacknowledged};
use super::extensions::BadWorker;
use super::limits::Limit;
use crate::shares::{BlockFound, Reason, ShareRecord};

/// Accepted shares that may wait to become durable on one connection. The ledger commits several
/// times a second: so many mean that it has stopped, and what it cannot keep is not accepted.
const UNACKNOWLEDGED_MAX: usize = 1 << 14;
/// `SubmitShares.Error`: the ledger cannot be written.
const ERROR_SHARE_NOT_RECORDED: &str = "share-not-recorded";

impl Downstream {
    /// A share of a standard channel.
    pub(super) fn submit_standard(
        &mut self,
        now: Instant,
        share: &SubmitSharesStandard,
    ) -> Result<(), PeerError> {
        let submission = Submission {
            job_id: share.job_id,
            nonce: share.nonce,
            ntime: share.ntime,
            version: share.version,
            extranonce: &[],
        };
        self.submit(now, share.channel_id, share.sequence_number, &submission, Ok(""))
    }

    /// A share of an extended channel; `worker` is who its appended fields name.
    pub(super) fn submit_extended(
        &mut self,
        now: Instant,
        share: &SubmitSharesExtended,
        worker: Result<&str, BadWorker>,
    ) -> Result<(), PeerError> {
        let submission = Submission {
            job_id: share.job_id,
            nonce: share.nonce,
            ntime: share.ntime,
            version: share.version,
            extranonce: share.extranonce.as_slice(),
        };
        self.submit(now, share.channel_id, share.sequence_number, &submission, worker)
    }

    /// Judges a share; `worker` is credited beside the channel's user, `""` for none.
    fn submit(
        &mut self,
        now: Instant,
        channel_id: u32,
        sequence_number: u32,
        submission: &Submission<'_>,
        worker: Result<&str, BadWorker>,
    ) -> Result<(), PeerError> {
        let Some(open) = self.channels.get_mut(&channel_id) else {
            return self.reject(channel_id, sequence_number, ERROR_INVALID_CHANNEL_ID);
        };
        let Outcome { verdict, solution } = open.channel.check(submission, now);
        if let Some(solution) = solution {
            announce(channel_id, open, &solution);
            let (finder, block) = (Arc::clone(open.credited.earner()), BlockFound::of(&solution));
            let (block, memo) = (Box::new(block), solution.memo.clone());
            self.events.push_back(Event::Block(solution));
            self.events.push_back(Event::Found { finder, block, memo });
        }
        let share = match verdict {
            Ok(share) => share,
            Err(rejection) => {
                debug!(channel = channel_id, user = %open.credited.earner(), reason = %rejection,
                    "share rejected");
                open.count_rejected(rejection.into());
                let percent_max = self.settings.limits.invalid_shares_percent_max;
                if rejection == Rejection::TooManyShares {
                    self.settings.counts.met(Limit::RememberedShares);
                }
                let is_hopeless = open.conduct.count_rejected(rejection, percent_max);
                self.reject(channel_id, sequence_number, error_code(rejection))?;
                return match is_hopeless {
                    true => self.close_for_conduct(now, channel_id),
                    false => Ok(()),
                };
            }
        };
        let Ok(worker) = worker else {
            debug!(channel = channel_id, user = %open.credited.earner(),
                "share rejected: the worker that it names cannot be read");
            open.count_rejected(Reason::BadWorker);
            return self.reject(channel_id, sequence_number, ERROR_INVALID_USER_IDENTITY);
        };
        if self.unacknowledged.len() >= UNACKNOWLEDGED_MAX {
            open.count_rejected(Reason::NotRecorded);
            return self.reject(channel_id, sequence_number, ERROR_SHARE_NOT_RECORDED);
        }
        let earner = open.credited.of(worker);
        debug!(channel = channel_id, user = %earner, difficulty = share.work.difficulty_floor(),
            "share accepted");
        open.conduct.count_valid();
        open.tally.accept(now, share.work, &share.hash);
        // Shares of earlier, easier jobs would look like speed.
        let counts = open.vardiff.target().is_met_by(&share.hash);
        let retarget = if counts { open.vardiff.count_share(now) } else { None };
        self.events.push_back(Event::Share(ShareRecord {
            earner,
            work: share.work,
            hash: share.hash,
        }));
        let work = share.work;
        self.unacknowledged.push_back(Unacknowledged { channel_id, sequence_number, work });
        retarget.map_or(Ok(()), |target| self.retarget(now, channel_id, target))
    }

    fn reject(
        &mut self,
        channel_id: u32,
        sequence_number: u32,
        code: &'static str,
    ) -> Result<(), PeerError> {
        self.link.send(&SubmitSharesError { channel_id, sequence_number, error_code: code.into() })
    }

    /// The `count` oldest shares are durable: one SubmitShares.Success for each channel among them.
    pub(super) fn acknowledge(&mut self, count: usize) -> Result<(), PeerError> {
        let mut answers: BTreeMap<u32, (u32, u32, Hashes)> = BTreeMap::new();
        for share in self.unacknowledged.drain(..count.min(self.unacknowledged.len())) {
            let (last, accepted, work) = answers.entry(share.channel_id).or_default();
            *last = share.sequence_number;
            *accepted += 1;
            *work = work.plus(share.work);
        }
        for (channel_id, (last, accepted, work)) in answers {
            // A channel that was closed meanwhile hears no more (spec 5.3.9).
            if !self.channels.contains_key(&channel_id) {
                continue;
            }
            self.link.send(&SubmitSharesSuccess {
                channel_id,
                last_sequence_number: last,
                new_submits_accepted_count: accepted,
                new_shares_sum: work.difficulty_floor(),
            })?;
        }
        Ok(())
    }
}

fn announce(channel_id: u32, open: &OpenChannel, solution: &mining::share::Solution) {
    let kind = if open.channel.is_standard() { "standard" } else { "extended" };
    let hash = mining::hash::display(&solution.hash);
    info!(hash, height = solution.height, user = %open.credited.earner(),
        kind, channel = channel_id, template = solution.template_id, "block found");
}

/// The strings that miners know (spec 5.3.14 leaves them free).
fn error_code(rejection: Rejection) -> &'static str {
    match rejection {
        Rejection::UnknownJob => ERROR_INVALID_JOB_ID,
        Rejection::Stale => ERROR_STALE_SHARE,
        Rejection::ExtranonceSize => ERROR_BAD_EXTRANONCE_SIZE,
        Rejection::Ntime => ERROR_INVALID_NTIME,
        Rejection::VersionBits => ERROR_INVALID_NON_ROLLABLE_VERSION_BIT,
        Rejection::DifficultyTooLow => ERROR_DIFFICULTY_TOO_LOW,
        Rejection::Duplicate => ERROR_DUPLICATE_SHARE,
        Rejection::TooManyShares => ERROR_INVALID_SHARE,
    }
}
