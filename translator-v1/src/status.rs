//! The status page, and the same as JSON: for whoever stands in the farm with a telephone.

use serde::Serialize;
use service::health::Health;

use crate::register::{MinerShown, Register};

/// Miners that the page shows; the JSON has them all.
const ROWS_MAX: usize = 1_000;

/// What is shown.
#[derive(Debug, Serialize)]
struct Status {
    /// Connections.
    connections: usize,
    /// Hashes per second of all of them.
    hashrate: f64,
    /// Shares that were answered with true on connections that are there still.
    accepted: u64,
    /// Shares that were refused on them.
    rejected: u64,
    upstreams: Vec<UpstreamShown>,
}

#[derive(Debug, Serialize)]
struct UpstreamShown {
    name: &'static str,
    address: String,
    up: bool,
    detail: String,
}

/// Makes the pages.
#[derive(Debug, Clone)]
pub struct StatusPages {
    /// Who is connected.
    pub register: Register,
    /// How the upstreams are.
    pub health: Health,
    /// The upstreams' names in /health, and their addresses.
    pub upstreams: Vec<(&'static str, String)>,
}

impl StatusPages {
    /// All miners as JSON.
    pub fn miners_json(&self) -> String {
        serde_json::to_string(&self.register.shown()).unwrap_or_default()
    }

    /// The sums as JSON.
    pub fn status_json(&self) -> String {
        serde_json::to_string(&self.status(&self.register.shown())).unwrap_or_default()
    }

    fn status(&self, miners: &[MinerShown]) -> Status {
        let upstreams = self.upstreams.iter().map(|(name, address)| {
            let (up, detail) = self.health.shown(name).unwrap_or_default();
            UpstreamShown { name, address: address.clone(), up, detail }
        });
        Status {
            connections: miners.len(),
            hashrate: miners.iter().map(|miner| miner.hashrate).sum(),
            accepted: miners.iter().map(|miner| miner.accepted).sum(),
            rejected: miners.iter().map(rejects).sum(),
            upstreams: upstreams.collect(),
        }
    }

    /// The page. It makes itself anew every ten seconds.
    pub fn page(&self) -> String {
        let miners = self.register.shown();
        let Status { connections, hashrate, accepted, rejected, upstreams } = self.status(&miners);
        let mut page = format!(
            "<!doctype html><meta charset=utf-8><meta name=viewport \
             content=\"width=device-width\"><meta http-equiv=refresh content=10>\
             <title>translator-v1</title><style>body{{font:16px sans-serif}}\
             td,th{{padding:2px 10px;text-align:left}}.bad{{color:#b00}}</style>\
             <h1>translator-v1</h1><p>{connections} connections, {}, {accepted} shares accepted, \
             {rejected} rejected<table><tr><th>pool<th>address<th>state",
            hashes_per_second(hashrate)
        );
        for UpstreamShown { name, address, up, detail } in upstreams {
            let class = if up { "" } else { " class=bad" };
            let (address, detail) = (escaped(&address), escaped(&detail));
            page.push_str(&format!("<tr{class}><td>{name}<td>{address}<td>{detail}"));
        }
        page.push_str(
            "</table><h2>Miners</h2><table><tr><th>worker<th>address<th>software<th>hashrate\
             <th>difficulty<th>accepted<th>rejected<th>",
        );
        for miner in miners.iter().take(ROWS_MAX) {
            page.push_str(&row(miner));
        }
        page.push_str("</table>");
        if let Some(more) = miners.len().checked_sub(ROWS_MAX).filter(|more| *more > 0) {
            page.push_str(&format!("<p>and {more} more: /miners.json has them all"));
        }
        page
    }
}

fn row(miner: &MinerShown) -> String {
    let remark = miner.coinbase_too_long.map_or(String::new(), |bytes| {
        format!("<span class=bad>cannot hold the pool's coinbase of {bytes} bytes</span>")
    });
    format!(
        "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{remark}",
        escaped(&miner.workers.join(", ")),
        escaped(&miner.address),
        escaped(&miner.agent),
        hashes_per_second(miner.hashrate),
        miner.difficulty,
        miner.accepted,
        rejects(miner),
    )
}

/// Shares of a miner that were refused.
pub fn rejects(miner: &MinerShown) -> u64 {
    miner.rejected.values().sum()
}

/// A hashrate for people.
pub fn hashes_per_second(hashrate: f64) -> String {
    let units = [(1e15, "PH/s"), (1e12, "TH/s"), (1e9, "GH/s"), (1e6, "MH/s"), (1e3, "kH/s")];
    match units.into_iter().find(|(size, _)| hashrate >= *size) {
        Some((size, unit)) => format!("{:.2} {unit}", hashrate / size),
        None => format!("{hashrate:.0} H/s"),
    }
}

/// Names come from miners: none of them becomes a part of the page.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::downstream::Event;

    #[test]
    fn the_page_shows_miners_and_pools_and_takes_no_code_from_names() {
        let (register, health) = (Register::default(), Health::new(&["upstream"]));
        health.found("upstream", "it gives work");
        let entry = register.enter("10.0.0.7:1".parse().unwrap());
        entry.note(&Event::Authorized { worker: "<script>".into(), agent: "\"a&b\"".into() });
        entry.note(&Event::Hashrate(1.5e12));
        let upstreams = vec![("upstream", "pool.example:34254".to_owned())];
        let pages = StatusPages { register, health, upstreams };
        let page = pages.page();
        for part in ["1.50 TH/s", "&lt;script&gt;", "pool.example:34254", "it gives work"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<script>"));
        let json: serde_json::Value = serde_json::from_str(&pages.status_json()).unwrap();
        assert_eq!(
            (json["connections"].as_u64(), json["hashrate"].as_f64()),
            (Some(1), Some(1.5e12))
        );
        assert_eq!(json["upstreams"][0]["up"], true);
        let miners: Vec<MinerShown> = serde_json::from_str(&pages.miners_json()).unwrap();
        assert_eq!(miners[0].workers, ["<script>"]);
    }

    #[test]
    fn a_hashrate_has_the_unit_that_suits_it() {
        assert_eq!(hashes_per_second(950.0), "950 H/s");
        assert_eq!(hashes_per_second(2.5e4), "25.00 kH/s");
        assert_eq!(hashes_per_second(1.2e15), "1.20 PH/s");
    }
}
