//! How many miners there are and what they can do together: what the upstream is told.

use tokio::sync::watch;

/// The miners behind the channel, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MinersTotal {
    /// How many there are.
    pub miners: u32,
    /// Hashes per second of all of them.
    pub hashrate: f64,
}

/// The sum over all miners. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Miners {
    total: watch::Sender<MinersTotal>,
}

impl Default for Miners {
    fn default() -> Self {
        Self { total: watch::Sender::new(MinersTotal::default()) }
    }
}

/// One miner's part of the sum; it is taken out again when this is dropped.
#[derive(Debug)]
pub struct MinerPart {
    total: watch::Sender<MinersTotal>,
    /// What was added; none until the miner works.
    hashrate: Option<f64>,
}

impl Miners {
    /// A part that adds nothing yet.
    pub fn part(&self) -> MinerPart {
        MinerPart { total: self.total.clone(), hashrate: None }
    }

    /// Tells when the sum changes.
    pub fn subscribe(&self) -> watch::Receiver<MinersTotal> {
        self.total.subscribe()
    }
}

impl MinerPart {
    /// Replaces the part, in hashes per second.
    pub fn set(&mut self, hashrate: f64) {
        let old = self.hashrate.replace(hashrate);
        self.total.send_modify(|total| {
            total.miners += u32::from(old.is_none());
            total.hashrate += hashrate - old.unwrap_or_default();
        });
    }
}

impl Drop for MinerPart {
    fn drop(&mut self) {
        let Some(old) = self.hashrate else { return };
        self.total.send_modify(|total| {
            total.miners = total.miners.saturating_sub(1);
            // What rounding left behind must not outlive the last miner.
            let rest = if total.miners == 0 { 0.0 } else { total.hashrate - old };
            total.hashrate = rest.max(0.0);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_follows_miners_that_come_change_and_go() {
        let miners = Miners::default();
        let sum = miners.subscribe();
        let (mut a, mut b) = (miners.part(), miners.part());
        assert_eq!(*sum.borrow(), MinersTotal { miners: 0, hashrate: 0.0 });
        a.set(1e12);
        b.set(5e3);
        a.set(2e12);
        assert_eq!(*sum.borrow(), MinersTotal { miners: 2, hashrate: 2e12 + 5e3 });
        drop(a);
        assert_eq!(*sum.borrow(), MinersTotal { miners: 1, hashrate: 5e3 });
        drop(b);
        assert_eq!(*sum.borrow(), MinersTotal::default());
    }
}
