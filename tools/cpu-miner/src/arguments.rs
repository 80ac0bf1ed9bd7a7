//! The command line, turned into values that cannot be wrong.

use clap::Parser;
use wire::sv2::keys::{KeyError, Sv2Url};

use crate::sv2::ChannelKind;

/// A CPU miner for Stratum V1 and V2.
#[derive(Debug, Clone, Parser)]
#[command(name = "cpu-miner", version)]
pub struct Arguments {
    /// stratum2+tcp://HOST:PORT/KEY (V2) or stratum+tcp://HOST:PORT (V1).
    pub url: Pool,

    /// User name for the pool, often a payout address with a worker's name: ADDRESS.NAME.
    #[arg(long, short, value_parser = name_of_wire_length)]
    pub user: String,

    /// Password for a V1 pool; few of them look at it.
    #[arg(long, short, default_value = "x")]
    pub password: String,

    /// Which channel to open at a V2 pool.
    #[arg(long, default_value = "extended")]
    pub channel: ChannelKind,

    /// Hashing threads; as many as there are processors if it is not given.
    #[arg(long, short, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,

    /// Most hashes per second of all threads together.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub hashrate_limit: Option<u64>,

    /// Hashes per second that a V2 pool is told; measured if it is not given.
    #[arg(long)]
    pub nominal_hashrate: Option<f32>,

    /// Take any V2 server for the pool, if the URL has no key to check.
    #[arg(long)]
    pub insecure: bool,

    /// End with the first connection instead of reconnecting for ever.
    #[arg(long)]
    pub once: bool,
}

/// Where to mine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pool {
    /// Stratum V1 at `HOST:PORT`.
    V1(String),
    /// Stratum V2.
    V2(Sv2Url),
}

impl std::str::FromStr for Pool {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("stratum+tcp://") {
            let address = rest.trim_end_matches('/');
            let port = address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
            return match port {
                Some(Ok(_)) => Ok(Self::V1(address.to_owned())),
                _ => Err("a V1 URL is stratum+tcp://HOST:PORT".to_owned()),
            };
        }
        match text.parse() {
            Ok(url) => Ok(Self::V2(url)),
            Err(KeyError::NotAUrl) => {
                Err("use stratum2+tcp://HOST:PORT/KEY or stratum+tcp://HOST:PORT".to_owned())
            }
            Err(error) => Err(format!("the key in the URL is wrong: {error}")),
        }
    }
}

impl Pool {
    /// `HOST:PORT`, as a socket wants it.
    pub fn address(&self) -> String {
        match self {
            Self::V1(address) => address.clone(),
            Self::V2(url) if url.host.contains(':') => format!("[{}]:{}", url.host, url.port),
            Self::V2(url) => format!("{}:{}", url.host, url.port),
        }
    }
}

fn name_of_wire_length(name: &str) -> Result<String, String> {
    match name.len() {
        0..=255 => Ok(name.to_owned()),
        length => Err(format!("{length} bytes are too long; a pool takes at most 255")),
    }
}

impl Arguments {
    /// Why the arguments do not fit together, as a sentence.
    pub fn contradiction(&self) -> Option<String> {
        let Pool::V2(url) = &self.url else {
            return None;
        };
        let hashrate = self.nominal_hashrate.unwrap_or(0.0);
        match url.authority_key {
            _ if !hashrate.is_finite() || hashrate < 0.0 => {
                Some("--nominal-hashrate: give hashes per second, 0 or more".to_owned())
            }
            None if !self.insecure => Some(
                "the URL has no key to know the pool by: append /KEY as the pool prints it, or say \
                 --insecure to take any server"
                    .to_owned(),
            ),
            Some(_) if self.insecure => Some(
                "the URL has a key, which is always checked: drop --insecure or the key".to_owned(),
            ),
            _ => None,
        }
    }

    /// How many threads to start.
    pub fn threads(&self) -> u32 {
        let available = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or_else(|| u32::try_from(available()).unwrap_or(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";

    fn read(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        let common = ["cpu-miner", "--user", "me"];
        Arguments::try_parse_from(common.iter().chain(arguments))
    }

    #[test]
    fn both_kinds_of_urls_are_told_apart() {
        let v1 = read(&["stratum+tcp://pool.example:3333"]).unwrap();
        assert_eq!(v1.url, Pool::V1("pool.example:3333".to_owned()));
        let v2 = read(&[&format!("stratum2+tcp://[::1]:34254/{KEY}")]).unwrap();
        assert_eq!(v2.url.address(), "[::1]:34254");
    }

    #[test]
    fn a_wrong_url_is_refused_with_the_right_form() {
        for wrong in ["http://a:1", "stratum+tcp://a", "stratum2+tcp://a"] {
            let error = read(&[wrong]).unwrap_err().to_string();
            assert!(error.contains("HOST:PORT"), "{error}");
        }
        let typo = format!("stratum2+tcp://a:1/{}", KEY.replace("9bXi", "9bXj"));
        assert!(read(&[&typo]).unwrap_err().to_string().contains("the key in the URL is wrong"));
    }

    #[test]
    fn a_pool_without_a_key_is_taken_only_by_explicit_wish() {
        let url = "stratum2+tcp://a:1";
        assert!(read(&[url]).unwrap().contradiction().unwrap().contains("--insecure"));
        assert_eq!(read(&[url, "--insecure"]).unwrap().contradiction(), None);
        let with_key = format!("{url}/{KEY}");
        assert_eq!(read(&[&with_key]).unwrap().contradiction(), None);
        assert!(read(&[&with_key, "--insecure"]).unwrap().contradiction().is_some());
    }
}
