//! The hash of notes: SHA-256 under a domain, in each of the ways that are in use for that.
//!
//! The description says "domain-separated SHA-256" and no more. A wrong guess makes notes that
//! nobody can ever spend, so the choice is the operator's; `detect` finds it from a known note.

use std::fmt;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use serde::Deserialize;

use super::note::{Commitment, Note};

/// How domain and data come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoteHash {
    /// SHA256(domain | data), the plainest reading.
    Concat,
    /// SHA256(SHA256(domain) | SHA256(domain) | data), as BIP340 does.
    Tagged,
    /// SHA256(domain | a zero byte | data).
    Nul,
    /// SHA256(length of the domain in one byte | domain | data).
    Len8,
    /// SHA256(length of the domain, u32 little endian | domain | data).
    Len32,
    /// SHA256(length of the domain, u64 little endian | domain | data).
    Len64,
    /// SHA256(SHA256(domain | data)).
    Double,
}

impl NoteHash {
    /// All of them, the likeliest first.
    pub const ALL: [Self; 7] =
        [Self::Concat, Self::Tagged, Self::Nul, Self::Len8, Self::Len32, Self::Len64, Self::Double];

    /// The one that makes `commitment` of `note`.
    pub fn detect(note: &Note, commitment: Commitment) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| note.commitment(*hash) == commitment)
    }

    /// Its name in the config.
    pub fn name(self) -> &'static str {
        match self {
            Self::Concat => "concat",
            Self::Tagged => "tagged",
            Self::Nul => "nul",
            Self::Len8 => "len8",
            Self::Len32 => "len32",
            Self::Len64 => "len64",
            Self::Double => "double",
        }
    }

    /// The hash of `data`, which is the concatenation of its parts, under `domain`.
    pub fn hash(self, domain: &str, data: &[&[u8]]) -> [u8; 32] {
        let mut engine = sha256::Hash::engine();
        let length = domain.len();
        match self {
            Self::Concat | Self::Nul | Self::Double => {}
            Self::Tagged => {
                let tag = sha256::Hash::hash(domain.as_bytes());
                engine.input(tag.as_byte_array());
                engine.input(tag.as_byte_array());
            }
            Self::Len8 => engine.input(&[u8::try_from(length).unwrap_or(u8::MAX)]),
            Self::Len32 => engine.input(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()),
            Self::Len64 => engine.input(&u64::try_from(length).unwrap_or(u64::MAX).to_le_bytes()),
        }
        if self != Self::Tagged {
            engine.input(domain.as_bytes());
        }
        if self == Self::Nul {
            engine.input(&[0]);
        }
        data.iter().for_each(|part| engine.input(part));
        let once = sha256::Hash::from_engine(engine);
        match self {
            Self::Double => sha256::Hash::hash(once.as_byte_array()).to_byte_array(),
            _ => once.to_byte_array(),
        }
    }
}

impl fmt::Display for NoteHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
