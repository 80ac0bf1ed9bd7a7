//! What speaks to a node's JSON-RPC: HTTP/1.1 connections, credentials, and calls whose errors say
//! whether to ask again.
//!
//! It knows no method: what is asked, and what an answer means, is for the programs to say.

mod call;
pub mod http;
pub mod login;

pub use self::call::*;
