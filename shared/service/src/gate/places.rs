//! Places that are taken and given back, so many in all and so many by one address. It must not
//! wait: who gets none is told so.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::network::Network;

/// All places. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    taken: Arc<Mutex<HashMap<Network, usize>>>,
    max: usize,
    of_one_max: usize,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    source: Network,
}

impl Places {
    /// `max` places, of which one address may have `of_one_max`.
    pub(crate) fn new(max: usize, of_one_max: usize) -> Self {
        Self { taken: Arc::default(), max, of_one_max }
    }

    /// One for who comes from `address`; none if there is no more, or no more for him.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Place> {
        let source = Network::source(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&source).copied().unwrap_or(0);
        if own >= self.of_one_max || taken.values().sum::<usize>() >= self.max {
            return None;
        }
        taken.insert(source, own + 1);
        Some(Place { places: self.clone(), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_every_place_and_each_is_given_back() {
        let places = Places::new(3, 2);
        let take = |it: u8| places.take([10, it, 0, 1].into());
        let mut own = vec![take(1).unwrap(), take(1).unwrap()];
        assert!(take(1).is_none(), "one too many of one address");
        let other = take(2).unwrap();
        assert!(take(3).is_none(), "one too many in all");
        own.pop();
        assert!(take(1).is_some());
        drop((own, other));
        assert!(places.taken.lock().unwrap().is_empty());
    }
}
