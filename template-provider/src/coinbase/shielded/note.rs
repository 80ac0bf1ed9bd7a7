//! A note: so many satoshis for one owner, hidden behind a commitment; and how the commitment
//! stands in a coinbase.
//!
//! What opens a note is secret and shows in no `Debug`.

use std::fmt;
use std::str::FromStr;

use bitcoin::hex::{DisplayHex, FromHex};

use super::hash::NoteHash;

/// Domain of the commitment.
const COMMITMENT: &str = "Vanta/NoteCommitment/v1";
/// The chain's own coin among the assets.
pub const NATIVE_ASSET: u32 = 0;
/// OP_2 and a push of 32 bytes: a witness program of version 2.
const OUTPUT_START: [u8; 2] = [0x52, 0x20];
/// OP_RETURN, a push of 34 bytes, and the mark by which indexers find a note.
const ANCHOR_START: [u8; 4] = [0x6a, 0x22, 0xbb, 0x00];

/// What commits to a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commitment(pub [u8; 32]);

impl Commitment {
    /// scriptPubKey of the output that holds the note.
    pub fn output_script(&self) -> Vec<u8> {
        [&OUTPUT_START[..], &self.0].concat()
    }

    /// scriptPubKey of the output by which indexers find the note.
    pub fn anchor_script(&self) -> Vec<u8> {
        [&ANCHOR_START[..], &self.0].concat()
    }
}

/// True if a scriptPubKey is that of an output that holds a note.
pub fn is_output_script(script: &[u8]) -> bool {
    script.len() == OUTPUT_START.len() + 32 && script.starts_with(&OUTPUT_START)
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_hex())
    }
}

impl FromStr for Commitment {
    type Err = BadHex;

    fn from_str(text: &str) -> Result<Self, BadHex> {
        parse_32(text).map(Self)
    }
}

/// A text that is not 32 bytes in hex. Does not say what the text was, which may be secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHex {
    /// Too short or too long.
    #[error("it has {0} characters; 64 hex digits are wanted")]
    Length(usize),
    /// Something that is no hex digit.
    #[error("it holds something else than the 64 hex digits that are wanted")]
    Digit,
    /// Nothing but zeros, which nobody's key is.
    #[error("it is all zeros, which is nobody's key")]
    Zero,
}

fn parse_32(text: &str) -> Result<[u8; 32], BadHex> {
    let length = text.chars().count();
    if length != 64 {
        return Err(BadHex::Length(length));
    }
    <[u8; 32]>::from_hex(text).map_err(|_| BadHex::Digit)
}

/// The public key of a note's owner. Whoever knows it can read all of its notes (see `cipher`), so
/// it is shown nowhere.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OwnerKey([u8; 32]);

impl OwnerKey {
    /// The key, for hashing.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for OwnerKey {
    type Err = BadHex;

    fn from_str(text: &str) -> Result<Self, BadHex> {
        match parse_32(text)? {
            key if key == [0; 32] => Err(BadHex::Zero),
            key => Ok(Self(key)),
        }
    }
}

impl fmt::Debug for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerKey(redacted)")
    }
}

/// What makes a note's commitment unguessable. Whoever knows it can tell what the note is worth.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Randomness(pub [u8; 32]);

impl Randomness {
    /// In hex, for the note's owner alone: neither for logs nor for the network.
    pub fn reveal(&self) -> String {
        self.0.to_lower_hex_string()
    }
}

impl FromStr for Randomness {
    type Err = BadHex;

    fn from_str(text: &str) -> Result<Self, BadHex> {
        parse_32(text).map(Self)
    }
}

impl fmt::Debug for Randomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Randomness(redacted)")
    }
}

/// A note of the chain's own coin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Satoshis.
    pub value: u64,
    /// Who can spend it.
    pub owner: OwnerKey,
    /// What hides it.
    pub randomness: Randomness,
}

impl Note {
    /// The commitment: hash of value (u64), owner, asset (u32) and randomness, numbers little
    /// endian; 76 bytes.
    pub fn commitment(&self, hash: NoteHash) -> Commitment {
        let (value, asset) = (self.value.to_le_bytes(), NATIVE_ASSET.to_le_bytes());
        Commitment(hash.hash(COMMITMENT, &[&value, self.owner.bytes(), &asset, &self.randomness.0]))
    }
}
