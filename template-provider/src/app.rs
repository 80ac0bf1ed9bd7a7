//! Wiring: the node's offers are made into templates and published, every client gets a session,
//! and found blocks go to the node and to disk.
//!
//! The only file, with those below it, that knows more than one room.

mod client;
pub mod command;
mod disk;
mod explain;
mod extensions;
mod publisher;
mod rooms;
mod spooling;
mod submission;
mod take_over;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use serde::Deserialize;
use service::authority::AuthorityConfig;
use service::certificates::Certificates;
use service::config::ConfigError;
use service::drop_in::DropIn;
use service::gate::{Gate, GateLimits, Place};
use service::health::{Health, HealthConfig};
use service::listen;
use service::metrics::{Histogram, Metrics};
use service::program::{Failure, Server, say};
use service::{advice, clock, driver};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};
use wire::sv2::keys::{AuthoritySecret, Sv2Url};

use crate::coinbase::bmm::config::SlotConfig;
use crate::coinbase::bmm::guard::GuardConfig;
use crate::coinbase::shielded::settings::ShieldedConfig;
use crate::node::enforcer::{Enforcer, EnforcerConfig};
use crate::node::presence::NEIGHBOUR;
use crate::node::timing::CallTimes;
use crate::node::{BackupNodeConfig, Node, NodeConfig, roster, standing};
use crate::outbox::OutboxConfig;
use crate::outbox::store::Store as Outbox;
use crate::outbox::worker::{self, AskChain, OutboxMetrics};
use crate::server::session::Session;
use crate::templates::build::Extensions;
use crate::templates::store::{Offer, Store};
use client::Client;
use command::Command;
use disk::Disk;
use publisher::{Alarm, Publisher};
use rooms::Rooms;
use spooling::Spooling;
use submission::Submissions;

/// Clients at a time; further ones wait. A pool needs one, a farm of job declarators many.
const CLIENTS_MAX: usize = 256;
/// Templates of the node that wait to be judged; more are fetched only after that.
const OFFERED_MAX: usize = 4;
/// Bounds of `tip_to_set_new_prev_hash_seconds`: fine where it should be, and up to where it hurts.
const TIP_SECONDS: [f64; 12] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The program's settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where clients connect.
    #[serde(default)]
    pub listen: ListenConfig,
    /// The key by which clients know this server.
    pub authority: AuthorityConfig,
    /// The node.
    pub node: NodeConfig,
    /// Further nodes, by priority.
    #[serde(default, rename = "backup_node")]
    pub backup_nodes: Vec<BackupNodeConfig>,
    /// The enforcer in front of the node, if its chain is a drivechain's.
    pub enforcer: Option<EnforcerConfig>,
    /// The note that the reward goes into, on a chain with shielded coinbases.
    pub shielded: Option<ShieldedConfig>,
    /// Sidechains whose blocks are merge mined, one table a slot.
    #[serde(default)]
    pub bmm: Vec<SlotConfig>,
    /// What happens to transactions that bid for a side block.
    #[serde(default)]
    pub bmm_guard: GuardConfig,
    /// Where found blocks are kept.
    #[serde(default)]
    pub vault: VaultConfig,
    /// What is delivered once a block is in the chain.
    #[serde(default)]
    pub outbox: OutboxConfig,
    /// Where `/health` answers.
    #[serde(default)]
    pub health: HealthConfig,
}

/// `[listen]` of the config.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenConfig {
    /// `HOST:PORT`; port 0 takes a free one.
    #[serde(default = "default_address")]
    pub address: String,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self { address: default_address() }
    }
}

fn default_address() -> String {
    "127.0.0.1:8442".to_owned()
}

/// `[vault]` of the config.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultConfig {
    /// The directory; absent: `blocks` beside the authority's secret key.
    pub blocks_dir: Option<PathBuf>,
    /// The directory of what clients mine on; absent: `templates` beside that of the blocks.
    pub templates_dir: Option<PathBuf>,
}

