//! Keeps one connection to a template provider: dials, runs the session, and dials again for ever.
//!
//! The loss of a provider ends nothing: miners keep their work, and what was found meanwhile is
//! sent when it is back.

use std::collections::VecDeque;

use mining::share::Solution;
use serde::Deserialize;
use service::advice;
use service::authority::ExpectedKey;
use service::backoff::Backoff;
use service::config::{ConfigError, host_and_port};
use service::driver::{Ended, Host, drive};
use service::{clock, listen};
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use wire::session::PeerError;
use wire::sv2::link::Link;

use super::choice::Mineable;
use super::session::{Command, Constraints, Event, LIMITS, TemplateReceiver};
use crate::blocks::Solutions;

/// `[[template_provider]]` of the config.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateProviderConfig {
    /// `HOST:PORT`.
    pub address: String,
    /// The provider's authority key.
    pub authority_key: Option<String>,
    /// A file with the provider's authority key, read at each connect.
    pub authority_key_file: Option<std::path::PathBuf>,
    /// Take any server for the right one.
    #[serde(default)]
    pub unauthenticated: bool,
}

impl TemplateProviderConfig {
    /// The key that the provider must prove.
    pub fn expected_key(&self) -> Result<ExpectedKey, ConfigError> {
        ExpectedKey::from_settings(
            "template_provider",
            self.authority_key.as_deref(),
            self.authority_key_file.as_deref(),
            self.unauthenticated,
        )
    }
}

/// What a provider tells the pool.
#[derive(Debug)]
pub struct Update {
    /// Which one, by its place in the config.
    pub provider: usize,
    /// What.
    pub news: News,
}

/// What there is to tell.
#[derive(Debug)]
pub enum News {
    /// It is connected.
    Found,
    /// It is gone, and why.
    Lost(String),
    /// It has work.
    Template(Mineable),
}

/// One provider and what it takes to talk to it.
pub struct Supervisor {
    /// Its place in the config.
    pub provider: usize,
    /// Its address and key.
    pub config: TemplateProviderConfig,
    /// The key that it must prove.
    pub key: ExpectedKey,
    /// What the pool's outputs need.
    pub constraints: Constraints,
    /// What is to be submitted.
    pub solutions: Solutions,
    /// Hears the hash of each block that goes out; what it cannot take is not noted.
    pub submitted: mpsc::Sender<[u8; 32]>,
    /// Where its templates go.
    pub updates: mpsc::Sender<Update>,
}

impl Supervisor {
    /// Runs until `shutdown`, which comes when no miner is left that could find a block; what was
    /// found by then is sent before it returns.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut backoff = Backoff::for_neighbours();
        loop {
            let (ended, was_ready) = self.connect_once(&shutdown).await;
            if shutdown.is_cancelled() {
                return;
            }
            if was_ready {
                backoff.reset();
            }
            let delay = backoff.next_delay();
            let address = &self.config.address;
            let retry_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            warn!(%address, reason = %ended, retry_ms, "template provider lost");
            self.tell(News::Lost(ended.to_string())).await;
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    async fn tell(&self, news: News) {
        // The pool is gone only when the program ends.
        drop(self.updates.send(Update { provider: self.provider, news }).await);
    }

    /// Says why it ended and whether the provider had accepted the connection.
    async fn connect_once(&self, shutdown: &CancellationToken) -> (Ended, bool) {
        let dialled = tokio::select! {
            () = shutdown.cancelled() => return (Ended::ByHost, false),
            dialled = self.dial() => dialled,
        };
        let (mut session, stream) = match dialled {
            Ok(dialled) => dialled,
            Err(ended) => return (ended, false),
        };
        let (kept, found) = self.solutions.subscribe(clock::now());
        let mut host =
            ReceiverHost { supervisor: self, shutdown, kept: kept.into(), found, is_ready: false };
        let ended = drive(&mut session, &mut host, stream).await;
        (ended, host.is_ready)
    }

    async fn dial(&self) -> Result<(TemplateReceiver, tokio::net::TcpStream), Ended> {
        let address = self.config.address.as_str();
        let key = self.key.read()?;
        let stream = listen::connect(address).await?;
        let link = Link::client(key, LIMITS, clock::fresh_seed(), clock::unix_now_seconds());
        let (host, port) = host_and_port("template_provider.address", address)
            .map_err(|error| PeerError::Incompatible(error.to_string()))?;
        let session = TemplateReceiver::new(link, &host, port, self.constraints, clock::now());
        Ok((session, stream))
    }
}

struct ReceiverHost<'a> {
    supervisor: &'a Supervisor,
    shutdown: &'a CancellationToken,
    /// Found before this connection: sent as soon as it is ready.
    kept: VecDeque<Solution>,
    found: broadcast::Receiver<Solution>,
    is_ready: bool,
}

impl ReceiverHost<'_> {
    fn submit(&self, solution: Solution) -> Command {
        let _ = self.supervisor.submitted.try_send(solution.hash);
        Command::Submit(solution)
    }
}

impl Host<TemplateReceiver> for ReceiverHost<'_> {
    async fn next_command(&mut self) -> Option<Command> {
        if !self.is_ready {
            self.shutdown.cancelled().await;
            return None;
        }
        if let Some(solution) = self.kept.pop_front() {
            return Some(self.submit(solution));
        }
        loop {
            let found = tokio::select! {
                // What was found before the shutdown goes first.
                biased;
                found = self.found.recv() => found,
                () = self.shutdown.cancelled() => return None,
            };
            match found {
                Ok(solution) => return Some(self.submit(solution)),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::error!(
                        code = advice::SOLUTIONS_LOST,
                        missed,
                        "solutions lost on a provider that does not read"
                    );
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    async fn take_event(&mut self, event: Event) {
        let news = match event {
            Event::Ready => {
                self.is_ready = true;
                info!(address = %self.supervisor.config.address, "template provider found");
                News::Found
            }
            Event::Template(tip, template) => News::Template((tip, template)),
        };
        self.supervisor.tell(news).await;
    }
}
