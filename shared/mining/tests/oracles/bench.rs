//! One channel on both sides, ours and SRI's, and the comparison of what they say.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::Transaction;
use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash;
use channels_sv2::server::share_accounting::{ShareValidationError, ShareValidationResult};
use mining::channel::Channel;
use mining::extranonce::ExtranoncePrefix;
use mining::job::Job;
use mining::room::Room;
use mining::share::{Outcome, Rejection, Submission};
use mining::target::Target;
use mining::template::ChainTip;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::samples::{Sample, TAG, tip};
use crate::script::{Again, JobChoice, Share, Size, Step};
use crate::sri_channel::{SriChannel, Verdict};

/// Where our bound of nTime and SRI's are one.
const ELAPSED: Duration = Duration::from_secs(200);
/// Jobs of the past tip that we can still name.
const STALE_JOBS_KEPT: usize = 4;
/// An id that SRI's factory does not reach here.
const UNKNOWN_JOB: u32 = 1_000_000;

/// A share as it can be sent again.
#[derive(Debug, Clone)]
struct Sent {
    job_id: u32,
    nonce: u32,
    ntime: u32,
    version: u32,
    extranonce: Vec<u8>,
}

impl Sent {
    fn submission(&self) -> Submission<'_> {
        let Self { job_id, nonce, ntime, version, .. } = *self;
        Submission { job_id, nonce, ntime, version, extranonce: &self.extranonce }
    }
}

/// A job as both sides have it.
struct Issued {
    job: Arc<Job>,
    target: Target,
}

/// One channel on both sides.
pub(crate) struct Bench {
    ours: Channel,
    sri: SriChannel,
    start: Instant,
    tip: Option<Arc<ChainTip>>,
    issued: HashMap<u32, Issued>,
    current: Vec<u32>,
    stale: Vec<u32>,
    future: Vec<u32>,
    sent: Vec<Sent>,
    /// Blocks that SRI credited although they miss their job's target.
    hard_blocks: HashSet<[u8; 32]>,
    newest: Option<Sample>,
    templates: u64,
    tips: u8,
}

impl Bench {
    pub(crate) fn new(prefix: ExtranoncePrefix) -> Self {
        let ours = Channel::new(prefix, Target::MAX, Room::new(usize::MAX));
        let sri = SriChannel::like(&ours);
        Self {
            ours,
            sri,
            #[expect(clippy::disallowed_methods, reason = "a test needs some first instant")]
            start: Instant::now(),
            tip: None,
            issued: HashMap::new(),
            current: Vec::new(),
            stale: Vec::new(),
            future: Vec::new(),
            sent: Vec::new(),
            hard_blocks: HashSet::new(),
            newest: None,
            templates: 0,
            tips: 0,
        }
    }

    fn next_template(&mut self, sample: &Sample) -> Sample {
        self.templates += 1;
        self.newest = Some(sample.clone());
        sample.clone().with_id(self.templates)
    }

    /// Another block, or the present one with another time; the latter is a new tip as well.
    fn next_tip(&mut self, nbits: u32, seconds: u32, same_block: bool) -> Arc<ChainTip> {
        let next = match self.tip.as_deref() {
            Some(present) if same_block => {
                tip(present.hash, present.header_timestamp + seconds, present.nbits)
            }
            _ => {
                self.tips += 1;
                tip([self.tips; 32], 1_700_000_000 + seconds, nbits)
            }
        };
        Arc::new(next)
    }

    fn turn_to(&mut self, named: &Sample, others: &[Sample], tip: Arc<ChainTip>) {
        self.future = others
            .iter()
            .map(|other| {
                let other = self.next_template(other);
                self.sri.future(&other)
            })
            .collect();
        let named = self.next_template(named);
        let id = self.sri.future(&named);
        self.sri.turn_to(&tip, named.template.id);
        self.tip = Some(tip);
        self.stale = std::mem::take(&mut self.current);
        self.issue(id, &named);
    }

    fn refresh(&mut self, sample: &Sample) {
        let sample = self.next_template(sample);
        let id = self.sri.refresh(&sample);
        self.issue(id, &sample);
    }