impl Config {
    fn blocks_dir(&self) -> PathBuf {
        let beside = || self.authority.secret_key_file.with_file_name("blocks");
        self.vault.blocks_dir.clone().unwrap_or_else(beside)
    }

    fn templates_dir(&self) -> PathBuf {
        let beside = || self.blocks_dir().with_file_name("templates");
        self.vault.templates_dir.clone().unwrap_or_else(beside)
    }

    fn outbox_dir(&self) -> PathBuf {
        let beside = || self.authority.secret_key_file.with_file_name("outbox");
        self.outbox.dir.clone().unwrap_or_else(beside)
    }

    fn notes_secret_file(&self, shielded: &ShieldedConfig) -> PathBuf {
        let beside = || self.authority.secret_key_file.with_file_name("notes.secret");
        shielded.secret_file.clone().unwrap_or_else(beside)
    }
}

/// The program, for its `main`.
pub struct TemplateProvider;

impl Server for TemplateProvider {
    const NAME: &'static str = "template-provider";
    const ABOUT: &'static str = "Stratum V2 Template Provider for a Bitcoin node's RPC";
    const PREFIX: &'static str = "TEMPLATE_PROVIDER";
    const HAS_AUTHORITY: bool = true;
    type Config = Config;
    type More = Command;

    fn take_over(keys: &mut DropIn) -> Result<(), ConfigError> {
        take_over::take_over(keys)
    }

    fn check(config: &Config) -> Result<(), ConfigError> {
        extensions::check(config)?;
        nodes_of(config).map(drop)
    }

    fn explain(config: &Config) -> Vec<String> {
        explain::explain(config)
    }

    async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Failure> {
        let nodes = nodes_of(&config)?;
        let _locks = disk::lock(&config)?;
        let secret = config.authority.open()?;
        let Disk { vault, outbox, spooling, last_id } = Disk::open(&config)?;
        let news = Arc::default();
        let metrics = Metrics::new("template_provider");
        let extensions = extensions::open(&config, &news, &metrics)?;
        let rooms = Rooms::beside(&extensions);
        let nodes = timed(&rooms.tell(&nodes), &metrics);
        let address = &config.listen.address;
        let listener = listen::bind(address).await;
        let listener =
            listener.map_err(|error| Failure::cannot_listen("listen.address", address, &error))?;
        let health = Health::new(&[NEIGHBOUR]).with_metrics(metrics.clone());
        announce(&listener, &secret)?;
        health.clone().start("health.address", &config.health, &shutdown).await?;

        let store = Arc::new(Store::new(clock::unix_now_milliseconds(), last_id));
        let submissions = Submissions::new(Arc::clone(&nodes), vault, outbox.clone(), &metrics);
        submissions.resume().await;
        disk::import(&outbox, config.outbox.import_file.as_deref()).await;
        let (offered, to_judge) = mpsc::channel(OFFERED_MAX);
        let offers = watch::Sender::new(None);
        let spool = spooling.clone().run(offers.subscribe());
        let hub = Hub {
            certificates: config.authority.certificates(secret),
            store: Arc::clone(&store),
            offers: offers.subscribe(),
            submissions: submissions.clone(),
            rooms: rooms.clone(),
            spooling: spooling.clone(),
            tip_seconds: metrics.histogram(
                "tip_to_set_new_prev_hash_seconds",
                "From the first signal of a new tip until a client is sent its SetNewPrevHash",
                &TIP_SECONDS,
            ),
            shutdown: shutdown.clone(),
        };
        let deliver = deliver(outbox, &extensions, &nodes, (&metrics, &health));
        let publisher = Publisher {
            store,
            offers,
            fee_delta_sats: config.node.fee_delta_sats,
            guard: extensions::guard(&config)?,
            extensions,
            news,
            nodes: Arc::clone(&nodes),
            rooms,
            alarm: Alarm::new(health.clone(), &metrics),
        };
        let gate = Gate::new(GateLimits::of_connections(CLIENTS_MAX), &metrics);
        let accept = listen::accept(listener, gate, shutdown.clone(), |stream, peer, place| {
            serve(hub.clone(), stream, peer, place)
        });
        tokio::select! {
            // Clients are served even while the node is away, and leave before it is let go.
            () = accept => {}
            Some(wrong) = roster::watch(&nodes, &health, &metrics, offered) => {
                return Err(Failure::explained_by(advice::SETTING_UNUSABLE, wrong));
            }
            () = publisher.run(to_judge) => {}
            () = deliver => {}
            failure = extensions::wrong_chain(&config, &nodes) => return Err(failure),
            () = spool => {}
        }
        submissions.drain().await;
        Ok(())
    }

