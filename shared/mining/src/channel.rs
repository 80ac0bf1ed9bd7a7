//! A mining channel: its extranonce, its target, the jobs that it was given and the shares that it
//! has sent.
//!
//! It judges shares; it sends nothing, and knows neither connection nor protocol.

mod seen;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use self::seen::SeenShares;
use crate::extranonce::ExtranoncePrefix;
use crate::job::Job;
use crate::room::Room;
use crate::share::{AcceptedShare, Outcome, Rejection, Solution, Submission};
use crate::target::{Hashes, Target};
use crate::version::{BIP323_MASK, is_rolled_within};

/// Jobs for the present tip that shares may name; older ones are forgotten. At a job each 30 s this
/// is a quarter of an hour.
const JOBS_MAX: usize = 32;
/// Jobs of the tip before: their shares are stale, but one of them may be a block.
const STALE_JOBS_MAX: usize = 4;
/// How far nTime may run ahead of the time that has passed since the job was issued, in seconds: a
/// bit less than the two hours that nodes allow, for their clocks differ.
const NTIME_AHEAD_SECONDS_MAX: u32 = 7_000;

/// A standard or extended channel.
#[derive(Debug)]
pub struct Channel {
    prefix: ExtranoncePrefix,
    prefix_bytes: Vec<u8>,
    target: Target,
    /// Expected hashes for a share at `target`.
    work: Hashes,
    /// Newest last; all on one tip.
    jobs: VecDeque<IssuedJob>,
    stale: VecDeque<IssuedJob>,
    seen: SeenShares,
}

/// A job as one channel got it.
struct IssuedJob {
    id: u32,
    job: Arc<Job>,
    /// The target that was in force when it was issued; it never changes (spec 5.3.21).
    target: Target,
    work: Hashes,
    min_ntime: u32,
    issued_at: Instant,
    /// Fixed on a standard channel.
    merkle_root: Option<[u8; 32]>,
}

impl std::fmt::Debug for IssuedJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "job {} at {:?}", self.id, self.target)
    }
}

impl Channel {
    /// Opens a channel with the extranonce that it keeps for life. Each share that it remembers
    /// takes a place in `room`; without one, shares are refused until the tip has moved.
    pub fn new(prefix: ExtranoncePrefix, target: Target, room: Room) -> Self {
        Self {
            prefix_bytes: prefix.to_bytes(),
            prefix,
            target,
            work: target.work(),
            jobs: VecDeque::new(),
            stale: VecDeque::new(),
            seen: SeenShares::new(room),
        }
    }

    /// The fixed first part of the extranonce; the whole of it on a standard channel.
    pub fn extranonce_prefix(&self) -> &[u8] {
        &self.prefix_bytes
    }

    /// Extranonce bytes that the miner rolls; 0 on a standard channel.
    pub fn rollable_bytes(&self) -> usize {
        self.prefix.rollable_bytes()
    }

    /// True if the merkle root is fixed for each job.
    pub fn is_standard(&self) -> bool {
        self.rollable_bytes() == 0
    }

    /// The target of jobs to come.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Sets the target of jobs to come; those issued keep theirs.
    pub fn set_target(&mut self, target: Target) {
        self.target = target;
        self.work = target.work();
    }

    /// Gives the channel a job under an id that no valid job of it has. A job for another tip makes
    /// all earlier ones stale.
    pub fn issue(&mut self, id: u32, job: &Arc<Job>, min_ntime: u32, now: Instant) {
        if self.jobs.back().is_some_and(|last| last.job.tip != job.tip) {
            // They change places, so that no tip allocates.
            std::mem::swap(&mut self.stale, &mut self.jobs);
            self.jobs.clear();
        }
        self.seen.turn_to(&job.tip.hash);
        let surplus = self.stale.len().saturating_sub(STALE_JOBS_MAX);
        self.stale.drain(..surplus);
        if self.jobs.len() >= JOBS_MAX {
            self.jobs.pop_front();
        }
        let fixed = self.is_standard().then(|| job.merkle_root([&self.prefix_bytes, &[]]));
        self.jobs.push_back(IssuedJob {
            id,
            job: Arc::clone(job),
            target: self.target,
            work: self.work,
            min_ntime,
            issued_at: now,
            merkle_root: fixed,
        });
    }

