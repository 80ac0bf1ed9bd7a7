//! The settings of the pool: one section a room, each room's own type.

mod explain;
pub mod listen;
pub mod node;
pub mod take_over;

use std::collections::BTreeMap;
use std::time::Duration;

use mining::vardiff::VardiffPolicy;
use serde::Deserialize;
use serde::de::IgnoredAny;
use service::admin::AdminConfig;
use service::authority::AuthorityConfig;
use service::config::{ConfigError, host_and_port};
use service::health::HealthConfig;
use service::questions::check_origin;

use self::listen::{ListenConfig, Listeners};
use self::node::NodeConfig;
use crate::accounting::alerts::config::AlertsConfig;
use crate::accounting::api::config::ApiConfig;
use crate::accounting::config::LedgerConfig;
use crate::accounting::webhook::config::WebhookConfig;
use crate::coin::Coin;
use crate::dashboard::config::DashboardConfig;
use crate::downstream::close::ReconnectTo;
use crate::downstream::limits::Limits;
use crate::payout::distribution::Room;
use crate::payout::{Payout, PayoutConfig};
use crate::template_receiver::supervise::TemplateProviderConfig;

/// Shares per minute of a channel whose hashrate is not known yet: in two minutes they tell it to a
/// tenth.
const SEARCH_SHARES_PER_MINUTE: f64 = 60.0;

/// Template providers that can be named.
pub const PROVIDERS_MAX: usize = 8;
/// Whoever stops a program waits no longer.
const DRAIN_SECONDS_MAX: u64 = 300;
/// No device needs more.
const DIFFICULTY_MAX: f64 = 1e15;

/// The whole of config/pool-sv2.toml.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where miners connect.
    pub listen: Listeners,
    /// The pool's own key.
    pub authority: AuthorityConfig,
    /// Where templates come from; the first that is there is used.
    #[serde(default)]
    pub template_provider: Vec<TemplateProviderConfig>,
    /// Who says what became of the pool's blocks.
    #[serde(default)]
    pub node: Option<NodeConfig>,
    /// Whom blocks pay.
    pub payout: PayoutConfig,
    /// What chain and coin are called.
    #[serde(default)]
    pub coin: Coin,
    /// How difficulty follows hashrate.
    #[serde(default)]
    pub vardiff: VardiffConfig,
    /// Where accepted shares, blocks and payouts are kept.
    #[serde(default)]
    pub ledger: LedgerConfig,
    /// Who is told of blocks and money.
    #[serde(default)]
    pub webhook: Option<WebhookConfig>,
    /// Which people are told of blocks, payouts and workers.
    #[serde(default)]
    pub alerts: AlertsConfig,
    /// What other programs may ask.
    #[serde(default)]
    pub api: ApiConfig,
    /// Where an operator's orders are taken.
    #[serde(default)]
    pub admin: AdminConfig,
    /// What people may see.
    #[serde(default)]
    pub dashboard: DashboardConfig,
    /// `[shares]` of earlier versions: named, so that its owner is told what to write.
    #[serde(default)]
    pub shares: Option<IgnoredAny>,
    /// What peers may hold.
    #[serde(default)]
    pub limits: Limits,
    /// Where miners go when the pool shuts down.
    #[serde(default)]
    pub drain: DrainConfig,
    /// Where health is asked for.
    #[serde(default)]
    pub health: HealthConfig,
}

/// `[vardiff]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VardiffConfig {
    /// Shares per minute and channel.
    pub shares_per_minute: f64,
    /// No target is easier than this difficulty.
    pub min_difficulty: f64,
    /// The same for some users, by the part of their name before the first dot or slash.
    pub user_min_difficulty: BTreeMap<String, f64>,
}

impl Default for VardiffConfig {
    fn default() -> Self {
        let user_min_difficulty = BTreeMap::new();
        Self { shares_per_minute: 6.0, min_difficulty: 1.0, user_min_difficulty }
    }
}

impl VardiffConfig {
    /// Checked; `section` is where a person wrote it.
    pub fn policy(&self, section: &str) -> Result<VardiffPolicy, ConfigError> {
        let unusable = |key: &str, remedy: &str| {
            Err(ConfigError::unusable(format!("{section}.{key}"), remedy))
        };
        if !in_range(self.shares_per_minute, 10_000_000.0) {
            let remedy = "must be above 0 and at most 10000000; 6 is usual";
            return unusable("shares_per_minute", remedy);
        }
        if !in_range(self.min_difficulty, DIFFICULTY_MAX) {
            let remedy = "must be above 0; 1 suits large miners, 0.001 a CPU";
            return unusable("min_difficulty", remedy);
        }
        if let Some(user) = self.bad_user_minimum() {
            let remedy = "must be above 0; marketplaces ask for 500000";
            return unusable(&format!("user_min_difficulty.{user}"), remedy);
        }
        let Self { shares_per_minute, min_difficulty, .. } = *self;
        let search_shares_per_minute = shares_per_minute.max(SEARCH_SHARES_PER_MINUTE);
        Ok(VardiffPolicy { shares_per_minute, search_shares_per_minute, min_difficulty })
    }

