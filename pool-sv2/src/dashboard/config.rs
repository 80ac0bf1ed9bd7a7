//! The settings of the dashboard.

use serde::Deserialize;

/// `[dashboard]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DashboardConfig {
    /// Whether pages for people are shown at the address of `/health`.
    pub enabled: bool,
}
