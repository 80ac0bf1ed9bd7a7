//! What the ledger keeps besides shares: rejects, blocks, what became of them, payouts.

use std::sync::Arc;

use mining::share::{Rejection, Solution};

use super::earner::Earner;

/// Bytes of one payout record.
const PAYOUT_BYTES_MAX: usize = 1 << 20;

/// One thing to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Shares were rejected, counted since the last such entry.
    Rejects {
        /// Whose.
        earner: Arc<Earner>,
        /// Why.
        reason: Reason,
        /// How many.
        count: u64,
    },
    /// A block was found.
    BlockFound {
        /// By whom.
        finder: Arc<Earner>,
        /// The block.
        block: Box<BlockFound>,
    },
    /// Something became of a block.
    BlockState(BlockState),
    /// Something about payouts, in a form that the payouts know.
    Payout(PayoutRecord),
}

/// Why a share was rejected. The codes stand in files: none ever changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// No such job.
    UnknownJob,
    /// The job builds on an earlier tip.
    Stale,
    /// The extranonce has another length.
    ExtranonceSize,
    /// nTime is out of range.
    Ntime,
    /// A fixed version bit was changed.
    VersionBits,
    /// Above its target.
    DifficultyTooLow,
    /// Accepted before.
    Duplicate,
    /// More than are remembered.
    TooManyShares,
    /// It named a worker that cannot be.
    BadWorker,
    /// The ledger could not take it.
    NotRecorded,
    /// Something that a later version knows.
    Other,
}

impl Reason {
    /// All of them, by their code; the code of `Other` is never written.
    pub const ALL: [Self; 11] = [
        Self::UnknownJob,
        Self::Stale,
        Self::ExtranonceSize,
        Self::Ntime,
        Self::VersionBits,
        Self::DifficultyTooLow,
        Self::Duplicate,
        Self::TooManyShares,
        Self::BadWorker,
        Self::NotRecorded,
        Self::Other,
    ];

    /// As it stands in files.
    pub fn code(self) -> u8 {
        let place = Self::ALL.iter().position(|it| *it == self);
        place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)
    }

    /// What stands in a file.
    pub fn from_code(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or(Self::Other)
    }

    /// For people and for databases.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownJob => "unknown-job",
            Self::Stale => "stale",
            Self::ExtranonceSize => "extranonce-size",
            Self::Ntime => "ntime",
            Self::VersionBits => "version-bits",
            Self::DifficultyTooLow => "difficulty-too-low",
            Self::Duplicate => "duplicate",
            Self::TooManyShares => "too-many-shares",
            Self::BadWorker => "bad-worker",
            Self::NotRecorded => "not-recorded",
            Self::Other => "other",
        }
    }
}

impl From<Rejection> for Reason {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::UnknownJob => Self::UnknownJob,
            Rejection::Stale => Self::Stale,
            Rejection::ExtranonceSize => Self::ExtranonceSize,
            Rejection::Ntime => Self::Ntime,
            Rejection::VersionBits => Self::VersionBits,
            Rejection::DifficultyTooLow => Self::DifficultyTooLow,
            Rejection::Duplicate => Self::Duplicate,
            Rejection::TooManyShares => Self::TooManyShares,
        }
    }
}

/// A block as the ledger keeps it. Hashes are in internal byte order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockFound {
    /// Its hash.
    pub hash: [u8; 32],
    /// Its height, if the template told it.
    pub height: Option<u32>,
    /// What it builds on.
    pub prev_hash: [u8; 32],
    /// The compact target that it met.
    pub nbits: u32,
    /// All that its coinbase pays, in satoshis.
    pub coinbase_value: u64,
}

impl BlockFound {
    /// What is to be kept of `solution`.
    pub fn of(solution: &Solution) -> Self {
        let coinbase: Result<bitcoin::Transaction, _> =
            bitcoin::consensus::deserialize(&solution.coinbase);
        let outputs = coinbase.map(|coinbase| coinbase.output).unwrap_or_default();
        let values = outputs.iter().map(|output| output.value.to_sat());
        Self {
            hash: solution.hash,
            height: solution.height,
            prev_hash: solution.tip.hash,
            nbits: solution.tip.nbits,
            coinbase_value: values.fold(0, u64::saturating_add),
        }
    }
}

/// What became of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockState {
    /// Which, internal byte order.
    pub hash: [u8; 32],
    /// What: the code of a stage.
    pub code: u8,
}

impl BlockState {
    /// A block has come so far.
    pub fn new(hash: [u8; 32], stage: BlockStage) -> Self {
        let place = BlockStage::ALL.iter().position(|it| *it == stage);
        Self { hash, code: place.and_then(|it| u8::try_from(it).ok()).unwrap_or(u8::MAX) }
    }

    /// How far it has come.
    pub fn stage(self) -> BlockStage {
        BlockStage::ALL.get(usize::from(self.code)).copied().unwrap_or(BlockStage::Other)
    }
}

/// The stages of a block's life. Their codes stand in files: none ever changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockStage {
    /// A miner has sent it.
    Found,
    /// It went to a template provider.
    Submitted,
    /// It is in the node's best chain.
    Accepted,
    /// So deep that its coins can be spent.
    Mature,
    /// Not in the node's best chain. It may come back.
    Orphaned,
    /// Something that a later version knows.
    Other,
}

impl BlockStage {
    /// All of them, by their code; the code of `Other` is never written.
    pub const ALL: [Self; 6] =
        [Self::Found, Self::Submitted, Self::Accepted, Self::Mature, Self::Orphaned, Self::Other];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Submitted => "submitted",
            Self::Accepted => "accepted",
            Self::Mature => "mature",
            Self::Orphaned => "orphaned",
            Self::Other => "other",
        }
    }
}

/// Something about payouts: the ledger keeps the bytes, and knows nothing of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayoutRecord {
    /// How the bytes are to be read.
    pub version: u16,
    /// At most 1 MiB, or they are not kept.
    pub(crate) bytes: Box<[u8]>,
}

impl PayoutRecord {
    /// `None` if there are more bytes than the ledger keeps.
    pub fn new(version: u16, bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= PAYOUT_BYTES_MAX).then(|| Self { version, bytes: bytes.into() })
    }

    /// What is kept.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_has_a_code_of_its_own() {
        for stage in BlockStage::ALL {
            assert_eq!(BlockState::new([1; 32], stage).stage(), stage);
        }
        assert_eq!(BlockState { hash: [1; 32], code: 200 }.stage(), BlockStage::Other);
    }

    #[test]
    fn each_reason_has_a_code_and_a_name_of_its_own() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), reason);
            let same = Reason::ALL.iter().filter(|other| other.name() == reason.name());
            assert_eq!(same.count(), 1, "{reason:?}");
        }
        assert_eq!(Reason::from_code(200), Reason::Other);
    }
}
