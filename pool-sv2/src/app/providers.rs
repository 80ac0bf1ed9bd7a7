//! What `/health` says of the template providers: each by its name, and missed only while none of
//! them gives templates.
//!
//! It decides nothing; which one is mined is `template_receiver::choice`'s to say.

use service::health::Health;
use tracing::info;

use crate::config::PROVIDERS_MAX;

/// The providers' names in /health, in the order of the config.
pub(super) const NAMES: [&str; PROVIDERS_MAX] = [
    "template_provider",
    "template_provider 2",
    "template_provider 3",
    "template_provider 4",
    "template_provider 5",
    "template_provider 6",
    "template_provider 7",
    "template_provider 8",
];

/// Keeps the book on all of them.
pub(super) struct Providers {
    health: Health,
    all: Vec<Provider>,
    /// The one that was mined last.
    mined: Option<usize>,
}

struct Provider {
    name: &'static str,
    address: String,
    state: Result<(), String>,
}

impl Providers {
    /// None of those at `addresses` has been heard of.
    pub(super) fn new(addresses: impl IntoIterator<Item = String>, health: Health) -> Self {
        let state = || Err("not reached yet".to_owned());
        let all = NAMES.into_iter().zip(addresses);
        let all = all.map(|(name, address)| Provider { name, address, state: state() }).collect();
        Self { health, all, mined: None }
    }

    /// The provider gives templates, or it is gone and why; `mined` is the one that is mined now.
    pub(super) fn heard(
        &mut self,
        provider: usize,
        state: Result<(), String>,
        mined: Option<usize>,
    ) {
        if let Some(provider) = self.all.get_mut(provider) {
            provider.state = state;
        }
        self.changed(mined);
    }

    /// `mined` is the one that is mined now.
    pub(super) fn changed(&mut self, mined: Option<usize>) {
        if let Some(now) = mined.filter(|now| self.mined != Some(*now))
            && let Some(Provider { name, address, .. }) = self.all.get(now)
        {
            info!(name, %address, "templates are taken from this provider");
        }
        self.mined = mined.or(self.mined);
        for (place, provider) in self.all.iter().enumerate() {
            let Provider { name, address, state } = provider;
            match state {
                Ok(()) if mined == Some(place) => {
                    self.health.found(name, format!("{address}: it gives templates"));
                }
                Ok(()) => self.health.found(name, format!("{address}: it stands by")),
                Err(reason) if mined.is_some() => {
                    self.health.lost_spare(name, format!("{address}: {reason}"));
                }
                Err(reason) => self.health.lost(name, format!("{address}: {reason}")),
            }
        }
    }
}
