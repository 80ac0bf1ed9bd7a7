//! Vanta's shielded coinbase: the reward stands in a note that only its owner's key can spend, and
//! the coinbase holds the note's commitment.
//!
//! After the published description alone: the chain's source could not be read. Which hash it uses
//! is therefore the operator's to say, and to prove with a note that is known to be right. `hash`,
//! `note` and `cipher` are the formats, `secret` and `maker` make notes that can be made again,
//! `settings` is the config, `extension` puts notes into coinbases, `sidecar` brings them to their
//! owner, `backup` keeps them in a file if the operator wants one.

pub mod backup;
pub mod cipher;
pub mod extension;
pub mod hash;
pub mod maker;
pub mod note;
pub mod secret;
pub mod settings;
pub mod sidecar;
