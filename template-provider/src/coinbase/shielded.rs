//! Vanta's shielded coinbase: the reward stands in a note that only its owner's key can spend, and
//! the coinbase holds the note's commitment.
//!
//! After the published description alone: the chain's source could not be read. Which hash it uses
//! is therefore the operator's to say, and to prove with a note that is known to be right.

pub mod cipher;
pub mod hash;
pub mod note;
