//! Makes a V2 share of a V1 share, and a V1 answer of a V2 verdict.

use mining::version::ROLLING_MASK;
use wire::sv2::codec::{Bytes32, Str255};
use wire::sv2::extensions::USER_IDENTITY_BYTES_MAX;
use wire::sv2::mining as codes;

use super::notify::ChannelEpoch;

/// V1 error codes (slush's protocol, BIP310).
pub mod code {
    /// Anything else.
    pub const OTHER: i64 = 20;
    /// The job is unknown or stale.
    pub const JOB_NOT_FOUND: i64 = 21;
    /// The share was submitted before.
    pub const DUPLICATE: i64 = 22;
    /// The hash is above the target.
    pub const LOW_DIFFICULTY: i64 = 23;
    /// The worker has not authorized on this connection.
    pub const UNAUTHORIZED: i64 = 24;
    /// The miner has not subscribed.
    pub const NOT_SUBSCRIBED: i64 = 25;
}

/// What is said where the upstream gives no verdict in time.
const UNANSWERED: &str = "no answer from upstream";
/// What is said where there is no room for another share without a verdict.
const TOO_MANY_WAITING: &str = "too many shares wait for upstream";

/// A share on its way upstream (spec 5.3.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamShare {
    /// The channel that gave the job.
    pub epoch: ChannelEpoch,
    /// The upstream's name for the job.
    pub job_id: u32,
    /// Header nonce.
    pub nonce: u32,
    /// Header nTime.
    pub ntime: u32,
    /// Whole header version.
    pub version: u32,
    /// The rolled part of the extranonce.
    pub extranonce: Bytes32,
    /// True if it makes a block: it is sent however many shares wait for answers.
    pub is_block: bool,
}

/// What became of a share that went upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The upstream counted it.
    Accepted,
    /// The upstream refused it, with its code.
    Rejected(Str255),
    /// No answer came in time.
    Unanswered,
    /// The upstream went away, or the job's channel did.
    UpstreamLost,
    /// More shares wait for answers than are kept.
    TooManyWaiting,
}

/// Why a share is refused, as a V1 error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text} ({code})")]
pub struct ShareError {
    /// One of `code`.
    pub code: i64,
    /// The reason in words.
    pub text: String,
}

impl ShareError {
    /// An error with the reason in words.
    pub fn new(code: i64, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// The reason in one of few words, for metrics.
    pub fn reason(&self) -> &'static str {
        match self.code {
            code::JOB_NOT_FOUND => "stale",
            code::DUPLICATE => "duplicate",
            code::LOW_DIFFICULTY => "low_difficulty",
            code::UNAUTHORIZED => "unauthorized",
            code::NOT_SUBSCRIBED => "not_subscribed",
            _ if *self == Self::upstream_lost() => "upstream_lost",
            _ if self.text == UNANSWERED => "unanswered",
            _ if self.text == TOO_MANY_WAITING => "too_many_waiting",
            _ => "other",
        }
    }

    /// Nobody is there to take a share.
    pub fn upstream_lost() -> Self {
        Self::new(code::OTHER, "upstream lost")
    }
}

impl Verdict {
    /// What the miner is told.
    pub fn answer(&self) -> Result<(), ShareError> {
        let (code, text) = match self {
            Self::Accepted => return Ok(()),
            Self::Rejected(upstream) => (code_of(upstream), upstream.display().into_owned()),
            Self::Unanswered => (code::OTHER, UNANSWERED.to_owned()),
            Self::UpstreamLost => return Err(ShareError::upstream_lost()),
            Self::TooManyWaiting => (code::OTHER, TOO_MANY_WAITING.to_owned()),
        };
        Err(ShareError::new(code, text))
    }
}

/// The V1 code that comes nearest to a SubmitShares.Error.
fn code_of(upstream: &Str255) -> i64 {
    match upstream.as_str() {
        Some(codes::ERROR_STALE_SHARE | codes::ERROR_INVALID_JOB_ID) => code::JOB_NOT_FOUND,
        Some(codes::ERROR_DUPLICATE_SHARE) => code::DUPLICATE,
        Some(codes::ERROR_DIFFICULTY_TOO_LOW) => code::LOW_DIFFICULTY,
        _ => code::OTHER,
    }
}

