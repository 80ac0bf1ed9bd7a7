//! `mining.configure`, `mining.subscribe` and `mining.authorize`.

use std::sync::Arc;

use mining::version::ROLLING_MASK;
use wire::sv1::login::{
    Authorize, Configure, MINIMUM_DIFFICULTY, SUBSCRIBE_EXTRANONCE, Subscribe, Subscribed,
};
use wire::sv1::request::Params;

use super::Event;
use super::session::{MinerSession, other};
use crate::bridge::submit::{ShareError, code};

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
        let supported = [MINIMUM_DIFFICULTY, SUBSCRIBE_EXTRANONCE, "info"];
        Ok(configure.result(configure.version_mask & ROLLING_MASK, &supported))
    }

    /// May be repeated: the extranonce stays the same (rule 9).
    pub(super) fn subscribe(&mut self, params: &Params<'_>) -> Result<String, ShareError> {
        let subscribe = Subscribe::read(params)?;
        let Some(work) = &self.work else {
            return Err(other("no work yet"));
        };
        let split = *self.split.get_or_insert(work.job.terms.split);
        if let Some(agent) = subscribe.agent {
            self.agent = agent.chars().take(AGENT_CHARS_MAX).collect::<String>().into();
        }
        // Clients reset their difficulty here (minerd to 1), so it has to be told again.
        self.difficulty.forget_told();
        let subscribed = Subscribed {
            session: self.identity.session.clone(),
            extranonce_1: split.extranonce_1(self.identity.seat),
            extranonce_2_bytes: split.extranonce_2_bytes(),
        };
        Ok(subscribed.result())
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
        if let Some(difficulty) = wanted_in_password(&password) {
            self.difficulty.suggest(difficulty);
        }
        let worker: Arc<str> = (&*worker).into();
        self.workers.push(Arc::clone(&worker));
        self.events.push_back(Event::Authorized { worker, agent: Arc::clone(&self.agent) });
        Ok("true".to_owned())
    }

    /// The worker of that name, if it has authorized here.
    pub(super) fn worker(&self, name: &str) -> Option<Arc<str>> {
        self.workers.iter().find(|worker| &***worker == name).cloned()
    }
}

/// `d=1024` or `diff=1024` among the comma-separated options of a password.
fn wanted_in_password(password: &str) -> Option<f64> {
    password
        .split([',', ';', ' '])
        .filter_map(|option| option.split_once('='))
        .filter(|(key, _)| matches!(key.trim(), "d" | "diff"))
        .filter_map(|(_, value)| value.trim().parse().ok())
        .find(|difficulty: &f64| difficulty.is_finite() && *difficulty > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_may_hold_a_difficulty_among_other_options() {
        assert_eq!(wanted_in_password("d=1024"), Some(1024.0));
        assert_eq!(wanted_in_password("x, diff=0.5"), Some(0.5));
        for none in ["", "x", "d=", "d=-1", "d=inf", "d=nan", "id=5", "hd=5"] {
            assert_eq!(wanted_in_password(none), None, "{none}");
        }
    }
}
