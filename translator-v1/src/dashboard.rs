//! Pages for whoever stands in the farm with a telephone: which pool is mined on, who mines, what
//! is refused and why.
//!
//! It reads what the register and the pools' shelf say, and decides nothing. Each page is whole
//! without a script; with one, its parts follow what happens. No number stands without the time
//! that it is about, and no page grows with the farm: miners are shown some at a time.

mod miners;
mod overview;
mod place;

use maud::html;
use pages::assets;
use pages::frame::{Find, Frame};
use pages::layout::{Part, notice, together};
use service::clock;
use service::site::{Parts, Show, View, Visit};

use self::place::Place;
use crate::pools::Pools;
use crate::register::Register;

/// Shows the pages.
#[derive(Debug)]
pub struct Dashboard {
    register: Register,
    pools: Pools,
    /// Which miners share a channel, in words.
    channels: &'static str,
    /// Milliseconds since 1970.
    began_ms: u64,
}

impl Dashboard {
    /// Shows these, which begin now.
    pub fn new(register: Register, pools: Pools, channels: &'static str) -> Self {
        Self { register, pools, channels, began_ms: clock::unix_now_milliseconds() }
    }

    /// The parts of a page, in their order.
    fn parts_of(&self, place: &Place) -> Vec<Part> {
        let now_ms = clock::unix_now_milliseconds();
        match place {
            Place::Asset(_) => Vec::new(),
            Place::Overview => {
                let mut parts = self.overview(now_ms);
                parts.push(self.miners(None, "", now_ms));
                parts
            }
            Place::Miners { after, find } => vec![self.miners(*after, find, now_ms)],
        }
    }

    fn page(place: &Place, title: &str, body: &maud::Markup) -> String {
        let foot = html! {
            p {
                "A hashrate is what the shares of the last five minutes or so say, once there are "
                "five; older ones fade out of it. The same for programs: "
                a href="/status.json" { "sums" }
                " · " a href="/miners.json" { "miners" } " · " a href="/health" { "health" }
                " · " a href="/metrics" { "metrics" }
            }
        };
        let find = Find {
            page: "/miners",
            name: "find",
            label: "Worker, address or software",
            hint: "Worker, address or software",
            value: place.find(),
        };
        let frame = Frame {
            description: "A translator from Stratum V1 to Stratum V2, and who mines through it.",
            pages: &[("/", "Overview"), ("/miners", "Miners")],
            find,
            foot: &foot,
        };
        frame.page((&place.path(), place.page()), title, body)
    }
}

impl Show for Dashboard {
    fn show(&self, visit: &Visit) -> View {
        match Place::of(visit) {
            Some(Place::Asset(name)) => assets::file(name).unwrap_or_else(missing),
            Some(place) => {
                let body = together(&self.parts_of(&place));
                View::Page(Self::page(&place, place.title(), &body))
            }
            None => missing(),
        }
    }

    fn parts(&self, visit: &Visit) -> Parts {
        let parts = Place::of(visit).map(|place| self.parts_of(&place)).unwrap_or_default();
        parts.into_iter().map(|part| (part.id, part.html.into_string())).collect()
    }
}

fn missing() -> View {
    let body = notice("Not found", "There is no such page.");
    View::Missing(Dashboard::page(&Place::Overview, "Not found", &body))
}

#[cfg(test)]
mod tests;
