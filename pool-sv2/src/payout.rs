//! Whom a block pays: the coinbase outputs that the pool adds.
//!
//! In this first cut the whole reward goes to one configured script, or the templates pay by
//! themselves. Values are satoshis, integers.

mod spender;

use std::str::FromStr;

use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, Network, ScriptBuf};
use bytes::Bytes;
use mining::coinbase::Output;
use miniscript::{DefiniteDescriptorKey, Descriptor};
use serde::Deserialize;
use service::config::ConfigError;

/// `[payout]` of the config.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayoutConfig {
    /// `mainnet`, `testnet4`, `signet` or `regtest`: an address of another network is refused.
    pub network: NetworkName,
    /// An address. Exactly one of `address`, `descriptor`, `script` and `by_template` is set.
    pub address: Option<String>,
    /// An output descriptor without wildcards.
    pub descriptor: Option<String>,
    /// A scriptPubKey in hex, for chains whose addresses are not Bitcoin's.
    pub script: Option<String>,
    /// True where the templates' own outputs pay the miner (a shielded coinbase): the pool adds
    /// none, and a template that leaves something to pay makes no job.
    #[serde(default)]
    pub by_template: bool,
    /// Text in every coinbase, by which blocks of this pool are known.
    #[serde(default = "default_tag")]
    pub coinbase_tag: String,
}

fn default_tag() -> String {
    "/Adit/".to_owned()
}

/// The networks by the names that people use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkName {
    /// Bitcoin.
    Mainnet,
    /// The fourth test network.
    Testnet4,
    /// A network whose blocks are signed.
    Signet,
    /// A network of one's own.
    Regtest,
}

impl NetworkName {
    fn to_network(self) -> Network {
        match self {
            Self::Mainnet => Network::Bitcoin,
            Self::Testnet4 => Network::Testnet4,
            Self::Signet => Network::Signet,
            Self::Regtest => Network::Regtest,
        }
    }
}

/// Longest tag: with height and extranonce it must fit into 100 bytes of scriptSig.
const TAG_BYTES_MAX: usize = 64;

/// The nBits of every block of regtest, whose difficulty never changes.
const REGTEST_NBITS: u32 = 0x207f_ffff;

/// Where the reward goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payout {
    /// None where the templates pay by themselves.
    script: Option<ScriptBuf>,
    tag: Bytes,
}

/// Why nothing may be mined on a tip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the chain is not regtest, and anyone could take what [payout] names; set an address")]
pub struct NotRegtest;

impl Payout {
    /// Reads the settings, which must name exactly one destination on their network.
    ///
    /// `instance` makes the coinbases of this start of the pool its own: shares of an earlier
    /// start, or of a second pool with the same settings, are never shares of this one.
    pub fn from_config(config: &PayoutConfig, instance: [u8; 4]) -> Result<Self, ConfigError> {
        let tag = config.coinbase_tag.as_bytes();
        if tag.len() > TAG_BYTES_MAX {
            let remedy = format!("{} bytes are too long; {TAG_BYTES_MAX} fit", tag.len());
            return Err(ConfigError::unusable("payout.coinbase_tag", remedy));
        }
        let script = script_of(config)?;
        let takeable = script.as_deref().map(spender::keeps_its_coins);
        if let (Some(Err(reason)), false) = (takeable, config.network == NetworkName::Regtest) {
            let remedy = format!("{reason}; name a script of your own (only regtest allows this)");
            return Err(ConfigError::unusable("payout", remedy));
        }
        Ok(Self { script, tag: [tag, &instance].concat().into() })
    }

    /// The tag for the coinbase, and behind it what makes this start of the pool its own.
    pub fn tag(&self) -> &[u8] {
        &self.tag
    }

    /// The outputs for a template that leaves `value` satoshis: none if it leaves nothing, and
    /// none where the templates pay by themselves.
    pub fn outputs(&self, value: u64) -> Vec<Output> {
        let script = self.script.as_ref().filter(|_| value > 0);
        let script = script.map(|script| Bytes::copy_from_slice(script.as_bytes()));
        script.map(|script| Output { value, script }).into_iter().collect()
    }

    /// A script that anyone can spend was allowed for regtest: this holds it to it, for nobody
    /// else says which chain it is. `nbits` are those of the next block.
    pub fn check_chain(&self, nbits: u32) -> Result<(), NotRegtest> {
        let is_safe = self.script.as_deref().is_none_or(|it| spender::keeps_its_coins(it).is_ok());
        if is_safe || nbits == REGTEST_NBITS { Ok(()) } else { Err(NotRegtest) }
    }

    /// Serialised bytes of the outputs, for the template provider to keep free: value, length,
    /// script.
    pub fn reserved_bytes(&self) -> u32 {
        let bytes = |script: &ScriptBuf| u32::try_from(script.len()).unwrap_or(u32::MAX);
        self.script.as_ref().map_or(0, |script| bytes(script).saturating_add(8 + 3))
    }

    /// Signature operations of the outputs, in the cost units that blocks are limited by.
    pub fn reserved_sigops(&self) -> u16 {
        let sigops = self.script.as_ref().map_or(0, |script| script.count_sigops_legacy());
        let sigops = sigops.saturating_mul(4);
        u16::try_from(sigops).unwrap_or(u16::MAX)
    }
}

fn script_of(config: &PayoutConfig) -> Result<Option<ScriptBuf>, ConfigError> {
    let PayoutConfig { address, descriptor, script, by_template, network, .. } = config;
    match (address, descriptor, script, by_template) {
        (Some(address), None, None, false) => script_of_address(address, *network).map(Some),
        (None, Some(descriptor), None, false) => script_of_descriptor(descriptor).map(Some),
        (None, None, Some(script), false) => {
            let script = ScriptBuf::from_hex(script).map_err(|error| {
                ConfigError::unusable("payout.script", format!("not a script in hex: {error}"))
            })?;
            Ok(Some(script))
        }
        (None, None, None, true) => Ok(None),
        _ => Err(ConfigError::unusable(
            "payout",
            "say where blocks pay: set one of address, descriptor, script and by_template",
        )),
    }
}

fn script_of_address(text: &str, network: NetworkName) -> Result<ScriptBuf, ConfigError> {
    let unusable = |remedy: String| ConfigError::unusable("payout.address", remedy);
    let address = Address::<NetworkUnchecked>::from_str(text)
        .map_err(|error| unusable(format!("{text} is no address: {error}")))?;
    let address = address.require_network(network.to_network()).map_err(|_| {
        unusable(format!("{text} is of another network than payout.network; correct one of them"))
    })?;
    Ok(address.script_pubkey())
}

fn script_of_descriptor(text: &str) -> Result<ScriptBuf, ConfigError> {
    let descriptor = Descriptor::<DefiniteDescriptorKey>::from_str(text).map_err(|error| {
        let remedy = format!("{error}; give a descriptor of one script, without wildcards");
        ConfigError::unusable("payout.descriptor", remedy)
    })?;
    Ok(descriptor.script_pubkey())
}

#[cfg(test)]
mod tests;
