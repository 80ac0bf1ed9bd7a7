//! Makes a V1 job of a V2 job: rendered once, mined by everyone.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use mining::hash::Midstate;
use mining::header::Header;
use mining::merkle::root_from_path;
use mining::target::Target;
use mining::version::ROLLING_MASK;
use wire::sv1::notify::RenderedNotify;
use wire::sv2::mining::{NewExtendedMiningJob, SetNewPrevHash};

use super::difficulty::difficulty_max_at;
use super::extranonce::ExtranonceSplit;

/// One opening of one upstream channel. Shares of an earlier one mean nothing to a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChannelEpoch(pub u64);

impl ChannelEpoch {
    /// Bits below the number of the connection, for its channels.
    const CHANNEL_BITS: u32 = 32;
    /// Bits of the number of the connection.
    const CONNECTION_MASK: u64 = 0xff_ffff;
    /// Bits below the number of the upstream.
    const UPSTREAM_SHIFT: u32 = 56;

    /// The first channel of a connection to an upstream, both of them numbered from 0.
    pub fn first_of(upstream: usize, connection: u32) -> Self {
        let upstream = u64::try_from(upstream).unwrap_or_default() << Self::UPSTREAM_SHIFT;
        let connection = u64::from(connection) & Self::CONNECTION_MASK;
        Self(upstream | connection << Self::CHANNEL_BITS)
    }

    /// The number of the upstream.
    pub fn upstream(self) -> usize {
        usize::try_from(self.0 >> Self::UPSTREAM_SHIFT).unwrap_or(usize::MAX)
    }
}

/// The tip that jobs build on, from SetNewPrevHash (spec 5.3.17).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// Hash of the previous block, internal byte order.
    pub prev_hash: [u8; 32],
    /// Header nBits.
    pub nbits: u32,
    /// The target of a block; `nbits` in another form.
    pub block_target: Target,
    /// Smallest nTime.
    pub min_ntime: u32,
    /// When the tip became known.
    pub since: Instant,
}

impl Tip {
    /// True if jobs on `other` are as good as on this: nBits can change without a new block.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.prev_hash, self.nbits) == (other.prev_hash, other.nbits)
    }

    /// Reads a tip; `None` if no hash could meet its nBits.
    pub fn new(message: &SetNewPrevHash, now: Instant) -> Option<Self> {
        Some(Self {
            prev_hash: message.prev_hash,
            nbits: message.nbits,
            block_target: Target::from_nbits(message.nbits)?,
            min_ntime: message.min_ntime,
            since: now,
        })
    }
}

/// What a channel gives its jobs.
#[derive(Debug, Clone, Copy)]
pub struct ChannelTerms {
    /// Which channel.
    pub epoch: ChannelEpoch,
    /// How its extranonce is split.
    pub split: ExtranonceSplit,
    /// The upstream's target.
    pub target: Target,
}

/// A job that is being mined: immutable, shared by all miners.
#[derive(Debug, Clone)]
pub struct Job {
    /// The upstream's name for it.
    pub id: u32,
    /// What the channel gave it.
    pub terms: ChannelTerms,
    /// The tip that it builds on.
    pub tip: Tip,
    /// Header version with all bits cleared that V1 miners roll: OR and XOR give the same (rule
    /// 25).
    pub version: u32,
    /// Smallest nTime.
    pub min_ntime: u32,
    /// When the job became known.
    since: Instant,
    /// That of the target in `terms`, reckoned once for all miners.
    difficulty_max: f64,
    /// Bytes of the coinbase without witness, extranonce included.
    pub coinbase_bytes: usize,
    coinbase_start: CoinbaseStart,
    coinbase_suffix: Bytes,
    merkle_path: Vec<[u8; 32]>,
    /// The line, but for id, nTime and clean_jobs.
    pub rendered: RenderedNotify,
}

/// The hasher after all that stands before extranonce1, so that each share hashes what follows.
#[derive(Clone)]
struct CoinbaseStart(Midstate);

impl std::fmt::Debug for CoinbaseStart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CoinbaseStart")
    }
}

impl Job {
    /// Makes the job that `message` describes, mined on `tip` from now on. A future job starts with
    /// the tip's nTime.
    pub fn new(message: NewExtendedMiningJob, tip: Tip, terms: ChannelTerms, now: Instant) -> Self {
        let version = message.version & !ROLLING_MASK;
        let merkle_path = message.merkle_path.into_vec();
        let coinbase_prefix = message.coinbase_tx_prefix.into_bytes();
        let coinbase_1 = [&coinbase_prefix, &*terms.split.start()].concat();
        let coinbase_suffix = message.coinbase_tx_suffix.into_bytes();
        Self {
            id: message.job_id,
            terms,
            tip,
            version,
            min_ntime: message.min_ntime.unwrap_or(tip.min_ntime),
            since: now,
            difficulty_max: difficulty_max_at(terms.target),
            coinbase_bytes: coinbase_prefix.len()
                + terms.split.whole_bytes()
                + coinbase_suffix.len(),
            coinbase_start: CoinbaseStart(Midstate::after(&coinbase_1)),
            rendered: RenderedNotify::new(
                &tip.prev_hash,
                (&coinbase_1, &coinbase_suffix),
                &merkle_path,
                (version, tip.nbits),
            ),
            coinbase_suffix,
            merkle_path,
        }
    }

