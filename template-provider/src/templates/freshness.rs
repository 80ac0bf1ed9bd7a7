//! What is worth sending: a new tip always, the same tip only for more money, another difficulty,
//! other messages of the node, or its own template after a stopgap.

use std::time::Instant;

use crate::block_template::BlockTemplate;

/// What clients have now.
#[derive(Debug, Clone, Copy)]
pub struct Present<'a> {
    /// The template that was published last.
    pub template: &'a BlockTemplate,
    /// The tip that was seen last: another one than the template's, if none could be made on it.
    pub tip: [u8; 32],
    /// Height of the block to be mined on it.
    pub height: u32,
    /// When the first answer of the node with this tip had come.
    pub tip_seen_at: Instant,
}

/// When a template was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// It shows the node's state at this moment or later.
    pub at: Instant,
    /// When its tip was first heard of, by any signal; `None` if nobody can tell.
    pub tip_heard_at: Option<Instant>,
}

/// What to do with a template of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It builds on another block, or on the same one with another difficulty: everybody needs it
    /// at once, and the old work is no longer worth anything.
    NewTip,
    /// It is the first of the node's own on a tip for which there was only a stopgap.
    Fuller,
    /// It pays enough more than the last.
    PaysMore,
    /// It pays no less, and the node wants other messages in the coinbase: a sidechain's bid was
    /// accepted, a vote was cast.
    OtherMessages,
    /// Nothing that would be worth a new job.
    NoGain,
    /// It builds on another tip than the last, and was asked for before that was seen; or shows the
    /// difficulty from before it changed: the node's answer was overtaken by a later one on another
    /// connection.
    Outdated,
}

/// Judges `new`, which shows the node's state at `asked_at` or later.
pub fn judge(
    present: Option<Present<'_>>,
    new: &BlockTemplate,
    asked: Asked,
    fee_delta_sats: u64,
) -> Freshness {
    let Some(present) = present else { return Freshness::NewTip };
    let template = present.template;
    if new.prev_hash != present.tip && is_overtaken(present, new, asked) {
        return Freshness::Outdated;
    }
    if new.prev_hash != template.prev_hash {
        return Freshness::NewTip;
    }
    // The node's own is there already, or another stopgap is.
    if new.is_stopgap {
        return Freshness::NoGain;
    }
    // Miners roll nTime from where the stopgap said, which only SetNewPrevHash can correct.
    if template.is_stopgap {
        let stands = new.nbits == template.nbits && new.mintime <= template.header_timestamp();
        return if stands { Freshness::Fuller } else { Freshness::NewTip };
    }
    // Chains with blocks of minimum difficulty (testnet4) change nBits without a new block, when
    // nTime is 20 minutes past the last. Only SetNewPrevHash carries nBits, so that this is a new
    // tip to clients. The node's clock tells which answer is the later one.
    if new.nbits != template.nbits {
        return match new.curtime < template.curtime {
            true => Freshness::Outdated,
            false => Freshness::NewTip,
        };
    }
    // The subsidy is the same on one tip, so that the whole value tells what the fees do, even
    // where the node does not state them.
    let gain = new.coinbase_value.saturating_sub(template.coinbase_value);
    if gain >= fee_delta_sats.max(1) {
        return Freshness::PaysMore;
    }
    let has_other_messages = new.given_outputs != template.given_outputs;
    match has_other_messages && new.coinbase_value >= template.coinbase_value {
        true => Freshness::OtherMessages,
        false => Freshness::NoGain,
    }
}

