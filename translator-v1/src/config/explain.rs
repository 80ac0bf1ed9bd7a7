//! What the settings make the translator do, in plain sentences: for a person who is about to
//! start it. It must not check anything: what it is given is fine.

use super::Config;

impl Config {
    /// A sentence for each thing that an operator would want to know before the start.
    pub fn explain(&self) -> Vec<String> {
        let Self { listen, upstream, vardiff, .. } = self;
        let mut sentences = vec![format!(
            "V1 miners connect to {}: difficulty {} or more, some {} shares a minute.",
            listen.address, vardiff.min_difficulty, vardiff.shares_per_minute
        )];
        if let Some(tls) = &self.tls {
            sentences.push(format!("With TLS they connect to {}.", tls.address));
        }
        let (pool, user) = (&upstream.address, &upstream.user_identity);
        sentences.push(format!("All of them mine at {pool}, where {user} is paid."));
        if upstream.unauthenticated {
            let risk = "whoever stands between can take the hashrate";
            sentences.push(format!("That pool need not prove its key: {risk}."));
        }
        for backup in &self.backup_upstream {
            let user = backup.user_identity.as_ref().unwrap_or(user);
            sentences.push(format!("If it fails, at {}, where {user} is paid.", backup.address));
        }
        sentences.push(match &self.health.address {
            Some(address) => format!("http://{address}/ shows the miners and the pools."),
            None => "Nobody can ask how it is: health.address is not set.".to_owned(),
        });
        sentences
    }
}
