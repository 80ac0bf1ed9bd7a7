//! What is sent to a note's owner so that he finds it: the note under a stream of hashes.
//!
//! As the chain's wallets read it, and weak: the shared secret is a hash of two public values, so
//! everybody who knows the owner's public key can read all of his notes, and nothing but the
//! commitment tells a changed one. Don't use it for anything else, and don't call it encryption
//! without saying so.

use serde::{Deserialize, Serialize};

use super::hash::NoteHash;
use super::note::{Commitment, NATIVE_ASSET, Note, OwnerKey, Randomness};

const EPHEMERAL: &str = "Vanta/Ephemeral/v1";
const SHARED_SECRET: &str = "Vanta/SharedSecret/v1";
const STREAM: &str = "Vanta/Stream/v1";
/// Value (8), asset (4) and randomness (32).
const PLAINTEXT_BYTES: usize = 44;

/// A note as the sidecar's `/submit` takes it: JSON with arrays of numbers, no hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedNote {
    /// Hash of a secret that is used once.
    pub ephemeral_pubkey: [u8; 32],
    /// The note, 44 bytes.
    pub ciphertext: Vec<u8>,
    /// The commitment that stands in the coinbase.
    pub commitment: [u8; 32],
}

/// A secret for one sealed note.
#[derive(Clone, Copy)]
pub struct EphemeralSecret(pub [u8; 32]);

/// Seals `note` for its owner.
pub fn seal(hash: NoteHash, note: &Note, secret: EphemeralSecret) -> SealedNote {
    let ephemeral_pubkey = hash.hash(EPHEMERAL, &[&secret.0]);
    let mut ciphertext =
        [&note.value.to_le_bytes()[..], &NATIVE_ASSET.to_le_bytes(), &note.randomness.0].concat();
    apply_stream(hash, &shared_secret(hash, &ephemeral_pubkey, &note.owner), &mut ciphertext);
    SealedNote { ephemeral_pubkey, ciphertext, commitment: note.commitment(hash).0 }
}

/// Reads a sealed note with the owner's key, as wallets try it with each. `None` is another's note,
/// or one that was changed: the commitment alone can tell.
pub fn open(hash: NoteHash, sealed: &SealedNote, owner: OwnerKey) -> Option<Note> {
    let mut plaintext: [u8; PLAINTEXT_BYTES] = sealed.ciphertext.as_slice().try_into().ok()?;
    apply_stream(hash, &shared_secret(hash, &sealed.ephemeral_pubkey, &owner), &mut plaintext);
    let (value, rest) = plaintext.split_first_chunk::<8>()?;
    let (asset, rest) = rest.split_first_chunk::<4>()?;
    let note = Note {
        value: u64::from_le_bytes(*value),
        owner,
        randomness: Randomness(rest.try_into().ok()?),
    };
    let is_native = u32::from_le_bytes(*asset) == NATIVE_ASSET;
    let is_right = is_native && note.commitment(hash) == Commitment(sealed.commitment);
    is_right.then_some(note)
}

fn shared_secret(hash: NoteHash, ephemeral_pubkey: &[u8; 32], owner: &OwnerKey) -> [u8; 32] {
    hash.hash(SHARED_SECRET, &[ephemeral_pubkey, owner.bytes()])
}

/// Seals and opens: what it does twice is undone.
fn apply_stream(hash: NoteHash, shared_secret: &[u8; 32], text: &mut [u8]) {
    for (number, block) in (0_u32..).zip(text.chunks_mut(32)) {
        let stream = hash.hash(STREAM, &[shared_secret, &number.to_le_bytes()]);
        block.iter_mut().zip(stream).for_each(|(byte, key)| *byte ^= key);
    }
}

#[cfg(test)]
mod tests;