/// The name of a V1 worker as an upstream takes it: what follows the account, 32 bytes at most, and
/// nothing if it holds control characters (extension 0x0002, 1.1).
pub fn worker_field(name: &str) -> &str {
    let worker = name.split_once(['.', '/']).map_or(name, |(_, worker)| worker);
    if worker.chars().any(char::is_control) {
        return "";
    }
    let end = (0..=USER_IDENTITY_BYTES_MAX.min(worker.len()))
        .rev()
        .find(|end| worker.is_char_boundary(*end));
    worker.get(..end.unwrap_or_default()).unwrap_or_default()
}

/// The user of a V1 worker: what stands before its first dot or slash.
pub fn user_field(name: &str) -> &str {
    name.split_once(['.', '/']).map_or(name, |(user, _)| user)
}

/// The header version that a miner hashed: BIP310's `(v & ~mask) | bits`.
pub fn hashed_version(job_version: u32, bits: Option<u32>) -> u32 {
    (job_version & !ROLLING_MASK) | bits.unwrap_or_default()
}

/// False if a miner changed version bits outside the mask.
pub fn rolls_within_mask(bits: Option<u32>) -> bool {
    bits.unwrap_or_default() & !ROLLING_MASK == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_codes_become_v1_codes_with_the_upstream_text() {
        for (upstream, code) in [
            ("stale-share", 21),
            ("invalid-job-id", 21),
            ("duplicate-share", 22),
            ("difficulty-too-low", 23),
            ("something-new", 20),
        ] {
            let error = Verdict::Rejected(upstream.into()).answer().unwrap_err();
            assert_eq!((error.code, error.text.as_str()), (code, upstream));
        }
    }

    /// Flaw 16: only the upstream's acceptance of a V1 share is one; no answer is none.
    #[test]
    fn only_an_acceptance_by_the_upstream_is_one() {
        assert_eq!(Verdict::Accepted.answer(), Ok(()));
        for verdict in [Verdict::Unanswered, Verdict::UpstreamLost, Verdict::TooManyWaiting] {
            assert_eq!(verdict.answer().unwrap_err().code, 20);
        }
    }

    #[test]
    fn each_verdict_has_a_word_of_its_own_in_the_metrics() {
        let reason = |verdict: Verdict| verdict.answer().unwrap_err().reason();
        assert_eq!(reason(Verdict::Unanswered), "unanswered");
        assert_eq!(reason(Verdict::UpstreamLost), "upstream_lost");
        assert_eq!(reason(Verdict::TooManyWaiting), "too_many_waiting");
        assert_eq!(reason(Verdict::Rejected("stale-share".into())), "stale");
        assert_eq!(reason(Verdict::Rejected("something-new".into())), "other");
    }

    /// Extension 0x0002, 1.1: a worker's name is at most 32 bytes of text, whatever a miner says.
    /// Flaw 27: what goes up of a V1 worker's name is bounded.
    #[test]
    fn a_worker_is_named_by_what_follows_the_account() {
        assert_eq!(worker_field("bc1qx.rig1"), "rig1");
        assert_eq!(worker_field("user/shelf.3"), "shelf.3");
        assert_eq!(worker_field("alone"), "alone");
        assert_eq!(worker_field(""), "");
        assert_eq!(worker_field("user.a\u{7}b"), "");
        let long = format!("user.{}\u{e9}", "n".repeat(31));
        assert_eq!(worker_field(&long), "n".repeat(31), "no half of a letter");
    }

    #[test]
    fn rule_25_or_and_xor_clients_mean_the_same_version() {
        let (job, rolled) = (0x2000_0000, 0x2abc_e000 & ROLLING_MASK);
        assert_eq!(hashed_version(job, Some(rolled)), job | rolled);
        assert_eq!(hashed_version(job, Some(rolled)), job ^ rolled);
        assert_eq!(hashed_version(job, None), job);
        assert!(rolls_within_mask(Some(rolled)) && rolls_within_mask(None));
        assert!(!rolls_within_mask(Some(0x2000_0000)));
    }
}
