//! Which page a path means.

use pages::frame::FIND_BYTES_MAX;
use pages::path::encoded;
use service::site::Visit;

/// Something that can be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Overview,
    Miners {
        /// Behind which connection the list goes on.
        after: Option<u64>,
        /// What is looked for in their names and addresses; empty shows all.
        find: String,
    },
    Asset(&'static str),
}

impl Place {
    pub(super) fn of(visit: &Visit) -> Option<Self> {
        match visit.path.as_str() {
            // The second one is where the page was before it had others beside it.
            "/" | "/status" => Some(Self::Overview),
            "/miners" => {
                let after = visit.parameter("after").map(str::parse).transpose().ok()?;
                let find = visit.parameter("find").unwrap_or_default().trim();
                let is_usable = find.len() <= FIND_BYTES_MAX;
                is_usable.then(|| Self::Miners { after, find: find.to_owned() })
            }
            path => {
                let name = path.strip_prefix("/assets/")?;
                let known = ["style.css", "live.js", "icon.svg"];
                known.into_iter().find(|it| *it == name).map(Self::Asset)
            }
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> String {
        let Self::Miners { after, find } = self else { return "/".to_owned() };
        let after = after.map(|after| format!("after={after}"));
        let find = (!find.is_empty()).then(|| format!("find={}", encoded(find)));
        let query: Vec<_> = [find, after].into_iter().flatten().collect();
        match query.is_empty() {
            true => "/miners".to_owned(),
            false => format!("/miners?{}", query.join("&")),
        }
    }

    /// The path of the page in the list of pages.
    pub(super) fn page(&self) -> &'static str {
        match self {
            Self::Overview | Self::Asset(_) => "/",
            Self::Miners { .. } => "/miners",
        }
    }

    pub(super) fn title(&self) -> &'static str {
        match self {
            Self::Overview | Self::Asset(_) => "Translator",
            Self::Miners { .. } => "Miners",
        }
    }

    /// What is looked for.
    pub(super) fn find(&self) -> &str {
        match self {
            Self::Miners { find, .. } => find,
            Self::Overview | Self::Asset(_) => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> Option<Place> {
        let (path, parameters) = path.split_once('?').unwrap_or((path, ""));
        let pairs = parameters.split('&').filter_map(|pair| pair.split_once('='));
        let decoded = |text: &str| pages::path::decoded(text).unwrap();
        let parameters = pairs.map(|(name, value)| (name.into(), decoded(value))).collect();
        Place::of(&Visit { path: path.to_owned(), parameters, host: None })
    }

    #[test]
    fn each_page_leads_to_itself() {
        for (after, find) in [(None, ""), (Some(7), ""), (None, "a b&c=ü"), (Some(0), "x")] {
            let it = Place::Miners { after, find: find.to_owned() };
            assert_eq!(place(&it.path()), Some(it));
        }
        assert_eq!((place("/"), place("/status")), (Some(Place::Overview), Some(Place::Overview)));
        assert_eq!(place("/assets/live.js"), Some(Place::Asset("live.js")));
    }

    #[test]
    fn what_is_no_page_is_none() {
        let long = format!("/miners?find={}", "x".repeat(FIND_BYTES_MAX + 1));
        for path in ["", "/x", "/miners/a", "/miners?after=x", "/assets/../x", long.as_str()] {
            assert_eq!(place(path), None, "{path}");
        }
    }
}
