//! The keys of a Python server's `.env` that are the pool's: network, payout, difficulty.

use service::config::ConfigError;
use service::drop_in::{DropIn, NetworkKey, Remark, Value};

/// The keys of `[payout]` that say whom blocks pay.
const DESTINATIONS: [&str; 4] =
    ["payout.address", "payout.descriptor", "payout.script", "payout.by_template"];

/// Makes settings of the keys.
pub fn take_over(keys: &mut DropIn) -> Result<(), ConfigError> {
    if let Some(network) = keys.network()? {
        let name = match network {
            NetworkKey::Mainnet => "mainnet",
            NetworkKey::Testnet => "testnet4",
            NetworkKey::Signet => "signet",
            NetworkKey::Regtest => "regtest",
        };
        keys.set("payout.network", name);
    }
    // What every miner had there is the easiest that one gets here; from there it follows the
    // miner's hashrate.
    if let Some(difficulty) = keys.positive("POOL_DIFFICULTY")? {
        keys.set("vardiff.min_difficulty", difficulty);
    }
    payout(keys)
}

fn payout(keys: &mut DropIn) -> Result<(), ConfigError> {
    let pays_by_template = keys.text("SHIELDED_PUBKEY").is_some();
    let key_hash = keys.hex("MINER_PKH_HEX", 20, "a public key's hash, not an address")?;
    if pays_by_template {
        if key_hash.is_some() {
            let path = keys.path().display();
            let text = format!("{path}: MINER_PKH_HEX is not paid: SHIELDED_PUBKEY gets it all");
            keys.remark(Remark::Warning(text));
        }
        pay(keys, "payout.by_template", true);
        return Ok(());
    }
    match key_hash {
        // OP_DUP OP_HASH160 <hash> OP_EQUALVERIFY OP_CHECKSIG, on every chain.
        Some(hash) => pay(keys, "payout.script", format!("76a914{hash}88ac")),
        None => without_key_hash(keys)?,
    }
    Ok(())
}

/// The Python server paid to OP_TRUE then, whatever the network.
fn without_key_hash(keys: &mut DropIn) -> Result<(), ConfigError> {
    if DESTINATIONS.iter().any(|path| keys.setting(path).is_some()) {
        return Ok(());
    }
    let network = keys.setting("payout.network").and_then(Value::as_str);
    if network == Some("regtest") {
        pay(keys, "payout.script", "51");
        let path = keys.path().display();
        let text = format!("{path}: without MINER_PKH_HEX anyone can spend what blocks pay");
        keys.remark(Remark::Warning(text));
    } else if keys.has("MINER_PKH_HEX") {
        let remedy = "write the 40 hex characters of a public key's hash, or set payout.address: \
                      blocks would pay anyone";
        return Err(keys.bad("MINER_PKH_HEX", remedy));
    }
    Ok(())
}

fn pay(keys: &mut DropIn, destination: &str, value: impl Into<Value>) {
    for other in DESTINATIONS {
        keys.remove(other);
    }
    keys.set(destination, value);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use service::config::{Source, parse_with_env_file};
    use service::env_file::EnvFile;

    use super::*;
    use crate::config::Config;
    use crate::payout::NetworkName;

    const EXAMPLE: &str = include_str!("../../../config/pool-sv2.toml");
    const KEY_HASH: &str = "751e76e8199196d454941c45d1b3a323f1433bd6";

    fn read_over(text: &str, env_file: &str) -> Result<(Config, Vec<Remark>), ConfigError> {
        let path = Path::new("pool-sv2.toml");
        let source = Source { path, text, program: "pool-sv2", prefix: "POOL_SV2" };
        let env_file = EnvFile::parse(Path::new(".env"), env_file);
        let read: (Config, _) = parse_with_env_file(source, env_file, take_over, [])?;
        read.0.check()?;
        Ok(read)
    }

    fn read(env_file: &str) -> Result<Config, ConfigError> {
        read_over(EXAMPLE, env_file).map(|(config, _)| config)
    }

    fn refusal(env_file: &str) -> String {
        read(env_file).unwrap_err().to_string()
    }

    #[test]
    fn a_drivechain_file_pays_the_key_hash_on_its_network_at_its_difficulty() {
        let env_file = format!(
            "NETWORK=mainnet     # mainnet | testnet | regtest\nMINER_PKH_HEX={KEY_HASH}\n\
             POOL_DIFFICULTY=0.5\n"
        );
        let config = read(&env_file).unwrap();
        assert_eq!(config.payout.network, NetworkName::Mainnet);
        assert_eq!(config.payout.script, Some(format!("76a914{KEY_HASH}88ac")));
        assert_eq!(config.vardiff.min_difficulty.to_bits(), 0.5_f64.to_bits());
    }

    #[test]
    fn the_key_hash_takes_the_place_of_the_files_address() {
        let text = EXAMPLE.replace("# address = \"bc1q", "address = \"bc1q");
        let (config, _) = read_over(&text, &format!("MINER_PKH_HEX={KEY_HASH}")).unwrap();
        assert_eq!(config.payout.address, None);
        let (config, _) = read_over(&text, "MINER_PKH_HEX=").unwrap();
        assert!(config.payout.address.is_some() && config.payout.script.is_none());
    }

    #[test]
    fn a_vanta_file_pays_by_the_template() {
        let pubkey = "0f".repeat(32);
        let config = read(&format!("SHIELDED_PUBKEY={pubkey}")).unwrap();
        assert!(config.payout.by_template);
        let both = format!("SHIELDED_PUBKEY={pubkey}\nMINER_PKH_HEX={KEY_HASH}");
        let (config, remarks) = read_over(EXAMPLE, &both).unwrap();
        assert!(config.payout.by_template && config.payout.script.is_none());
        assert!(matches!(&remarks[..], [Remark::Warning(text)] if text.contains("MINER_PKH_HEX")));
    }

    #[test]
    fn without_a_key_hash_anyone_is_paid_on_regtest_and_nobody_elsewhere() {
        let (config, remarks) = read_over(EXAMPLE, "NETWORK=regtest\nMINER_PKH_HEX=\n").unwrap();
        assert_eq!(config.payout.script.as_deref(), Some("51"));
        assert!(matches!(&remarks[..], [Remark::Warning(text)] if text.contains("anyone")));
        for network in ["mainnet", "testnet", "signet"] {
            let error = refusal(&format!("NETWORK={network}\nMINER_PKH_HEX=\n"));
            assert!(error.starts_with("MINER_PKH_HEX in .env: write the 40 hex"), "{error}");
        }
    }

    #[test]
    fn an_address_in_place_of_a_key_hash_is_refused() {
        let error = refusal("MINER_PKH_HEX=bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4");
        assert!(error.starts_with("MINER_PKH_HEX in .env: write the 40 hex"), "{error}");
        assert!(error.ends_with("not an address"), "{error}");
    }

    #[test]
    fn keys_of_the_other_programs_are_named_with_them() {
        let env_file = "NETWORK=regtest\nRPC_HOST=h\nSTRATUM_PORT=1\nPOOL_DIFFICULTY=1\n";
        let (_, remarks) = read_over(EXAMPLE, env_file).unwrap();
        let notes = remarks.iter().filter_map(|remark| match remark {
            Remark::Note(text) => Some(text.as_str()),
            Remark::Warning(_) => None,
        });
        let expected = ".env: for other programs: RPC_HOST (template-provider); \
                        STRATUM_PORT (translator-v1)";
        assert_eq!(notes.collect::<Vec<_>>(), [expected]);
    }
}
