//! `[coin]`: what people call the chain and its coin.
//!
//! It is for texts that people read, and decides nothing: no amount, address or rule may depend on
//! it. A coin is as many of its smallest units on every chain that the pool serves.

use serde::Deserialize;
use service::config::ConfigError;

/// Smallest units of a coin.
pub const UNITS: u64 = 100_000_000;
/// The same, for what is reckoned with fractions.
pub const UNITS_AS_FLOAT: f64 = 1e8;
/// It stands in the title of an alert.
const NAME_CHARACTERS_MAX: usize = 32;
/// It stands behind every amount.
const SYMBOL_CHARACTERS_MAX: usize = 16;

/// `[coin]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Coin {
    /// What the chain and its coin are called.
    pub name: String,
    /// What stands behind an amount of coins.
    pub symbol: String,
}

impl Default for Coin {
    fn default() -> Self {
        Self { name: "Bitcoin".to_owned(), symbol: "BTC".to_owned() }
    }
}

impl Coin {
    /// Checks what the types cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        for (field, text, max, usual) in [
            ("coin.name", &self.name, NAME_CHARACTERS_MAX, "Bitcoin"),
            ("coin.symbol", &self.symbol, SYMBOL_CHARACTERS_MAX, "BTC"),
        ] {
            let is_short = text.chars().count() <= max;
            if !is_short || text.trim().is_empty() || text.contains(char::is_control) {
                let remedy = format!(
                    "write from 1 to {max} characters that people can read, none of them a control \
                     character; {usual} is usual"
                );
                return Err(ConfigError::unusable(field, remedy));
            }
        }
        Ok(())
    }

    /// What people call the chain; `network` is the payouts'.
    pub fn chain(&self, network: &str) -> String {
        match network {
            "mainnet" => self.name.clone(),
            other => format!("{} {other}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Coin {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn what_is_left_out_is_bitcoins() {
        assert_eq!(read(""), Coin { name: "Bitcoin".to_owned(), symbol: "BTC".to_owned() });
        assert_eq!(read("symbol = \"sBTC\"").name, "Bitcoin");
        assert!(toml::from_str::<Coin>("unit = \"BTC\"").is_err());
    }

    #[test]
    fn only_mainnet_is_left_unsaid() {
        let coin = read("name = \"Vanta\"");
        let names = ["mainnet", "testnet4", "regtest"].map(|network| coin.chain(network));
        assert_eq!(names, ["Vanta", "Vanta testnet4", "Vanta regtest"]);
    }

    #[test]
    fn what_could_not_be_read_or_is_too_long_is_refused_with_the_remedy() {
        for (key, max, usual) in [("name", 32, "Bitcoin"), ("symbol", 16, "BTC")] {
            let longest = "ü".repeat(max);
            let too_long = format!("{longest}ü");
            for (value, is_fine) in [
                (&*longest, true),
                ("Bitcoin Cash", true),
                (&*too_long, false),
                ("", false),
                (" \u{a0}", false),
                ("a\nb", false),
                ("a\u{1b}[2Jb", false),
                ("a\u{7f}", false),
            ] {
                let mut coin = Coin::default();
                match key {
                    "name" => value.clone_into(&mut coin.name),
                    _ => value.clone_into(&mut coin.symbol),
                }
                let complaint = coin.check().err().map(|error| error.to_string());
                let expected = format!(
                    "coin.{key}: write from 1 to {max} characters that people can read, none of \
                     them a control character; {usual} is usual"
                );
                assert_eq!(complaint, (!is_fine).then_some(expected), "{value:?}");
            }
        }
    }
}
