//! Blocks that pay all who have worked lately (PPLNS): how large the window is, how many outputs a
//! coinbase may have, and what a coinbase pays by given claims.

use std::sync::Arc;

use mining::coinbase::Output;
use mining::memo::Memo;
use mining::target::{Hashes, Target};
use serde::Deserialize;
use service::config::ConfigError;

use super::claims::Withheld;
use super::distribution::{OUTPUT_BYTES, Room, Terms, distribute};
use super::identity::Mode;
use super::promises::{Promised, Sharing};
use super::settlement::Settlement;
use super::{ADDRESS_SIGOPS_MAX, OUTPUT_MIN, Payout, output};

/// On regtest a block is less work than a share, so that a window takes many.
const WINDOW_MAX: u32 = 10_000_000;
/// The shortest script of an address: a witness program of 20 bytes.
const ADDRESS_SCRIPT_BYTES_MIN: u32 = 22;
/// Half of the block's own limit stays for transactions.
const OUTPUT_BYTES_MAX: u32 = 500_000;

/// `[payout.pplns]` of the config.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SharingConfig {
    /// The newest work that counts, in blocks' worth of it.
    pub window: u32,
    /// Outputs to miners in one coinbase.
    pub outputs_max: u16,
    /// Their serialised bytes.
    pub output_bytes_max: u32,
}

impl Default for SharingConfig {
    fn default() -> Self {
        Self { window: 8, outputs_max: 100, output_bytes_max: 500 }
    }
}

impl SharingConfig {
    pub(super) fn checked(&self) -> Result<Self, ConfigError> {
        if !(1..=WINDOW_MAX).contains(&self.window) {
            let remedy = "must be from 1 to 10000000 blocks' worth of work; 8 is usual";
            return Err(ConfigError::unusable("payout.pplns.window", remedy));
        }
        self.room().check("payout.pplns")?;
        Ok(self.clone())
    }

    /// The room that ports give which have none of their own.
    pub fn room(&self) -> Room {
        Room { outputs: self.outputs_max, bytes: self.output_bytes_max }
    }
}

impl Room {
    /// Fails if so much would crowd out a block's transactions; `section` is where it was written.
    pub fn check(&self, section: &str) -> Result<(), ConfigError> {
        if self.bytes > OUTPUT_BYTES_MAX {
            let remedy =
                format!("must be at most {OUTPUT_BYTES_MAX}; 500 is what old devices read");
            return Err(ConfigError::unusable(format!("{section}.output_bytes_max"), remedy));
        }
        Ok(())
    }
}

impl Payout {
    /// Keeps room for the coinbases of the ports that share blocks.
    #[must_use]
    pub fn with_rooms(mut self, rooms: impl IntoIterator<Item = Room>) -> Self {
        for room in rooms {
            self.room.bytes = self.room.bytes.max(room.bytes);
            self.room.outputs = self.room.outputs.max(room.outputs);
        }
        self
    }

    /// The room of ports that have none of their own.
    pub fn room(&self) -> Room {
        self.sharing.room()
    }

    /// How much of the newest work counts where a block takes the work of `target`.
    pub fn window(&self, target: Target) -> Hashes {
        Hashes(target.work().0.saturating_mul(self.sharing.window.into()))
    }

    /// True if a port that pays by `mode`, or as all do, shares its blocks.
    pub fn shares_blocks(&self, mode: Option<Mode>) -> bool {
        mode.unwrap_or(self.mode) == Mode::Pplns
    }

    /// The outputs for a template that leaves `value` satoshis, and what is to be kept of its
    /// block.
    pub fn shared(&self, room: Room, value: u64, sharing: &Sharing) -> (Vec<Output>, Memo) {
        let terms = Terms {
            fee_basis_points: self.fee_basis_points,
            output_min: OUTPUT_MIN,
            outputs_max: room.outputs,
            output_bytes_max: room.bytes,
        };
        let Sharing { claims, promises } = sharing;
        let own = self.script.as_ref().filter(|_| value > 0);
        let made = own.and_then(|own| {
            let settle = |withheld: Withheld| {
                let distribution = distribute(value, &terms, claims, &withheld)?;
                Some(Settlement { terms, withheld, distribution })
            };
            Some((own, promises.promise(claims.position(), &settle)?))
        });
        let Some((own, settlement)) = made else {
            return (self.outputs(&super::Payee::Pool, value), Memo::default());
        };
        let distribution = &settlement.distribution;
        let payees = distribution.payees();
        let mut outputs: Vec<_> =
            payees.map(|line| output(&line.claim.script, line.paid)).collect();
        outputs.extend(self.treasury.outputs(own, distribution.pool_output(), value));
        let promises = promises.clone();
        (outputs, Memo::new(Arc::new(Promised { settlement, promises })))
    }

    /// What as many outputs cost as fit, in signature operations.
    pub(super) fn room_sigops(&self) -> u16 {
        let fit = self.room.bytes / (ADDRESS_SCRIPT_BYTES_MIN + OUTPUT_BYTES);
        let outputs = self.room.outputs.min(u16::try_from(fit).unwrap_or(u16::MAX));
        outputs.saturating_mul(ADDRESS_SIGOPS_MAX)
    }
}
