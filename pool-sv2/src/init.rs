//! `pool-sv2 init`: settings and keys of the whole stack, from a node's word and a few answers.
//!
//! It must not overwrite anything, and must not write settings with which money would be lost: no
//! network that it cannot name, no address of another one, no default for who is paid.

mod ask;
mod files;
mod node;

use std::path::{Path, PathBuf};

use clap::Args;
use service::authority::AuthorityConfig;
use service::program::{Failure, say};
use tokio::runtime;
use wire::sv2::keys::AuthorityKey;

use self::ask::Asker;
use self::files::{File, Settings};
use self::node::{Found, NodeArguments};
use crate::payout::identity::Mode;
use crate::payout::{NetworkName, Payout, PayoutConfig};

/// `pool-sv2 init`.
#[derive(Debug, Args)]
pub struct InitArguments {
    /// The folder for settings. What stands there already is not touched.
    #[arg(long, default_value = "adit")]
    dir: PathBuf,
    /// The folder for keys and data. Absent, `data` in the folder for settings.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    node: NodeArguments,
    /// Whom blocks pay: an address of the node's network. Asked for if it is absent.
    #[arg(long)]
    address: Option<String>,
    /// "pool": each block pays the address. "solo": it pays who found it. "pplns": all who have
    /// worked lately. In the last two the address gets the fee. ("fpps", which pays for each share,
    /// needs a wallet: change the settings that are made here.)
    #[arg(long, value_enum, default_value = "pool")]
    mode: Mode,
    /// What the pool keeps of blocks that pay miners, in hundredths of a percent.
    #[arg(long, default_value_t = 0)]
    fee_basis_points: u16,
    /// The easiest share: 1 suits ASICs, 0.001 a CPU.
    #[arg(long, default_value_t = 1.0)]
    min_difficulty: f64,
}

/// Carries it out.
pub fn execute(arguments: &InitArguments) -> Result<(), Failure> {
    let directory = std::path::absolute(&arguments.dir).map_err(anyhow::Error::from)?;
    files::refuse_existing(&directory)?;
    let waiting = runtime::Builder::new_current_thread().enable_all().build();
    let found = waiting.map_err(anyhow::Error::from)?.block_on(arguments.node.find())?;
    say(format_args!("node: {}, {}", found.description, found.rpc_url));
    let address = address(arguments, found.network)?;
    let data = arguments.data_dir.clone().unwrap_or_else(|| directory.join("data"));
    let data = std::path::absolute(data).map_err(anyhow::Error::from)?;
    let settings = Settings {
        data: &data,
        node: &found,
        address: &address,
        mode: arguments.mode,
        fee_basis_points: arguments.fee_basis_points,
        min_difficulty: arguments.min_difficulty,
    };
    let files = settings.files();
    files::write(&directory, &files)?;
    let key = make_keys(&data)?;
    tell(&directory, &found, &files, key);
    Ok(())
}

/// The address that was given, or is asked for; one that a payout can be made of.
fn address(arguments: &InitArguments, network: NetworkName) -> Result<String, Failure> {
    let check = |address: &str| check_payout(arguments, network, address);
    match &arguments.address {
        Some(address) => check(address).map(|()| address.clone()).map_err(Failure::Usage),
        None => Asker::of_terminal("--address")?
            .ask(&format!("Whom do blocks pay? An address on {}: ", network.name()), check),
    }
}

fn check_payout(
    arguments: &InitArguments,
    network: NetworkName,
    address: &str,
) -> Result<(), String> {
    let config = PayoutConfig {
        address: Some(address.to_owned()),
        mode: arguments.mode,
        fee_basis_points: arguments.fee_basis_points,
        ..PayoutConfig::on(network)
    };
    Payout::from_config(&config, [0; 4]).map(drop).map_err(|error| error.to_string())
}

/// Makes the keys of pool and template-provider; gives the pool's.
fn make_keys(data: &Path) -> Result<AuthorityKey, Failure> {
    let key = |program: &str| {
        let config = AuthorityConfig {
            secret_key_file: files::secret_key(data, program),
            public_key_file: Some(files::public_key(data, program)),
            certificate_validity_seconds: 86_400,
        };
        config.open().map(|secret| secret.public())
    };
    key("template-provider")?;
    Ok(key("pool-sv2")?)
}

fn tell(directory: &Path, found: &Found, files: &[File], key: AuthorityKey) {
    for file in files {
        say(format_args!("written: {}", directory.join(file.name).display()));
    }
    let at = |name: &str| directory.join(name).display().to_string();
    say("\nStart the three, each in a terminal or a service of its own:");
    for program in ["template-provider", "pool-sv2", "translator-v1"] {
        say(format_args!("  {program} run --config {}", at(&format!("{program}.toml"))));
    }
    say("\nMiners on this machine's network connect to");
    say(format_args!("  stratum2+tcp://THIS_HOST:34254/{key}"));
    say("  stratum+tcp://THIS_HOST:3333                (Stratum V1, any name and password)");
    say("\nThe pool shows itself at http://127.0.0.1:8082/");
    say("\nOr in containers, from a checkout, with a node of their own:");
    say(format_args!("  docker compose --env-file {} up", at(".env")));
    if found.is_syncing {
        say("\nThe node still loads the chain: there is no work before it is done.");
    }
}
