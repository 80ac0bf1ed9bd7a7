//! Whom a block pays: the coinbase outputs that the pool adds.
//!
//! The reward goes to the pool's own destination, to who found the block, or to all who have worked
//! lately; or the templates pay by themselves. Values are satoshis, integers.

pub mod accounts;
mod apportion;
pub mod claims;
pub mod distribution;
pub mod fixed;
mod fpps;
pub mod identity;
pub mod names;
pub mod promises;
pub mod proof;
pub mod settlement;
mod shared;
mod spender;
mod treasury;
pub mod wallet;
pub mod window;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, Network, ScriptBuf};
use bytes::Bytes;
use mining::coinbase::Output;
use miniscript::{DefiniteDescriptorKey, Descriptor};
use serde::Deserialize;
use service::config::ConfigError;

use self::distribution::Room;
pub use self::fpps::FppsConfig;
use self::identity::{Identities, Mode, Paid, Payee};
pub use self::shared::SharingConfig;
use self::treasury::Treasury;
pub use self::treasury::TreasuryConfig;
use self::wallet::WalletConfig;

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
    /// How ports pay that say nothing of their own.
    #[serde(default)]
    pub mode: Mode,
    /// The pool's part of blocks that pay miners, in hundredths of a percent.
    #[serde(default)]
    pub fee_basis_points: u16,
    /// Parts of the fee that go elsewhere than to the pool's destination.
    #[serde(default)]
    pub treasury: Vec<TreasuryConfig>,
    /// How blocks are shared by all who have worked.
    #[serde(default)]
    pub pplns: SharingConfig,
    /// What a share is worth where shares are paid for.
    #[serde(default)]
    pub fpps: FppsConfig,
    /// Balances are paid from a wallet of the node; absent, by later blocks alone.
    #[serde(default)]
    pub wallet: Option<WalletConfig>,
    /// Addresses of users who mine by a name.
    #[serde(default)]
    pub users: BTreeMap<String, String>,
    /// Text in every coinbase, by which blocks of this pool are known.
    #[serde(default = "default_tag")]
    pub coinbase_tag: String,
}

