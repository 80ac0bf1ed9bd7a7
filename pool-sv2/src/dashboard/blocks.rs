//! The pool's blocks, page by page, and what became of each.

use maud::{Markup, html};

use super::Desk;
use super::answers::{Block, Blocks};
use super::figures::{ago, hash, height};
use super::layout::{Column, Part, card, empty, miner, sentence, state};
use super::place::Place;

impl Desk<'_> {
    pub(super) fn blocks(&self, after: Option<&str>) -> Vec<Part> {
        let mut parameters = vec![("limit", "50")];
        parameters.extend(after.map(|after| ("after", after)));
        let body = match self.ask.with::<Blocks>("blocks", &parameters) {
            Err(missing) => empty("No blocks to show", &html! { p { (sentence(missing.why())) } }),
            Ok(found) if found.blocks.is_empty() => empty(
                "No block yet",
                &html! {
                    p { "Each block that a miner finds is listed here the moment it is found." }
                },
            ),
            Ok(found) => html! {
                (self.block_table(&found.blocks))
                nav.pages aria-label="Further blocks" {
                    @if after.is_some() { a href="/blocks" { "Newest" } }
                    @if let Some(next) = found.next.filter(|_| found.blocks.len() == 50) {
                        a href=(Place::Blocks { after: Some(next) }.path()) { "Older" }
                    }
                }
                details.figures {
                    summary { "What the states mean" }
                    dl.pairs {
                        div { dt { (state("found")) } dd { "a miner has sent it" } }
                        div { dt { (state("submitted")) } dd { "it went to a template provider" } }
                        div { dt { (state("accepted")) } dd { "it is in the node's best chain" } }
                        div {
                            dt { (state("mature")) }
                            dd { "a hundred blocks deep: its coins can be spent" }
                        }
                        div { dt { (state("orphaned")) } dd { "it is not in the best chain" } }
                    }
                }
            },
        };
        vec![card(
            "blocks",
            Column::Both,
            ("Blocks", "all that this pool has found, newest first"),
            &body,
        )]
    }

    pub(super) fn block_table(&self, blocks: &[Block]) -> Markup {
        html! {
            div.scroll tabindex="0" {
                table.blocks {
                    thead { tr {
                        th.num scope="col" { "Height" }
                        th scope="col" { "State" }
                        th scope="col" { "When" }
                        th.num scope="col" { "Pays" }
                        th scope="col" { "Found by" }
                        th scope="col" { "Hash" }
                    } }
                    tbody { @for block in blocks { (self.block_line(block)) } }
                }
            }
        }
    }

    fn block_line(&self, block: &Block) -> Markup {
        html! {
            tr data-block=(block.hash) {
                td.num { strong { (height(block.height)) } }
                td { (state(&block.state)) }
                td { (ago(block.time_ms, self.now_ms)) }
                td.num { (self.coins(block.coinbase_value)) }
                td { (miner(&block.account, &block.worker)) }
                td { (hash(&block.hash)) }
            }
        }
    }
}
