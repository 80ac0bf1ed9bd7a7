//! The settings of the dashboard.

use serde::Deserialize;

/// `[dashboard]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DashboardConfig {
    /// Whether pages for people are shown at the address of `/health`.
    pub enabled: bool,
    /// The name or the address by which miners reach the pool, without a port.
    pub public_host: Option<String>,
}
