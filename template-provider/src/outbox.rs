//! What must reach a neighbour because a block was accepted: kept on disk from the acceptance until
//! it is delivered, and never delivered for anything else.
//!
//! `store` is the directory, `worker` delivers what is in it, `import` reads what another server
//! left behind. Nothing here knows a chain or a node: what a parcel means is its extension's, and
//! where its block stands is asked of who runs the worker.

pub mod import;
pub mod store;
pub mod worker;

use std::path::PathBuf;

use serde::Deserialize;

/// `[outbox]` of the config.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboxConfig {
    /// The directory; absent: `outbox` beside the authority's secret key.
    pub dir: Option<PathBuf>,
    /// The queue of another server, taken over at a start.
    pub import_file: Option<PathBuf>,
}
