//! Stratum V2: from bytes on the wire to typed messages.
//!
//! `codec` knows the primitive types (spec chapter 3.1), `message` how structs become messages,
//! `frame` the six-byte header, `noise` the encryption (chapter 4), `link` one encrypted
//! connection; `setup`, `mining`, `template` hold the messages of chapters 3.6, 5 and 7,
//! `extensions` those of the extensions. Nothing here decides what a message means.

pub mod codec;
pub mod extensions;
pub mod frame;
pub mod keys;
pub mod link;
pub mod message;
pub mod mining;
pub mod noise;
pub mod setup;
pub mod template;
