//! `[listen]`, or `[[listen]]` for several ports, each with a difficulty, limits and a payout of
//! its own.

use std::fmt;

use mining::vardiff::VardiffPolicy;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use service::config::{ConfigError, host_and_port};

use super::VardiffConfig;
use crate::downstream::limits::Limits;
use crate::payout::Payout;
use crate::payout::distribution::Room;
use crate::payout::identity::Mode;

/// Ports of one pool.
const LISTENERS_MAX: usize = 64;

/// One port. What it leaves out is as in `[vardiff]` and `[limits]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenConfig {
    /// `HOST:PORT`.
    pub address: String,
    /// No target is easier than this difficulty here.
    pub min_difficulty: Option<f64>,
    /// Shares per minute and channel here.
    pub shares_per_minute: Option<f64>,
    /// Connections at a time here; further ones are closed at once.
    pub connections_max: Option<usize>,
    /// Channels on one connection here; further ones are refused.
    pub channels_per_connection_max: Option<usize>,
    /// How blocks that are found here pay.
    pub payout: Option<Mode>,
    /// Outputs to miners in a coinbase here, where blocks are shared.
    pub outputs_max: Option<u16>,
    /// Their serialised bytes.
    pub output_bytes_max: Option<u32>,
}

impl ListenConfig {
    /// The vardiff of this port, where `common` is that of all.
    pub fn vardiff(&self, common: &VardiffConfig) -> VardiffConfig {
        VardiffConfig {
            shares_per_minute: self.shares_per_minute.unwrap_or(common.shares_per_minute),
            min_difficulty: self.min_difficulty.unwrap_or(common.min_difficulty),
            ..common.clone()
        }
    }

    /// The limits of this port, where `common` are those of all.
    pub fn limits(&self, common: &Limits) -> Limits {
        let channels = self.channels_per_connection_max;
        let common_channels = common.channels_per_connection_max;
        Limits {
            connections_max: self.connections_max.unwrap_or(common.connections_max),
            channels_per_connection_max: channels.unwrap_or(common_channels),
            ..common.clone()
        }
    }
}

impl ListenConfig {
    /// How much of a coinbase may be outputs to miners here, where `common` is what all have.
    pub fn room(&self, common: Room) -> Room {
        Room {
            outputs: self.outputs_max.unwrap_or(common.outputs),
            bytes: self.output_bytes_max.unwrap_or(common.bytes),
        }
    }
}

/// All ports, in the order of the file.
#[derive(Debug, Clone)]
pub struct Listeners(pub Vec<ListenConfig>);

impl Listeners {
    /// Checks what the types cannot; `policy` makes the vardiff of a port.
    pub(super) fn check(
        &self,
        limits: &Limits,
        payout: &Payout,
        policy: impl Fn(&ListenConfig, &str) -> Result<VardiffPolicy, ConfigError>,
    ) -> Result<(), ConfigError> {
        if !(1..=LISTENERS_MAX).contains(&self.0.len()) {
            let remedy = format!("name from 1 to {LISTENERS_MAX} of [[listen]]");
            return Err(ConfigError::unusable("listen", remedy));
        }
        for (index, listener) in self.0.iter().enumerate() {
            let section = self.section(index);
            host_and_port(&format!("{section}.address"), &listener.address)?;
            policy(listener, &section)?;
            if let Some(mode) = listener.payout {
                payout.check_mode(&format!("{section}.payout"), mode)?;
            }
            listener.room(payout.room()).check(&section)?;
            listener.limits(limits).check()?;
        }
        Ok(())
    }

    /// How a person calls a port's section.
    pub(crate) fn section(&self, index: usize) -> String {
        match self.0.len() {
            1 => "listen".to_owned(),
            _ => format!("listen[{index}]"),
        }
    }
}

impl<'de> Deserialize<'de> for Listeners {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMany)
    }
}

/// Tells the two forms apart, so that a complaint is about the form that was written.
struct OneOrMany;

impl<'de> Visitor<'de> for OneOrMany {
    type Value = Listeners;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a section [listen], or several [[listen]]")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Listeners, A::Error> {
        ListenConfig::deserialize(MapAccessDeserializer::new(map)).map(|one| Listeners(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Listeners, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(sequence)).map(Listeners)
    }
}
