//! Room that a node is asked to leave in its templates, for what stands in the coinbase.
//!
//! Without it a template may have to be trimmed, which costs time at each new tip. Bitcoin Knots
//! takes the room with each question; other nodes have it from their start, and here is said once
//! if it is too little there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::warn;

/// Weight besides the outputs: header 320, count of transactions 12, the coinbase's fixed fields
/// 236, a scriptSig of 100 bytes 400, count of outputs 12, and the witness commitment 188.
const FIXED_WEIGHT: u64 = 1168;
/// Weight of a byte that is no witness, and cost of a signature operation that is none (BIP141).
const FACTOR: u64 = 4;
/// What nodes leave if nobody tells them (Bitcoin Core's -blockreservedweight).
const DEFAULT_WEIGHT: u64 = 8_000;
/// The bounds of a block's weight and sigops cost, and the least weight that may be left: a node
/// refuses what is beyond them.
const WEIGHT_BOUNDS: (u64, u64) = (2_000, 4_000_000);
const SIGOPS_MAX: u64 = 80_000;

/// What the outputs of clients and extensions take at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reserve {
    /// Serialised bytes.
    pub output_bytes: u32,
    /// Signature operations, not their cost.
    pub output_sigops: u32,
}

impl Reserve {
    /// Weight units, with all that is in every block.
    pub fn weight(self) -> u64 {
        u64::from(self.output_bytes) * FACTOR + FIXED_WEIGHT
    }

    /// Cost of the signature operations.
    pub fn sigops_cost(self) -> u64 {
        u64::from(self.output_sigops) * FACTOR
    }
}

/// What must be left now, for all who ask for templates. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Reserved {
    /// `None` while there is no client.
    now: watch::Receiver<Option<Reserve>>,
    is_told: Arc<AtomicBool>,
}

impl Reserved {
    /// Follows the needs of clients and extensions.
    pub fn following(now: watch::Receiver<Option<Reserve>>) -> Self {
        Self { now, is_told: Arc::default() }
    }

    /// The keys by which Bitcoin Knots is told; none while there is nothing to be told.
    pub(super) fn keys(&self) -> Vec<(&'static str, Value)> {
        let Some(reserve) = *self.now.borrow() else { return Vec::new() };
        let (least, most) = WEIGHT_BOUNDS;
        let weight = reserve.weight().clamp(least, most);
        let sigops = reserve.sigops_cost().min(SIGOPS_MAX);
        vec![("blockreservedweight", json!(weight)), ("blockreservedsigops", json!(sigops))]
    }

    /// Says once if a node that cannot be told leaves too little by itself.
    pub(super) fn tell_operator(&self) {
        if let Some(weight) = self.weight_to_set()
            && !self.is_told.swap(true, Ordering::Relaxed)
        {
            warn!(
                weight,
                "coinbase outputs need more room than nodes leave by default: templates of full \
                 blocks are trimmed; start the node with -blockreservedweight set to this weight"
            );
        }
    }

    /// The -blockreservedweight that a node should have, if the default may not do.
    fn weight_to_set(&self) -> Option<u64> {
        let reserve = (*self.now.borrow())?;
        Some(reserve.weight()).filter(|weight| *weight > DEFAULT_WEIGHT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved(reserve: Option<(u32, u32)>) -> Reserved {
        let reserve =
            reserve.map(|(output_bytes, output_sigops)| Reserve { output_bytes, output_sigops });
        Reserved::following(watch::Sender::new(reserve).subscribe())
    }

    #[test]
    fn knots_is_told_weight_and_sigops_cost() {
        let keys = reserved(Some((10_000, 100))).keys();
        let told = [("blockreservedweight", json!(41_168)), ("blockreservedsigops", json!(400))];
        assert_eq!(keys, told);
        assert!(reserved(None).keys().is_empty());
    }

    #[test]
    fn nothing_is_asked_for_that_a_node_takes_for_a_bug() {
        let values = |bytes, sigops| {
            let keys = reserved(Some((bytes, sigops))).keys();
            keys.into_iter().map(|(_, value)| value.as_u64().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(values(0, 0), [2_000, 0]);
        assert_eq!(values(u32::MAX, u32::MAX), [4_000_000, 80_000]);
    }

    #[test]
    fn the_operator_hears_of_more_than_the_default_alone() {
        // (8,000 - 1,168) / 4.
        assert_eq!(reserved(Some((1_708, 0))).weight_to_set(), None);
        assert_eq!(reserved(Some((1_709, 0))).weight_to_set(), Some(8_004));
        assert_eq!(reserved(None).weight_to_set(), None);
    }

    #[test]
    fn it_is_said_once() {
        let reserved = reserved(Some((5_000, 0)));
        reserved.tell_operator();
        assert!(reserved.is_told.load(Ordering::Relaxed));
        let quiet = self::reserved(None);
        quiet.tell_operator();
        assert!(!quiet.is_told.load(Ordering::Relaxed));
    }
}
