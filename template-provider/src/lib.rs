//! template-provider: a Stratum V2 Template Provider for every node that answers getblocktemplate.
//!
//! Rooms: `node` is the only one that speaks to the node, `templates` makes work of what it offers
//! and blocks of what miners find, `coinbase` holds what chains want in their coinbases besides,
//! `server` speaks the Template Distribution Protocol, `vault` keeps found blocks on disk,
//! `outbox` delivers what hangs on accepted ones, `spool` keeps what clients mine on. They meet in
//! `app` alone; `block_template` and `extension` are the words that they all know.

pub mod app;
pub mod block_template;
pub mod coinbase;
pub mod dependencies;
pub mod durable;
pub mod extension;
pub mod node;
pub mod outbox;
pub mod server;
pub mod spool;
pub mod templates;
pub mod vault;
