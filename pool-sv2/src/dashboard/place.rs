//! Which page a path means.

use pages::path::decoded;
pub(super) use pages::path::encoded;
use service::site::Visit;

/// Longest name of a miner that is looked for, in bytes; the pool takes no longer one.
const ACCOUNT_BYTES_MAX: usize = 255;

/// Something that can be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Overview,
    Blocks {
        /// Behind which line the list goes on.
        after: Option<String>,
    },
    Miner {
        account: String,
    },
    Proof {
        block: String,
        account: String,
    },
    Asset(&'static str),
}

impl Place {
    pub(super) fn of(visit: &Visit) -> Option<Self> {
        let parts: Vec<_> = visit.path.split('/').skip(1).collect();
        match parts.as_slice() {
            [""] => Some(Self::Overview),
            ["blocks"] => Some(Self::Blocks { after: visit.parameter("after").map(str::to_owned) }),
            // As the form asks, where there is no script.
            ["miners"] => Self::miner(visit.parameter("account")?.trim()),
            ["miners", account] => Self::miner(&decoded(account)?),
            ["miners", account, "proof", block] => {
                let Self::Miner { account } = Self::miner(&decoded(account)?)? else { return None };
                let is_hash = block.len() == 64 && block.bytes().all(|it| it.is_ascii_hexdigit());
                is_hash.then(|| Self::Proof { block: (*block).to_owned(), account })
            }
            ["assets", name] => {
                let known = ["style.css", "live.js", "icon.svg"];
                known.into_iter().find(|it| it == name).map(Self::Asset)
            }
            _ => None,
        }
    }

    /// A name with a slash is an account and its worker; whole names are looked for alone.
    fn miner(account: &str) -> Option<Self> {
        let is_name = !account.is_empty()
            && account.len() <= ACCOUNT_BYTES_MAX
            && !account.contains(['/', '\0', '\n']);
        is_name.then(|| Self::Miner { account: account.to_owned() })
    }

    /// Where it is.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Overview | Self::Asset(_) => "/".to_owned(),
            Self::Blocks { after: None } => "/blocks".to_owned(),
            Self::Blocks { after: Some(after) } => format!("/blocks?after={}", encoded(after)),
            Self::Miner { account } => format!("/miners/{}", encoded(account)),
            Self::Proof { block, account } => {
                format!("/miners/{}/proof/{block}", encoded(account))
            }
        }
    }

    pub(super) fn title(&self) -> String {
        match self {
            Self::Overview | Self::Asset(_) | Self::Proof { .. } => "Overview".to_owned(),
            Self::Blocks { .. } => "Blocks".to_owned(),
            Self::Miner { account } => account.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> Option<Place> {
        let (path, parameters) = path.split_once('?').unwrap_or((path, ""));
        let pairs = parameters.split('&').filter_map(|pair| pair.split_once('='));
        let parameters = pairs.map(|(name, value)| (name.into(), value.into())).collect();
        Place::of(&Visit { path: path.to_owned(), parameters, host: None })
    }

    #[test]
    fn each_page_leads_to_itself() {
        let account = "a b/ü%".replace('/', ".");
        let block = "0".repeat(64);
        for it in [
            Place::Overview,
            Place::Blocks { after: None },
            Place::Blocks { after: Some("5-00".to_owned()) },
            Place::Miner { account: account.clone() },
            Place::Proof { block, account },
        ] {
            assert_eq!(place(&it.path()), Some(it));
        }
        assert_eq!(place("/miners?account=x"), Some(Place::Miner { account: "x".to_owned() }));
    }

    #[test]
    fn what_is_no_page_is_none() {
        for path in [
            "",
            "/x",
            "/blocks/",
            "/miners",
            "/miners/",
            "/miners?account=",
            "/miners/%2F",
            "/miners/%zz",
            "/miners/%ff",
            "/miners/a/proof/x",
            "/assets/../x",
            "/assets/x",
        ] {
            assert_eq!(place(path), None, "{path}");
        }
    }
}
