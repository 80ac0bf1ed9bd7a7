//! `[ledger]` of the config.

use std::path::PathBuf;

use serde::Deserialize;
use service::config::ConfigError;

use super::feed::Feeder;

/// Acknowledgements that are late by more than this are felt by miners.
const ACK_INTERVAL_MS_MAX: u64 = 1_000;
/// Segments are read whole at times: not too large; and are files: not too small.
const SEGMENT_MEGABYTES: std::ops::RangeInclusive<u64> = 1..=1_024;

/// Where the ledger is and how it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerConfig {
    /// A folder of the pool's own.
    pub directory: PathBuf,
    /// Shares gather for so long before they are written, synced and acknowledged together.
    pub ack_interval_ms: u64,
    /// A segment of the log of so many MiB is followed by a new one.
    pub segment_megabytes: u64,
    /// Slices of work that are older are forgotten; blocks and payouts never are, nor the log.
    pub slice_days: u64,
    /// Which of several pools that share a store this one is.
    pub node: u32,
    /// The clock may be far behind the log's last record: it was wrong before, and is right now.
    /// For one start.
    pub accept_earlier_clock: bool,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        let directory = PathBuf::from("data/pool-sv2/ledger");
        Self {
            directory,
            ack_interval_ms: 50,
            segment_megabytes: 64,
            slice_days: 90,
            node: 0,
            accept_earlier_clock: false,
        }
    }
}

impl LedgerConfig {
    /// Checks what the types cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.ack_interval_ms > ACK_INTERVAL_MS_MAX {
            let remedy = format!("must be at most {ACK_INTERVAL_MS_MAX}; 50 is usual");
            return Err(ConfigError::unusable("ledger.ack_interval_ms", remedy));
        }
        if self.slice_days == 0 {
            let remedy = "must be above 0; 90 is usual";
            return Err(ConfigError::unusable("ledger.slice_days", remedy));
        }
        if !SEGMENT_MEGABYTES.contains(&self.segment_megabytes) {
            let (min, max) = (SEGMENT_MEGABYTES.start(), SEGMENT_MEGABYTES.end());
            let remedy = format!("must be from {min} to {max}; 64 is usual");
            return Err(ConfigError::unusable("ledger.segment_megabytes", remedy));
        }
        Ok(())
    }

    /// The file of the store.
    pub fn store_file(&self) -> PathBuf {
        self.directory.join("store.sqlite")
    }

    /// What feeds the store.
    pub fn feeder(&self) -> Feeder {
        let (log, store) = (self.log_directory(), self.store_file());
        Feeder { log, store, node: self.node, slice_days: self.slice_days }
    }

    /// The file of the books' checkpoint.
    pub fn checkpoint_file(&self) -> PathBuf {
        self.directory.join("books.checkpoint")
    }

    /// The folder of the log's segments.
    pub fn log_directory(&self) -> PathBuf {
        self.directory.join("log")
    }
}
