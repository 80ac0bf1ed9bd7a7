//! template-provider: a Stratum V2 Template Provider for every node that answers getblocktemplate.
//!
//! Rooms: `node` is the only one that speaks to the node, `templates` makes work of what it offers
//! and blocks of what miners find, `server` speaks the Template Distribution Protocol, `vault`
//! keeps found blocks on disk. They meet in `app` alone; `block_template` is the one thing that
//! they all know.

pub mod app;
pub mod block_template;
pub mod dependencies;
pub mod extension;
pub mod node;
pub mod server;
pub mod templates;
pub mod vault;
