//! What can happen to a channel, at random.

use mining::target::Target;
use mining::version::BIP323_MASK;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::samples::{HARD_NBITS, REGTEST_NBITS, Sample, sample};

/// What happens before the next thing.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A new tip, with the future template that it names and others that it does not.
    Tip { named: Sample, others: Vec<Sample>, nbits: u32, seconds: u32, same_block: bool },
    /// A better template for the same tip.
    Refresh(Sample),
    /// The newest template once more, under another id.
    Repeat,
    /// The newest template once more, and the present block as tip, with a later nTime.
    RepeatTip { seconds: u32 },
    /// Another target for jobs to come.
    SetTarget(Target),
    /// A share.
    Share(Share),
}

#[derive(Debug, Clone)]
pub(crate) struct Share {
    pub(crate) job: JobChoice,
    pub(crate) nonce: u32,
    /// Relative to the nTime of the tip.
    pub(crate) ntime: i64,
    /// Version bits that differ from the job's.
    pub(crate) flipped: u32,
    /// As many bytes of it as the channel rolls; one more or less if the size is wrong.
    pub(crate) extranonce: Vec<u8>,
    pub(crate) size: Size,
    /// Instead of all this, an earlier share again: as it was, or for the newest job.
    pub(crate) again: Option<(Index, Again)>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum JobChoice {
    Newest,
    /// By its place among those of the present tip.
    Nth(usize),
    Current(Index),
    Stale(Index),
    /// One that is not active yet.
    Future(Index),
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    AsItWas,
    ForNewestJob,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Right,
    OneLess,
    OneMore,
}

fn tip() -> impl Strategy<Value = Step> {
    let nbits = select(vec![HARD_NBITS, REGTEST_NBITS]);
    (sample(), vec(sample(), 0..2), nbits, 1..900_u32, prop::bool::weighted(0.3)).prop_map(
        |(named, others, nbits, seconds, same_block)| Step::Tip {
            named,
            others,
            nbits,
            seconds,
            same_block,
        },
    )
}

fn target() -> impl Strategy<Value = Target> {
    let quarter = Target::from_le_bytes(std::array::from_fn(|at| if at == 31 { 0x3f } else { 1 }));
    select(vec![Target::MAX, quarter, Target::from_difficulty(1e12)])
}

fn job() -> impl Strategy<Value = JobChoice> {
    prop_oneof![
        4 => Just(JobChoice::Newest),
        4 => any::<Index>().prop_map(JobChoice::Current),
        1 => any::<Index>().prop_map(JobChoice::Stale),
        1 => any::<Index>().prop_map(JobChoice::Future),
        1 => Just(JobChoice::Unknown),
    ]
}

fn ntime() -> impl Strategy<Value = i64> {
    prop_oneof![
        10 => 0..=7_200_i64,
        1 => select(vec![-1, 0, 7_200, 7_201]),
        1 => -100_000..100_000_i64,
    ]
}

fn flipped() -> impl Strategy<Value = u32> {
    prop_oneof![
        8 => any::<u32>().prop_map(|bits| bits & BIP323_MASK),
        1 => (0..32_u32).prop_map(|bit| 1 << bit),
        1 => any::<u32>(),
    ]
}

fn share() -> impl Strategy<Value = Share> {
    let size = prop_oneof![9 => Just(Size::Right), 1 => select(vec![Size::OneLess, Size::OneMore])];
    let again = select(vec![Again::AsItWas, Again::ForNewestJob]);
    let again = prop::option::weighted(0.25, (any::<Index>(), again));
    let extranonce = vec(any::<u8>(), 11);
    (job(), any::<u32>(), ntime(), flipped(), extranonce, size, again).prop_map(
        |(job, nonce, ntime, flipped, extranonce, size, again)| Share {
            job,
            nonce,
            ntime,
            flipped,
            extranonce,
            size,
            again,
        },
    )
}

/// A tip first, without which there is nothing to mine; then anything.
pub(crate) fn script() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => tip(),
        1 => sample().prop_map(Step::Refresh),
        1 => Just(Step::Repeat),
        1 => (1..900_u32).prop_map(|seconds| Step::RepeatTip { seconds }),
        1 => target().prop_map(Step::SetTarget),
        16 => share().prop_map(Step::Share),
    ];
    (tip(), vec(step, 30..80)).prop_map(|(first, rest)| [vec![first], rest].concat())
}
