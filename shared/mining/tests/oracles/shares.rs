//! The judgement of shares against SRI's server channels: the same templates, tips, targets and shares
//! go to both, and both must say the same of each share, down to the hash.
//!
//! Both make the same coinbase, because our tag is what SRI makes of the pool's name and SRI's
//! extranonce has our size. On purpose we differ from SRI in the following, and nothing else:
//!
//! - `ntime_ends`: SRI has no clock and lets nTime run 7200 s ahead of the job's minimum; we let it run
//!   7000 s ahead of the time that has passed. Shares here come 200 s after their jobs, where the two
//!   are one.
//! - `hard_block`: SRI credits a block even if it misses the job's target; we credit only what meets
//!   the job's target, and hand on the block all the same.
//! - `rejected_block`: we look for a block before any reason to reject the share.
//! - `old_stale_job`: of a past tip we keep the last four jobs; older ones are unknown instead of
//!   stale. Either way the share does not count.
//! - `bare_coinbase`: SRI gives every coinbase a witness; we give one only where the template has a
//!   witness commitment, for without it consensus forbids a witness.
//! - `size_first`: we look at the size of the extranonce before the job. Either way it is rejected.

use std::cell::RefCell;
use std::collections::BTreeMap;

use mining::extranonce::{ExtranonceAllocator, ExtranoncePrefix};

use crate::bench::Bench;
use crate::property;
use crate::script::script;

/// Plays random scripts on channels whose prefix `allocate` gives, after some others, and checks that
/// every verdict in `words` was heard.
fn agree_with_sri(allocate: fn(&ExtranonceAllocator) -> Option<ExtranoncePrefix>, words: &[&str]) {
    let heard = RefCell::new(BTreeMap::<_, u32>::new());
    property((0..50_usize, script()), |(others, steps)| {
        let all = ExtranonceAllocator::default();
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
    agree_with_sri(|all| all.extended(8), &words);
}

#[test]
fn shares_of_a_proxy_are_judged_as_sri_does() {
    let words = [&WORDS[..], &["size", "size first"]].concat();
    agree_with_sri(|all| all.extended(10), &words);
}

#[test]
fn shares_of_a_standard_channel_are_judged_as_sri_does() {
    agree_with_sri(ExtranonceAllocator::standard, &WORDS);
}