    fn bad_user_minimum(&self) -> Option<&str> {
        let mut minima = self.user_min_difficulty.iter();
        minima.find(|(_, minimum)| !in_range(**minimum, DIFFICULTY_MAX)).map(|(user, _)| &**user)
    }
}

/// A name, or an address as it stands in a URL: one of IPv6 in brackets.
fn is_host(text: &str) -> bool {
    let plain = |it: &str| it.bytes().all(|it| it.is_ascii_alphanumeric() || b"-.".contains(&it));
    let v6 = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_v6 = v6.is_some_and(|it| it.parse::<std::net::Ipv6Addr>().is_ok());
    is_v6 || (!text.is_empty() && plain(text))
}

fn in_range(value: f64, max: f64) -> bool {
    value.is_finite() && value > 0.0 && value <= max
}

/// `[drain]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DrainConfig {
    /// `HOST:PORT` of another server with the same authority key.
    pub reconnect_to: Option<String>,
    /// Seconds over which the miners are sent there.
    pub window_seconds: u64,
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self { reconnect_to: None, window_seconds: 5 }
    }
}

impl DrainConfig {
    /// Over how long the miners are told. Without another server they are told at once.
    pub fn window(&self) -> Duration {
        let window = self.reconnect_to.as_ref().map(|_| self.window_seconds);
        Duration::from_secs(window.unwrap_or(0))
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.window_seconds > DRAIN_SECONDS_MAX {
            let remedy = format!("must be at most {DRAIN_SECONDS_MAX}; 5 is usual");
            return Err(ConfigError::unusable("drain.window_seconds", remedy));
        }
        self.reconnect_to().map(drop)
    }

    /// Checked.
    pub fn reconnect_to(&self) -> Result<Option<ReconnectTo>, ConfigError> {
        let read = |address: &String| ReconnectTo::from_address("drain.reconnect_to", address);
        self.reconnect_to.as_ref().map(read).transpose()
    }
}

