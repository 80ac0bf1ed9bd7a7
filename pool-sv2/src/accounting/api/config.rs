//! The settings of the API.

use serde::Deserialize;

/// `[api]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Whether questions below `/api` are answered at the address of `/health`.
    pub enabled: bool,
    /// The site whose pages may read the answers in a browser, or `*` for all.
    pub cors_origin: Option<String>,
}
