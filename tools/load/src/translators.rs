//! Starts a translator for a measurement, with Adit's pool behind it and a difficulty that every
//! hash meets.
//!
//! Both translators get settings that mean the same, one channel for all miners among them; what
//! each is told is to be read here.

use std::net::SocketAddr;

use anyhow::Result;
use toml::{Table, toml};

use crate::arguments::Software;
use crate::pools::{self, key_of_adit};
use crate::provider::Provider;
use crate::started::{Launch, Started, free_address};

/// Hashes a second of a miner, and shares a minute: together a share of less than one hash.
const HASHRATE: f64 = 1.0;
const SHARES_PER_MINUTE: f64 = 10_000_000.0;

/// Starts the pool that `behind` says, which is Adit's, and the translator in front of it.
pub fn start(launch: &Launch<'_>, behind: &Launch<'_>, provider: &mut Provider) -> Result<Started> {
    let pool = pools::start(behind, provider)?;
    let (upstream, key) = (pool.address, key_of_adit(&pool)?);
    let address = free_address()?;
    let mut command = launch.command("translator-v1", "translator_sv2")?;
    let settings = match launch.software {
        Software::Adit => {
            command.arg("run");
            adit_settings(launch, address, upstream, &key)
        }
        Software::Sri => sri_settings(address, upstream, &key),
    };
    command.arg("--config");
    let translator = Started::start("the translator", command, &settings, address, launch.log)?;
    let mut translator = translator.in_front_of(pool);
    translator.wait_to_listen()?;
    Ok(translator)
}

fn adit_settings(
    launch: &Launch<'_>,
    address: SocketAddr,
    upstream: SocketAddr,
    key: &str,
) -> Table {
    let (listen, upstream) = (address.to_string(), upstream.to_string());
    // Visitors come on top.
    let connections = i64::try_from(launch.connections + 1_000).unwrap_or(i64::MAX);
    toml! {
        [listen]
        address = listen
        connections_max = connections
        [limits]
        lines_per_second_max = 1_000_000
        [upstream]
        address = upstream
        authority_key = key
        user_identity = "load"
        [vardiff]
        shares_per_minute = SHARES_PER_MINUTE
        min_difficulty = 0.000000000001
        initial_hashrate = HASHRATE
    }
}

fn sri_settings(address: SocketAddr, upstream: SocketAddr, key: &str) -> Table {
    let (host, port) = (address.ip().to_string(), i64::from(address.port()));
    let (pool_host, pool_port) = (upstream.ip().to_string(), i64::from(upstream.port()));
    toml! {
        downstream_address = host
        downstream_port = port
        max_supported_version = 2
        min_supported_version = 2
        downstream_extranonce2_size = 4
        user_identity = "load"
        aggregate_channels = true
        supported_extensions = []
        required_extensions = []
        [downstream_difficulty_config]
        min_individual_miner_hashrate = HASHRATE
        shares_per_minute = SHARES_PER_MINUTE
        enable_vardiff = false
        job_keepalive_interval_secs = 60
        [[upstreams]]
        address = pool_host
        port = pool_port
        authority_pubkey = key
        user_identity = "load"
    }
}
