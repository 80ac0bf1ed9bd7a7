//! Who a channel works for: what stands in the `user_identity` of its opening.
//!
//! A miner's name is where his money goes, so that nothing is guessed here: a name that promises
//! what its port does not do, or an address that cannot be paid, is refused with a reason. Names
//! are read as `account.worker`, `account/worker`, and as SRI's pool reads them (`sri/solo/…`,
//! `sri/donate/…`).

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, Network, ScriptBuf};
use clap::ValueEnum;
use serde::Deserialize;

use super::distribution::Room;
use super::spender;

/// How a port pays those who mine on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each block pays the pool's own destination; names are only counted.
    #[default]
    Pool,
    /// Each block pays who found it.
    Solo,
    /// Each block pays all who have worked lately, by their work.
    Pplns,
    /// Each block pays the pool, and each share is paid for at what it is worth on average. It
    /// needs a wallet, which `init` does not know of.
    #[value(skip)]
    Fpps,
}

impl Mode {
    /// As a person writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Solo => "solo",
            Self::Pplns => "pplns",
            Self::Fpps => "fpps",
        }
    }
}

/// A name, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What is credited: an address in its usual spelling, or a name.
    pub account: Arc<str>,
    /// Which of the account's machines works; `""` for none.
    pub worker: Arc<str>,
    /// Whom it works for.
    pub payee: Payee,
}

/// Whom a channel's blocks pay.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Payee {
    /// The pool's own destination.
    Pool,
    /// The finder.
    Finder {
        /// Where.
        script: ScriptBuf,
        /// The percentage that he leaves to the pool, where he named one.
        donated_percent: u8,
    },
    /// The pool's own destination, which owes for each share.
    Fixed,
    /// All who have worked lately.
    Shared(Room),
}

/// Why a name is refused; a part of a sentence for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// There has to be somebody to pay.
    #[error("blocks pay miners: the name must be an address of {network}, or ADDRESS.WORKER")]
    NoAddress {
        /// The pool's network.
        network: Network,
    },
    /// Money sent there would be lost, or be another chain's.
    #[error("{0} is an address of another network than the pool's")]
    OtherNetwork(String),
    /// Nobody could spend it, or everybody.
    #[error("{address} cannot be paid: {reason}")]
    Unpayable {
        /// As given.
        address: String,
        /// What is wrong with its script.
        reason: &'static str,
    },
    /// It asks for what this port does not do.
    #[error("the name asks that its blocks pay it, and this port's blocks do not pay their finder")]
    NotForFinders,
    /// Neither of SRI's forms.
    #[error(
        "write sri/solo/ADDRESS/WORKER, sri/donate/PERCENT/ADDRESS/WORKER (1 to 99) or \
         sri/donate/WORKER"
    )]
    Malformed,
}

/// Reads the names that come to one port.
#[derive(Debug, Clone)]
pub struct Identities {
    /// Whose addresses are taken.
    pub network: Network,
    /// How the port pays.
    pub mode: Mode,
    /// How much of a coinbase may be outputs to miners.
    pub room: Room,
    /// Addresses of users who mine by a name.
    pub users: Arc<BTreeMap<String, Paid>>,
}

/// An address that can be paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paid {
    /// Its usual spelling.
    pub address: Arc<str>,
    /// Its scriptPubKey.
    pub script: ScriptBuf,
}

impl Identities {
    /// Those of a port whose blocks pay the pool.
    pub fn of_the_pool(network: Network) -> Self {
        let room = Room { outputs: 0, bytes: 0 };
        Self { network, mode: Mode::Pool, room, users: Arc::default() }
    }

    /// Reads one name.
    pub fn read(&self, name: &str) -> Result<Identity, IdentityError> {
        if let Some(form) = name.strip_prefix("sri/") {
            return self.read_sri(form);
        }
        let (account, worker) = name.split_once(['.', '/']).unwrap_or((name, ""));
        match self.mode {
            Mode::Pool => {
                Ok(Identity { account: account.into(), worker: worker.into(), payee: Payee::Pool })
            }
            Mode::Solo => self.finder(account, worker, 0),
            Mode::Pplns => self.owed(account, worker, Payee::Shared(self.room)),
            Mode::Fpps => self.owed(account, worker, Payee::Fixed),
        }
    }

