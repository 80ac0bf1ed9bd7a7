//! Which provider's template is mined: the first in the order of the config that has one, unless it
//! has fallen behind the chain.
//!
//! A later provider's templates are kept, so that its work is there the moment the first is lost.
//! A provider whose node stands still is not lost, and would keep all miners on worthless work: so
//! one that is a block behind another for a while is passed over until it has caught up. With none
//! left, the last work stays with the miners. It only chooses; it connects to nobody.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mining::template::{ChainTip, Template};

/// How long a provider may be behind another: more than a block needs from node to node.
const BEHIND_MAX: Duration = Duration::from_secs(30);

/// A template and the tip that it builds on.
pub type Mineable = (Arc<ChainTip>, Arc<Template>);

/// The newest template of each provider.
#[derive(Debug)]
pub struct Choice {
    /// In the order of the config.
    newest: Vec<Option<Newest>>,
    mined: Option<usize>,
}

#[derive(Debug, Clone)]
struct Newest {
    mineable: Mineable,
    /// Since when another provider has been further.
    behind_since: Option<Instant>,
}

impl Newest {
    fn height(&self) -> Option<u32> {
        self.mineable.1.height()
    }

    fn is_behind(&self, now: Instant) -> bool {
        self.behind_since.is_some_and(|since| now >= since + BEHIND_MAX)
    }
}

impl Choice {
    /// Nobody of `providers` has a template yet.
    pub fn new(providers: usize) -> Self {
        Self { newest: vec![None; providers], mined: None }
    }

    /// Takes a template of `provider`; gives what to mine now, if that is anything new.
    pub fn take(&mut self, provider: usize, mineable: Mineable, now: Instant) -> Option<Mineable> {
        let slot = self.newest.get_mut(provider)?;
        let behind_since = slot.as_ref().and_then(|newest| newest.behind_since);
        *slot = Some(Newest { mineable, behind_since });
        self.choose(now, Some(provider))
    }

    /// Notes that `provider` is gone; gives what to mine instead, if that changes anything.
    pub fn lose(&mut self, provider: usize, now: Instant) -> Option<Mineable> {
        *self.newest.get_mut(provider)? = None;
        self.choose(now, None)
    }

    /// Looks again, at the time that `next_look` named; gives what to mine if that changes.
    pub fn look(&mut self, now: Instant) -> Option<Mineable> {
        self.choose(now, None)
    }

    /// When a provider has been behind for too long.
    pub fn next_look(&self) -> Option<Instant> {
        let mined = self.newest.get(self.mined?)?.as_ref()?;
        mined.behind_since.map(|since| since + BEHIND_MAX)
    }

    /// True while any provider has a template.
    pub fn is_served(&self) -> bool {
        self.mined.is_some()
    }

    /// Which provider is mined.
    pub fn chosen(&self) -> Option<usize> {
        self.mined
    }

    fn choose(&mut self, now: Instant, is_new: Option<usize>) -> Option<Mineable> {
        let furthest = self.newest.iter().flatten().filter_map(Newest::height).max();
        for newest in self.newest.iter_mut().flatten() {
            // One that does not say its height is not known to be behind.
            let is_behind = newest.height().is_some_and(|height| Some(height) < furthest);
            newest.behind_since = match is_behind {
                true => newest.behind_since.or(Some(now)),
                false => None,
            };
        }
        let before = self.mined;
        let is_usable =
            |newest: &Option<Newest>| newest.as_ref().is_some_and(|newest| !newest.is_behind(now));
        self.mined = self.newest.iter().position(is_usable);
        let changed = self.mined != before || (is_new.is_some() && self.mined == is_new);
        let mined = self.newest.get(self.mined?)?.as_ref()?;
        changed.then(|| mined.mineable.clone())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mining::target::Target;

    use super::*;

    fn mineable(id: u64) -> Mineable {
        at_height(id, 1)
    }

    /// A template whose coinbase says its height, at most 16 (BIP34).
    fn at_height(id: u64, height: u8) -> Mineable {
        let tip = ChainTip { hash: [0; 32], header_timestamp: 0, nbits: 0, target: Target::MAX };
        let template = Template {
            id,
            version: 0,
            coinbase_version: 2,
            coinbase_prefix: Bytes::copy_from_slice(&[0x50 + height]),
            coinbase_sequence: 0,
            value_remaining: 0,
            outputs_count: 0,
            outputs: Bytes::new(),
            coinbase_locktime: 0,
            merkle_path: Vec::new(),
        };
        (Arc::new(tip), Arc::new(template))
    }

    fn id(chosen: Option<Mineable>) -> Option<u64> {
        chosen.map(|(_, template)| template.id)
    }

    #[test]
    fn the_first_provider_is_mined_and_the_second_is_kept_for_its_loss() {
        let (mut choice, now) = (Choice::new(2), Instant::now());
        assert_eq!(id(choice.take(1, mineable(20), now)), Some(20));
        assert_eq!(id(choice.take(0, mineable(10), now)), Some(10));
        assert_eq!(id(choice.take(1, mineable(21), now)), None);
        assert_eq!(id(choice.lose(0, now)), Some(21));
        assert_eq!(id(choice.take(0, mineable(11), now)), Some(11));
    }

    #[test]
    fn losing_a_provider_that_is_not_mined_changes_nothing() {
        let (mut choice, now) = (Choice::new(2), Instant::now());
        choice.take(0, mineable(10), now);
        choice.take(1, mineable(20), now);
        assert_eq!(id(choice.lose(1, now)), None);
        assert!(choice.is_served());
        assert_eq!(id(choice.lose(0, now)), None);
        assert!(!choice.is_served());
    }

    #[test]
    fn a_provider_that_stands_still_is_passed_over_until_it_has_caught_up() {
        let (mut choice, now) = (Choice::new(2), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        choice.take(0, at_height(10, 5), now);
        assert_eq!(id(choice.take(1, at_height(20, 6), now)), None, "a block takes its time");
        assert_eq!(choice.next_look(), Some(after(30)));
        // Templates of the same height are no sign of life.
        assert_eq!(id(choice.take(0, at_height(11, 5), after(29))), Some(11));
        assert_eq!(id(choice.look(after(29))), None);
        assert_eq!(id(choice.look(after(30))), Some(20));
        assert_eq!(choice.chosen(), Some(1));
        assert_eq!(id(choice.take(0, at_height(12, 5), after(31))), None);
        assert_eq!(id(choice.take(0, at_height(13, 6), after(60))), Some(13));
    }

    #[test]
    fn a_provider_that_follows_in_time_or_is_alone_stays() {
        let (mut choice, now) = (Choice::new(2), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        choice.take(0, at_height(10, 5), now);
        choice.take(1, at_height(20, 6), now);
        assert_eq!(id(choice.take(0, at_height(11, 6), after(2))), Some(11));
        assert_eq!(choice.next_look(), None);
        choice.take(1, at_height(21, 7), after(5));
        choice.lose(1, after(6));
        assert_eq!(id(choice.look(after(600))), None);
        assert_eq!(choice.chosen(), Some(0));
    }
}
