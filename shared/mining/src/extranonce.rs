//! Who searches where: extranonce prefixes, unique over all connections of a pool.
//!
//! A full extranonce has 12 bytes. A proxy gets 2 bytes of prefix and rolls 10; a device gets 4 and
//! rolls 8; a standard channel has all 12 fixed. Proxies take their first two bytes from below,
//! devices share first two bytes taken from above, so that no prefix is the start of another.
//!
//! A freed prefix is given out again only after the chain tip has moved: until then its former
//! owner's shares could be submitted a second time under the new one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::coinbase::EXTRANONCE_BYTES;

/// Rollable bytes of a device's channel.
pub const DEVICE_ROLLABLE_BYTES: usize = EXTRANONCE_BYTES - DEVICE_PREFIX_BYTES;
/// Rollable bytes of a proxy's channel.
pub const PROXY_ROLLABLE_BYTES: usize = EXTRANONCE_BYTES - PROXY_PREFIX_BYTES;

const PROXY_PREFIX_BYTES: usize = 2;
const DEVICE_PREFIX_BYTES: usize = 4;
/// Devices that share the first two bytes.
const DEVICES_IN_A_BLOCK: u32 = 1 << 16;
/// Values of the first two bytes.
const BLOCKS: u32 = 1 << 16;

/// Hands out prefixes. Cheap to clone; all clones are one. Its lock is taken when channels open and
/// close, never for a share.
#[derive(Debug, Clone, Default)]
pub struct ExtranonceAllocator {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Counts tip changes.
    epoch: u64,
    proxies: Ids,
    devices: Ids,
}

/// Numbers from 0 up, with those to be used again in the order in which they became free.
#[derive(Debug, Default)]
struct Ids {
    next: u32,
    freed: VecDeque<(u64, u32)>,
}

impl Ids {
    fn take(&mut self, epoch: u64, limit: u32) -> Option<u32> {
        if let Some((freed_in, id)) = self.freed.front().copied()
            && freed_in < epoch
        {
            self.freed.pop_front();
            return Some(id);
        }
        let id = self.next;
        (id < limit).then(|| {
            self.next += 1;
            id
        })
    }
}

impl State {
    /// Blocks that devices have begun, counted from above.
    fn device_blocks(&self) -> u32 {
        self.devices.next.div_ceil(DEVICES_IN_A_BLOCK)
    }
}

/// A prefix in use; free again when it is dropped.
#[derive(Debug)]
pub struct ExtranoncePrefix {
    state: Arc<Mutex<State>>,
    kind: Kind,
    id: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Proxy,
    Device,
    Standard,
}

impl ExtranonceAllocator {
    /// A prefix for an extended channel that needs at least `rollable` bytes; `None` if nobody gets
    /// so many or all are in use.
    pub fn extended(&self, rollable: usize) -> Option<ExtranoncePrefix> {
        match rollable {
            0..=DEVICE_ROLLABLE_BYTES => self.take(Kind::Device),
            _ if rollable <= PROXY_ROLLABLE_BYTES => self.take(Kind::Proxy),
            _ => None,
        }
    }

    /// The whole extranonce of a standard channel; `None` if all are in use.
    pub fn standard(&self) -> Option<ExtranoncePrefix> {
        self.take(Kind::Standard)
    }

    /// Notes that the tip moved: prefixes freed before may be used again.
    pub fn tip_moved(&self) {
        self.lock().epoch += 1;
    }

    fn take(&self, kind: Kind) -> Option<ExtranoncePrefix> {
        let mut state = self.lock();
        let epoch = state.epoch;
        let id = match kind {
            Kind::Proxy => {
                let limit = BLOCKS - state.device_blocks();
                state.proxies.take(epoch, limit)
            }
            Kind::Device | Kind::Standard => {
                let blocks = BLOCKS - state.proxies.next;
                let limit = blocks.saturating_mul(DEVICES_IN_A_BLOCK);
                state.devices.take(epoch, limit)
            }
        }?;
        Some(ExtranoncePrefix { state: Arc::clone(&self.state), kind, id })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing panics while it is held; if it did, the counters would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ExtranoncePrefix {
    /// The bytes, in the order in which they stand in the coinbase.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (low, high) = (self.id % DEVICES_IN_A_BLOCK, self.id / DEVICES_IN_A_BLOCK);
        match self.kind {
            Kind::Proxy => low.to_be_bytes().into_iter().skip(2).collect(),
            Kind::Device | Kind::Standard => {
                let block = (BLOCKS - 1) - high;
                let mut bytes = ((block << 16) | low).to_be_bytes().to_vec();
                if self.kind == Kind::Standard {
                    bytes.resize(EXTRANONCE_BYTES, 0);
                }
                bytes
            }
        }
    }

    /// Bytes that the miner may roll.
    pub fn rollable_bytes(&self) -> usize {
        match self.kind {
            Kind::Proxy => PROXY_ROLLABLE_BYTES,
            Kind::Device => DEVICE_ROLLABLE_BYTES,
            Kind::Standard => 0,
        }
    }
}

impl Drop for ExtranoncePrefix {
    fn drop(&mut self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = state.epoch;
        let ids = match self.kind {
            Kind::Proxy => &mut state.proxies,
            Kind::Device | Kind::Standard => &mut state.devices,
        };
        ids.freed.push_back((epoch, self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_and_rollable_bytes_always_add_up() {
        let all = ExtranonceAllocator::default();
        for prefix in [all.extended(2), all.extended(8), all.extended(10), all.standard()] {
            let prefix = prefix.unwrap();
            let whole = prefix.to_bytes().len() + prefix.rollable_bytes();
            assert_eq!(whole, EXTRANONCE_BYTES);
        }
        assert!(all.extended(11).is_none());
    }

    #[test]
    fn no_prefix_is_the_start_of_another() {
        let all = ExtranonceAllocator::default();
        let held: Vec<_> = (0..300)
            .map(|index| match index % 3 {
                0 => all.extended(10).unwrap(),
                1 => all.extended(8).unwrap(),
                _ => all.standard().unwrap(),
            })
            .collect();
        let bytes: Vec<_> = held.iter().map(ExtranoncePrefix::to_bytes).collect();
        for (index, a) in bytes.iter().enumerate() {
            for (other, b) in bytes.iter().enumerate() {
                assert!(index == other || !b.starts_with(a), "{a:?} starts {b:?}");
            }
        }
    }

    #[test]
    fn a_freed_prefix_is_used_again_only_after_the_tip_moved() {
        let all = ExtranonceAllocator::default();
        let first = all.extended(8).unwrap().to_bytes();
        assert_ne!(all.extended(8).unwrap().to_bytes(), first);
        all.tip_moved();
        assert_eq!(all.extended(8).unwrap().to_bytes(), first);
    }

    #[test]
    fn proxies_run_out_where_devices_begin() {
        let all = ExtranonceAllocator::default();
        let _device = all.extended(8).unwrap();
        let proxies: Vec<_> = std::iter::from_fn(|| all.extended(10)).collect();
        assert_eq!(proxies.len(), 65_535);
        assert!(all.extended(8).is_some(), "devices still have their block");
    }
}
