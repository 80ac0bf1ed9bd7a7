//! Who searches where: extranonce prefixes, unique over all connections of a pool.
//!
//! A full extranonce has 12 bytes. A proxy gets 2 bytes of prefix and rolls 10; a device gets 4 and
//! rolls 8; a standard channel has all 12 fixed. The first bit tells proxies from devices, so that
//! no prefix is the start of another, and neither can use up the other's room.
//!
//! A freed prefix whose shares were credited is given out again only with work of a later tip,
//! three further on: on the same tip, or should the chain go back to it, its former owner's shares
//! could be submitted a second time. One with which nothing was earned is given out next, so that
//! nobody uses them up by opening channels and closing them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::coinbase::EXTRANONCE_BYTES;

/// Rollable bytes of a device's channel.
pub const DEVICE_ROLLABLE_BYTES: usize = EXTRANONCE_BYTES - DEVICE_PREFIX_BYTES;
/// Rollable bytes of a proxy's channel.
pub const PROXY_ROLLABLE_BYTES: usize = EXTRANONCE_BYTES - PROXY_PREFIX_BYTES;

const PROXY_PREFIX_BYTES: usize = 2;
const DEVICE_PREFIX_BYTES: usize = 4;
/// Proxies at a time: the first bit of their two bytes is 0.
const PROXIES: u32 = 1 << 15;
/// Devices at a time: the first bit of their four bytes is 1.
const DEVICES: u32 = 1 << 31;
/// Tips that must pass before a prefix is used again: as many as a channel remembers shares of.
const REUSE_AFTER_TIPS: u64 = 3;

/// Hands out prefixes. Cheap to clone; all clones are one. Its lock is taken when channels open and
/// close, never for a share.
#[derive(Debug, Clone)]
pub struct ExtranonceAllocator {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// Counts tip changes.
    epoch: u64,
    proxies: Ids,
    devices: Ids,
    /// Prefixes in use.
    live: usize,
    /// The most that may be.
    live_max: usize,
}

/// Numbers from 0 up, with those to be used again.
#[derive(Debug, Default)]
struct Ids {
    next: u32,
    /// Nothing was credited to these: no more than were in use at a time.
    unworked: Vec<u32>,
    /// In the order in which they became free, each with the epoch of that. Each has cost a share.
    freed: VecDeque<(u64, u32)>,
}

impl Ids {
    fn take(&mut self, epoch: u64, limit: u32) -> Option<u32> {
        if let Some((freed_in, id)) = self.freed.front().copied()
            && freed_in.saturating_add(REUSE_AFTER_TIPS) <= epoch
        {
            self.freed.pop_front();
            return Some(id);
        }
        if let Some(id) = self.unworked.pop() {
            return Some(id);
        }
        let id = self.next;
        (id < limit).then(|| {
            self.next += 1;
            id
        })
    }
}

/// A prefix in use; free again when it is dropped.
#[derive(Debug)]
pub struct ExtranoncePrefix {
    state: Arc<Mutex<State>>,
    kind: Kind,
    id: u32,
    has_worked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Proxy,
    Device,
    Standard,
}