impl PayoutConfig {
    /// Settings that name nobody yet.
    pub fn on(network: NetworkName) -> Self {
        Self {
            network,
            address: None,
            descriptor: None,
            script: None,
            by_template: false,
            mode: Mode::default(),
            fee_basis_points: 0,
            treasury: Vec::new(),
            pplns: SharingConfig::default(),
            fpps: FppsConfig::default(),
            wallet: None,
            users: BTreeMap::new(),
            coinbase_tag: default_tag(),
        }
    }
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
    /// As a person writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Testnet4 => "testnet4",
            Self::Signet => "signet",
            Self::Regtest => "regtest",
        }
    }

    /// As the library of addresses knows it.
    pub fn to_network(self) -> Network {
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

/// Hundredths of a percent in a whole.
const WHOLE_BASIS_POINTS: u16 = 10_000;
/// No output is smaller, in satoshis: what is less costs more to spend than it is worth.
const OUTPUT_MIN: u64 = 1_000;
/// The longest scriptPubKey of an address: a witness program of 40 bytes.
const ADDRESS_SCRIPT_BYTES_MAX: u32 = 42;
/// The most that the script of an address costs in signature operations: one CHECKSIG, times four.
const ADDRESS_SIGOPS_MAX: u16 = 4;

/// Where the reward goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payout {
    /// The pool's own destination. None where the templates pay by themselves.
    script: Option<ScriptBuf>,
    tag: Bytes,
    network: Network,
    mode: Mode,
    fee_basis_points: u16,
    treasury: Treasury,
    sharing: SharingConfig,
    fpps: FppsConfig,
    /// The most that one port lets outputs to miners take.
    room: Room,
    users: Arc<BTreeMap<String, Paid>>,
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
        if config.fee_basis_points > WHOLE_BASIS_POINTS {
            let remedy = "at most 10000, which is all; 200 is two percent";
            return Err(ConfigError::unusable("payout.fee_basis_points", remedy));
        }
        config.wallet.as_ref().map_or(Ok(()), WalletConfig::check)?;
        let script = script_of(config)?;
        let takeable = script.as_deref().map(spender::keeps_its_coins);
        if let (Some(Err(reason)), false) = (takeable, config.network == NetworkName::Regtest) {
            let remedy = format!("{reason}; name a script of your own (only regtest allows this)");
            return Err(ConfigError::unusable("payout", remedy));
        }
        let payout = Self {
            script,
            tag: [tag, &instance].concat().into(),
            network: config.network.to_network(),
            mode: config.mode,
            fee_basis_points: config.fee_basis_points,
            treasury: Treasury::from_config(
                &config.treasury,
                config.fee_basis_points,
                config.network.to_network(),
            )?,
            sharing: config.pplns.checked()?,
            fpps: config.fpps.checked()?,
            room: Room { outputs: 0, bytes: 0 },
            users: Arc::new(users_of(config)?),
        };
        payout.check_mode("payout.mode", config.mode)?;
        Ok(payout)
    }

    /// Fails if a port, or all of them, cannot pay by `mode`; `field` is where a person wrote it.
    pub fn check_mode(&self, field: &str, mode: Mode) -> Result<(), ConfigError> {
        match mode {
            Mode::Pool => Ok(()),
            Mode::Solo | Mode::Pplns | Mode::Fpps if self.script.is_some() => Ok(()),
            Mode::Solo | Mode::Pplns | Mode::Fpps => Err(ConfigError::unusable(
                field,
                "this needs a destination of the pool's own beside it, and no by_template",
            )),
        }
    }

    /// The tag for the coinbase, and behind it what makes this start of the pool its own.
    pub fn tag(&self) -> &[u8] {
        &self.tag
    }

    /// Reads the names that come to a port which pays by `mode`; by that of all ports if it has
    /// none of its own.
    pub fn identities(&self, mode: Option<Mode>, room: Room) -> Identities {
        let mode = mode.unwrap_or(self.mode);
        Identities { network: self.network, mode, room, users: Arc::clone(&self.users) }
    }

    /// The network of all addresses.
    pub fn network(&self) -> Network {
        self.network
    }

    /// The outputs for a template that leaves `value` satoshis: none if it leaves nothing, and
    /// none where the templates pay by themselves.
    pub fn outputs(&self, payee: &Payee, value: u64) -> Vec<Output> {
        let Some(own) = self.script.as_ref().filter(|_| value > 0) else {
            return Vec::new();
        };
        match payee {
            // Before anybody has worked, a block that all share is the pool's.
            Payee::Pool | Payee::Fixed | Payee::Shared(_) => vec![output(own, value)],
            Payee::Finder { script, donated_percent } => {
                let given = basis_points_of(value, u16::from(*donated_percent) * 100);
                let fee = given.max(basis_points_of(value, self.fee_basis_points));
                // What is too little for an output stays the finder's.
                let fee = Some(fee).filter(|fee| *fee >= OUTPUT_MIN).unwrap_or(0);
                let finder = Some(output(script, value - fee)).filter(|_| value > fee);
                finder.into_iter().chain(self.treasury.outputs(own, fee, value)).collect()
            }
        }
    }

    /// A script that anyone can spend was allowed for regtest: this holds it to it, for nobody
    /// else says which chain it is. `nbits` are those of the next block.
    pub fn check_chain(&self, nbits: u32) -> Result<(), NotRegtest> {
        let is_safe = self.script.as_deref().is_none_or(|it| spender::keeps_its_coins(it).is_ok());
        if is_safe || nbits == REGTEST_NBITS { Ok(()) } else { Err(NotRegtest) }
    }

    /// Serialised bytes of the outputs, for the template provider to keep free: value, length and
    /// script of the pool's own, and of a miner's, or of all miners'.
    pub fn reserved_bytes(&self) -> u32 {
        let bytes = |script: &ScriptBuf| u32::try_from(script.len()).unwrap_or(u32::MAX);
        let miners = self.room.bytes.max(ADDRESS_SCRIPT_BYTES_MAX + 8 + 1);
        let others = miners.saturating_add(self.treasury.bytes());
        self.script
            .as_ref()
            .map_or(0, |own| bytes(own).saturating_add(8 + 3).saturating_add(others))
    }

    /// Signature operations of the outputs, in the cost units that blocks are limited by.
    pub fn reserved_sigops(&self) -> u16 {
        let Some(script) = &self.script else {
            return 0;
        };
        let own = u16::try_from(script.count_sigops_legacy().saturating_mul(4));
        let miners = self.room_sigops().max(ADDRESS_SIGOPS_MAX);
        own.unwrap_or(u16::MAX).saturating_add(miners).saturating_add(self.treasury.sigops())
    }
}

/// `value` × `basis_points` / 10,000, rounded down.
fn basis_points_of(value: u64, basis_points: u16) -> u64 {
    let part = u128::from(value) * u128::from(basis_points) / u128::from(WHOLE_BASIS_POINTS);
    u64::try_from(part).unwrap_or(value)
}

fn output(script: &ScriptBuf, value: u64) -> Output {
    Output { value, script: Bytes::copy_from_slice(script.as_bytes()) }
}

fn users_of(config: &PayoutConfig) -> Result<BTreeMap<String, Paid>, ConfigError> {
    let network = config.network.to_network();
    let read = |(name, address): (&String, &String)| {
        let paid = identity::read_address(address, network).map_err(|error| {
            ConfigError::unusable(format!("payout.users.{name}"), error.to_string())
        })?;
        Ok((name.clone(), paid))
    };
    config.users.iter().map(read).collect()
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
