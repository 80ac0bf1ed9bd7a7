//! `mining.configure`, `mining.subscribe` and `mining.authorize`.

use std::sync::Arc;
use std::time::Instant;

use mining::version::ROLLING_MASK;
use wire::sv1::login::{
    Authorize, Configure, INFO, MINIMUM_DIFFICULTY, SUBSCRIBE_EXTRANONCE, Subscribe, Subscribed,
};
use wire::sv1::request::Params;

use super::Event;
use super::device_kind::DeviceKind;
use super::session::{MinerSession, other};
use crate::bridge::submit::{ShareError, code, user_field};
use crate::teams::Channels;

/// Workers of one connection.
const WORKERS_MAX: usize = 64;
/// Longest worker name, in bytes. Real ones have up to 250.
const WORKER_BYTES_MAX: usize = 1024;
/// So much of a miner's name for itself is kept, in characters.
const AGENT_CHARS_MAX: usize = 100;

impl MinerSession {
    /// BIP310. The mask is always granted (rule 26), and only what was asked for is answered.
    pub(super) fn configure(&mut self, params: &Params<'_>) -> Result<String, ShareError> {
        let configure = Configure::read(params)?;
        if configure.asks_for(SUBSCRIBE_EXTRANONCE) {
            self.takes_extranonce = true;
        }
        if configure.asks_for(MINIMUM_DIFFICULTY)
            && let Some(difficulty) = configure.minimum_difficulty
        {
            self.difficulty.raise_floor(difficulty);
        }
        // It says more than the name that comes with subscribe, but is no name for a kind.
        if configure.asks_for(INFO) && self.agent.is_empty() {
            self.set_agent(&configure.info.join(" "));
        }
        let supported = [MINIMUM_DIFFICULTY, SUBSCRIBE_EXTRANONCE, INFO];
        Ok(configure.result(configure.version_mask & ROLLING_MASK, &supported))
    }

    /// May be repeated: the extranonce stays the same (rule 9). With the token of a session that is
    /// over, that session goes on: same extranonce, its jobs still known.
    pub(super) fn subscribe(
        &mut self,
        now: Instant,
        params: &Params<'_>,
    ) -> Result<String, ShareError> {
        let subscribe = Subscribe::read(params)?;
        let Some(work) = &self.work else {
            return Err(other("no work yet"));
        };
        let present = work.job.terms.split.shape();
        if let Some(token) = subscribe.session.filter(|_| self.shape.is_none())
            && let Some(parked) = self.departed.take(&token, present, now)
        {
            self.identity = parked.identity;
            self.jobs = parked.jobs;
            self.difficulty.go_on_from(parked.difficulty);
            self.has_earned = true;
            self.events.push_back(Event::Resumed);
        }
        let shape = *self.shape.get_or_insert(present);
        if let Some(agent) = subscribe.agent {
            self.set_agent(&agent);
        }
        // Clients reset their difficulty here (minerd to 1), so it has to be told again.
        self.difficulty.forget_told();
        let subscribed = Subscribed {
            session: self.identity.session.clone(),
            extranonce_1: shape.extranonce_1(self.identity.seat.number()),
            extranonce_2_bytes: shape.extranonce_2_bytes,
        };
        Ok(subscribed.result())
    }

    /// Takes the miner's name for itself, and what is known of its kind.
    pub(super) fn set_agent(&mut self, agent: &str) {
        self.agent = printable(agent, AGENT_CHARS_MAX).into();
        self.kind = DeviceKind::of_agent(&self.agent);
        if let Some(kind) = self.kind {
            self.difficulty.raise_floor(kind.difficulty_min);
        }
    }

    /// Everybody may work: the pool pays the identity of the channel.
    pub(super) fn authorize(&mut self, params: &Params<'_>) -> Result<String, ShareError> {
        let Authorize { worker, password } = Authorize::read(params)?;
        if self.worker(&worker).is_some() {
            return Ok("true".to_owned());
        }
        if self.workers.len() == WORKERS_MAX || worker.len() > WORKER_BYTES_MAX {
            return Err(ShareError::new(code::UNAUTHORIZED, "too many workers or too long a name"));
        }
        if worker.chars().any(char::is_control) {
            return Err(ShareError::new(code::UNAUTHORIZED, "control characters in the name"));
        }
        if self.is_of_another_user(&worker) {
            let remedy = "a user's miners have a channel of their own: use another connection";
            return Err(ShareError::new(code::UNAUTHORIZED, remedy));
        }
        self.take_password(&password);
        let worker: Arc<str> = (&*worker).into();
        self.workers.push(Arc::clone(&worker));
        self.events.push_back(Event::Authorized { worker, agent: Arc::clone(&self.agent) });
        Ok("true".to_owned())
    }

    /// True if the pool would pay its shares to another user than to this worker's.
    fn is_of_another_user(&self, worker: &str) -> bool {
        let is_other = |first: &Arc<str>| user_field(first) != user_field(worker);
        self.channels == Channels::PerUser && self.workers.first().is_some_and(is_other)
    }

    /// The worker of that name, if it has authorized here.
    pub(super) fn worker(&self, name: &str) -> Option<Arc<str>> {
        self.workers.iter().find(|worker| &***worker == name).cloned()
    }
}

/// At most `chars_max` characters of a peer's text, without those that would forge lines of a log.
pub(super) fn printable(text: &str, chars_max: usize) -> String {
    text.chars().filter(|char| !char.is_control()).take(chars_max).collect()
}
