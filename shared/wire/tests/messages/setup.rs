//! The common messages (spec 3.6) against SRI's.

use stratum_core::common_messages_sv2 as sri;
use wire::sv2::setup::{
    ChannelEndpointChanged, Reconnect, SetupConnection, SetupConnectionError,
    SetupConnectionSuccess,
};

use crate::agrees_with_sri;

agrees_with_sri! {
    setup_connection: SetupConnection, sri::SetupConnection<'_>, sri::SetupConnectionOwned {
        protocol, min_version, max_version, flags, endpoint_host, endpoint_port, vendor,
        hardware_version, firmware, device_id
    }
    setup_connection_success: SetupConnectionSuccess, sri::SetupConnectionSuccess,
    sri::SetupConnectionSuccessOwned { used_version, flags }
    setup_connection_error: SetupConnectionError, sri::SetupConnectionError<'_>,
    sri::SetupConnectionErrorOwned { flags, error_code }
    channel_endpoint_changed: ChannelEndpointChanged, sri::ChannelEndpointChanged,
    sri::ChannelEndpointChangedOwned { channel_id }
    reconnect: Reconnect, sri::Reconnect<'_>, sri::ReconnectOwned { new_host, new_port }
}
