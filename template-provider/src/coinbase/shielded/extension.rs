//! Puts the reward into a note: one for each template, frozen with it, and delivered once its block
//! is in the chain.
//!
//! The coinbase's outputs are worth nothing then: the chain gives the reward to the note. It logs
//! nothing that opens one.

use serde_json::Value;
use tokio::task::spawn_blocking;
use tracing::error;

use super::backup::Backup;
use super::cipher::{self, SealedNote};
use super::maker::{MadeNote, NoteMaker};
use super::note::Commitment;
use super::secret::{NoteSecret, Place};
use super::settings::{NoteValue, OutputValue, Settings};
use super::sidecar::Sidecar;
use crate::block_template::Output;
use crate::extension::{AcceptedBlock, Addition, Delivery, Extension, Facts, Hook, Parcel};
use service::advice;

/// Its name in config, logs and parcels.
pub const NAME: &str = "shielded";
/// Value (8), length (1) and script of the note's output (34) and the anchor (36).
const OUTPUT_BYTES: u32 = 8 + 1 + 34 + 8 + 1 + 36;

/// The extension.
#[derive(Debug)]
pub struct Shielded {
    maker: NoteMaker,
    note_value: NoteValue,
    output_value: OutputValue,
    sidecar: Sidecar,
    backup: Option<Backup>,
}

impl Shielded {
    /// From settings that were checked, and the secret.
    pub fn new(settings: Settings, secret: NoteSecret) -> Self {
        let Settings { owner, hash, note_value, output_value, sidecar, backup, .. } = settings;
        let maker = NoteMaker { hash, owner, secret };
        Self { maker, note_value, output_value, sidecar, backup }
    }

    fn value(&self, facts: &Facts<'_>) -> Result<u64, String> {
        match self.note_value {
            NoteValue::Coinbasevalue => Ok(facts.value),
            NoteValue::Subsidy => {
                let unknown = "note_value is subsidy, and the node does not state all fees";
                let fees = facts.fees.ok_or_else(|| unknown.to_owned())?;
                let too_many = || "its fees exceed what the coinbase may spend".to_owned();
                facts.value.checked_sub(fees).ok_or_else(too_many)
            }
        }
    }

    async fn back_up(&self, block: &AcceptedBlock, sealed: &Value) {
        let Some(backup) = self.backup.clone() else { return };
        let Ok(sealed) = serde_json::from_value::<SealedNote>(sealed.clone()) else { return };
        // Another owner's note, of an earlier config, is not for this file.
        let Some(note) = cipher::open(self.maker.hash, &sealed, self.maker.owner) else { return };
        let block_copy = block.clone();
        let commitment = Commitment(sealed.commitment);
        let added = spawn_blocking(move || backup.add(&block_copy, &note, commitment)).await;
        if let Err(error) = added.map_err(std::io::Error::other).flatten() {
            error!(code = advice::EXTENSION_BROKEN,
                %commitment, hash = %block.hash, %error, "note not written to the notes file");
        }
    }
}

/// What is to be delivered for a note.
pub fn parcel(made: &MadeNote) -> Parcel {
    Parcel {
        extension: NAME.to_owned(),
        key: made.commitment.to_string(),
        body: serde_json::to_value(&made.sealed).unwrap_or_default(),
    }
}

impl Extension for Shielded {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_mandatory(&self) -> bool {
        true
    }

    fn output_bytes_max(&self) -> u32 {
        OUTPUT_BYTES
    }

    fn outputs(&self, facts: Facts<'_>) -> Result<Addition, String> {
        let Facts { prev_hash, height, .. } = facts;
        let note_value = self.value(&facts)?;
        let made = self.maker.make(&Place { prev_hash, height, value: note_value });
        let value = match self.output_value {
            OutputValue::Zero => 0,
            OutputValue::Full => note_value,
        };
        let note = Output { value, script: made.commitment.output_script().into() };
        let anchor = Output::valueless(made.commitment.anchor_script());
        Ok(Addition { outputs: vec![note, anchor], value_left: 0, parcels: vec![parcel(&made)] })
    }

    fn on_accepted<'a>(
        &'a self,
        block: &'a AcceptedBlock,
        parcel: &'a Parcel,
    ) -> Hook<'a, Delivery> {
        Box::pin(async move {
            self.back_up(block, &parcel.body).await;
            self.sidecar.submit(&parcel.body).await
        })
    }
}

#[cfg(test)]
mod tests;