    /// The smallest nTime with which `job` is new work for the miner, if it was the last one to be
    /// issued: what it was issued with before has been searched from its start.
    pub fn fresh_ntime(&self, job: &Arc<Job>) -> Option<u32> {
        let last = self.jobs.back().filter(|issued| Arc::ptr_eq(&issued.job, job));
        last.map(|issued| issued.min_ntime.saturating_add(1))
    }

    /// The fixed merkle root of the newest job, on a standard channel.
    pub fn merkle_root(&self) -> Option<[u8; 32]> {
        self.jobs.back().and_then(|issued| issued.merkle_root)
    }

    /// Judges a share. The block check comes before everything that could reject it.
    pub fn check(&mut self, submission: &Submission<'_>, now: Instant) -> Outcome {
        if submission.extranonce.len() != self.rollable_bytes() {
            return Outcome::unreadable(Rejection::ExtranonceSize);
        }
        let same_id = |issued: &&IssuedJob| issued.id == submission.job_id;
        let current = self.jobs.iter().rev().find(same_id);
        let Some(issued) = current.or_else(|| self.stale.iter().find(same_id)) else {
            return Outcome::unreadable(Rejection::UnknownJob);
        };
        let hash = self.hash(issued, submission);
        let is_block = issued.job.tip.target.is_met_by(&hash);
        let solution = is_block.then(|| self.solution(issued, submission, hash));
        let verdict = match current {
            None => Err(Rejection::Stale),
            Some(issued) => issued.judge(submission, &hash, now),
        };
        let verdict = verdict.and_then(|share| self.remember(share));
        Outcome { verdict, solution }
    }

    fn hash(&self, issued: &IssuedJob, submission: &Submission<'_>) -> [u8; 32] {
        let rolled = || issued.job.merkle_root([&self.prefix_bytes, submission.extranonce]);
        let merkle_root = issued.merkle_root.unwrap_or_else(rolled);
        let Submission { version, ntime, nonce, .. } = *submission;
        issued.job.header(merkle_root, version, ntime, nonce).hash()
    }

    fn solution(
        &self,
        issued: &IssuedJob,
        submission: &Submission<'_>,
        hash: [u8; 32],
    ) -> Solution {
        let extranonce = [&self.prefix_bytes, submission.extranonce].concat();
        Solution {
            template_id: issued.job.template.id,
            version: submission.version,
            ntime: submission.ntime,
            nonce: submission.nonce,
            coinbase: issued.job.coinbase.whole(&extranonce),
            hash,
            height: issued.job.template.height(),
            tip: Arc::clone(&issued.job.tip),
            memo: issued.job.memo.clone(),
        }
    }

    /// Only shares that met their target get here, so that the memory holds nothing but work.
    fn remember(&mut self, share: AcceptedShare) -> Result<AcceptedShare, Rejection> {
        self.seen.insert(&share.hash)?;
        self.prefix.note_work();
        Ok(share)
    }
}

