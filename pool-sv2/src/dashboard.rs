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

use service::clock;
use service::questions::{Answerer, Question, Reply};
use service::site::{Parts, Show, View, Visit};

use self::answers::{Asker, Missing};
use self::layout::{Part, notice, page, together};
use self::place::Place;

const STYLE: &[u8] = include_bytes!("dashboard/assets/style.css");
const LIVE: &[u8] = include_bytes!("dashboard/assets/live.js");
const ICON: &[u8] = include_bytes!("dashboard/assets/icon.svg");

/// Shows the pages.
pub struct Dashboard {
    answer: Arc<Answerer>,
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dashboard")
    }
}

/// What the pages of one visit are made of.
struct Desk<'a> {
    ask: Asker<'a>,
    /// By which name the visitor came.
    host: Option<&'a str>,
    /// Milliseconds since 1970.
    now_ms: u64,
}

impl Dashboard {
    /// Asks `answer` whatever it shows.
    pub fn new(answer: Arc<Answerer>) -> Self {
        Self { answer }
    }

    fn desk<'a>(&'a self, visit: &'a Visit) -> Desk<'a> {
        let now_ms = clock::unix_now_milliseconds();
        Desk { ask: Asker(&*self.answer), host: visit.host.as_deref(), now_ms }
    }

    fn proof(&self, block: &str, account: &str) -> View {
        let question = Question::about(format!("api/v1/blocks/{block}/proof/{account}"));
        let start: String = block.chars().take(16).filter(char::is_ascii_hexdigit).collect();
        match (self.answer)(&question) {
            Reply::Found(text) => View::Download { name: format!("proof-{start}.json"), text },
            Reply::NotFound(what) | Reply::Wrong(what) => {
                View::Missing(page(&Place::Overview, "No proof", &notice("No proof", &what)))
            }
            Reply::Unavailable(what) => {
                View::Unavailable(page(&Place::Overview, "No proof", &notice("Not now", &what)))
            }
            Reply::Text(_) => missing(),
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
}

impl Show for Dashboard {
    fn show(&self, visit: &Visit) -> View {
        let Some(place) = Place::of(visit) else {
            return missing();
        };
        match &place {
            Place::Asset("style.css") => View::File { kind: "text/css", bytes: STYLE },
            Place::Asset("live.js") => View::File { kind: "text/javascript", bytes: LIVE },
            Place::Asset("icon.svg") => View::File { kind: "image/svg+xml", bytes: ICON },
            Place::Proof { block, account } => self.proof(block, account),
            _ => match self.desk(visit).parts(&place) {
                Ok(parts) => View::Page(page(&place, &place.title(), &together(&parts))),
                Err(Missing::NotThere(what)) => {
                    View::Missing(page(&place, "Not found", &notice("Nothing here yet", &what)))
                }
                Err(Missing::NotNow(what)) => {
                    View::Unavailable(page(&place, "Not now", &notice("One moment", &what)))
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

fn missing() -> View {
    let what = "There is no such page.";
    View::Missing(page(&Place::Overview, "Not found", &notice("Not found", what)))
}

#[cfg(test)]
mod tests;