impl ExtranonceAllocator {
    /// At most `live_max` prefixes are in use at a time.
    pub fn new(live_max: usize) -> Self {
        let (proxies, devices) = (Ids::default(), Ids::default());
        let state = State { epoch: 0, proxies, devices, live: 0, live_max };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// A prefix for an extended channel that needs at least `rollable` bytes and will work on the
    /// tip of `epoch`; `None` if nobody gets so many or all are in use.
    pub fn extended(&self, rollable: usize, epoch: u64) -> Option<ExtranoncePrefix> {
        match rollable {
            0..=DEVICE_ROLLABLE_BYTES => self.take(Kind::Device, epoch),
            _ if rollable <= PROXY_ROLLABLE_BYTES => self.take(Kind::Proxy, epoch),
            _ => None,
        }
    }

    /// The whole extranonce of a standard channel that will work on the tip of `epoch`; `None` if
    /// all are in use.
    pub fn standard(&self, epoch: u64) -> Option<ExtranoncePrefix> {
        self.take(Kind::Standard, epoch)
    }

    /// Notes that the tip moved, and gives the epoch of the new one.
    pub fn tip_moved(&self) -> u64 {
        let mut state = self.lock();
        state.epoch += 1;
        state.epoch
    }

    /// `epoch` is that of the work that the taker has: it may lag behind the newest.
    fn take(&self, kind: Kind, epoch: u64) -> Option<ExtranoncePrefix> {
        let mut state = self.lock();
        if state.live >= state.live_max {
            return None;
        }
        let id = match kind {
            Kind::Proxy => state.proxies.take(epoch, PROXIES),
            Kind::Device | Kind::Standard => state.devices.take(epoch, DEVICES),
        }?;
        state.live += 1;
        let state = Arc::clone(&self.state);
        Some(ExtranoncePrefix { state, kind, id, has_worked: false })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing panics while it is held; if it did, the counters would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ExtranoncePrefix {
    /// Notes that a share with it was accepted.
    pub fn note_work(&mut self) {
        self.has_worked = true;
    }

    /// The bytes, in the order in which they stand in the coinbase.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = match self.kind {
            Kind::Proxy => self.id.to_be_bytes().into_iter().skip(2).collect(),
            Kind::Device | Kind::Standard => (DEVICES | self.id).to_be_bytes().to_vec(),
        };
        if self.kind == Kind::Standard {
            bytes.resize(EXTRANONCE_BYTES, 0);
        }
        bytes
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
        match self.has_worked {
            true => ids.freed.push_back((epoch, self.id)),
            false => ids.unworked.push(self.id),
        }
        state.live = state.live.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocator() -> ExtranonceAllocator {
        ExtranonceAllocator::new(usize::MAX)
    }

    /// The bytes of a prefix that earned something and is free again.
    fn worked(mut prefix: ExtranoncePrefix) -> Vec<u8> {
        prefix.note_work();
        prefix.to_bytes()
    }

    #[test]
    fn prefixes_are_not_used_up_by_channels_that_earn_nothing() {
        let all = allocator();
        let kept = all.extended(10, 0).unwrap();
        let opened: std::collections::BTreeSet<_> =
            (0..100_000).map(|_| all.extended(10, 0).unwrap().to_bytes()).collect();
        assert_eq!(opened.len(), 1);
        assert!(!opened.contains(&kept.to_bytes()));
        let both = [all.extended(10, 0).unwrap(), all.extended(10, 0).unwrap()];
        assert_ne!(both[0].to_bytes(), both[1].to_bytes());
    }

    /// Spec 5.1.2.1: the whole extranonce is prefix and rollable part.
    #[test]
    fn prefix_and_rollable_bytes_always_add_up() {
        let all = allocator();
        for prefix in [all.extended(2, 0), all.extended(8, 0), all.extended(10, 0), all.standard(0)]
        {
            let prefix = prefix.unwrap();
            let whole = prefix.to_bytes().len() + prefix.rollable_bytes();
            assert_eq!(whole, EXTRANONCE_BYTES);
        }
        assert!(all.extended(11, 0).is_none());
    }

    /// Spec 5.1: no two channels search the same space.
    /// Flaw 11: extranonces are handed out, not drawn, so that none is given twice.
    #[test]
    fn no_prefix_is_the_start_of_another() {
        let all = allocator();
        let held: Vec<_> = (0..300)
            .map(|index| match index % 3 {
                0 => all.extended(10, 0).unwrap(),
                1 => all.extended(8, 0).unwrap(),
                _ => all.standard(0).unwrap(),
            })
            .collect();
        let bytes: Vec<_> = held.iter().map(ExtranoncePrefix::to_bytes).collect();
        for (index, a) in bytes.iter().enumerate() {
            for (other, b) in bytes.iter().enumerate() {
                assert!(index == other || !b.starts_with(a), "{a:?} starts {b:?}");
            }
        }
    }

    /// Flaw 12: nobody gets the extranonce that another has just used.
    #[test]
    fn a_freed_prefix_is_used_again_only_three_tips_later() {
        let all = allocator();
        let first = worked(all.extended(8, 0).unwrap());
        for _ in 0..2 {
            let epoch = all.tip_moved();
            assert_ne!(worked(all.extended(8, epoch).unwrap()), first);
        }
        let epoch = all.tip_moved();
        assert_eq!(all.extended(8, epoch).unwrap().to_bytes(), first);
    }

    #[test]
    fn a_taker_that_is_behind_gets_no_prefix_that_was_used_on_its_tip() {
        let all = allocator();
        let first = worked(all.extended(8, 0).unwrap());
        for _ in 0..9 {
            all.tip_moved();
        }
        assert_ne!(all.extended(8, 0).unwrap().to_bytes(), first);
    }

    #[test]
    fn proxies_and_devices_do_not_take_each_others_room() {
        let all = allocator();
        let proxies: Vec<_> = std::iter::from_fn(|| all.extended(10, 0)).collect();
        assert_eq!(proxies.len(), 32_768);
        assert!(all.extended(8, 0).is_some());
    }

    #[test]
    fn no_more_are_in_use_than_the_limit_allows() {
        let all = ExtranonceAllocator::new(2);
        let (first, _second) = (all.extended(8, 0).unwrap(), all.standard(0).unwrap());
        assert!(all.extended(8, 0).is_none());
        drop(first);
        assert!(all.extended(8, 0).is_some());
    }
}