    fn issue(&mut self, id: u32, sample: &Sample) {
        let tip = Arc::clone(self.tip.as_ref().unwrap());
        let min_ntime = tip.header_timestamp;
        let template = Arc::new(sample.template.clone());
        let job = Arc::new(Job::new(tip, template, TAG, &sample.payouts).unwrap());
        self.ours.issue(id, &job, min_ntime, self.start);
        self.sri.assert_mines(&job, &self.ours);
        self.issued.insert(id, Issued { job, target: self.ours.target() });
        self.current.push(id);
    }

    fn job_id(&self, choice: JobChoice) -> u32 {
        let pick = |ids: &[u32], index: Index| match ids {
            [] => UNKNOWN_JOB,
            _ => *index.get(ids),
        };
        match choice {
            JobChoice::Newest => *self.current.last().unwrap(),
            JobChoice::Nth(at) => self.current[at],
            JobChoice::Current(index) => pick(&self.current, index),
            JobChoice::Stale(index) => pick(&self.stale, index),
            JobChoice::Future(index) => pick(&self.future, index),
            JobChoice::Unknown => UNKNOWN_JOB,
        }
    }

    fn sent(&mut self, share: &Share) -> Sent {
        if let Some((index, how)) = share.again.filter(|_| !self.sent.is_empty()) {
            let sent = index.get(&self.sent).clone();
            let newest = self.job_id(JobChoice::Newest);
            return if how == Again::AsItWas { sent } else { Sent { job_id: newest, ..sent } };
        }
        let job_id = self.job_id(share.job);
        let rollable = self.ours.rollable_bytes();
        let size = match share.size {
            _ if rollable == 0 => 0,
            Size::Right => rollable,
            Size::OneLess => rollable - 1,
            Size::OneMore => rollable + 1,
        };
        let base = i64::from(self.tip.as_ref().unwrap().header_timestamp);
        let version = self.issued.get(&job_id).map_or(0, |issued| issued.job.template.version);
        let sent = Sent {
            job_id,
            nonce: share.nonce,
            ntime: (base + share.ntime).try_into().unwrap(),
            version: version ^ share.flipped,
            extranonce: share.extranonce[..size].to_vec(),
        };
        self.sent.push(sent.clone());
        sent
    }

