//! Which provider's template is mined: the first in the order of the config that has one.
//!
//! A later provider's templates are kept, so that its work is there the moment the first is lost.
//! With none left, the last work stays with the miners. It only chooses; it connects to nobody.

use std::sync::Arc;

use mining::template::{ChainTip, Template};

/// A template and the tip that it builds on.
pub type Mineable = (Arc<ChainTip>, Arc<Template>);

/// The newest template of each provider.
#[derive(Debug)]
pub struct Choice {
    /// In the order of the config.
    newest: Vec<Option<Mineable>>,
}

impl Choice {
    /// Nobody of `providers` has a template yet.
    pub fn new(providers: usize) -> Self {
        Self { newest: vec![None; providers] }
    }

    /// Takes a template of `provider`; gives it back if it is the one to mine.
    pub fn take(&mut self, provider: usize, mineable: Mineable) -> Option<Mineable> {
        let slot = self.newest.get_mut(provider)?;
        *slot = Some(mineable);
        let chosen = self.newest.iter().position(Option::is_some);
        if chosen == Some(provider) { self.first() } else { None }
    }

    /// Notes that `provider` is gone; gives what to mine instead, if that changes anything.
    pub fn lose(&mut self, provider: usize) -> Option<Mineable> {
        let chosen = self.newest.iter().position(Option::is_some);
        *self.newest.get_mut(provider)? = None;
        if chosen == Some(provider) { self.first() } else { None }
    }

    /// True while any provider has a template.
    pub fn is_served(&self) -> bool {
        self.first().is_some()
    }

    fn first(&self) -> Option<Mineable> {
        self.newest.iter().flatten().next().cloned()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mining::target::Target;

    use super::*;

    fn mineable(id: u64) -> Mineable {
        let tip = ChainTip { hash: [0; 32], header_timestamp: 0, nbits: 0, target: Target::MAX };
        let template = Template {
            id,
            version: 0,
            coinbase_version: 2,
            coinbase_prefix: Bytes::new(),
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
        let mut choice = Choice::new(2);
        assert_eq!(id(choice.take(1, mineable(20))), Some(20));
        assert_eq!(id(choice.take(0, mineable(10))), Some(10));
        assert_eq!(id(choice.take(1, mineable(21))), None);
        assert_eq!(id(choice.lose(0)), Some(21));
        assert_eq!(id(choice.take(0, mineable(11))), Some(11));
    }

    #[test]
    fn losing_a_provider_that_is_not_mined_changes_nothing() {
        let mut choice = Choice::new(2);
        choice.take(0, mineable(10));
        choice.take(1, mineable(20));
        assert_eq!(id(choice.lose(1)), None);
        assert!(choice.is_served());
        assert_eq!(id(choice.lose(0)), None);
        assert!(!choice.is_served());
    }
}
