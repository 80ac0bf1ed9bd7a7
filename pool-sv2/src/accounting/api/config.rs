//! The settings of the API.

use serde::Deserialize;

/// `[api]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Whether questions below `/api` are answered at the address of `/health`.
    pub enabled: bool,
    /// The site whose pages may read the answers in a browser, or `*` for all.
    pub cors_origin: Option<String>,
    /// Questions that one address may ask in a minute; 0 for no limit.
    pub questions_per_minute: u32,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self { enabled: false, cors_origin: None, questions_per_minute: 600 }
    }
}
