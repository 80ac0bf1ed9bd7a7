//! The first page: how the pool does, how to connect, what is mined, who mines, what was found.

use maud::{Markup, html};

use super::Desk;
use super::answers::{
    Blocks, Connect, Health, History, Miners, Missing, Neighbour, Output, Pool, Port, Sums,
    Template, TipReached,
};
use super::chart::Chart;
use super::figures::{ago, best, count, difficulty, hash, hashrate, height, short, span, utc};
use super::layout::{Column, Part, card, empty, figure, miner, sentence};
use super::qr;

/// Blocks and miners on this page.
const LINES: &str = "6";
const MINERS: &str = "8";
/// The longest window of a hashrate.
const WEEK_SECONDS: u64 = 604_800;

impl Desk<'_> {
    pub(super) fn overview(&self) -> Vec<Part> {
        let pool = self.ask.about::<Pool>("pool");
        let connect = self.ask.about::<Connect>("connect").ok();
        let mut parts = vec![self.figures(&pool), self.rates(&pool)];
        parts.extend(connect.as_ref().map(|it| self.connect(it)));
        parts.push(self.template());
        parts.push(self.last_blocks());
        parts.push(self.miners(connect.as_ref()));
        parts.push(self.shares(&pool));
        parts.push(self.neighbours());
        parts
    }

    /// The pool at a glance.
    fn figures(&self, pool: &Result<Pool, Missing>) -> Part {
        let body = match pool {
            Err(missing) => empty("No numbers yet", &html! { p { (sentence(missing.why())) } }),
            Ok(pool) => {
                let (sums, window) = (&pool.sums, span(pool.active_seconds));
                let best = best(sums.best_difficulty_of_round);
                let miners = format!("{} / {}", count(pool.workers), count(pool.miners));
                html! {
                    dl.figures-row {
                        (figure("Hashrate", &hashrate(sums.hashrate.m5), "over 5 minutes"))
                        (figure("Workers / miners", &miners, &format!("in the last {window}")))
                        (figure("Blocks found", &count(pool.blocks), "since the pool began"))
                        (figure("Best share", &best, "since the last block"))
                    }
                }
            }
        };
        let html = html! {
            section #glance.glance aria-label="The pool at a glance" { (body) }
        };
        Part { id: "glance", column: Column::Both, html }
    }

    fn rates(&self, pool: &Result<Pool, Missing>) -> Part {
        let history = self.ask.about::<History>("history");
        let (note, body) = match (pool, &history) {
            (Ok(pool), Ok(history)) if pool.sums.shares > 0 => {
                let chart = Chart::new(history, pool.sums.first_share_ms, self.now_ms);
                let rates = &pool.sums.hashrate;
                let first_ms = pool.sums.first_share_ms;
                let age_s = self.now_ms.saturating_sub(first_ms) / 1_000;
                let body = html! {
                    (chart.draw())
                    dl.windows {
                        @for (name, rate) in [("1 min", rates.m1), ("5 min", rates.m5),
                            ("1 h", rates.h1), ("1 day", rates.d1), ("7 days", rates.d7)] {
                            div { dt { (name) } dd { (hashrate(rate)) } }
                        }
                    }
                    @if age_s < WEEK_SECONDS {
                        p.hint { "The first share came " (ago(first_ms, self.now_ms))
                            ": what is longer than that says no more." }
                    }
                };
                (chart.window(), body)
            }
            _ => {
                let body =
                    html! { p { "The hashrate appears here with the first accepted share." } };
                (String::new(), empty("No share yet", &body))
            }
        };
        card("rates", Column::Main, ("Hashrate", &note), &body)
    }

    fn connect(&self, connect: &Connect) -> Part {
        let first = connect.ports.first();
        let url = first.map(|port| self.url(port, &connect.authority_key));
        let url = url.unwrap_or_default();
        let body = html! {
            div.connect {
                (qr::code(&url, "The address of the pool as a QR code"))
                div.connect-text {
                    p.label { "Stratum V2" }
                    p.copy { code.url #url { (url) } }
                    p.hint { "The last part is the pool's key: by it a device knows that nobody is "
                        "in between. User name: " (named(connect)) "." }
                }
            }
            @if connect.ports.len() > 1 {
                div.scroll tabindex="0" { table {
                    thead { tr { th scope="col" { "Port" } th.num scope="col" { "Least difficulty" }
                        th scope="col" { "Blocks pay" } } }
                    tbody { @for port in &connect.ports { tr {
                        td.mono { (port.port) } td.num { (difficulty(port.min_difficulty)) }
                        td { (pays(&port.pays)) }
                    } } }
                } }
            }
            dl.pairs {
                div { dt { "Authority key" } dd.mono { (short(&connect.authority_key, 12)) } }
                div { dt { "Blocks pay" } dd { (first.map_or("", |it| pays(&it.pays))) } }
                div { dt { "Fee" } dd { (f64::from(connect.fee_basis_points) / 100.0) " %" } }
            }
        };
        card(
            "connect",
            Column::Side,
            ("Connect a miner", "Stratum V1 devices: by a translator"),
            &body,
        )
    }

    /// By the name that is set; without one, a port that listens on every address is named as the
    /// visitor came.
    fn url(&self, port: &Port, key: &str) -> String {
        let everywhere = matches!(port.host.as_str(), "0.0.0.0" | "::");
        let host = match self.public_host.or_else(|| self.came_by.filter(|_| everywhere)) {
            Some(host) => host.to_owned(),
            None if port.host.contains(':') => format!("[{}]", port.host),
            None => port.host.clone(),
        };
        format!("stratum2+tcp://{host}:{}/{key}", port.port)
    }

    fn template(&self) -> Part {
        let body = match self.ask.about::<Template>("template") {
            Err(missing) => empty("Nothing is mined", &html! { p { (sentence(missing.why())) } }),
            Ok(it) => html! {
                dl.pairs {
                    div { dt { "Height" }
                        dd { strong { (height(it.height)) } } }
                    div { dt { "On" } dd { (hash(&it.prev_hash)) } }
                    div { dt { "Tip known for" } dd { (self.since(it.tip_since_ms)) } }
                    @if it.tip_reached.connections > 0 {
                        div { dt { "Tip sent to the last miner" }
                            dd { (tip_reached(it.tip_reached)) } }
                    }
                    div { dt { "Template mined for" } dd { (self.since(it.since_ms)) } }
                    div { dt { "Transactions" } dd { (transactions(it.merkle_branches)) } }
                    div { dt { "Network difficulty" } dd { (difficulty(it.network_difficulty)) } }
                    div { dt { "Pays" } dd { (self.coins(it.value)) " with fees" } }
                }
                h3 { "Its coinbase" }
                ul.outputs { @for output in &it.outputs { (self.coinbase_output(output)) } }
            },
        };
        card("template", Column::Side, ("Mined now", ""), &body)
    }

    fn coinbase_output(&self, output: &Output) -> Markup {
        let what = match output.kind.as_str() {
            "payment" => "Payment",
            "finder" => "Whoever finds the block",
            "witness-commitment" => "Witness commitment",
            "bmm-accept" => "Side block accepted (BIP301)",
            "shielded-note" => "Shielded note",
            "note-anchor" => "Anchor of the note",
            "data" => "Data",
            _ => "Script",
        };
        let to = output.address.as_deref().or(output.detail.as_deref());
        html! {
            li {
                span.what { (what) }
                span.to.mono { (short(to.unwrap_or(&output.script), 14)) }
                span.amount {
                    @if output.value > 0 { (self.coins(output.value)) } @else { "no value" }
                }
            }
        }
    }

    fn since(&self, time_ms: u64) -> Markup {
        let seconds = self.now_ms.saturating_sub(time_ms) / 1_000;
        html! { time datetime=(utc(time_ms)) title=(utc(time_ms)) { (span(seconds)) } }
    }

    fn last_blocks(&self) -> Part {
        let body = match self.ask.with::<Blocks>("blocks", &[("limit", LINES)]) {
            Ok(found) if !found.blocks.is_empty() => html! {
                (self.block_table(&found.blocks))
                p.more { a href="/blocks" { "All blocks" } }
            },
            _ => empty(
                "No block yet",
                &html! {
                    p { "Each block that a miner finds is listed here the moment it is found, and "
                        "followed until its coins can be spent." }
                },
            ),
        };
        card("blocks", Column::Main, ("Last blocks", "newest first"), &body)
    }

    fn miners(&self, connect: Option<&Connect>) -> Part {
        let ask = |order| {
            let wanted = [("order", order), ("limit", MINERS)];
            let asked = self.ask.with::<Miners>("miners", &wanted);
            asked.map(|asked| asked.miners).unwrap_or_default()
        };
        let (mut lines, mut note) = (ask("hashrate"), "the fastest over 1 h");
        if lines.is_empty() {
            (lines, note) = (ask("name"), "none of them within 1 h");
        }
        let port = connect.and_then(|it| it.ports.first());
        let body = match lines.is_empty() {
            true => empty(
                "No share yet",
                &html! {
                    p { "Point a miner at" }
                    @if let Some((connect, port)) = connect.zip(port) {
                        p { code.url { (self.url(port, &connect.authority_key)) } }
                    }
                    p { "and it appears here with its first share." }
                },
            ),
            false => html! {
                div.scroll tabindex="0" { table {
                    thead { tr {
                        th scope="col" { "Miner" } th.num scope="col" { "5 min" }
                        th.num scope="col" { "1 h" } th.num scope="col" { "Best ever" }
                        th.num scope="col" { "Last share" }
                    } }
                    tbody { @for line in &lines { (self.miner_line(line)) } }
                } }
            },
        };
        card("miners", Column::Main, ("Miners", note), &body)
    }

    fn miner_line(&self, line: &Sums) -> Markup {
        html! {
            tr {
                td { (miner(&line.name, "")) }
                td.num { (hashrate(line.hashrate.m5)) }
                td.num { (hashrate(line.hashrate.h1)) }
                td.num { (best(line.best_difficulty)) }
                td.num { (ago(line.last_share_ms, self.now_ms)) }
            }
        }
    }

    fn shares(&self, pool: &Result<Pool, Missing>) -> Part {
        let sums = pool.as_ref().ok().map(|pool| &pool.sums).filter(|sums| sums.first_share_ms > 0);
        let (note, body) = match sums {
            None => {
                let body = html! { p { "Accepted and rejected shares are counted here." } };
                (String::new(), empty("No share yet", &body))
            }
            Some(sums) => (format!("since {}", utc(sums.first_share_ms)), share_table(sums)),
        };
        card("shares", Column::Main, ("Shares", &note), &body)
    }

    fn neighbours(&self) -> Part {
        let health = self.ask.about::<Health>("health");
        let (note, body) = match &health {
            Err(missing) => ("", html! { p { (sentence(missing.why())) } }),
            Ok(health) => (
                if health.is_well { "all is well" } else { "something is missing" },
                html! { ul.neighbours { @for it in &health.neighbours { (neighbour(it)) } } },
            ),
        };
        card("neighbours", Column::Side, ("Neighbours", note), &body)
    }
}

