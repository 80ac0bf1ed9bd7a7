//! From what the node offers to what clients mine on, and back from a solution to a whole block.
//!
//! `coinbase` knows what must stand in the coinbase, `build` makes a template and `draft` holds it,
//! `trim` makes room for a client's outputs, `store` keeps templates for as long as somebody may
//! mine on them, `freshness` decides what is worth sending, `assemble` makes blocks, `proposal`
//! makes some to be shown to the node, and `fallback` draws the conclusions. Pure: no I/O, and the
//! time is an argument.

pub mod assemble;
pub mod build;
pub mod coinbase;
pub mod draft;
pub mod fallback;
pub mod freshness;
pub mod proposal;
pub mod record;
#[cfg(test)]
pub(crate) mod samples;
pub mod store;
pub mod trim;
