//! A miner's own page: what he does, his workers, what he is owed and was sent, and the proofs.

use maud::{Markup, html};

use super::Desk;
use super::answers::{
    Balance, Channel, Channels, Credit, Credits, History, Missing, Sums, Workers,
};
use super::chart::Chart;
use super::figures::{ago, best, count, difficulty, hash, hashrate, utc};
use super::layout::{Column, Part, card, empty, figure, state};
use super::place::{Place, encoded};

/// Channels that are shown.
const CHANNELS_MAX: usize = 100;

impl Desk<'_> {
    pub(super) fn miner(&self, account: &str) -> Result<Vec<Part>, Missing> {
        let at = format!("miners/{account}");
        let sums = self.ask.about::<Sums>(&at).map_err(|missing| match missing {
            Missing::NotThere(_) => Missing::NotThere(format!(
                "No share of {account} has been accepted yet. The page appears with the first one; \
                 look whether the name is the one that your device sends, without its worker"
            )),
            other => other,
        })?;
        let mut parts = vec![head(account, &sums), self.miner_rates(account, &sums)];
        parts.extend(sums.balance.as_ref().map(|it| self.balance(it)));
        parts.push(self.workers(&at));
        parts.push(self.channels(&at));
        if sums.balance.is_some() {
            parts.push(self.payouts(account, &at));
        }
        Ok(parts)
    }

    fn miner_rates(&self, account: &str, sums: &Sums) -> Part {
        let history = self.ask.with::<History>("history", &[("account", account)]);
        let (note, body) = match history {
            Ok(history) => {
                let chart = Chart::new(&history, sums.first_share_ms, self.now_ms);
                (chart.window(), chart.draw())
            }
            Err(missing) => (String::new(), html! { p { (missing.why()) } }),
        };
        let class = if sums.balance.is_some() { Column::Main } else { Column::Both };
        card("rates", class, ("Hashrate", &note), &body)
    }

    fn workers(&self, at: &str) -> Part {
        let asked = self.ask.with::<Workers>(&format!("{at}/workers"), &[("limit", "200")]);
        let workers = asked.map(|it| it.workers).unwrap_or_default();
        let body = html! {
            div.scroll tabindex="0" { table {
                thead { tr {
                    th scope="col" { "Worker" } th.num scope="col" { "5 min" }
                    th.num scope="col" { "1 h" } th.num scope="col" { "1 day" }
                    th.num scope="col" { "Shares ever" } th.num scope="col" { "Best ever" }
                    th.num scope="col" { "Last share" }
                } }
                tbody { @for it in &workers { (self.worker(it)) } }
            } }
        };
        card("workers", Column::Both, ("Workers", "at most 200, by name"), &body)
    }

    fn channels(&self, at: &str) -> Part {
        let asked = self.ask.about::<Channels>(&format!("{at}/channels"));
        let channels = asked.unwrap_or_default().channels;
        let body = match channels.is_empty() {
            true => {
                empty("None is open", &html! { p { "A channel opens when a device connects." } })
            }
            false => html! {
                div.scroll tabindex="0" { table {
                    thead { tr {
                        th scope="col" { "Worker" } th scope="col" { "Kind" }
                        th.num scope="col" { "Difficulty" } th.num scope="col" { "Shares" }
                        th.num scope="col" { "Rejected" } th.num scope="col" { "Last share" }
                        th.num scope="col" { "Open since" }
                    } }
                    tbody {
                        @for it in channels.iter().take(CHANNELS_MAX) { (self.channel(it)) }
                    }
                } }
            },
        };
        card("channels", Column::Both, ("Channels", "open now, at most 100"), &body)
    }

    fn channel(&self, it: &Channel) -> Markup {
        let rejected: u64 = it.rejects.values().sum();
        let reasons = it.rejects.iter().map(|(why, count)| format!("{count} {why}"));
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        html! {
            tr {
                td {
                    @if it.worker.is_empty() { em { "without a name" } }
                    @else { span.mono { (it.worker) } }
                }
                td { (it.kind) }
                td.num { (difficulty(it.difficulty)) }
                td.num { (count(it.shares)) }
                td.num title=(reasons) { (count(rejected)) }
                td.num {
                    @match it.last_share_ms {
                        Some(last_ms) => { (ago(last_ms, self.now_ms)) }
                        None => { "—" }
                    }
                }
                td.num { (ago(it.opened_ms, self.now_ms)) }
            }
        }
    }

    fn worker(&self, it: &Sums) -> Markup {
        html! {
            tr {
                td {
                    @if it.name.is_empty() { em { "without a name" } }
                    @else { span.mono { (it.name) } }
                }
                td.num { (hashrate(it.hashrate.m5)) }
                td.num { (hashrate(it.hashrate.h1)) }
                td.num { (hashrate(it.hashrate.d1)) }
                td.num { (count(it.shares)) }
                td.num { (best(it.best_difficulty)) }
                td.num { (ago(it.last_share_ms, self.now_ms)) }
            }
        }
    }

    fn payouts(&self, account: &str, at: &str) -> Part {
        let asked = self.ask.with::<Credits>(&format!("{at}/payouts"), &[("limit", "50")]);
        let payouts = asked.map(|it| it.payouts).unwrap_or_default();
        let body = match payouts.is_empty() {
            true => empty(
                "Nothing yet",
                &html! {
                    p { "What each shared block brings stands here from the moment it is found." }
                },
            ),
            false => html! {
                div.scroll tabindex="0" { table {
                    thead { tr {
                        th scope="col" { "From" } th scope="col" { "State" }
                        th.num scope="col" { "Entitled to" } th.num scope="col" { "Sent" }
                        th scope="col" { "Proof" } th.num scope="col" { "When" }
                    } }
                    tbody { @for it in &payouts { (self.payout(account, it)) } }
                } }
                p.hint { "A proof shows that your work counted in full. Check it yourself: "
                    code { "pool-sv2 payout check proof.json" } }
            },
        };
        card("payouts", Column::Both, ("Payouts", "the last 50"), &body)
    }

    fn payout(&self, account: &str, it: &Credit) -> Markup {
        let is_block = it.kind == "block";
        let proof = format!("/miners/{}/proof/{}", encoded(account), it.hash);
        html! {
            tr {
                td { (if is_block { "Block " } else { "Wallet " }) (hash(&it.hash)) }
                td { (state(&it.state)) }
                td.num { @if is_block { (self.coins(it.entitled)) } @else { "—" } }
                td.num { (self.coins(it.paid)) }
                td { @if is_block { a href=(proof) download { "Download" } } @else { "—" } }
                td.num { (ago(it.time_ms, self.now_ms)) }
            }
        }
    }

    fn balance(&self, it: &Balance) -> Part {
        let body = html! {
            dl.pairs {
                div { dt { "Owed" } dd { strong { (self.signed_coins(it.owed)) } } }
                div { dt { "of mature blocks" } dd { (self.signed_coins(it.spendable)) } }
                div { dt { "Sent, ever" } dd { (self.coins(it.paid)) } }
            }
            p.hint { "What is owed comes with a later block, or from the pool's wallet. Below "
                "zero means that a block which paid you has left the chain: the next ones make up "
                "for it." }
        };
        card("balance", Column::Side, ("Balance", "now"), &body)
    }
}

fn head(account: &str, sums: &Sums) -> Part {
    let rejected: u64 = sums.rejects.values().sum();
    let since = format!("since {}", utc(sums.first_share_ms));
    let rejects = format!("{} rejected, {since}", count(rejected));
    let html = html! {
        section #miner.glance aria-labelledby="miner-title" {
            p.crumb { a href=(Place::Overview.path()) { "Overview" } " / miner" }
            h1 #miner-title.mono.name { (account) }
            dl.figures-row {
                (figure("Hashrate", &hashrate(sums.hashrate.m5), "over 5 minutes"))
                (figure("Hashrate", &hashrate(sums.hashrate.d1), "over 1 day"))
                (figure("Best share", &best(sums.best_difficulty), "ever"))
                (figure("Best share", &best(sums.best_difficulty_of_round), "since the last block"))
                (figure("Shares", &count(sums.shares), &rejects))
            }
        }
    };
    Part { id: "miner", column: Column::Both, html }
}
