//! The keys of a Python server's `.env` that are the translator's: where V1 miners connect, and how
//! difficult their shares are.

use service::config::ConfigError;
use service::drop_in::{DropIn, Value};

use super::VardiffConfig;

/// Where the Python servers listened if nothing was said.
const DEFAULT: (&str, Option<u16>) = ("0.0.0.0", Some(3333));
/// Expected hashes of a share of difficulty 1.
const HASHES_OF_DIFFICULTY_1: f64 = 4_294_967_296.0;

/// Makes settings of the keys.
pub fn take_over(keys: &mut DropIn) -> Result<(), ConfigError> {
    if let Some(address) = keys.address(("STRATUM_HOST", "STRATUM_PORT"), DEFAULT)? {
        keys.set("listen.address", address);
    }
    // All miners had this difficulty there. Here they begin with it, and it follows their hashrate
    // upwards.
    if let Some(difficulty) = keys.positive("POOL_DIFFICULTY")? {
        let per_minute = keys.setting("vardiff.shares_per_minute").and_then(number);
        let per_minute = per_minute.unwrap_or_else(|| VardiffConfig::default().shares_per_minute);
        keys.set("vardiff.min_difficulty", difficulty);
        let hashrate = difficulty * HASHES_OF_DIFFICULTY_1 * per_minute / 60.0;
        keys.set("vardiff.initial_hashrate", hashrate);
    }
    Ok(())
}

fn number(value: &Value) -> Option<f64> {
    let whole = || value.as_integer().and_then(|whole| i32::try_from(whole).ok());
    value.as_float().or_else(|| whole().map(f64::from))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use service::config::{Source, parse_with_env_file};
    use service::env_file::EnvFile;

    use super::*;
    use crate::config::Config;

    const EXAMPLE: &str = include_str!("../../../config/translator-v1.toml");

    fn read(text: &str, env_file: &str) -> Result<Config, ConfigError> {
        let path = Path::new("translator-v1.toml");
        let source = Source { path, text, program: "translator-v1", prefix: "TRANSLATOR_V1" };
        let env_file = EnvFile::parse(Path::new(".env"), env_file);
        let (config, _): (Config, _) = parse_with_env_file(source, env_file, take_over, [])?;
        config.check()?;
        Ok(config)
    }

    #[test]
    fn miners_find_the_translator_where_the_python_server_was() {
        let address = |env_file| read(EXAMPLE, env_file).unwrap().listen.address;
        assert_eq!(address("STRATUM_HOST=10.0.0.1\nSTRATUM_PORT=3334"), "10.0.0.1:3334");
        assert_eq!(address("STRATUM_PORT=3334"), "0.0.0.0:3334");
        assert_eq!(address("STRATUM_HOST=10.0.0.1"), "10.0.0.1:3333");
        let error = read(EXAMPLE, "STRATUM_PORT=x").unwrap_err().to_string();
        assert_eq!(error, "STRATUM_PORT in .env: write a number from 1 to 65535");
    }

    #[test]
    fn a_miner_begins_with_the_difficulty_that_all_had_before() {
        let at_6 = read(EXAMPLE, "POOL_DIFFICULTY=2.0").unwrap().vardiff;
        assert_eq!(at_6.min_difficulty.to_bits(), 2.0_f64.to_bits());
        // Ten seconds a share: 2 * 2^32 hashes in them.
        assert_eq!(at_6.initial_hashrate.to_bits(), 858_993_459.2_f64.to_bits());
        let text = EXAMPLE.replace("shares_per_minute = 6.0", "shares_per_minute = 60");
        let at_60 = read(&text, "POOL_DIFFICULTY=2.0").unwrap().vardiff;
        assert_eq!(at_60.initial_hashrate.to_bits(), 8_589_934_592.0_f64.to_bits());
        assert!(read(EXAMPLE, "POOL_DIFFICULTY=0").is_err());
    }
}