impl IssuedJob {
    fn judge(
        &self,
        submission: &Submission<'_>,
        hash: &[u8; 32],
        now: Instant,
    ) -> Result<AcceptedShare, Rejection> {
        let elapsed = now.saturating_duration_since(self.issued_at).as_secs();
        let elapsed = u32::try_from(elapsed).unwrap_or(u32::MAX);
        let ahead = elapsed.saturating_add(NTIME_AHEAD_SECONDS_MAX);
        let ntime_max = self.min_ntime.saturating_add(ahead);
        if !(self.min_ntime..=ntime_max).contains(&submission.ntime) {
            return Err(Rejection::Ntime);
        }
        if !is_rolled_within(BIP323_MASK, self.job.template.version, submission.version) {
            return Err(Rejection::VersionBits);
        }
        if !self.target.is_met_by(hash) {
            return Err(Rejection::DifficultyTooLow);
        }
        Ok(AcceptedShare { hash: *hash, work: self.work })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::coinbase::Output;
    use crate::extranonce::ExtranonceAllocator;
    use crate::template::ChainTip;
    use crate::template::tests::{template, tip};

    /// A network target that no test meets by chance.
    const HARD: u32 = 0x1700_ffff;
    /// One that every second hash meets.
    const REGTEST: u32 = 0x207f_ffff;
    const NTIME: u32 = 1_700_000_000;

    fn job(tip_hash: u8, nbits: u32) -> Arc<Job> {
        let output = Output { value: 5_000_000_000, script: vec![0x51].into() };
        let tip = Arc::new(tip(tip_hash, nbits));
        Arc::new(Job::new(tip, Arc::new(template(7)), b"/Adit/", &[output]).unwrap())
    }

    fn channel(target: Target) -> Channel {
        let prefix = ExtranonceAllocator::new(1).extended(8, 0).unwrap();
        Channel::new(prefix, target, Room::new(usize::MAX))
    }

    fn share(nonce: u32) -> Submission<'static> {
        let extranonce = &[0; 8];
        Submission { job_id: 1, nonce, ntime: NTIME, version: 0x2000_0000, extranonce }
    }

    fn issued(target: Target, nbits: u32) -> (Channel, Instant) {
        let (mut channel, now) = (channel(target), Instant::now());
        channel.issue(1, &job(3, nbits), NTIME, now);
        (channel, now)
    }

    /// Spec 5.3.21: a share is judged, and credited, by the target that its job was issued with.
    /// Flaw 14: a new difficulty does not hold for shares of jobs before it.
    /// Flaw 18: credited is the work of the target that was set, not that of a lucky hash.
    #[test]
    fn a_share_is_credited_with_the_work_of_its_jobs_target() {
        let (mut channel, now) = issued(Target::MAX, HARD);
        channel.set_target(Target::from_difficulty(1e9));
        let outcome = channel.check(&share(1), now);
        assert_eq!(outcome.verdict.unwrap().work, Target::MAX.work());
        assert_eq!(outcome.solution, None);
    }

    #[test]
    fn a_share_of_a_job_after_a_new_target_is_credited_with_the_new_work() {
        let (mut channel, now) = issued(Target::from_difficulty(1e9), HARD);
        channel.set_target(Target::MAX);
        channel.issue(2, &job(3, HARD), NTIME, now);
        let outcome = channel.check(&Submission { job_id: 2, ..share(1) }, now);
        assert_eq!(outcome.verdict.unwrap().work, Target::MAX.work());
    }

    #[test]
    fn a_new_tip_keeps_the_last_jobs_of_the_one_before_and_forgets_the_others() {
        let (mut channel, now) = issued(Target::MAX, HARD);
        let last = u32::try_from(STALE_JOBS_MAX).unwrap() + 1;
        for id in 2..=last {
            channel.issue(id, &job(3, HARD), NTIME, now);
        }
        channel.issue(last + 1, &job(4, HARD), NTIME, now);
        let verdict_of = |channel: &mut Channel, job_id| {
            channel.check(&Submission { job_id, ..share(1) }, now).verdict
        };
        assert_eq!(verdict_of(&mut channel, 1), Err(Rejection::UnknownJob));
        for id in 2..=last {
            assert_eq!(verdict_of(&mut channel, id), Err(Rejection::Stale));
        }
    }

    /// Spec 5.3.14: a header counts once, whatever job id it is sent under.
    /// Flaw 1: a share is known by its header, however it was written or named.
    #[test]
    fn the_same_header_counts_once_even_under_another_job_id() {
        let (mut channel, now) = issued(Target::MAX, HARD);
        channel.issue(2, &job(3, HARD), NTIME, now);
        assert!(channel.check(&share(1), now).verdict.is_ok());
        assert_eq!(channel.check(&share(1), now).verdict, Err(Rejection::Duplicate));
        let other_id = Submission { job_id: 2, ..share(1) };
        assert_eq!(channel.check(&other_id, now).verdict, Err(Rejection::Duplicate));
    }

