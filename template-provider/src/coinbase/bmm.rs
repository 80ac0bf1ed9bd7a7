//! Blind merged mining (BIP301): coinbases that accept side blocks, with hashes from sidechains and
//! from those who bid for it.
//!
//! `message` knows the bytes, `config` the settings, `source` where h* comes from, `slot` keeps the
//! newest, and here it is put into templates; `guard` keeps the rules of bids, `counts` what people
//! see. A template never waits for a sidechain: what is missing is left out, counted and told; when
//! it comes, the template is published anew.

pub mod absence;
pub mod config;
pub mod counts;
pub mod guard;
pub mod message;
pub mod slot;
pub mod source;

use bitcoin::hex::DisplayHex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;
use tracing::debug;

use crate::extension::{AcceptedBlock, Addition, Delivery, Extension, Facts, Hook, Parcel};
use absence::Absence;
use config::SlotSettings;
use counts::Counts;
use message::{ACCEPT_OUTPUT_BYTES_MAX, Accept, Encoding};
use slot::{Known, Republish, Told, Watched};
use source::Return;

/// `Extension::name`.
pub const NAME: &str = "bmm";

/// The slots that have a source.
#[derive(Debug)]
pub struct Bmm {
    slots: Vec<Slot>,
    counts: Counts,
    /// Empty until the first template is made.
    tips: watch::Sender<Option<[u8; 32]>>,
}

#[derive(Debug)]
struct Slot {
    number: u8,
    encoding: Encoding,
    required: bool,
    watched: Watched,
    /// Where side blocks go back to.
    returns: Option<Return>,
}

impl Bmm {
    /// Starts to ask the sources, each in a task that ends with this. Calls `republish` when there
    /// is something new for the present tip.
    pub fn start(settings: &[SlotSettings], republish: &Republish, counts: &Counts) -> Self {
        let (tips, _) = watch::channel(None);
        let slot = |settings: &SlotSettings| {
            let SlotSettings { slot: number, encoding, required, .. } = *settings;
            let source = settings.source.clone()?;
            let returns = Return::of(&source);
            let told = Told {
                tips: tips.subscribe(),
                republish: republish.clone(),
                counts: counts.clone(),
            };
            let watched = Watched::start(number, source, told);
            Some(Slot { number, encoding, required, watched, returns })
        };
        let slots = settings.iter().filter_map(slot).collect();
        Self { slots, counts: counts.clone(), tips }
    }

    /// Counts why a slot was left out; an error where it must not be.
    fn omit(&self, slot: &Slot, absence: Absence) -> Result<(), String> {
        let (number, reason) = (slot.number, absence.label());
        self.counts.omitted(number, absence);
        debug!(slot = number, reason, "M7 left out");
        match slot.required && absence != Absence::Taken {
            true => Err(format!("slot {number} has no side block ({reason}), and it is required")),
            false => Ok(()),
        }
    }
}

impl Extension for Bmm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_mandatory(&self) -> bool {
        self.slots.iter().any(|slot| slot.required)
    }

    fn output_bytes_max(&self) -> u32 {
        let slots = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        slots.saturating_mul(ACCEPT_OUTPUT_BYTES_MAX)
    }

    fn tip_moved(&self, prev_hash: [u8; 32]) {
        let is_new = |tip: &mut Option<[u8; 32]>| tip.replace(prev_hash) != Some(prev_hash);
        self.tips.send_if_modified(is_new);
    }

    fn outputs(&self, facts: Facts<'_>) -> Result<Addition, String> {
        let mut addition = Addition::nothing(&facts);
        for slot in &self.slots {
            let is_taken = message::accepts(facts.present).any(|one| one.slot == slot.number);
            let known = match is_taken {
                true => Err(Absence::Taken),
                false => slot.watched.for_tip(&facts.prev_hash),
            };
            match known {
                Ok(known) => {
                    let accept = Accept { slot: slot.number, h_star: known.h_star };
                    addition.outputs.push(accept.output(slot.encoding, &facts.prev_hash));
                    addition.parcels.extend(parcel(slot.number, &known, &facts.prev_hash));
                }
                Err(absence) => self.omit(slot, absence)?,
            }
        }
        Ok(addition)
    }

    fn on_accepted<'a>(
        &'a self,
        block: &'a AcceptedBlock,
        parcel: &'a Parcel,
    ) -> Hook<'a, Delivery> {
        Box::pin(async {
            let Ok(side_block) = SideBlock::deserialize(&parcel.body) else {
                return Delivery::Refused("the side block's record cannot be read".to_owned());
            };
            let SideBlock { slot, h_star, block: json } = side_block;
            let mut slots = self.slots.iter().filter(|one| one.number == slot);
            match slots.find_map(|one| one.returns.as_ref()) {
                Some(returns) => returns.connect(&json, &h_star, &block.hash).await,
                None => Delivery::Refused(format!("slot {slot} has no source that takes it back")),
            }
        })
    }
}

/// What a parcel holds.
#[derive(Serialize, Deserialize)]
struct SideBlock {
    slot: u8,
    /// Hex as Thunder shows it.
    h_star: String,
    /// JSON as the source gave it.
    block: String,
}

/// The side block that its sidechain must get back. The same one in two main blocks on one tip is
/// delivered once: only one of them can stay in the chain.
fn parcel(slot: u8, known: &Known, prev_hash: &[u8; 32]) -> Option<Parcel> {
    let block = known.block.as_deref()?;
    let (h_star, prev_hash) = (known.h_star.to_lower_hex_string(), prev_hash.as_hex());
    let key = format!("{slot:02x}{h_star}{prev_hash}");
    let body = json!(SideBlock { slot, h_star, block: block.to_owned() });
    Some(Parcel { extension: NAME.to_owned(), key, body })
}

#[cfg(test)]
mod tests;