    /// Submits to both; gives what both said, in a word.
    fn submit(&mut self, share: &Share) -> Result<&'static str, TestCaseError> {
        let sent = self.sent(share);
        let sri = self.sri.check(&sent.submission());
        let ours = self.ours.check(&sent.submission(), self.start + ELAPSED);
        self.compare(&sent, &ours, sri)
    }

    /// Submits to both, to ours `elapsed` after the job; true for each that accepts.
    pub(crate) fn both_take(&mut self, share: &Share, elapsed: Duration) -> (bool, bool) {
        let sent = self.sent(share);
        let sri = self.sri.check(&sent.submission());
        let ours = self.ours.check(&sent.submission(), self.start + elapsed);
        (ours.verdict.is_ok(), sri.is_ok())
    }

    fn compare(
        &mut self,
        sent: &Sent,
        ours: &Outcome,
        sri: Verdict,
    ) -> Result<&'static str, TestCaseError> {
        if let Some(solution) = &ours.solution {
            let tip = &self.issued[&sent.job_id].job.tip;
            prop_assert!(tip.target.is_met_by(&solution.hash), "no block");
        }
        match sri {
            Ok(ShareValidationResult::Valid(hash)) => {
                self.compare_credit(sent, ours, hash.to_byte_array())?;
                prop_assert_eq!(&ours.solution, &None);
                Ok("valid")
            }
            Ok(ShareValidationResult::BlockFound(hash, template_id, coinbase)) => {
                let hash = hash.to_byte_array();
                self.compare_solution(sent, ours, (hash, template_id, coinbase))?;
                if self.issued[&sent.job_id].target.is_met_by(&hash) {
                    self.compare_credit(sent, ours, hash)?;
                    return Ok("block");
                }
                prop_assert_eq!(ours.verdict, Err(Rejection::DifficultyTooLow));
                self.hard_blocks.insert(hash);
                Ok("hard block")
            }
            Err(error) => self.compare_rejection(sent, ours, &error),
        }
    }

    fn compare_credit(
        &self,
        sent: &Sent,
        ours: &Outcome,
        hash: [u8; 32],
    ) -> Result<(), TestCaseError> {
        let share = ours.verdict.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(share.hash, hash);
        prop_assert_eq!(share.work, self.issued[&sent.job_id].target.work());
        Ok(())
    }

    fn compare_rejection(
        &mut self,
        sent: &Sent,
        ours: &Outcome,
        error: &ShareValidationError,
    ) -> Result<&'static str, TestCaseError> {
        let (mut expected, word) = self.expected(sent, error);
        let block = ours.solution.as_ref().map(|solution| solution.hash);
        if let (Rejection::Duplicate, Some(hash)) = (expected, block) {
            // SRI looks whether it knows the block before it looks at the target.
            if !self.issued[&sent.job_id].target.is_met_by(&hash) {
                expected = Rejection::DifficultyTooLow;
            } else if self.hard_blocks.remove(&hash) {
                // Credited by SRI long ago; by us only now, under a job with an easier target.
                self.compare_credit(sent, ours, hash)?;
                return Ok("late credit");
            }
        }
        prop_assert_eq!(ours.verdict, Err(expected), "{:?}", error);
        prop_assert!(block.is_none() || word != "low", "a block that SRI overlooked");
        Ok(if block.is_some() { "rejected block" } else { word })
    }

    /// What we say where SRI says `error`.
    fn expected(&self, sent: &Sent, error: &ShareValidationError) -> (Rejection, &'static str) {
        use ShareValidationError as Sri;
        if sent.extranonce.len() != self.ours.rollable_bytes() {
            let word =
                if matches!(error, Sri::BadExtranonceSize(_)) { "size" } else { "size first" };
            return (Rejection::ExtranonceSize, word);
        }
        match error {
            Sri::Stale(_) if self.is_forgotten(sent.job_id) => (Rejection::UnknownJob, "forgotten"),
            Sri::Stale(_) => (Rejection::Stale, "stale"),
            Sri::InvalidJobId(_) => (Rejection::UnknownJob, "unknown"),
            Sri::DoesNotMeetTarget(_) => (Rejection::DifficultyTooLow, "low"),
            Sri::DuplicateShare(_) => (Rejection::Duplicate, "duplicate"),
            Sri::Invalid("invalid-share") => (Rejection::Ntime, "ntime"),
            Sri::Invalid("invalid-non-rollable-version-bit") => (Rejection::VersionBits, "version"),
            other => panic!("SRI said {other:?}"),
        }
    }

    fn is_forgotten(&self, job_id: u32) -> bool {
        !self.stale.iter().rev().take(STALE_JOBS_KEPT).any(|id| *id == job_id)
    }

    fn compare_solution(
        &self,
        sent: &Sent,
        ours: &Outcome,
        (hash, template_id, coinbase): ([u8; 32], Option<u64>, Vec<u8>),
    ) -> Result<(), TestCaseError> {
        let solution = ours.solution.as_ref().ok_or_else(|| TestCaseError::fail("no solution"))?;
        prop_assert_eq!(solution.hash, hash);
        prop_assert_eq!(Some(solution.template_id), template_id);
        prop_assert_eq!(solution.version, sent.version);
        prop_assert_eq!(solution.ntime, sent.ntime);
        prop_assert_eq!(solution.nonce, sent.nonce);
        let whole: Transaction = deserialize(&solution.coinbase).unwrap();
        let theirs: Transaction = deserialize(&coinbase).unwrap();
        prop_assert_eq!(whole.compute_txid(), theirs.compute_txid());
        if self.issued[&sent.job_id].job.coinbase.has_witness {
            prop_assert_eq!(solution.coinbase.as_ref(), coinbase);
        } else {
            prop_assert!(whole.input[0].witness.is_empty());
        }
        Ok(())
    }

    /// Plays the step; gives what became of it, if it was a share.
    pub(crate) fn play(&mut self, step: &Step) -> Result<Option<&'static str>, TestCaseError> {
        match step {
            Step::Tip { named, others, nbits, seconds, same_block } => {
                let tip = self.next_tip(*nbits, *seconds, *same_block);
                self.turn_to(named, others, tip);
            }
            Step::Refresh(sample) => self.refresh(sample),
            Step::Repeat => self.refresh(&self.newest.clone().unwrap()),
            Step::RepeatTip { seconds } => {
                let tip = self.next_tip(0, *seconds, true);
                self.turn_to(&self.newest.clone().unwrap(), &[], tip);
            }
            Step::SetTarget(target) => {
                self.ours.set_target(*target);
                self.sri.set_target(*target);
            }
            Step::Share(share) => return self.submit(share).map(Some),
        }
        Ok(None)
    }
}
