//! Starts a pool for a measurement: templates from this program, a target that every hash meets.
//!
//! Both pools get settings that mean the same; what each is told is to be read here.

use std::net::SocketAddr;

use anyhow::Result;
use rand::rngs::OsRng;
use toml::{Table, toml};
use wire::sv2::keys::AuthoritySecret;

use crate::arguments::Software;
use crate::provider::Provider;
use crate::started::{Launch, Started, free_address};

/// Whom blocks would pay, were there any: the address of BIP173's examples.
const PAYOUT: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

/// Where pool-sv2 writes the key by which miners know it.
const KEY_FILE: &str = "pool.pub";

/// Starts a pool, and waits until it has templates and listens.
pub fn start(launch: &Launch<'_>, provider: &mut Provider) -> Result<Started> {
    let address = free_address()?;
    let mut command = launch.command("pool-sv2", "pool_sv2")?;
    let settings = match launch.software {
        Software::Adit => {
            command.arg("run");
            adit_settings(launch, address, provider)
        }
        Software::Sri => sri_settings(address, provider),
    };
    command.arg("--config");
    let mut pool = Started::start("the pool", command, &settings, address, launch.log)?;
    pool.wait_for("it has a template", |_| provider.was_written())?;
    pool.wait_to_listen()?;
    Ok(pool)
}

/// The key of a pool-sv2 that was started here.
pub fn key_of_adit(pool: &Started) -> Result<String> {
    Ok(pool.written(KEY_FILE)?.trim().to_owned())
}

fn adit_settings(launch: &Launch<'_>, address: SocketAddr, provider: &Provider) -> Table {
    let listen = address.to_string();
    let (provider_address, provider_key) = (provider.address(), provider.key().to_string());
    // Visitors come on top.
    let connections = i64::try_from(launch.connections + 1_000).unwrap_or(i64::MAX);
    toml! {
        [listen]
        address = listen
        [authority]
        secret_key_file = "pool.key"
        public_key_file = KEY_FILE
        [[template_provider]]
        address = provider_address
        authority_key = provider_key
        [payout]
        network = "mainnet"
        address = PAYOUT
        // More shares are wanted than come: vardiff leaves the target at what any hash meets.
        [vardiff]
        shares_per_minute = 10_000_000.0
        min_difficulty = 0.000000000001
        [ledger]
        directory = "ledger"
        [limits]
        connections_max = connections
        channels_max = connections
        shares_per_second_max = 1000000
        requests_per_second_max = 1000000
    }
}

/// Shares a minute decide how many shares SRI remembers for each channel and tip before it ends
/// the connection; 1000 is more than a flood sends here.
fn sri_settings(address: SocketAddr, provider: &Provider) -> Table {
    let authority = AuthoritySecret::generate(&mut OsRng);
    let (public, secret) = (authority.public().to_string(), authority.to_secret_text());
    let listen = address.to_string();
    let (provider_address, provider_key) = (provider.address(), provider.key().to_string());
    let script = format!("addr({PAYOUT})");
    toml! {
        authority_public_key = public
        authority_secret_key = secret
        cert_validity_sec = 86400
        listen_address = listen
        coinbase_reward_script = script
        server_id = 1
        pool_signature = "SRI"
        shares_per_minute = 1000.0
        share_batch_size = 10
        [template_provider_type.Sv2Tp]
        address = provider_address
        public_key = provider_key
    }
}