/// True if `new`, on another tip than was seen last, may be from before that. A long poll waits
/// long enough to sleep through one tip and bring the next: that was heard of after the last one,
/// and builds on more blocks. Either alone is not enough: an answer about a tip that stood for a
/// moment may be the first to tell of it, and come late; and a reorg may leave a higher tip.
fn is_overtaken(present: Present<'_>, new: &BlockTemplate, asked: Asked) -> bool {
    let is_heard_later = asked.tip_heard_at.is_some_and(|at| at > present.tip_seen_at);
    asked.at < present.tip_seen_at && !(is_heard_later && new.height > present.height)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::block_template::Output;
    use crate::templates::samples::offer;

    fn paying(value: u64) -> BlockTemplate {
        BlockTemplate { coinbase_value: value, ..offer(&[]) }
    }

    fn on(tip: u8, value: u64) -> BlockTemplate {
        BlockTemplate { prev_hash: [tip; 32], ..paying(value) }
    }

    /// Clients have `template`, whose tip was first answered at `tip_seen_at`.
    fn after(template: &BlockTemplate, tip_seen_at: Instant) -> Option<Present<'_>> {
        let (tip, height) = (template.prev_hash, template.height);
        Some(Present { template, tip, height, tip_seen_at })
    }

    fn asked(at: Instant) -> Asked {
        Asked { at, tip_heard_at: None }
    }

    #[test]
    fn the_first_template_is_a_new_tip() {
        assert_eq!(judge(None, &paying(1), asked(Instant::now()), 1000), Freshness::NewTip);
    }

    #[test]
    fn on_the_same_tip_only_a_gain_counts() {
        let now = Instant::now();
        let last = on(1, 10_000);
        let present = after(&last, now);
        assert_eq!(judge(present, &on(1, 10_999), asked(now), 1000), Freshness::NoGain);
        assert_eq!(judge(present, &on(1, 11_000), asked(now), 1000), Freshness::PaysMore);
        assert_eq!(judge(present, &on(1, 9_000), asked(now), 1000), Freshness::NoGain);
        assert_eq!(
            judge(present, &on(1, 10_000), asked(now), 0),
            Freshness::NoGain,
            "no gain at all"
        );
    }

    #[test]
    fn other_messages_of_the_node_count_unless_they_cost_something() {
        let now = Instant::now();
        let last = on(1, 10_000);
        let present = after(&last, now);
        let given_outputs = vec![Output::valueless([0x6a].to_vec())];
        let same = BlockTemplate { given_outputs: given_outputs.clone(), ..on(1, 10_000) };
        assert_eq!(judge(present, &same, asked(now), 1000), Freshness::OtherMessages);
        let less = BlockTemplate { given_outputs, ..on(1, 9_999) };
        assert_eq!(judge(present, &less, asked(now), 1000), Freshness::NoGain);
    }

    #[test]
    fn another_difficulty_on_the_same_tip_is_a_new_tip_whatever_it_pays() {
        let now = Instant::now();
        let last = on(1, 10_000);
        let present = after(&last, now);
        for value in [9_000, 10_000, 20_000] {
            let easier =
                BlockTemplate { nbits: 0x1d00_ffff, curtime: last.curtime + 1201, ..on(1, value) };
            assert_eq!(judge(present, &easier, asked(now), 1000), Freshness::NewTip, "{value}");
        }
    }

    #[test]
    fn the_difficulty_from_before_its_change_is_outdated() {
        let now = Instant::now();
        let last = BlockTemplate { nbits: 0x1d00_ffff, ..on(1, 10_000) };
        let present = after(&last, now);
        let overtaken = BlockTemplate { curtime: last.curtime - 1, ..on(1, 20_000) };
        assert_eq!(judge(present, &overtaken, asked(now), 1000), Freshness::Outdated);
    }

    fn stopgap(tip: u8, value: u64) -> BlockTemplate {
        BlockTemplate { is_stopgap: true, ..on(tip, value) }
    }

    #[test]
    fn the_nodes_own_template_follows_a_stopgap_whatever_it_pays() {
        let now = Instant::now();
        let last = stopgap(1, 10_000);
        let present = after(&last, now);
        for value in [9_000, 10_000, 10_001, 20_000] {
            assert_eq!(
                judge(present, &on(1, value), asked(now), 1000),
                Freshness::Fuller,
                "{value}"
            );
        }
    }

    #[test]
    fn a_stopgap_that_was_wrong_about_the_header_is_followed_by_a_new_tip() {
        let now = Instant::now();
        let last = stopgap(1, 10_000);
        let present = after(&last, now);
        let harder = BlockTemplate { nbits: 0x1d00_ffff, ..on(1, 10_000) };
        assert_eq!(judge(present, &harder, asked(now), 1000), Freshness::NewTip);
        let mintime = last.header_timestamp() + 1;
        let later = BlockTemplate { mintime, ..on(1, 10_000) };
        assert_eq!(judge(present, &later, asked(now), 1000), Freshness::NewTip);
    }

    #[test]
    fn a_stopgap_never_replaces_a_template_of_its_tip() {
        let now = Instant::now();
        for last in [on(1, 10_000), stopgap(1, 10_000)] {
            let present = after(&last, now);
            for nbits in [last.nbits, 0x1d00_ffff] {
                let late = BlockTemplate { nbits, ..stopgap(1, 50_000) };
                assert_eq!(judge(present, &late, asked(now), 1000), Freshness::NoGain);
            }
        }
    }

    #[test]
    fn a_stopgap_of_another_tip_is_a_new_tip_unless_it_was_overtaken() {
        let start = Instant::now();
        let later = start + Duration::from_millis(1);
        let last = on(2, 10_000);
        let present = after(&last, later);
        assert_eq!(judge(present, &stopgap(1, 1), asked(start), 1000), Freshness::Outdated);
        assert_eq!(judge(present, &stopgap(3, 1), asked(later), 1000), Freshness::NewTip);
    }

    #[test]
    fn another_tip_counts_unless_it_was_asked_for_before_the_present_one_was_seen() {
        let start = Instant::now();
        let later = start + Duration::from_millis(1);
        let last = on(2, 10_000);
        let present = after(&last, later);
        assert_eq!(judge(present, &on(1, 10_000), asked(start), 1000), Freshness::Outdated);
        assert_eq!(
            judge(present, &on(1, 10_000), asked(later), 1000),
            Freshness::NewTip,
            "a reorg back"
        );
    }

    #[test]
    fn a_tip_without_a_template_leaves_the_one_before_outdated() {
        let start = Instant::now();
        let later = start + Duration::from_millis(1);
        let last = on(1, 10_000);
        let present = Some(Present { tip: [2; 32], ..after(&last, later).unwrap() });
        assert_eq!(judge(present, &on(1, 20_000), asked(start), 1000), Freshness::Outdated);
        assert_eq!(
            judge(present, &on(1, 20_000), asked(later), 1000),
            Freshness::PaysMore,
            "a reorg back"
        );
        assert_eq!(
            judge(present, &on(2, 10_000), asked(start), 1000),
            Freshness::NewTip,
            "as missing"
        );
    }

    #[test]
    fn the_tip_after_the_present_one_counts_even_if_it_was_asked_for_before_that_was_seen() {
        let start = Instant::now();
        let (seen, later) = (start + Duration::from_millis(1), start + Duration::from_millis(2));
        let last = on(2, 10_000);
        let present = after(&last, seen);
        let next = BlockTemplate { height: last.height + 1, ..on(3, 10_000) };
        let asked = Asked { at: start, tip_heard_at: Some(later) };
        assert_eq!(judge(present, &next, asked, 1000), Freshness::NewTip);
        let short_lived = BlockTemplate { height: last.height, ..on(1, 10_000) };
        assert_eq!(judge(present, &short_lived, asked, 1000), Freshness::Outdated);
        for tip_heard_at in [Some(start), None] {
            let left = Asked { at: start, tip_heard_at };
            assert_eq!(judge(present, &next, left, 1000), Freshness::Outdated, "a reorg");
        }
    }
}