    fn more(command: Command) -> Result<(), Failure> {
        command.carry_out()
    }
}

/// The nodes, behind the enforcer if there is one: it gives the templates whichever of them is in
/// use, since without its messages a drivechain's block may be thrown out.
fn nodes_of(config: &Config) -> Result<Arc<[Node]>, ConfigError> {
    let enforcer = config.enforcer.as_ref().map(Enforcer::from_config).transpose()?;
    let nodes = Node::all(&config.node, &config.backup_nodes)?;
    let node = |node: &Node| match config.shielded {
        // Such a chain may have rules of its own for what a block holds.
        Some(_) => node.clone().without_stopgaps(),
        None => node.clone(),
    };
    Ok(nodes.iter().map(|one| node(one).behind(enforcer.clone())).collect())
}

/// The same nodes, with the time that they take shown in /metrics.
fn timed(nodes: &[Node], metrics: &Metrics) -> Arc<[Node]> {
    let times = CallTimes::new(metrics);
    nodes.iter().map(|node| node.clone().timed_by(&times)).collect()
}

/// Delivers what is in the outbox; the nodes tell whether a block is in the chain still.
fn deliver(
    outbox: Outbox,
    extensions: &Extensions,
    nodes: &Arc<[Node]>,
    (metrics, health): (&Metrics, &Health),
) -> impl Future<Output = ()> + use<> {
    let nodes = Arc::clone(nodes);
    let chain: AskChain = Arc::new(move |block| {
        let nodes = Arc::clone(&nodes);
        Box::pin(async move { standing::standing(&nodes, &block).await })
    });
    let shown = OutboxMetrics::new(metrics).shown_in(health);
    worker::deliver(outbox, Arc::clone(extensions), chain, shown)
}

/// What every client's task needs.
#[derive(Clone)]
struct Hub {
    certificates: Certificates,
    store: Arc<Store>,
    offers: watch::Receiver<Option<Arc<Offer>>>,
    submissions: Submissions,
    rooms: Rooms,
    spooling: Spooling,
    /// Seconds from the first signal of a new tip until a client's session has it.
    tip_seconds: Histogram,
    shutdown: CancellationToken,
}

fn announce(listener: &TcpListener, secret: &AuthoritySecret) -> Result<(), Failure> {
    let bound = listener.local_addr().context("the listener has no address")?;
    let url = Sv2Url {
        host: bound.ip().to_string(),
        port: bound.port(),
        authority_key: Some(secret.public()),
    };
    say(format_args!("templates at {url}"));
    Ok(())
}