    #[test]
    fn the_same_header_counts_once_even_if_its_tip_is_announced_again_with_another_time() {
        let (mut channel, now) = issued(Target::MAX, HARD);
        let late = Submission { ntime: NTIME + 60, ..share(1) };
        assert!(channel.check(&late, now).verdict.is_ok());
        let again = job(3, HARD);
        let tip = ChainTip { header_timestamp: NTIME + 30, ..ChainTip::clone(&again.tip) };
        let output = Output { value: 5_000_000_000, script: vec![0x51].into() };
        let again = Job::new(Arc::new(tip), Arc::clone(&again.template), b"/Adit/", &[output]);
        channel.issue(2, &Arc::new(again.unwrap()), NTIME + 30, now);
        assert_eq!(channel.check(&share(2), now).verdict, Err(Rejection::Stale));
        let replayed = Submission { job_id: 2, ..late };
        assert_eq!(channel.check(&replayed, now).verdict, Err(Rejection::Duplicate));
    }

    #[test]
    fn the_same_header_counts_once_even_if_the_chain_goes_back_to_its_tip() {
        let (mut channel, now) = issued(Target::MAX, HARD);
        assert!(channel.check(&share(1), now).verdict.is_ok());
        channel.issue(2, &job(4, HARD), NTIME, now);
        channel.issue(3, &job(3, HARD), NTIME, now);
        let replayed = Submission { job_id: 3, ..share(1) };
        assert_eq!(channel.check(&replayed, now).verdict, Err(Rejection::Duplicate));
    }

    /// Flaw 3: nothing is credited before it has met its target.
    /// Flaw 4: nothing is remembered before it has met its target.
    #[test]
    fn a_share_below_its_target_is_rejected_and_not_remembered() {
        let (mut channel, now) = issued(Target::from_difficulty(1e9), HARD);
        assert_eq!(channel.check(&share(1), now).verdict, Err(Rejection::DifficultyTooLow));
        assert!(channel.seen.is_empty());
    }

    /// Spec 5.3.17: SetNewPrevHash makes all jobs but its own invalid.
    #[test]
    fn a_share_for_a_past_tip_is_stale() {
        let (mut channel, now) = issued(Target::MAX, HARD);
        channel.issue(2, &job(4, HARD), NTIME, now);
        assert_eq!(channel.check(&share(1), now).verdict, Err(Rejection::Stale));
    }

    /// Spec 7.7: a share that is a block is submitted, even if it is stale or too easy to count.
    /// Flaw 7: the block check comes before everything that could reject a share.
    #[test]
    fn a_block_in_a_rejected_share_is_still_a_block() {
        let (mut channel, now) = issued(Target::from_difficulty(1e9), REGTEST);
        channel.issue(2, &job(4, REGTEST), NTIME, now);
        let blocks: Vec<_> =
            (0..32).filter_map(|nonce| channel.check(&share(nonce), now).solution).collect();
        assert!(!blocks.is_empty(), "no hash of 32 met a target that half of them meet");
        assert_eq!(blocks[0].template_id, 7);
        assert_eq!(blocks[0].height, Some(123_456));
    }

    /// Spec 3.7.3: the coinbase of a solution keeps its BIP141 fields.
    #[test]
    fn a_solution_holds_the_coinbase_of_its_header() {
        let (mut channel, now) = issued(Target::MAX, REGTEST);
        let found = (0..64).find_map(|nonce| channel.check(&share(nonce), now).solution).unwrap();
        let coinbase: bitcoin::Transaction =
            bitcoin::consensus::deserialize(&found.coinbase).unwrap();
        let txid = bitcoin::hashes::Hash::to_byte_array(coinbase.compute_txid());
        let job = job(3, REGTEST);
        let root = crate::merkle::root_from_path(txid, &job.template.merkle_path);
        let header = job.header(root, found.version, found.ntime, found.nonce);
        assert_eq!(header.hash(), found.hash);
    }

