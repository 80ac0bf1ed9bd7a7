//! Lets others ask what the store knows and what is mined at the moment: programs by the API,
//! people by the dashboard.

use std::sync::Arc;

use service::config::ConfigError;
use service::health::Health;
use service::program::Failure;
use service::questions::{Answerer, Question, Questions, Rules};
use service::site::Site;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wire::sv2::keys::AuthoritySecret;

use super::mined::{Mined, shown_payee};
use crate::accounting::api::{Api, Facts, Port, ROOTS};
use crate::accounting::bookkeeper::{Shelf, Sources};
use crate::config::Config;
use crate::dashboard::{Dashboard, Frame};
use crate::payout::Payout;
use crate::payout::identity::Identities;
use crate::roster::Roster;
use crate::tip_reach::TipReach;
use crate::work::Work;

/// The pool as it was set up, its ports open.
pub(super) struct Open<'a> {
    pub(super) config: &'a Config,
    payout: &'a Payout,
    listeners: &'a [TcpListener],
    authority: &'a AuthoritySecret,
    roster: &'a Roster,
    tip_reach: &'a TipReach,
}

/// The same health, with answers and pages if the settings want them.
pub(super) fn shown(
    health: Health,
    open: &Open<'_>,
    shelf: &Shelf,
    work: watch::Receiver<Option<Arc<Work>>>,
    shutdown: &CancellationToken,
) -> Result<Health, Failure> {
    let (api, dashboard) = (&open.config.api, &open.config.dashboard);
    if !api.enabled && !dashboard.enabled {
        return Ok(health);
    }
    let mined = Mined::new(open.tip_reach.clone());
    let answer = open.answerer(&mined, shelf, &health)?;
    let payee = open.ports().next().map(|port| shown_payee(&port));
    if let Some(payee) = payee {
        tokio::spawn(mined.follow(work, payee, shutdown.clone()));
    }
    let health = match dashboard.enabled {
        true => {
            let public_host = dashboard.public_host.clone();
            let coin = open.config.coin.clone();
            let frame = Frame { has_api: api.enabled, public_host, coin };
            health.with_site(Site::new(Arc::new(Dashboard::new(Arc::clone(&answer), frame))))
        }
        false => health,
    };
    if !api.enabled {
        return Ok(health);
    }
    let rules = Rules {
        roots: &ROOTS,
        origin: api.cors_origin.as_deref(),
        per_minute: api.questions_per_minute,
    };
    let questions = Questions::new(rules, answer)
        .map_err(|error| ConfigError::unusable("api.cors_origin", error.to_string()))?;
    Ok(health.with_questions(questions))
}

impl<'a> Open<'a> {
    /// Ports in the order of the settings.
    pub(super) fn new(
        config: &'a Config,
        payout: &'a Payout,
        listeners: &'a [TcpListener],
        authority: &'a AuthoritySecret,
        roster: &'a Roster,
        tip_reach: &'a TipReach,
    ) -> Self {
        Self { config, payout, listeners, authority, roster, tip_reach }
    }

    /// By which rules each port reads names.
    fn ports(&self) -> impl Iterator<Item = Identities> {
        let ports = self.config.listen.0.iter();
        ports.map(|port| self.payout.identities(port.payout, port.room(self.payout.room())))
    }

    /// Who answers questions.
    fn answerer(
        &self,
        mined: &Mined,
        shelf: &Shelf,
        health: &Health,
    ) -> Result<Arc<Answerer>, Failure> {
        let Self { config, payout, authority, roster, .. } = *self;
        let ports = self.shown_ports().map_err(|error| Failure::Internal(error.into()))?;
        let owes = config.shares_blocks(payout) || config.pays_shares(payout);
        let mined = mined.clone();
        let api = Api::new(Facts {
            store: config.ledger.store_file(),
            sources: Sources::of(&config.ledger, payout.network()),
            mode: ports.first().map(|port| port.mode).unwrap_or_default(),
            fee_basis_points: config.payout.fee_basis_points,
            coin: config.coin.clone(),
            ports,
            authority_key: authority.public().to_string(),
            mined: Box::new(move || mined.now()),
            shelf: owes.then(|| shelf.clone()),
            health: health.clone(),
            roster: roster.clone(),
        });
        Ok(Arc::new(move |question: &Question| api.answer(question)))
    }

    fn shown_ports(&self) -> std::io::Result<Vec<Port>> {
        let (settings, common) = (&self.config.listen.0, self.config.vardiff.min_difficulty);
        let ports = settings.iter().zip(self.listeners).zip(self.ports());
        ports
            .map(|((port, listener), identities)| {
                let address = listener.local_addr()?;
                Ok(Port {
                    host: address.ip().to_string(),
                    port: address.port(),
                    min_difficulty: port.min_difficulty.unwrap_or(common),
                    mode: identities.mode,
                })
            })
            .collect()
    }
}