async fn serve(hub: Hub, stream: TcpStream, peer: SocketAddr, _place: Place) {
    let identity = hub.certificates.current();
    let mut session = Session::new(identity, clock::now(), clock::fresh_seed());
    debug!(%peer, "client connected");
    let rooms = hub.rooms.clone();
    let mut client = Client::new(peer, hub);
    let ended = driver::drive(&mut session, &mut client, stream).await;
    rooms.remove(peer);
    info!(%peer, reason = %ended, "client gone");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const EXAMPLE: &str = include_str!("../../config/template-provider.toml");

    fn parse(text: &str) -> Config {
        let nobody = std::iter::empty();
        service::config::parse(Path::new("x.toml"), text, TemplateProvider::PREFIX, nobody).unwrap()
    }

    /// The key that a line would set if it were not commented out.
    fn commented_out(line: &str) -> Option<&str> {
        let (name, _) = line.strip_prefix('#')?.split_once(" = ")?;
        name.chars().all(|c| c.is_ascii_lowercase() || c == '_').then_some(name)
    }

    /// The example with every key that is commented out put in force.
    fn all_keys_in_force() -> String {
        let in_force = |line: &'static str| match commented_out(line) {
            Some(_) => line.trim_start_matches('#'),
            // A table that the example leaves out.
            None if line.starts_with("#[") => line.trim_start_matches('#'),
            None => line,
        };
        EXAMPLE.lines().map(in_force).collect::<Vec<_>>().join("\n")
    }

    /// The keys that are commented out and whose comment says that they have no default.
    fn keys_without_default() -> Vec<&'static str> {
        let (mut names, mut has_default, mut is_comment) = (Vec::new(), true, false);
        for line in EXAMPLE.lines() {
            let name = commented_out(line);
            // A comment holds for the keys from its end to the next comment.
            let was_comment = std::mem::replace(&mut is_comment, line.starts_with("# "));
            has_default = match is_comment {
                true => (has_default || !was_comment) && !line.contains("No default"),
                false => has_default,
            };
            names.extend(name.filter(|_| !has_default));
        }
        names
    }

    #[test]
    fn the_example_is_a_usable_config() {
        TemplateProvider::check(&parse(EXAMPLE)).unwrap();
    }

    #[test]
    fn a_key_that_is_commented_out_stands_with_its_default_or_says_that_it_has_none() {
        let (short, whole) = (parse(EXAMPLE), parse(&all_keys_in_force()));
        assert_eq!(whole.listen.address, short.listen.address);
        let node = |config: &Config| {
            let NodeConfig {
                tip_poll_ms,
                template_refresh_seconds,
                empty_template_after_ms,
                fee_delta_sats,
                ..
            } = config.node;
            (tip_poll_ms, template_refresh_seconds, empty_template_after_ms, fee_delta_sats)
        };
        assert_eq!(node(&whole), node(&short));
        let validity = |config: &Config| config.authority.certificate_validity_seconds;
        assert_eq!(validity(&whole), validity(&short));
        assert_eq!(whole.authority.public_key_file, short.authority.public_key_file);
        assert_eq!(whole.blocks_dir(), short.blocks_dir());
        assert!(whole.vault.blocks_dir.is_some(), "every key is in the example");
        assert_eq!(whole.templates_dir(), short.templates_dir());
        assert!(whole.vault.templates_dir.is_some(), "every key is in the example");
        assert_eq!(whole.outbox_dir(), short.outbox_dir());
        assert!(whole.outbox.dir.is_some(), "every key is in the example");
        assert!(whole.outbox.import_file.is_some() && short.outbox.import_file.is_none());
        let optional = |config: &Config| {
            let NodeConfig { cookie_file, user, password, password_file, zmq_hashblock, .. } =
                &config.node;
            let login = [cookie_file.is_some(), user.is_some(), password.is_some()];
            (
                login,
                password_file.is_some(),
                zmq_hashblock.is_some(),
                config.backup_nodes.len(),
                config.health.address.is_some(),
            )
        };
        assert_eq!(optional(&whole), ([true; 3], true, true, 1, true));
        assert_eq!(optional(&short), ([false; 3], false, false, 0, false));
        assert_eq!((whole.bmm.len(), short.bmm.len()), (1, 0));
        assert!(whole.node.network.is_some() && short.node.network.is_none());
        let login = ["network", "cookie_file", "user", "password", "password_file"];
        let backup = ["rpc_url", "user", "password_file", "zmq_hashblock"];
        let enforcer = ["rpc_url", "coinbase_recipient"];
        let shielded =
            ["pubkey", "pubkey_file", "note_hash", "known_answer", "sidecar_url", "notes_file"];
        let bmm = ["slot", "source", "url", "user", "password", "password_file", "path", "command"];
        let own = ["import_file", "address"];
        let told =
            [&login[..], &["zmq_hashblock"], &backup, &enforcer, &shielded, &bmm, &own].concat();
        assert_eq!(keys_without_default(), told);
    }

    #[test]
    fn the_enforcers_keys_stand_with_their_defaults() {
        let (short, whole) = (parse(EXAMPLE), parse(&all_keys_in_force()));
        assert!(short.enforcer.is_none());
        Enforcer::from_config(whole.enforcer.as_ref().unwrap()).unwrap();
        let written = whole.enforcer.unwrap();
        let least: EnforcerConfig = toml::from_str("rpc_url = \"http://a:1\"").unwrap();
        assert_eq!(written.poll_ms, least.poll_ms);
        assert!(written.coinbase_recipient.is_some() && least.coinbase_recipient.is_none());
    }

    #[test]
    fn the_shielded_keys_stand_with_their_defaults() {
        let (short, mut whole) = (parse(EXAMPLE), parse(&all_keys_in_force()));
        assert!(short.shielded.is_none());
        let (config, mut written) = (short, whole.shielded.take().unwrap());
        assert!(written.pubkey_file.take().is_some() && written.notes_file.is_some());
        written.settings().unwrap();
        let least: ShieldedConfig = toml::from_str("sidecar_url = \"http://a:1\"").unwrap();
        assert_eq!(config.notes_secret_file(&written), config.notes_secret_file(&least));
        assert!(written.secret_file.is_some(), "every key is in the example");
        let defaults = |shielded: &ShieldedConfig| {
            let ShieldedConfig { test_network, note_value, output_value, .. } = *shielded;
            (test_network, note_value, output_value, shielded.sidecar_done_statuses.clone())
        };
        assert_eq!(defaults(&written), defaults(&least));
    }

    #[test]
    fn the_guard_of_the_example_has_the_default_beside_a_slot() {
        let (whole, short) = (parse(&all_keys_in_force()), parse(EXAMPLE));
        let keep_best = Some(crate::coinbase::bmm::guard::Mode::KeepBest);
        assert_eq!((whole.bmm_guard.mode, short.bmm_guard.mode), (keep_best, None));
    }

    #[test]
    fn the_slot_of_the_example_has_the_defaults() {
        let whole = parse(&all_keys_in_force());
        let short = "[[bmm]]\nslot = 9\nsource = \"thunder\"\nurl = \"http://127.0.0.1:6009\"\n";
        let short = parse(&format!("{EXAMPLE}\n{short}"));
        let (whole, short) = (&whole.bmm[0], &short.bmm[0]);
        assert_eq!(whole.source, short.source);
        assert_eq!((whole.encoding, whole.byte_order), (short.encoding, short.byte_order));
        assert_eq!((whole.poll_ms, whole.deadline_ms), (short.poll_ms, short.deadline_ms));
        assert_eq!((whole.slot, whole.required), (short.slot, short.required));
        let checked = crate::coinbase::bmm::config::check(std::slice::from_ref(short)).unwrap();
        assert_eq!(whole.self_bmm, Some(checked[0].self_bmm));
    }

    #[test]
    fn the_pools_example_reads_the_key_where_this_one_writes_it() {
        let written = parse(EXAMPLE).authority.public_key_file.unwrap();
        let read = format!("authority_key_file = \"{}\"", written.display());
        let pool = include_str!("../../config/pool-sv2.toml");
        assert!(pool.lines().any(|line| line == read), "{read}");
    }

    #[test]
    fn a_poll_that_never_waits_is_refused() {
        for key in ["tip_poll_ms", "template_refresh_seconds"] {
            let text = EXAMPLE.replace("[vault]", &format!("{key} = 0\n[vault]"));
            let error = TemplateProvider::check(&parse(&text)).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
