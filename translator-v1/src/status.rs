//! What the pages show, as JSON: for programs.

use serde::Serialize;

use crate::pools::{PoolShown, Pools};
use crate::register::Register;

/// What `/status.json` says.
#[derive(Debug, Serialize)]
struct Status {
    /// Connections.
    connections: usize,
    /// Hashes per second of all of them that have sent five shares.
    hashrate: f64,
    /// Shares that were answered with true since the start.
    accepted: u64,
    /// Those of them that the upstream counts.
    accepted_by_upstream: u64,
    /// Shares that were refused since the start.
    rejected: u64,
    /// Which miners share a channel.
    channels: &'static str,
    upstreams: Vec<PoolShown>,
}

/// Answers programs.
#[derive(Debug, Clone)]
pub struct StatusFiles {
    /// Who is connected.
    pub register: Register,
    /// How the upstreams are.
    pub pools: Pools,
    /// Which miners share a channel, in words.
    pub channels: &'static str,
}

impl StatusFiles {
    /// All miners as JSON.
    pub fn miners_json(&self) -> String {
        serde_json::to_string(&self.register.shown()).unwrap_or_default()
    }

    /// The sums as JSON.
    pub fn status_json(&self) -> String {
        let sums = self.register.sums();
        let status = Status {
            connections: sums.connections,
            hashrate: sums.hashrate,
            accepted: sums.shares.accepted,
            accepted_by_upstream: sums.shares.by_upstream,
            rejected: sums.shares.refused(),
            channels: self.channels,
            upstreams: self.pools.shown(),
        };
        serde_json::to_string(&status).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pools::PoolState;
    use crate::register::MinerShown;

    #[test]
    fn programs_are_told_the_sums_and_every_miner() {
        let register = Register::default();
        let pools = Pools::new(&["upstream"], ["pool.example:34254".to_owned()]);
        pools.set(0, PoolState::MinedOn, "");
        let entry = register.enter("10.0.0.7:1".parse().unwrap());
        entry.authorized("<script>", "\"a&b\"");
        entry.hashrate(1.5e12);
        (0..5).for_each(|_| entry.accepted(true));
        let files = StatusFiles { register, pools, channels: "one channel for all miners" };
        let json: serde_json::Value = serde_json::from_str(&files.status_json()).unwrap();
        assert_eq!(
            (json["connections"].as_u64(), json["hashrate"].as_f64()),
            (Some(1), Some(1.5e12))
        );
        assert_eq!(json["upstreams"][0]["up"], true);
        assert_eq!(json["upstreams"][0]["address"], "pool.example:34254");
        let miners: Vec<MinerShown> = serde_json::from_str(&files.miners_json()).unwrap();
        assert_eq!(miners[0].workers, ["<script>"]);
    }
}
