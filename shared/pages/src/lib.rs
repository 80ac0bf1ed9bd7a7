//! What all pages for people have in common, so that they look and behave alike: the frame, the
//! style sheet, cards and tables, numbers and times as people read them.
//!
//! Nothing here knows what a page is about. Whole pages are made without a script; with one, their
//! parts follow what happens (`service::site` brings both to browsers).

pub mod assets;
pub mod figures;
pub mod frame;
pub mod layout;
pub mod path;
