//! `[upstream]` and `[[backup_upstream]]`: the pools, and what is expected of them.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use service::authority::ExpectedKey;
use service::config::{ConfigError, host_and_port};

use super::Config;
use crate::bridge::notify::ChannelEpoch;
use crate::downstream::Answers;
use crate::teams::Channels;
use crate::upstream::UpstreamSettings;
use crate::upstream::dial::Place;
use crate::upstream::promise::{NoPromise, Promise};
use crate::upstream::supervise::UPSTREAMS_MAX;

/// `[upstream]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    /// `HOST:PORT` of an SV2 pool.
    pub address: String,
    /// The pool's authority key, base58check.
    pub authority_key: Option<String>,
    /// A file with that key.
    pub authority_key_file: Option<PathBuf>,
    /// True takes any pool for the right one.
    #[serde(default)]
    pub unauthenticated: bool,
    /// Whom the pool pays.
    pub user_identity: String,
    /// Which miners share a channel.
    #[serde(default)]
    pub channels: Channels,
    /// An address that the coinbase of each job has to pay.
    pub expect_payout: Option<String>,
    /// At least so much of the whole, in basis points.
    #[serde(default = "default_expect_basis_points")]
    pub expect_payout_basis_points: u16,
    /// Who answers shares that the pool would count.
    #[serde(default)]
    pub answers: Answers,
    /// True names the worker of each share to a pool that wants to know (extension 0x0002).
    #[serde(default = "default_worker_names")]
    pub worker_names: bool,
    /// How long miners keep their last work when all pools are gone.
    #[serde(default = "default_work_seconds")]
    pub work_without_upstream_seconds: u32,
    /// A better pool is returned to after it has given work for so long.
    #[serde(default = "default_return_seconds")]
    pub return_after_seconds: u32,
    /// How long a share may wait for the pool's verdict.
    #[serde(default = "default_answer_seconds")]
    pub share_answer_seconds: u32,
}

/// One `[[backup_upstream]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupConfig {
    /// `HOST:PORT` of an SV2 pool.
    pub address: String,
    /// Its authority key, base58check.
    pub authority_key: Option<String>,
    /// A file with that key.
    pub authority_key_file: Option<PathBuf>,
    /// True takes any pool for the right one.
    #[serde(default)]
    pub unauthenticated: bool,
    /// Whom it pays; absent is as at `[upstream]`.
    pub user_identity: Option<String>,
}

fn default_worker_names() -> bool {
    true
}

fn default_expect_basis_points() -> u16 {
    9_800
}

fn default_work_seconds() -> u32 {
    120
}

fn default_return_seconds() -> u32 {
    30
}

fn default_answer_seconds() -> u32 {
    30
}

impl UpstreamConfig {
    /// How long miners keep their last work when all pools are gone.
    pub fn work_without_upstream(&self) -> Duration {
        Duration::from_secs(self.work_without_upstream_seconds.into())
    }

    /// After how long a better pool is returned to.
    pub fn return_after(&self) -> Duration {
        Duration::from_secs(self.return_after_seconds.into())
    }

    /// How long a share may wait for the pool's verdict.
    pub fn share_answer_max(&self) -> Duration {
        Duration::from_secs(self.share_answer_seconds.into())
    }

    /// What each pool has to pay.
    fn promise(&self) -> Result<Option<Promise>, ConfigError> {
        let Some(address) = &self.expect_payout else { return Ok(None) };
        if self.channels == Channels::PerUser {
            let remedy =
                "where each user is paid for itself no one address is expected; leave it out";
            return Err(ConfigError::unusable("upstream.expect_payout", remedy));
        }
        let promise = Promise::new(address, self.expect_payout_basis_points);
        promise.map(Some).map_err(|error| {
            let field = match error {
                NoPromise::NoAddress => "upstream.expect_payout",
                NoPromise::NoPart => "upstream.expect_payout_basis_points",
            };
            ConfigError::unusable(field, error.to_string())
        })
    }

    /// The pool as if it were a backup.
    fn as_backup(&self) -> BackupConfig {
        BackupConfig {
            address: self.address.clone(),
            authority_key: self.authority_key.clone(),
            authority_key_file: self.authority_key_file.clone(),
            unauthenticated: self.unauthenticated,
            user_identity: None,
        }
    }
}

impl Config {
    /// All upstreams, best first.
    pub fn upstreams(&self) -> Result<Vec<Place>, ConfigError> {
        if self.upstream.share_answer_seconds == 0 {
            let remedy = "write a number above 0: no pool answers at once";
            return Err(ConfigError::unusable("upstream.share_answer_seconds", remedy));
        }
        if self.backup_upstream.len() >= UPSTREAMS_MAX {
            let remedy = format!("name at most {} backups", UPSTREAMS_MAX - 1);
            return Err(ConfigError::unusable("backup_upstream", remedy));
        }
        let mut places = vec![self.place("upstream", &self.upstream.as_backup())?];
        for (index, backup) in self.backup_upstream.iter().enumerate() {
            places.push(self.place(&format!("backup_upstream[{index}]"), backup)?);
        }
        Ok(places)
    }

    fn place(&self, section: &str, pool: &BackupConfig) -> Result<Place, ConfigError> {
        let (host, port) = host_and_port(&format!("{section}.address"), &pool.address)?;
        let user_identity = pool.user_identity.as_ref().unwrap_or(&self.upstream.user_identity);
        Ok(Place {
            address: pool.address.clone(),
            key: ExpectedKey::from_settings(
                section,
                pool.authority_key.as_deref(),
                pool.authority_key_file.as_deref(),
                pool.unauthenticated,
            )?,
            settings: UpstreamSettings {
                host,
                port,
                authority: None,
                user_identity: user_identity.clone(),
                initial_hashrate: self.vardiff.initial_hashrate,
                share_answer_max: self.upstream.share_answer_max(),
                channels: self.upstream.channels,
                promise: self.upstream.promise()?,
                names_workers: self.upstream.worker_names,
                first_epoch: ChannelEpoch(0),
            },
        })
    }
}
