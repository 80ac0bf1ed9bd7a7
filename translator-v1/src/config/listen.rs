//! The miners' side of the settings: `[listen]`, `[tls]`, `[limits]`, `[shutdown]`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use service::config::{ConfigError, host_and_port};
use service::gate::{GateLimits, Network};

use crate::downstream::tls::Tls;

/// More miners than this have no place in the search space of one channel.
const CONNECTIONS_MAX: u32 = 65_536;
/// No ban is longer, in seconds.
const BAN_SECONDS_MAX: u32 = 86_400;

/// `[listen]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenConfig {
    /// `HOST:PORT`.
    pub address: String,
    /// Miners at a time; further ones are closed at once.
    #[serde(default = "default_connections_max")]
    pub connections_max: u32,
}

fn default_connections_max() -> u32 {
    16_384
}

impl ListenConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        within("listen.connections_max", self.connections_max, 1, CONNECTIONS_MAX)
    }
}

/// `[tls]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// `HOST:PORT`, another one than the plain port.
    pub address: String,
    /// The certificate chain, PEM.
    pub certificate_file: PathBuf,
    /// Its key, PEM.
    pub key_file: PathBuf,
}

impl TlsConfig {
    /// Reads both files.
    pub fn read(&self) -> Result<Tls, ConfigError> {
        Tls::from_files(&self.certificate_file, &self.key_file)
    }
}

/// `[limits]`. A farm is behind one address: by default that one may have all connections.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Connections at a time from one address; absent is `listen.connections_max`.
    pub connections_per_address_max: Option<u32>,
    /// The same for one network: /24 of IPv4, /64 of IPv6.
    pub connections_per_network_max: Option<u32>,
    /// Networks for which only `listen.connections_max` holds.
    pub trusted_networks: Vec<Network>,
    /// Connections that have not authorized yet; further ones wait in the kernel's queue.
    pub connections_unsettled_max: Option<u32>,
    /// Lines a second that are read of one miner; what comes faster waits.
    pub lines_per_second_max: u32,
    /// Faults of one address in a minute; with one more it is banned.
    pub faults_per_minute_max: u32,
    /// How long a ban lasts.
    pub ban_seconds: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections_per_address_max: None,
            connections_per_network_max: None,
            trusted_networks: ["127.0.0.0/8", "::1/128"].iter().flat_map(|it| it.parse()).collect(),
            connections_unsettled_max: None,
            lines_per_second_max: 500,
            faults_per_minute_max: 100,
            ban_seconds: 60,
        }
    }
}

impl LimitsConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        for (field, value) in [
            ("limits.connections_per_address_max", self.connections_per_address_max),
            ("limits.connections_per_network_max", self.connections_per_network_max),
            ("limits.connections_unsettled_max", self.connections_unsettled_max),
        ] {
            within(field, value.unwrap_or(CONNECTIONS_MAX), 1, CONNECTIONS_MAX)?;
        }
        within("limits.lines_per_second_max", self.lines_per_second_max, 10, u32::MAX)?;
        within("limits.faults_per_minute_max", self.faults_per_minute_max, 1, u32::MAX)?;
        within("limits.ban_seconds", self.ban_seconds, 1, BAN_SECONDS_MAX)
    }

    /// Who may connect, where so many may at all.
    pub fn gate(&self, connections_max: u32) -> GateLimits {
        let limit = |own: Option<u32>| {
            let own = own.unwrap_or(connections_max).min(connections_max);
            usize::try_from(own).unwrap_or(usize::MAX)
        };
        GateLimits {
            connections_max: limit(None),
            connections_per_address_max: limit(self.connections_per_address_max),
            connections_per_network_max: limit(self.connections_per_network_max),
            unsettled_max: limit(self.connections_unsettled_max),
            faults_per_minute_max: self.faults_per_minute_max,
            ban: Duration::from_secs(self.ban_seconds.into()),
            trusted_networks: self.trusted_networks.clone(),
        }
    }
}

/// `[shutdown]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownConfig {
    /// `HOST:PORT` of another translator that miners are sent to.
    pub reconnect_to: Option<String>,
}

impl ShutdownConfig {
    /// Where miners are sent.
    pub fn elsewhere(&self) -> Result<Option<(String, u16)>, ConfigError> {
        let address = self.reconnect_to.as_deref();
        address.map(|address| host_and_port("shutdown.reconnect_to", address)).transpose()
    }
}

fn within(field: &str, value: u32, least: u32, most: u32) -> Result<(), ConfigError> {
    match (least..=most).contains(&value) {
        true => Ok(()),
        false => {
            Err(ConfigError::unusable(field, format!("write a number from {least} to {most}")))
        }
    }
}
