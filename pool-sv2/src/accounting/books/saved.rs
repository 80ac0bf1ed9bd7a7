//! The books as they stand on disk: all that they know, so that they go on as if the records before
//! had been read again.

use std::sync::Arc;

use bitcoin::Network;
use serde::{Deserialize, Serialize};

use super::{Books, OpenBlock};
use crate::payout::accounts::Accounts;
use crate::payout::accounts::saved::SavedAccounts;
use crate::payout::claims::Position;
use crate::payout::fixed::{FixedRate, SavedFixedRate};
use crate::payout::names::Names;
use crate::payout::settlement::{AccountPayout, WalletPayout};
use crate::payout::window::Window;
use crate::payout::window::saved::SavedWindow;
use crate::shares::BlockState;

/// All that [`Books`] know.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedBooks {
    network: String,
    position: Position,
    /// By their number.
    names: Vec<String>,
    window: SavedWindow,
    accounts: SavedAccounts,
    fixed: SavedFixedRate,
    blocks: Vec<SavedBlock>,
    unconfirmed: Vec<WalletPayout>,
    parts: Vec<AccountPayout>,
    changes: u64,
    crowded_at: u64,
}

/// Hash (internal byte order), height, when it was found in milliseconds since 1970, and the code
/// of its stage.
#[derive(Debug, Serialize, Deserialize)]
struct SavedBlock([u8; 32], Option<u32>, u64, u8);

impl Books {
    /// All of it, for the disk.
    pub fn saved(&self) -> SavedBooks {
        let mut known: Vec<_> = self.known.values().map(|it| Arc::clone(&it.name)).collect();
        known.sort_unstable();
        let mut names = Names::new(known);
        let (window, accounts) = (self.window.saved(&mut names), self.accounts.saved(&mut names));
        let fixed = self.fixed.saved(&mut names);
        let block = |block: &OpenBlock| {
            let BlockState { hash, code } = BlockState::new(block.hash, block.stage);
            SavedBlock(hash, block.height, block.found_ms, code)
        };
        SavedBooks {
            network: self.network.to_string(),
            position: self.position,
            names: names.all().map(str::to_owned).collect(),
            window,
            accounts,
            fixed,
            blocks: self.blocks.iter().map(block).collect(),
            unconfirmed: self.unconfirmed.clone(),
            parts: self.parts.clone(),
            changes: self.changes,
            crowded_at: self.crowded_at,
        }
    }

    /// The same books again, for `network`; `None` if they are another network's, or no books.
    pub fn restored(saved: SavedBooks, network: Network) -> Option<Self> {
        if saved.network != network.to_string() {
            return None;
        }
        let mut this = Self::new(network);
        for name in &saved.names {
            this.account(name);
        }
        let known = saved.names.iter().filter_map(|name| this.known.get(&**name));
        let names = Names::new(known.map(|account| Arc::clone(&account.name)));
        this.window = Window::restored(saved.window, &names)?;
        this.accounts = Accounts::restored(saved.accounts, &names)?;
        this.fixed = FixedRate::restored(saved.fixed, &names)?;
        let block = |SavedBlock(hash, height, found_ms, code)| {
            let stage = BlockState { hash, code }.stage();
            OpenBlock { hash, height, found_ms, stage }
        };
        this.blocks = saved.blocks.into_iter().map(block).collect();
        (this.position, this.unconfirmed) = (saved.position, saved.unconfirmed);
        (this.parts, this.changes) = (saved.parts, saved.changes);
        this.crowded_at = saved.crowded_at;
        Some(this)
    }
}
