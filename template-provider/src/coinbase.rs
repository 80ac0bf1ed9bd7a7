//! What chains want in coinbases besides the payout: an extension for each, built from config.
//!
//! The extensions know neither templates nor the node's room; `extension` is their word for both.

pub mod bmm;
pub mod shielded;