    /// Spec 5.3.11: nTime is not before the job's and may run on with the clock.
    /// Flaw 5: nTime has bounds.
    #[test]
    fn ntime_may_run_with_the_clock_but_not_back_and_not_hours_ahead() {
        let (mut channel, now) = issued(Target::MAX, HARD);
        let mut verdict = |ntime, nonce, now| {
            channel.check(&Submission { ntime, ..share(nonce) }, now).verdict.map(drop)
        };
        assert_eq!(verdict(NTIME - 1, 1, now), Err(Rejection::Ntime));
        assert_eq!(verdict(NTIME + 7_000, 2, now), Ok(()));
        assert_eq!(verdict(NTIME + 7_001, 3, now), Err(Rejection::Ntime));
        assert_eq!(verdict(NTIME + 7_001, 4, now + Duration::from_secs(1)), Ok(()));
    }

    /// Spec 5.1: the version may be rolled within the 24 bits of BIP323 (0x1fffffe0) alone.
    /// Flaw 6: version bits outside of the mask are refused.
    #[test]
    fn only_bip323_bits_of_the_version_may_be_rolled() {
        let (mut channel, now) = issued(Target::MAX, HARD);
        let mut verdict = |version, nonce| {
            channel.check(&Submission { version, ..share(nonce) }, now).verdict.map(drop)
        };
        assert_eq!(verdict(0x2000_0000 | BIP323_MASK, 1), Ok(()));
        assert_eq!(verdict(0x2000_0001, 2), Err(Rejection::VersionBits));
        assert_eq!(verdict(0x6000_0000, 3), Err(Rejection::VersionBits));
    }

    /// Spec 5.3.12: the extranonce is exactly as long as the channel's.
    /// Flaw 2: an extranonce of another length is not padded or cut.
    #[test]
    fn an_extranonce_of_another_size_is_rejected() {
        let (mut channel, now) = issued(Target::MAX, HARD);
        let long = Submission { extranonce: &[0; 9], ..share(1) };
        assert_eq!(channel.check(&long, now).verdict, Err(Rejection::ExtranonceSize));
    }

    /// Spec 5.3.14: a share of a job that the channel never had is rejected.
    #[test]
    fn an_unknown_job_is_rejected() {
        let (mut channel, now) = issued(Target::MAX, HARD);
        let unknown = Submission { job_id: 9, ..share(1) };
        assert_eq!(channel.check(&unknown, now).verdict, Err(Rejection::UnknownJob));
    }

    /// Spec 5.1.1: a standard job has a fixed merkle root.
    #[test]
    fn a_standard_channel_mines_a_fixed_merkle_root() {
        let now = Instant::now();
        let prefix = ExtranonceAllocator::new(1).standard(0).unwrap();
        let mut channel = Channel::new(prefix, Target::MAX, Room::new(usize::MAX));
        let job = job(3, HARD);
        channel.issue(1, &job, NTIME, now);
        let root = job.merkle_root([channel.extranonce_prefix(), &[]]);
        assert_eq!(channel.merkle_root(), Some(root));
        let submission = Submission { extranonce: &[], ..share(5) };
        let hash = channel.check(&submission, now).verdict.unwrap().hash;
        assert_eq!(hash, job.header(root, 0x2000_0000, NTIME, 5).hash());
    }

    /// Spec 5.3.16: a job that is not a future one replaces no earlier job of the same tip; those
    /// stay valid.
    #[test]
    fn old_jobs_of_the_same_tip_stay_valid_up_to_the_limit() {
        let (mut channel, now) = issued(Target::MAX, HARD);
        for id in 2..=u32::try_from(JOBS_MAX).unwrap() {
            channel.issue(id, &job(3, HARD), NTIME, now);
        }
        assert!(channel.check(&share(1), now).verdict.is_ok());
        channel.issue(1_000, &job(3, HARD), NTIME, now);
        assert_eq!(channel.check(&share(2), now).verdict, Err(Rejection::UnknownJob));
    }
}
