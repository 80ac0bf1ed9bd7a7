//! The Template Distribution Protocol towards clients: one pure session a connection.
//!
//! A session knows messages, their order and their deadlines; templates come as commands and
//! solutions leave as events. It knows neither the node nor how templates are made.

pub mod session;
