//! What a new template costs once, before any connection hears of it. Not a test: `cargo bench -p
//! pool-sv2`.

#![allow(clippy::unwrap_used, reason = "a benchmark says what it expects")]

use std::sync::Arc;
use std::time::Instant;

use divan::Bencher;
use mining::coinbase::Output;
use mining::job::Job;
use mining::target::Target;
use mining::template::{ChainTip, Template};
use pool_sv2::work::Work;

const NTIME: u32 = 1_700_000_000;
const N_BITS: u32 = 0x1701_ffff;
/// Merkle hashes of a block of four thousand transactions.
const MERKLE_PATH: usize = 12;

fn main() {
    divan::main();
}

fn template() -> Arc<Template> {
    let mut outputs = vec![0; 8];
    outputs.extend([38, 0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed]);
    outputs.extend([7; 32]);
    Arc::new(Template {
        id: 1,
        version: 0x2000_0000,
        coinbase_version: 2,
        coinbase_prefix: vec![3, 0x50, 0xf8, 0x0c].into(),
        coinbase_sequence: u32::MAX,
        value_remaining: 312_500_000,
        outputs_count: 1,
        outputs: outputs.into(),
        coinbase_locktime: 0,
        merkle_path: vec![[3; 32]; MERKLE_PATH],
    })
}

/// From a template to the frames that all connections get.
#[divan::bench]
fn template_to_work(bencher: Bencher<'_, '_>) {
    let target = Target::from_nbits(N_BITS).unwrap();
    let tip = ChainTip { hash: [3; 32], header_timestamp: NTIME, nbits: N_BITS, target };
    let (tip, template) = (Arc::new(tip), template());
    let script = [&[0, 20][..], &[9; 20]].concat();
    let payout = [Output { value: 312_500_000, script: script.into() }];
    let now = Instant::now();
    bencher.bench(|| {
        let job = Job::new(Arc::clone(&tip), Arc::clone(&template), b"/Adit/", &payout).unwrap();
        Work::new(Arc::new(job), 1, NTIME, now).unwrap()
    });
}
