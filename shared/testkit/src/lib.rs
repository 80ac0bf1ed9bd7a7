//! What tests and the demo need around the programs: two sessions against each other in virtual
//! time, a real node, the real programs, and all of them together.
//!
//! `pair`, `scripted` and `http` are pure. The rest starts processes; every one of them ends with
//! its owner, and with this process whatever happens to it. A missing node or program is a failure
//! with a sentence, never a test that is skipped.

pub mod answering;
pub mod block;
pub mod http;
pub mod log;
pub mod mempool;
pub mod node;
pub mod pair;
pub mod process;
pub mod program;
pub mod scripted;
pub mod stub;
pub mod wait;
pub mod world;