    /// The same job at another target, for a channel on which nobody has mined it yet.
    #[must_use]
    pub fn at_target(&self, target: Target) -> Self {
        let terms = ChannelTerms { target, ..self.terms };
        Self { terms, difficulty_max: difficulty_max_at(target), ..self.clone() }
    }

    /// The hardest difficulty to tell a miner of it.
    pub fn difficulty_max(&self) -> f64 {
        self.difficulty_max
    }

    /// The nTime to mine with now: that of the tip or that of the job plus the seconds that it has
    /// been known, the most that an upstream has to take (spec 5.3.11). Both run: the job's own is
    /// often that of the clock, and so ahead of the tip's for good.
    pub fn ntime_at(&self, now: Instant) -> u32 {
        let after = |ntime: u32, since: Instant| {
            let seconds = now.saturating_duration_since(since).as_secs();
            ntime.saturating_add(u32::try_from(seconds).unwrap_or(u32::MAX))
        };
        after(self.min_ntime, self.since).max(after(self.tip.min_ntime, self.tip.since))
    }

    /// The header that a miner with `extranonce_1` hashed.
    pub fn header(
        &self,
        (extranonce_1, extranonce_2): (&[u8], &[u8]),
        (version, ntime, nonce): (u32, u32, u32),
    ) -> Header {
        let parts = [extranonce_1, extranonce_2, &self.coinbase_suffix];
        let txid = self.coinbase_start.0.finish(&parts);
        Header {
            version,
            prev_hash: self.tip.prev_hash,
            merkle_root: root_from_path(txid, &self.merkle_path),
            ntime,
            nbits: self.tip.nbits,
            nonce,
        }
    }
}

/// What all miners work on: job and tip in one value, so that nobody sees one without the other.
#[derive(Debug, Clone)]
pub struct Work {
    /// The job.
    pub job: Arc<Job>,
    /// False once the upstream that gave it is gone: miners keep hashing, but nobody takes a share.
    pub is_live: bool,
    /// True while the upstream believes that nobody mines: its target may be so easy that the first
    /// miner would flood it. Whoever comes waits for the next work, which is not long.
    pub is_held: bool,
}

impl Work {
    /// True if both are the same to a miner.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.job, &other.job)
            && (self.is_live, self.is_held) == (other.is_live, other.is_held)
    }
}

/// A job for tests: coinbase parts of 70 and 30 bytes around the extranonce, prefix 0405.
#[cfg(test)]
pub(crate) fn sample_job(version: u32) -> Job {
    use wire::sv2::codec::{Blob, Bytes32, List};

    let message = NewExtendedMiningJob {
        channel_id: 1,
        job_id: 7,
        min_ntime: None,
        version,
        version_rolling_allowed: true,
        merkle_path: List::new(vec![[9; 32]]).unwrap(),
        coinbase_tx_prefix: Blob::new(vec![1; 70]).unwrap(),
        coinbase_tx_suffix: Blob::new(vec![2; 30]).unwrap(),
    };
    let now = Instant::now();
    let tip = Tip {
        prev_hash: [3; 32],
        nbits: 0x207f_ffff,
        block_target: Target::from_nbits(0x207f_ffff).unwrap(),
        min_ntime: 1000,
        since: now,
    };
    let terms = ChannelTerms {
        epoch: ChannelEpoch(1),
        split: ExtranonceSplit::new(Bytes32::new(&[4, 5]).unwrap(), 10).unwrap(),
        target: Target::MAX,
    };
    Job::new(message, tip, terms, now)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::BytesMut;
    use mining::hash::double_sha256;

    use super::*;

    #[test]
    fn rule_25_no_bit_of_the_mask_is_set_in_a_job() {
        // Bitcoin Core on regtest sets bit 28.
        let job = sample_job(0x3000_0000 | ROLLING_MASK);
        assert_eq!(job.version, 0x2000_0000);
        let mut line = BytesMut::new();
        job.rendered.put_line("1", 1000, true, &mut line);
        let text = std::str::from_utf8(&line).unwrap();
        assert!(text.contains("\"20000000\""), "{text}");
    }

    #[test]
    fn the_header_is_that_of_the_whole_coinbase() {
        let job = sample_job(0x2000_0000);
        let (first, second) = (job.terms.split.shape().extranonce_1(6), [8; 8]);
        let header = job.header((&first, &second), (0x2000_2000, 1001, 5));
        let coinbase = [&[1; 70][..], &[4, 5], &first, &second, &[2; 30]].concat();
        let root = double_sha256(&[double_sha256(&coinbase), [9; 32]].concat());
        assert_eq!(header.merkle_root, root);
        assert_eq!(job.coinbase_bytes, coinbase.len());
    }

    #[test]
    fn ntime_runs_with_the_clock() {
        let job = sample_job(0);
        assert_eq!(job.ntime_at(job.tip.since), 1000);
        assert_eq!(job.ntime_at(job.tip.since + Duration::from_millis(45_900)), 1045);
    }
}
