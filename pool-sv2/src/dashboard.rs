//! Pages for people: how the pool does, what it mines, a miner's own page, the blocks.
//!
//! It reads through the same questions as the API and knows nothing else, so that whatever it shows
//! can be asked for. Each page is whole without a script; with one, its parts follow what happens.
//! No number stands without the time that it is about.

mod answers;
mod blocks;
mod chart;
pub mod config;
mod figures;
mod layout;
mod miner;
mod overview;
mod place;
mod qr;

use std::fmt;
use std::sync::Arc;

use maud::Markup;
use service::clock;
use service::questions::{Answerer, Question, Reply};
use service::site::{Parts, Show, View, Visit};

use self::answers::{Asker, Missing};
use self::layout::{Part, notice, page, together};
use self::place::Place;
use crate::coin::Coin;

/// What all pages follow.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    /// True if programs may ask too: pages say where.
    pub has_api: bool,
    /// By which name miners reach the pool; none, and it is the one by which the visitor came.
    pub public_host: Option<String>,
    /// What amounts are of.
    pub coin: Coin,
}

/// Shows the pages.
pub struct Dashboard {
    answer: Arc<Answerer>,
    frame: Frame,
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dashboard")
    }
}

/// What the pages of one visit are made of.
struct Desk<'a> {
    ask: Asker<'a>,
    /// By which name miners reach the pool, if it is set.
    public_host: Option<&'a str>,
    /// By which name the visitor came.
    came_by: Option<&'a str>,
    /// What stands behind an amount.
    symbol: &'a str,
    /// Milliseconds since 1970.
    now_ms: u64,
}

impl Dashboard {
    /// Asks `answer` whatever it shows.
    pub fn new(answer: Arc<Answerer>, frame: Frame) -> Self {
        Self { answer, frame }
    }

    fn desk<'a>(&'a self, visit: &'a Visit) -> Desk<'a> {
        let now_ms = clock::unix_now_milliseconds();
        let (public_host, came_by) = (self.frame.public_host.as_deref(), visit.host.as_deref());
        let symbol = &*self.frame.coin.symbol;
        Desk { ask: Asker(&*self.answer), public_host, came_by, symbol, now_ms }
    }

    fn page(&self, place: &Place, title: &str, body: &Markup) -> String {
        page(&self.frame, place, title, body)
    }

    fn missing(&self) -> View {
        let what = "There is no such page.";
        View::Missing(self.page(&Place::Overview, "Not found", &notice("Not found", what)))
    }

    fn proof(&self, block: &str, account: &str) -> View {
        let question = Question::about(format!("api/v1/blocks/{block}/proof/{account}"));
        let start: String = block.chars().take(16).filter(char::is_ascii_hexdigit).collect();
        match (self.answer)(&question) {
            Reply::Found(text) => View::Download { name: format!("proof-{start}.json"), text },
            Reply::NotFound(what) | Reply::Wrong(what) => {
                View::Missing(self.page(&Place::Overview, "No proof", &notice("No proof", &what)))
            }
            Reply::Unavailable(what) => View::Unavailable(self.page(
                &Place::Overview,
                "No proof",
                &notice("Not now", &what),
            )),
            Reply::Text(_) => self.missing(),
        }
    }
}

impl Desk<'_> {
    /// The parts of a page, in their order.
    fn parts(&self, place: &Place) -> Result<Vec<Part>, Missing> {
        match place {
            Place::Overview => Ok(self.overview()),
            Place::Blocks { after } => Ok(self.blocks(after.as_deref())),
            Place::Miner { account } => self.miner(account),
            Place::Asset(_) | Place::Proof { .. } => Ok(Vec::new()),
        }
    }

    fn coins(&self, smallest: u64) -> String {
        figures::coins(smallest, self.symbol)
    }

    fn signed_coins(&self, smallest: i64) -> String {
        figures::signed_coins(smallest, self.symbol)
    }
}

impl Show for Dashboard {
    fn show(&self, visit: &Visit) -> View {
        let Some(place) = Place::of(visit) else {
            return self.missing();
        };
        match &place {
            Place::Asset(name) => pages::assets::file(name).unwrap_or_else(|| self.missing()),
            Place::Proof { block, account } => self.proof(block, account),
            _ => match self.desk(visit).parts(&place) {
                Ok(parts) => View::Page(self.page(&place, &place.title(), &together(&parts))),
                Err(Missing::NotThere(what)) => View::Missing(self.page(
                    &place,
                    "Not found",
                    &notice("Nothing here yet", &what),
                )),
                Err(Missing::NotNow(what)) => {
                    View::Unavailable(self.page(&place, "Not now", &notice("One moment", &what)))
                }
            },
        }
    }

    fn parts(&self, visit: &Visit) -> Parts {
        let place = Place::of(visit);
        let parts = place.and_then(|place| self.desk(visit).parts(&place).ok());
        let parts = parts.unwrap_or_default().into_iter();
        parts.map(|part| (part.id, part.html.into_string())).collect()
    }
}

#[cfg(test)]
mod tests;
