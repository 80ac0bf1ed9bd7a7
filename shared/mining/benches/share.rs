//! One share check, ours beside SRI's `validate_share`: the same job, the same shares, the same
//! verdicts. Not a test: `cargo bench -p mining`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    dead_code,
    reason = "a benchmark says what it expects, and shares its samples with the tests"
)]

#[path = "../tests/oracles/samples.rs"]
mod samples;
#[path = "../tests/oracles/sri_channel.rs"]
mod sri_channel;

use std::sync::Arc;
use std::time::Instant;

use bitcoin::consensus::serialize;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use mining::channel::Channel;
use mining::coinbase::Output;
use mining::extranonce::{ExtranonceAllocator, ExtranoncePrefix};
use mining::job::Job;
use mining::room::Room;
use mining::share::Submission;
use mining::target::Target;
use mining::template::Template;

use samples::{HARD_NBITS, Sample, TAG, commitment, tip};
use sri_channel::SriChannel;

/// Shares of one run: fewer than SRI remembers for a tip.
const SHARES: u32 = 2_000;
const NTIME: u32 = 1_700_000_000;
const VERSION: u32 = 0x2000_0000;
/// Merkle hashes of a block of four thousand transactions.
const MERKLE_PATH: usize = 12;

fn main() {
    divan::main();
}

/// A template like mainnet's.
fn sample() -> Sample {
    let outputs = serialize(&commitment([7; 32]));
    let template = Template {
        id: 1,
        version: VERSION,
        coinbase_version: 2,
        coinbase_prefix: vec![3, 0x50, 0xf8, 0x0c].into(),
        coinbase_sequence: u32::MAX,
        value_remaining: 312_500_000,
        outputs_count: 1,
        outputs: outputs.into(),
        coinbase_locktime: 0,
        merkle_path: (0..MERKLE_PATH).map(|level| [u8::try_from(level).unwrap(); 32]).collect(),
    };
    let script = [&[0, 20][..], &[9; 20]].concat();
    Sample { template, payouts: vec![Output { value: 312_500_000, script: script.into() }] }
}

fn extended() -> ExtranoncePrefix {
    ExtranonceAllocator::new(1).extended(8, 0).unwrap()
}

fn standard() -> ExtranoncePrefix {
    ExtranonceAllocator::new(1).standard(0).unwrap()
}

/// A channel on both sides with one job; gives the job's id at SRI's.
fn both(prefix: ExtranoncePrefix) -> (Channel, SriChannel, u32) {
    let mut ours = Channel::new(prefix, Target::MAX, Room::new(usize::MAX));
    let mut sri = SriChannel::like(&ours);
    let (sample, tip) = (sample(), Arc::new(tip([3; 32], NTIME, HARD_NBITS)));
    let template = Arc::new(sample.template.clone());
    let id = sri.future(&sample);
    sri.turn_to(&tip, template.id);
    let job = Arc::new(Job::new(tip, template, TAG, &sample.payouts).unwrap());
    ours.issue(id, &job, NTIME, Instant::now());
    (ours, sri, id)
}

/// `SHARES` different ones; each rolls its extranonce, if the channel has one.
fn submit_all(job_id: u32, rollable: usize, mut check: impl FnMut(&Submission<'_>)) {
    let mut extranonce = [0; 8];
    for nonce in 0..SHARES {
        extranonce[..4].copy_from_slice(&nonce.to_le_bytes());
        let extranonce = &extranonce[..rollable];
        check(&Submission { job_id, nonce, ntime: NTIME, version: VERSION, extranonce });
    }
}

#[divan::bench(args = ["extended", "standard"])]
fn ours(bencher: Bencher<'_, '_>, kind: &str) {
    let prefix = move || if kind == "extended" { extended() } else { standard() };
    bencher.counter(ItemsCount::new(SHARES)).with_inputs(|| both(prefix())).bench_local_values(
        |(mut channel, _, id)| {
            let now = Instant::now();
            let rollable = channel.rollable_bytes();
            submit_all(id, rollable, |share| {
                assert!(black_box(channel.check(share, now)).verdict.is_ok());
            });
            channel
        },
    );
}

#[divan::bench(args = ["extended", "standard"])]
fn sri(bencher: Bencher<'_, '_>, kind: &str) {
    let prefix = move || if kind == "extended" { extended() } else { standard() };
    bencher.counter(ItemsCount::new(SHARES)).with_inputs(|| both(prefix())).bench_local_values(
        |(ours, mut channel, id)| {
            submit_all(id, ours.rollable_bytes(), |share| {
                assert!(black_box(channel.check(share)).is_ok());
            });
            channel
        },
    );
}