    /// The forms that SRI's pool knows, without their `sri/`.
    fn read_sri(&self, form: &str) -> Result<Identity, IdentityError> {
        let parts: Vec<_> = form.split('/').collect();
        match parts[..] {
            ["solo", address, worker] => self.finder(address, worker, 0),
            ["donate", percent, address, worker] => match percent.parse() {
                Ok(percent @ 1..=99) => self.finder(address, worker, percent),
                _ => Err(IdentityError::Malformed),
            },
            ["donate", _] if matches!(self.mode, Mode::Pplns | Mode::Fpps) => {
                Err(IdentityError::NotForFinders)
            }
            ["donate", worker] => {
                Ok(Identity { account: worker.into(), worker: "".into(), payee: Payee::Pool })
            }
            _ => Err(IdentityError::Malformed),
        }
    }

    /// Somebody whom his own block pays.
    fn finder(
        &self,
        address: &str,
        worker: &str,
        donated_percent: u8,
    ) -> Result<Identity, IdentityError> {
        if self.mode != Mode::Solo {
            return Err(IdentityError::NotForFinders);
        }
        let Paid { address: account, script } = self.paid(address)?;
        let payee = Payee::Finder { script, donated_percent };
        Ok(Identity { account, worker: worker.into(), payee })
    }

    /// Somebody whom all blocks pay, or who is owed for each share.
    fn owed(&self, address: &str, worker: &str, payee: Payee) -> Result<Identity, IdentityError> {
        let account = self.paid(address)?.address;
        Ok(Identity { account, worker: worker.into(), payee })
    }

    /// An address, or the address of a user.
    fn paid(&self, account: &str) -> Result<Paid, IdentityError> {
        match self.users.get(account) {
            Some(paid) => Ok(paid.clone()),
            None => read_address(account, self.network),
        }
    }
}

