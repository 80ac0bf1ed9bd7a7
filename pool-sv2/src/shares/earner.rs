//! Whom shares are credited to.

use std::fmt;

/// One for each channel and worker; its shares point to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Earner {
    /// An address or a name, without control characters.
    pub account: Box<str>,
    /// Which of the account's machines, and what the share itself named; `""` for none.
    pub worker: Box<str>,
    /// The port that was used, by its place in the settings.
    pub listener: u16,
    /// By which rules blocks pay: 0 the pool, 1 who found them, 2 all who have worked, 3 the pool,
    /// which owes for each share.
    pub payout_mode: u8,
}

/// Blocks pay the pool's own destination.
pub const PAYS_POOL: u8 = 0;
/// Blocks pay who found them.
pub const PAYS_FINDER: u8 = 1;
/// Blocks pay all who have worked, by their work.
pub const PAYS_ALL: u8 = 2;
/// Blocks pay the pool, and each share is paid for at a fixed rate.
pub const PAYS_SHARES: u8 = 3;

impl Earner {
    /// The same with the worker that a share names behind its own.
    #[must_use]
    pub fn with_worker(&self, named: &str) -> Self {
        let separator = if self.worker.is_empty() { "" } else { "." };
        Self { worker: [&*self.worker, separator, named].concat().into(), ..self.clone() }
    }

    /// Somebody whose blocks pay the pool.
    pub fn named(account: &str, worker: &str) -> Self {
        let (account, worker) = (account.into(), worker.into());
        Self { account, worker, listener: 0, payout_mode: PAYS_POOL }
    }
}

/// `account.worker`, or the account alone.
impl fmt::Display for Earner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.account)?;
        match &*self.worker {
            "" => Ok(()),
            worker => write!(f, ".{worker}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_that_a_share_names_stands_behind_the_channels_own() {
        let named = |worker| Earner::named("farm", worker).with_worker("rig").to_string();
        assert_eq!((named(""), named("a")), ("farm.rig".to_owned(), "farm.a.rig".to_owned()));
        assert_eq!(Earner::named("farm", "").to_string(), "farm");
    }
}
