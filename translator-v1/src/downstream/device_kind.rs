//! What is known of kinds of miners, by their names for themselves.
//!
//! A coinbase that a device cannot hold makes its shares wrong without a word, or the device
//! leaves. The translator cannot shorten what the upstream made; it can say so.

/// A kind of miners.
#[derive(Debug, PartialEq)]
pub struct DeviceKind {
    /// As in logs and metrics.
    pub name: &'static str,
    /// How its names for itself begin, in lower case.
    prefix: &'static str,
    /// The longest coinbase that it can hold, in bytes without witness.
    pub coinbase_bytes_max: usize,
    /// It leaves, or floods, below this difficulty; 0 if it takes any.
    pub difficulty_min: f64,
}

/// NiceHash turns a pool away whose difficulty is lower.
const NICEHASH_DIFFICULTY: f64 = 524_288.0;

/// The first that fits counts.
const KINDS: [DeviceKind; 11] = [
    device("nerdminer", "nerdminer", 255),
    device("nerdminer", "sparkminer", 255),
    device("nerdminer", "leafminer", 255),
    device("nerdminer", "nmminer", 255),
    DeviceKind { difficulty_min: NICEHASH_DIFFICULTY, ..device("nicehash", "nicehash", 500) },
    device("antminer-s19", "antminer s19", 750),
    device("antminer-s21", "antminer s21", 2_250),
    device("antminer", "antminer", 750),
    device("whatsminer", "whatsminer", 6_500),
    device("epic", "epic", 16_384),
    device("vnish", "vnish", 16_384),
];

const fn device(name: &'static str, prefix: &'static str, coinbase_bytes_max: usize) -> DeviceKind {
    DeviceKind { name, prefix, coinbase_bytes_max, difficulty_min: 0.0 }
}

impl DeviceKind {
    /// The kind of miners that call themselves so; none for all that nothing is known of.
    pub fn of_agent(agent: &str) -> Option<&'static Self> {
        let agent = agent.to_ascii_lowercase();
        KINDS.iter().find(|kind| agent.starts_with(kind.prefix))
    }

    /// The names of all kinds that cannot hold a coinbase of so many bytes.
    pub fn that_cannot_hold(coinbase_bytes: usize) -> impl Iterator<Item = &'static str> {
        let cannot = move |kind: &&Self| kind.coinbase_bytes_max < coinbase_bytes;
        let mut names: Vec<_> = KINDS.iter().filter(cannot).map(|kind| kind.name).collect();
        names.dedup();
        names.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_their_names() {
        let name = |agent| DeviceKind::of_agent(agent).map(|kind| kind.name);
        assert_eq!(name("NerdMinerV2/V1.8.3"), Some("nerdminer"));
        assert_eq!(name("NiceHash/1.0.0"), Some("nicehash"));
        assert_eq!(name("Antminer S19j Pro/Fri"), Some("antminer-s19"));
        assert_eq!(name("Antminer T17/x"), Some("antminer"));
        assert_eq!(name("cgminer/4.11.1"), None);
        assert_eq!(name(""), None);
    }
}
