//! Whom a block pays: the coinbase outputs that the pool adds.
//!
//! In this first cut the whole reward goes to one configured script. Values are satoshis, integers.

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
    /// An address. Exactly one of `address`, `descriptor` and `script` is set.
    pub address: Option<String>,
    /// An output descriptor without wildcards.
    pub descriptor: Option<String>,
    /// A scriptPubKey in hex, for chains whose addresses are not Bitcoin's.
    pub script: Option<String>,
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

/// Where the reward goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payout {
    script: ScriptBuf,
    tag: Bytes,
}

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
        let script = match (&config.address, &config.descriptor, &config.script) {
            (Some(address), None, None) => script_of_address(address, config.network)?,
            (None, Some(descriptor), None) => script_of_descriptor(descriptor)?,
            (None, None, Some(script)) => ScriptBuf::from_hex(script).map_err(|error| {
                ConfigError::unusable("payout.script", format!("not a script in hex: {error}"))
            })?,
            _ => {
                return Err(ConfigError::unusable(
                    "payout",
                    "set exactly one of address, descriptor and script: where blocks shall pay",
                ));
            }
        };
        Ok(Self { script, tag: [tag, &instance].concat().into() })
    }

    /// The tag for the coinbase, and behind it what makes this start of the pool its own.
    pub fn tag(&self) -> &[u8] {
        &self.tag
    }

    /// The outputs for a template that leaves `value` satoshis: none if it leaves nothing.
    pub fn outputs(&self, value: u64) -> Vec<Output> {
        let script = Bytes::copy_from_slice(self.script.as_bytes());
        let output = Output { value, script };
        if value == 0 { Vec::new() } else { vec![output] }
    }

    /// Serialised bytes of the outputs, for the template provider to keep free: value, length,
    /// script.
    pub fn reserved_bytes(&self) -> u32 {
        let script = u32::try_from(self.script.len()).unwrap_or(u32::MAX);
        script.saturating_add(8 + 3)
    }

    /// Signature operations of the outputs, in the cost units that blocks are limited by.
    pub fn reserved_sigops(&self) -> u16 {
        let sigops = self.script.count_sigops_legacy().saturating_mul(4);
        u16::try_from(sigops).unwrap_or(u16::MAX)
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
mod tests {
    use super::*;

    /// BIP173's example, on mainnet and on regtest.
    const MAINNET: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    const REGTEST: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

    fn config(network: NetworkName) -> PayoutConfig {
        let coinbase_tag = default_tag();
        PayoutConfig { network, address: None, descriptor: None, script: None, coinbase_tag }
    }

    #[test]
    fn an_address_pays_its_script() {
        let address = Some(REGTEST.to_owned());
        let config = PayoutConfig { address, ..config(NetworkName::Regtest) };
        let payout = Payout::from_config(&config, [0; 4]).unwrap();
        let outputs = payout.outputs(7);
        assert_eq!(outputs.len(), 1);
        assert_eq!(outputs[0].value, 7);
        assert_eq!(outputs[0].script[..2], [0x00, 0x14]);
        assert_eq!(payout.reserved_sigops(), 0);
    }

    #[test]
    fn two_starts_with_the_same_settings_have_different_coinbases() {
        let config = PayoutConfig { script: Some("51".to_owned()), ..config(NetworkName::Regtest) };
        let first = Payout::from_config(&config, [1; 4]).unwrap();
        let second = Payout::from_config(&config, [2; 4]).unwrap();
        assert_ne!(first.tag(), second.tag());
        assert!(first.tag().starts_with(b"/Adit/"));
    }

    #[test]
    fn an_address_of_another_network_is_refused() {
        let address = Some(MAINNET.to_owned());
        let config = PayoutConfig { address, ..config(NetworkName::Regtest) };
        let error = Payout::from_config(&config, [0; 4]).unwrap_err().to_string();
        assert!(error.contains("payout.network"), "{error}");
    }

    #[test]
    fn a_missing_or_double_destination_is_refused() {
        assert!(Payout::from_config(&config(NetworkName::Mainnet), [0; 4]).is_err());
        let address = Some(MAINNET.to_owned());
        let script = Some("51".to_owned());
        let both = PayoutConfig { address, script, ..config(NetworkName::Mainnet) };
        assert!(Payout::from_config(&both, [0; 4]).is_err());
    }

    #[test]
    fn a_descriptor_pays_its_script_and_a_wildcard_is_refused() {
        let key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        let descriptor = Some(format!("pkh({key})"));
        let single = PayoutConfig { descriptor, ..config(NetworkName::Mainnet) };
        assert_eq!(Payout::from_config(&single, [0; 4]).unwrap().reserved_sigops(), 4);
        let xpub = concat!(
            "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupj",
            "e8YtGqsefD265TMg7usUDFdp6W1EGMcet8"
        );
        let descriptor = Some(format!("wpkh({xpub}/*)"));
        let wildcard = PayoutConfig { descriptor, ..config(NetworkName::Mainnet) };
        assert!(Payout::from_config(&wildcard, [0; 4]).is_err());
    }

    #[test]
    fn a_template_that_leaves_nothing_gets_no_output() {
        let script = Some("51".to_owned());
        let payout = PayoutConfig { script, ..config(NetworkName::Mainnet) };
        assert!(Payout::from_config(&payout, [0; 4]).unwrap().outputs(0).is_empty());
    }
}