impl Config {
    /// Checks what the types cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_shares()?;
        let payout = Payout::from_config(&self.payout, [0; 4])?;
        self.coin.check()?;
        self.ledger.check()?;
        self.limits.check()?;
        self.check_api()?;
        self.admin.entry()?;
        self.webhook.as_ref().map(WebhookConfig::target).transpose()?;
        self.alerts.receivers()?;
        self.vardiff.policy("vardiff")?;
        let policy = |one: &ListenConfig, section: &str| one.vardiff(&self.vardiff).policy(section);
        self.listen.check(&self.limits, &payout, policy)?;
        self.check_node(&payout)?;
        self.drain.check()?;
        if self.template_provider.is_empty() {
            let remedy = "name at least one [[template_provider]]: without it there is no work";
            return Err(ConfigError::unusable("template_provider", remedy));
        }
        if self.template_provider.len() > PROVIDERS_MAX {
            let remedy = format!("name at most {PROVIDERS_MAX} of them");
            return Err(ConfigError::unusable("template_provider", remedy));
        }
        for provider in &self.template_provider {
            provider.expected_key()?;
            host_and_port("template_provider.address", &provider.address)?;
        }
        Ok(())
    }

    /// True if blocks of some port pay all who have worked.
    pub fn shares_blocks(&self, payout: &Payout) -> bool {
        self.rooms(payout).next().is_some()
    }

    /// True if shares of some port are paid for at a fixed rate.
    pub fn pays_shares(&self, payout: &Payout) -> bool {
        self.listen.0.iter().any(|port| payout.pays_shares(port.payout))
    }

    /// How much of a coinbase may be outputs to miners, for each port that shares its blocks.
    pub fn rooms(&self, payout: &Payout) -> impl Iterator<Item = Room> {
        let ports = self.listen.0.iter().filter(|port| payout.shares_blocks(port.payout));
        ports.map(|port| port.room(payout.room()))
    }

    fn check_node(&self, payout: &Payout) -> Result<(), ConfigError> {
        if self.pays_shares(payout) && self.payout.wallet.is_none() {
            return Err(ConfigError::unusable(
                "payout.wallet",
                "name a wallet of [node]: where shares are paid for at a fixed rate (fpps), blocks \
                 pay the pool, and miners are paid from there alone",
            ));
        }
        match &self.node {
            Some(node) => node.check(),
            None if self.shares_blocks(payout) => Err(ConfigError::unusable(
                "node",
                "name a node with rpc_url: where blocks are shared (pplns), what one pays is owed \
                 or not by whether it stays in the chain",
            )),
            None if self.payout.wallet.is_some() => Err(ConfigError::unusable(
                "node",
                "name the node with rpc_url whose wallet payout.wallet means",
            )),
            None => Ok(()),
        }
    }

    fn check_api(&self) -> Result<(), ConfigError> {
        let ApiConfig { enabled, cors_origin, .. } = &self.api;
        if *enabled && self.health.address.is_none() {
            let remedy = "set health.address too: questions are answered there";
            return Err(ConfigError::unusable("api.enabled", remedy));
        }
        if self.dashboard.enabled && self.health.address.is_none() {
            let remedy = "set health.address too: the pages are shown there";
            return Err(ConfigError::unusable("dashboard.enabled", remedy));
        }
        if self.dashboard.public_host.as_deref().is_some_and(|host| !is_host(host)) {
            let remedy = "write a name or an address alone, pool.example for instance";
            return Err(ConfigError::unusable("dashboard.public_host", remedy));
        }
        let checked = cors_origin.as_deref().map(check_origin).transpose();
        checked
            .map(drop)
            .map_err(|error| ConfigError::unusable("api.cors_origin", error.to_string()))
    }

    fn check_shares(&self) -> Result<(), ConfigError> {
        let remedy = "the share log is a folder now: in place of [shares] ledger_file write \
                      [ledger] directory = \"data/pool-sv2/ledger\", with ack_interval_ms beside \
                      it; the old file is neither read nor changed, keep it for its shares";
        self.shares.map_or(Ok(()), |_| Err(ConfigError::unusable("shares", remedy)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const EXAMPLE: &str = include_str!("../../config/pool-sv2.toml");

    fn read(text: &str) -> Config {
        service::config::parse(Path::new("config/pool-sv2.toml"), text, "POOL_SV2", []).unwrap()
    }

    #[test]
    fn the_example_is_well_formed_and_asks_for_a_payout_before_it_is_usable() {
        let error = read(EXAMPLE).check().unwrap_err().to_string();
        assert!(error.contains("payout"), "{error}");
        let with_payout = EXAMPLE.replace("# address = \"bc1q", "address = \"bc1q");
        assert!(read(&with_payout).check().is_ok());
    }

    #[test]
    fn a_coin_that_nobody_could_read_is_refused() {
        let usable = EXAMPLE.replace("# address = \"bc1q", "address = \"bc1q");
        let vanta = usable.replace("symbol = \"BTC\"", "symbol = \"VANTA\"");
        let config = read(&vanta);
        assert_eq!((config.check().is_ok(), &*config.coin.symbol), (true, "VANTA"));
        let error = read(&usable.replace("symbol = \"BTC\"", "symbol = \"\"")).check();
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("coin.symbol: write from 1 to 16 characters"), "{error}");
    }

    #[test]
    fn shares_are_paid_for_at_a_fixed_rate_from_a_wallet_alone() {
        let usable = EXAMPLE.replace("# address = \"bc1q", "address = \"bc1q");
        let fpps = usable.replace("mode = \"pool\"", "mode = \"fpps\"");
        let error = read(&fpps).check().unwrap_err().to_string();
        assert!(error.starts_with("payout.wallet: name a wallet of [node]"), "{error}");
        let wallet = fpps + "\n[payout.wallet]\nname = \"pool\"\n";
        let error = read(&wallet).check().unwrap_err().to_string();
        assert!(error.starts_with("node: name the node"), "{error}");
        let node = wallet
            + "\n[node]\nrpc_url = \"http://127.0.0.1:8332\"\nuser = \"a\"\npassword = \"b\"\n";
        let config = read(&node);
        assert_eq!(config.check().map_err(|error| error.to_string()), Ok(()));
        assert!(config.pays_shares(&Payout::from_config(&config.payout, [0; 4]).unwrap()));
    }

    fn complaint(listen: &str) -> String {
        let old =
            "[listen]\n# Where SV2 miners and translators connect.\naddress = \"0.0.0.0:34254\"";
        let text = EXAMPLE.replace(old, listen).replace("# address = \"bc1q", "address = \"bc1q");
        let path = Path::new("config/pool-sv2.toml");
        match service::config::parse::<Config>(path, &text, "POOL_SV2", []) {
            Ok(config) => config.check().err().map(|error| error.to_string()).unwrap_or_default(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_setting_of_the_old_share_log_is_refused_with_what_to_write() {
        let old = "[shares]\nledger_file = \"data/shares.log\"\n\n[ledger]";
        let error = read(&EXAMPLE.replace("[ledger]", old)).check().unwrap_err().to_string();
        assert!(error.contains("[ledger] directory ="), "{error}");
        assert!(error.contains("the old file is neither read nor changed"), "{error}");
    }

    #[test]
    fn several_ports_have_difficulties_and_limits_of_their_own() {
        let config = read(&EXAMPLE.replace(
            "\n[listen]\n",
            "\n[[listen]]\naddress = \"0.0.0.0:1\"\nmin_difficulty = 500000.0\n\
             shares_per_minute = 20.0\nconnections_max = 7\n\
             channels_per_connection_max = 3\n[[listen]]\n",
        ));
        let [large, usual] = &config.listen.0[..] else { panic!("{:?}", config.listen) };
        let policy = large.vardiff(&config.vardiff).policy("listen[0]").unwrap();
        assert_eq!((policy.min_difficulty, policy.shares_per_minute), (500_000.0, 20.0));
        let limits = large.limits(&config.limits);
        assert_eq!((limits.connections_max, limits.channels_per_connection_max), (7, 3));
        let policy = usual.vardiff(&config.vardiff).policy("listen[1]").unwrap();
        assert_eq!((policy.min_difficulty, policy.shares_per_minute), (1.0, 6.0));
        let limits = usual.limits(&config.limits);
        assert_eq!((limits.connections_max, limits.channels_per_connection_max), (20_000, 4_096));
    }

    #[test]
    fn a_port_that_cannot_be_used_is_named_with_its_remedy() {
        let one = "[listen]\naddress = \"0.0.0.0:1\"";
        assert_eq!(complaint(one), "");
        let cases = [
            ("[listen]\naddress = \"here\"".to_owned(), "listen.address: write here as HOST:PORT"),
            (format!("{one}\nmin_difficulty = 0"), "listen.min_difficulty: must be above 0"),
            (
                format!("[{one}\n[{one}\nmin_difficulty = -1").replace("[listen]", "[listen]]"),
                "listen[1].min_difficulty: must be above 0",
            ),
            (format!("{one}\nminimum = 1"), "minimum"),
            ("listen = []".to_owned(), "listen: name from 1 to 64"),
            ("listen = 3".to_owned(), "a section [listen], or several [[listen]]"),
        ];
        for (listen, expected) in cases {
            let complaint = complaint(&listen);
            assert!(complaint.contains(expected), "{listen}: {complaint}");
        }
    }

    #[test]
    fn nobody_waits_for_a_drain_for_hours_and_without_another_server_nobody_waits_at_all() {
        let drain = DrainConfig { window_seconds: 301, ..DrainConfig::default() };
        let error = drain.check().unwrap_err().to_string();
        assert!(error.starts_with("drain.window_seconds: must be at most 300"), "{error}");
        assert_eq!(DrainConfig::default().window(), Duration::ZERO);
        let reconnect_to = Some("other.example:3333".to_owned());
        let drain = DrainConfig { reconnect_to, ..DrainConfig::default() };
        assert_eq!(drain.window(), Duration::from_secs(5));
    }

    #[test]
    fn an_api_without_an_address_or_with_an_origin_that_is_none_is_refused() {
        let usable = EXAMPLE.replace("# address = \"bc1q", "address = \"bc1q");
        let mut config = read(&usable);
        config.health.address = None;
        config.api.enabled = true;
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains("api.enabled: set health.address"), "{error}");
        config.health.address = Some("127.0.0.1:0".to_owned());
        assert!(config.check().is_ok());
        for (host, is_fine) in [
            ("pool.example", true),
            ("[::1]", true),
            ("a:1", false),
            ("http://a", false),
            ("", false),
        ] {
            config.dashboard.public_host = Some(host.to_owned());
            let checked = config.check().map_err(|error| error.to_string());
            assert_eq!(checked.is_ok(), is_fine, "{host}: {checked:?}");
        }
        config.dashboard.public_host = None;
        config.api.cors_origin = Some("a\nb".to_owned());
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains("api.cors_origin: write one origin"), "{error}");
    }

    #[test]
    fn an_impossible_share_rate_is_refused() {
        for rate in [0.0, -1.0, f64::NAN, 1e9] {
            let config = VardiffConfig { shares_per_minute: rate, ..VardiffConfig::default() };
            assert!(config.policy("vardiff").is_err(), "{rate}");
        }
    }
}