/// What a miner's name is to be, in words.
fn named(connect: &Connect) -> &'static str {
    match connect.ports.first().map(|port| port.pays.as_str()) {
        Some("solo" | "pplns" | "fpps") => "your address, or ADDRESS.WORKER",
        _ => "any",
    }
}

fn pays(mode: &str) -> &'static str {
    match mode {
        "solo" => "who finds them",
        "pplns" => "all who have worked lately",
        "fpps" => "the pool, which pays for each share",
        _ => "the pool",
    }
}

/// The template tells no more than the height of its Merkle tree.
/// How long that took, and how many they are.
fn tip_reached(TipReached { connections, last_ms }: TipReached) -> String {
    let last = match last_ms {
        ms if ms < 10.0 => format!("{ms:.1}\u{a0}ms"),
        ms if ms < 10_000.0 => format!("{ms:.0}\u{a0}ms"),
        ms => format!("{:.0}\u{a0}s", ms / 1_000.0),
    };
    let plural = if connections == 1 { "" } else { "s" };
    format!("{last}, of {} connection{plural}", count(connections))
}

fn transactions(branches: u32) -> String {
    match branches {
        0 => "none but the coinbase".to_owned(),
        1 => "1 besides the coinbase".to_owned(),
        _ => {
            let most = 2_u64.checked_pow(branches).unwrap_or(u64::MAX);
            format!("{} to {} with the coinbase", count(most / 2 + 1), count(most))
        }
    }
}

