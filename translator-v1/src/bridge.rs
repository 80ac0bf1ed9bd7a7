//! How things of one protocol become things of the other; pure functions and immutable values.
//!
//! `notify` makes V1 jobs of V2 jobs, `submit` makes V2 shares of V1 shares and V1 answers of V2
//! verdicts, `extranonce` splits the channel's search space among miners, `difficulty` chooses what
//! a miner is told. Nothing here sends, waits or keeps a connection's state.

pub mod difficulty;
pub mod extranonce;
pub mod notify;
pub mod submit;