/// Reads an address to which money of this network may be sent.
pub fn read_address(text: &str, network: Network) -> Result<Paid, IdentityError> {
    let address = Address::<NetworkUnchecked>::from_str(text)
        .map_err(|_| IdentityError::NoAddress { network })?;
    let address = address
        .require_network(network)
        .map_err(|_| IdentityError::OtherNetwork(text.to_owned()))?;
    let script = address.script_pubkey();
    match spender::keeps_its_coins(&script) {
        Ok(()) => Ok(Paid { address: address.to_string().into(), script }),
        Err(reason) => Err(IdentityError::Unpayable { address: text.to_owned(), reason }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BIP173's example, on regtest and on mainnet.
    const REGTEST: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    const MAINNET: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

    /// A taproot address whose key is not on the curve.
    fn unspendable() -> String {
        let script = ScriptBuf::from_bytes([&[0x51, 0x20][..], &[0xff; 32]].concat());
        Address::from_script(&script, Network::Regtest).unwrap().to_string()
    }

    fn identities(mode: Mode) -> Identities {
        let alice = read_address(REGTEST, Network::Regtest).unwrap();
        let users = Arc::new(BTreeMap::from([("alice".to_owned(), alice)]));
        Identities { mode, users, ..Identities::of_the_pool(Network::Regtest) }
    }

    fn read(mode: Mode, name: &str) -> Result<(String, String, Payee), String> {
        let identity = identities(mode).read(name).map_err(|error| error.to_string())?;
        Ok((identity.account.to_string(), identity.worker.to_string(), identity.payee))
    }

    fn script() -> ScriptBuf {
        read_address(REGTEST, Network::Regtest).unwrap().script
    }

    #[test]
    fn an_address_may_have_a_worker_behind_a_dot_or_a_slash() {
        for (name, worker) in [
            (REGTEST.to_owned(), ""),
            (format!("{REGTEST}.rig 1"), "rig 1"),
            (format!("{REGTEST}/rig.1"), "rig.1"),
            (format!("{}.a.b", REGTEST.to_uppercase()), "a.b"),
            ("alice.rig".to_owned(), "rig"),
        ] {
            let payee = Payee::Finder { script: script(), donated_percent: 0 };
            let expected = (REGTEST.to_owned(), worker.to_owned(), payee);
            assert_eq!(read(Mode::Solo, &name), Ok(expected), "{name}");
        }
    }

    #[test]
    fn a_port_that_pays_the_pool_takes_any_name() {
        for (name, account, worker) in [
            ("", "", ""),
            ("bob", "bob", ""),
            ("bob.s19", "bob", "s19"),
            (MAINNET, MAINNET, ""),
            ("sri/donate/rig", "rig", ""),
        ] {
            let expected = (account.to_owned(), worker.to_owned(), Payee::Pool);
            assert_eq!(read(Mode::Pool, name), Ok(expected), "{name}");
        }
    }

    #[test]
    fn sris_forms_are_read_where_the_finder_is_paid() {
        for (name, donated_percent) in [
            (format!("sri/solo/{REGTEST}/rig"), 0),
            (format!("sri/donate/1/{REGTEST}/rig"), 1),
            (format!("sri/donate/99/{REGTEST}/rig"), 99),
        ] {
            let payee = Payee::Finder { script: script(), donated_percent };
            let expected = (REGTEST.to_owned(), "rig".to_owned(), payee);
            assert_eq!(read(Mode::Solo, &name), Ok(expected), "{name}");
        }
        let donor = ("rig".to_owned(), String::new(), Payee::Pool);
        assert_eq!(read(Mode::Solo, "sri/donate/rig"), Ok(donor));
    }

    #[test]
    fn a_port_that_pays_the_pool_promises_nobody_a_block() {
        for name in [format!("sri/solo/{REGTEST}/rig"), format!("sri/donate/5/{REGTEST}/rig")] {
            assert_eq!(identities(Mode::Pool).read(&name), Err(IdentityError::NotForFinders));
        }
    }

    #[test]
    fn where_all_are_paid_a_name_must_be_an_address_and_promises_nobody_a_block() {
        let shared = Payee::Shared(Room { outputs: 0, bytes: 0 });
        let expected = (REGTEST.to_owned(), "rig".to_owned(), shared);
        assert_eq!(read(Mode::Pplns, &format!("{REGTEST}.rig")), Ok(expected.clone()));
        assert_eq!(read(Mode::Pplns, "alice/rig"), Ok(expected));
        assert!(read(Mode::Pplns, "bob.rig").unwrap_err().contains("must be an address"));
        for name in [format!("sri/solo/{REGTEST}/rig"), "sri/donate/rig".to_owned()] {
            for mode in [Mode::Pplns, Mode::Fpps] {
                assert_eq!(identities(mode).read(&name), Err(IdentityError::NotForFinders));
            }
        }
    }

    #[test]
    fn where_shares_are_paid_for_a_name_must_be_an_address() {
        let expected = (REGTEST.to_owned(), "rig".to_owned(), Payee::Fixed);
        assert_eq!(read(Mode::Fpps, &format!("{REGTEST}.rig")), Ok(expected));
        assert!(read(Mode::Fpps, "bob.rig").unwrap_err().contains("must be an address"));
    }

    #[test]
    fn malformed_forms_are_refused() {
        for name in [
            "sri/".to_owned(),
            "sri/solo".to_owned(),
            "sri/solo/x".to_owned(),
            format!("sri/solo/{REGTEST}"),
            format!("sri/solo/{REGTEST}/rig/more"),
            format!("sri/donate/0/{REGTEST}/rig"),
            format!("sri/donate/100/{REGTEST}/rig"),
            format!("sri/donate/-1/{REGTEST}/rig"),
            format!("sri/give/{REGTEST}/rig"),
        ] {
            assert_eq!(identities(Mode::Solo).read(&name), Err(IdentityError::Malformed), "{name}");
        }
    }

    #[test]
    fn an_address_that_cannot_be_paid_is_refused_with_its_reason() {
        for (name, reason) in [
            ("", "must be an address of regtest"),
            ("bob.rig", "must be an address of regtest"),
            (MAINNET, "another network"),
            (&unspendable(), "nobody could ever spend"),
        ] {
            let error = read(Mode::Solo, name).unwrap_err();
            assert!(error.contains(reason), "{name}: {error}");
        }
    }
}