/// Rejects by reason, each with its part of all shares.
fn share_table(sums: &Sums) -> Markup {
    let rejected: u64 = sums.rejects.values().sum();
    let all = sums.shares.saturating_add(rejected).max(1);
    html! {
        dl.pairs {
            div {
                dt { "Accepted" }
                dd { strong { (count(sums.shares)) } " " (part(sums.shares, all)) }
            }
            div { dt { "Rejected" } dd { (count(rejected)) " " (part(rejected, all)) } }
            @for (reason, number) in &sums.rejects {
                div.sub {
                    dt { (reason.replace('-', " ")) }
                    dd { (count(*number)) " " (part(*number, all)) }
                }
            }
            @let last = utc(sums.last_share_ms);
            div { dt { "Last share" } dd { time datetime=(last) { (last) } } }
        }
    }
}

/// Hundredths of a percent are enough, and what is there is never nothing.
fn part(number: u64, all: u64) -> Markup {
    let hundredths = u128::from(number) * 10_000 / u128::from(all.max(1));
    let text = match hundredths {
        0 if number > 0 => "below 0.01 %".to_owned(),
        it => format!("{}.{:02} %", it / 100, it % 100),
    };
    html! { span.part { (text) } }
}

fn neighbour(it: &Neighbour) -> Markup {
    let (class, mark, word) = match (it.up, it.needed) {
        (true, _) => ("good", "●", "there"),
        (false, true) => ("bad", "×", "missing"),
        (false, false) => ("wait", "×", "missing, and not needed now"),
    };
    html! {
        li {
            span.state.(class) { span aria-hidden="true" { (mark) } " " (word) }
            span.who { (it.name.replace('_', " ")) }
            span.detail { (it.detail) }
        }
    }
}
