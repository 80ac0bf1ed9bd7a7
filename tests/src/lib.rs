//! The rules of the house, each as a function that gives its violations as sentences, and that a
//! bad sample beside it proves able to fail. `tests/house.rs` holds the tree against them; the
//! journeys are in `tests/journeys`, their tools in `testkit`.

pub mod codes;
pub mod commands;
pub mod conformance;
pub mod documents;
pub mod imports;
pub mod packages;
pub mod shape;
pub mod sources;
