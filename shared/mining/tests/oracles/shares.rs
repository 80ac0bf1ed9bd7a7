//! The judgement of shares against SRI's server channels: the same templates, tips, targets and
//! shares go to both, and both must say the same of each share, down to the hash.
//!
//! Both make the same coinbase, because our tag is what SRI makes of the pool's name and SRI's
//! extranonce has our size. On purpose we differ from SRI in the following, and nothing else:
//!
//! - nTime: SRI has no clock and lets it run 7200 s ahead of the job's minimum; we let it run 7000
//!   s ahead of the time that has passed. Random shares come 200 s after their jobs, where the two
//!   are one.
//! - A hard block: SRI credits a block even if it misses the job's target; we credit only what
//!   meets the job's target, and hand on the block all the same.
//! - A rejected block: we look for a block before any reason to reject the share.
//! - A forgotten job: of a past tip we keep the last four jobs; older ones are unknown instead of
//!   stale. Either way the share does not count.
//! - A bare coinbase: SRI gives every coinbase a witness; we give one only where the template has a
//!   witness commitment, for without it consensus forbids a witness.
//! - Size first: we look at the size of the extranonce before the job. Either way it is rejected.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use mining::extranonce::{ExtranonceAllocator, ExtranoncePrefix};
use mining::template::Template;

use crate::bench::Bench;
use crate::property;
use crate::samples::{HARD_NBITS, Sample, commitment};
use crate::script::{JobChoice, Share, Size, Step, script};

/// Plays random scripts on channels whose prefix `allocate` gives, after some others, and checks
/// that every verdict in `words` was heard.
fn agree_with_sri(allocate: fn(&ExtranonceAllocator) -> Option<ExtranoncePrefix>, words: &[&str]) {
    let heard = RefCell::new(BTreeMap::<_, u32>::new());
    property((0..50_usize, script()), |(others, steps)| {
        let all = ExtranonceAllocator::new(64);
        let _others: Vec<_> = (0..others).map(|_| allocate(&all).unwrap()).collect();
        let mut bench = Bench::new(allocate(&all).unwrap());
        for step in &steps {
            if let Some(word) = bench.play(step)? {
                *heard.borrow_mut().entry(word).or_default() += 1;
            }
        }
        Ok(())
    });
    let heard = heard.into_inner();
    for word in words {
        assert!(heard.contains_key(word), "{word:?} was never heard, but {heard:?}");
    }
}

/// Verdicts that random shares of any channel meet with.
const WORDS: [&str; 10] = [
    "valid",
    "block",
    "hard block",
    "rejected block",
    "stale",
    "unknown",
    "low",
    "duplicate",
    "ntime",
    "version",
];

#[test]
fn shares_of_a_device_are_judged_as_sri_does() {
    let words = [&WORDS[..], &["size", "size first"]].concat();
    agree_with_sri(|all| all.extended(8, 0), &words);
}

/// Spec 5.3.12: shares of extended channels are judged as SRI does.
#[test]
fn shares_of_a_proxy_are_judged_as_sri_does() {
    let words = [&WORDS[..], &["size", "size first"]].concat();
    agree_with_sri(|all| all.extended(10, 0), &words);
}

/// Spec 5.3.11: shares of standard channels are judged as SRI does.
#[test]
fn shares_of_a_standard_channel_are_judged_as_sri_does() {
    agree_with_sri(|all| all.standard(0), &WORDS);
}

/// A device's channel on both sides after one template.
fn simple_bench(nbits: u32) -> Bench {
    let mut bench = Bench::new(ExtranonceAllocator::new(64).extended(8, 0).unwrap());
    bench.play(&simple_tip(nbits)).unwrap();
    bench
}

fn simple_sample() -> Sample {
    let output = commitment([7; 32]);
    let template = Template {
        id: 0,
        version: 0x2000_0000,
        coinbase_version: 2,
        coinbase_prefix: vec![0x03, 0x40, 0xe2, 0x01].into(),
        coinbase_sequence: u32::MAX,
        value_remaining: 0,
        outputs_count: 1,
        outputs: bitcoin::consensus::serialize(&output).into(),
        coinbase_locktime: 0,
        merkle_path: vec![[1; 32]],
    };
    Sample { template, payouts: Vec::new() }
}

fn simple_tip(nbits: u32) -> Step {
    let (named, others) = (simple_sample(), Vec::new());
    Step::Tip { named, others, nbits, seconds: 0, same_block: false }
}

fn simple_share(nonce: u32) -> Share {
    Share {
        job: JobChoice::Newest,
        nonce,
        ntime: 0,
        flipped: 0,
        extranonce: vec![0; 11],
        size: Size::Right,
        again: None,
    }
}

#[test]
fn both_keep_as_many_jobs_of_a_tip_and_forget_the_oldest() {
    let mut bench = simple_bench(HARD_NBITS);
    for _ in 1..40 {
        bench.play(&Step::Repeat).unwrap();
    }
    let mut words = Vec::new();
    for at in 0..40 {
        let share = Share { job: JobChoice::Nth(at), ..simple_share(at.try_into().unwrap()) };
        words.push(bench.play(&Step::Share(share)).unwrap().unwrap());
    }
    assert_eq!(words, [["unknown"; 8].as_slice(), &["valid"; 32]].concat());
}

#[test]
fn ntime_ends_at_7000_seconds_plus_the_time_that_has_passed_and_in_sri_at_7200() {
    for (elapsed, ntime, ours, sri) in [
        (0, 7_000, true, true),
        (0, 7_001, false, true),
        (0, 7_200, false, true),
        (0, 7_201, false, false),
        (200, 7_200, true, true),
        (200, 7_201, false, false),
        (3_600, 10_600, true, false),
        (3_600, 10_601, false, false),
        (3_600, 0, true, true),
    ] {
        let mut bench = simple_bench(HARD_NBITS);
        let share = Share { ntime, ..simple_share(1) };
        let took = bench.both_take(&share, Duration::from_secs(elapsed));
        assert_eq!(took, (ours, sri), "nTime {ntime} s ahead after {elapsed} s");
    }
}
