//! What the settings make the pool do, in plain sentences: for a person who is about to start it.
//!
//! It must not check anything: what it is given is fine.

use super::Config;
use super::listen::ListenConfig;
use crate::accounting::alerts::config::ReceiverConfig;
use crate::payout::identity::Mode;
use crate::payout::{PayoutConfig, TreasuryConfig};

impl Config {
    /// A sentence for each thing that an operator would want to know before the start.
    pub fn explain(&self) -> Vec<String> {
        let mut sentences: Vec<_> = self.listen.0.iter().map(|port| self.port(port)).collect();
        sentences.extend(modes(self).into_iter().map(|mode| self.payout.sentence(mode)));
        sentences.extend(self.payout.treasury.iter().map(TreasuryConfig::sentence));
        sentences.push(self.providers());
        sentences.push(format!(
            "Shares are kept in {}, and acknowledged once they are on the disk there.",
            self.ledger.directory.display()
        ));
        sentences.extend(self.webhook.as_ref().map(|webhook| {
            let events: Vec<_> = webhook.events.iter().map(|event| event.name()).collect();
            format!("{} is told of {}.", webhook.url, events.join(", "))
        }));
        sentences.extend(self.alerts.receiver.iter().map(ReceiverConfig::sentence));
        sentences.push(self.questions());
        sentences.extend(self.admin.listen.as_ref().map(|address| {
            format!("http://{address}/admin takes your orders, with the token alone.")
        }));
        sentences
    }

    fn port(&self, port: &ListenConfig) -> String {
        let vardiff = port.vardiff(&self.vardiff);
        format!(
            "Miners connect to {}: difficulty {} or more, some {} shares a minute.",
            port.address, vardiff.min_difficulty, vardiff.shares_per_minute
        )
    }

    fn providers(&self) -> String {
        let mut addresses = self.template_provider.iter().map(|provider| &*provider.address);
        let first = addresses.next().unwrap_or("nowhere");
        let others: Vec<_> = addresses.collect();
        match others.is_empty() {
            true => format!("Templates come from {first}."),
            false => format!("Templates come from {first}, or else from {}.", others.join(", ")),
        }
    }

    fn questions(&self) -> String {
        let Some(address) = &self.health.address else {
            return "Nobody can ask how it is: health.address is not set.".to_owned();
        };
        let api = if self.api.enabled { ", /api/v1" } else { "" };
        let pages = if self.dashboard.enabled { ", and shows the pool to people" } else { "" };
        format!("http://{address} answers /health, /metrics{api}{pages}.")
    }
}

/// How the ports pay, each way once.
fn modes(config: &Config) -> Vec<Mode> {
    let mut modes = Vec::new();
    for port in &config.listen.0 {
        let mode = port.payout.unwrap_or(config.payout.mode);
        if !modes.contains(&mode) {
            modes.push(mode);
        }
    }
    modes
}

impl PayoutConfig {
    /// Whom a block pays that was found where `mode` holds.
    fn sentence(&self, mode: Mode) -> String {
        let own = self.destination();
        let fee = percent(self.fee_basis_points);
        let rest = percent(10_000_u16.saturating_sub(self.fee_basis_points));
        let network = self.network.name();
        match mode {
            Mode::Pool => format!("A block on {network} pays all of its reward to {own}."),
            Mode::Solo => {
                format!("A block on {network} pays {rest} to who found it, and {fee} to {own}.")
            }
            Mode::Fpps => format!(
                "A block on {network} pays all of its reward to {own}; each share is paid for from \
                 the wallet {}, {rest} of what it is worth on average.",
                self.wallet.as_ref().map_or("", |wallet| &wallet.name)
            ),
            Mode::Pplns => format!(
                "A block on {network} pays {rest} to all who have worked lately, {fee} to {own}."
            ),
        }
    }

    fn destination(&self) -> String {
        let named = [&self.address, &self.descriptor, &self.script];
        let named = named.into_iter().flatten().next();
        named.map_or_else(|| "what each template names".to_owned(), Clone::clone)
    }
}

impl TreasuryConfig {
    fn sentence(&self) -> String {
        let Self { address, basis_points } = self;
        format!("Of the fee, {} of the block goes to {address}.", percent(*basis_points))
    }
}

/// 150 is `1.5 %`.
fn percent(basis_points: u16) -> String {
    let (whole, hundredths) = (basis_points / 100, basis_points % 100);
    let text = format!("{whole}.{hundredths:02}");
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn explained(text: &str) -> Vec<String> {
        let text = text.replace("# address = \"bc1q", "address = \"bc1q");
        let path = Path::new("config/pool-sv2.toml");
        let config: Config = service::config::parse(path, &text, "POOL_SV2", []).unwrap();
        config.explain()
    }

    const EXAMPLE: &str = include_str!("../../../config/pool-sv2.toml");
    const ADDRESS: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

    #[test]
    fn it_says_whom_a_block_pays_and_how_much() {
        let all = format!("A block on mainnet pays all of its reward to {ADDRESS}.");
        assert_eq!(explained(EXAMPLE)[1], all);
        let solo = EXAMPLE
            .replace("mode = \"pool\"", "mode = \"solo\"")
            .replace("fee_basis_points = 0", "fee_basis_points = 150");
        let parts = format!("pays 98.5 % to who found it, and 1.5 % to {ADDRESS}.");
        assert!(explained(&solo)[1].contains(&parts), "{:?}", explained(&solo));
        let fpps = solo.replace("mode = \"solo\"", "mode = \"fpps\"");
        let fpps = explained(&(fpps + "\n[payout.wallet]\nname = \"till\"\n"));
        let parts = "from the wallet till, 98.5 % of what it is worth";
        assert!(fpps[1].contains(parts), "{fpps:?}");
    }

    #[test]
    fn ports_that_pay_in_two_ways_have_a_sentence_for_each() {
        let ports =
            "\n[[listen]]\naddress = \"a:1\"\n[[listen]]\naddress = \"b:2\"\npayout = \"solo\"";
        let two = EXAMPLE.replace("\n[listen]", ports).replace("\naddress = \"0.0.0.0:34254\"", "");
        let sentences = explained(&two);
        assert!(sentences[0].contains("a:1") && sentences[1].contains("b:2"), "{sentences:?}");
        assert!(sentences[2].contains("all of its reward"), "{sentences:?}");
        assert!(sentences[3].contains("to who found it"), "{sentences:?}");
    }

    #[test]
    fn a_percentage_has_no_more_digits_than_it_needs() {
        let texts = [0, 5, 150, 200, 1_000, 10_000].map(percent);
        assert_eq!(texts, ["0 %", "0.05 %", "1.5 %", "2 %", "10 %", "100 %"]);
    }
}
