//! The common messages (spec 3.6): how a connection is set up and redirected.

use super::codec::Str255;
use super::message::messages;

/// `SetupConnection.protocol`: Mining Protocol.
pub const PROTOCOL_MINING: u8 = 0;
/// `SetupConnection.protocol`: Job Declaration Protocol.
pub const PROTOCOL_JOB_DECLARATION: u8 = 1;
/// `SetupConnection.protocol`: Template Distribution Protocol.
pub const PROTOCOL_TEMPLATE_DISTRIBUTION: u8 = 2;
/// The one version of the protocol there is.
pub const VERSION: u16 = 2;

/// Mining, client: bit 0, extended jobs cannot be processed (spec 5.3.1).
pub const REQUIRES_STANDARD_JOBS: u32 = 1;
/// Mining, client: bit 1, custom jobs will be sent (spec 5.3.1).
pub const REQUIRES_WORK_SELECTION: u32 = 1 << 1;
/// Mining, client: bit 2, every job must allow version rolling (spec 5.3.1).
pub const REQUIRES_VERSION_ROLLING: u32 = 1 << 2;

/// `SetupConnection.Error`: flags that the server does not know or offer.
pub const ERROR_UNSUPPORTED_FEATURE_FLAGS: &str = "unsupported-feature-flags";
/// `SetupConnection.Error`: another protocol is served here.
pub const ERROR_UNSUPPORTED_PROTOCOL: &str = "unsupported-protocol";
/// `SetupConnection.Error`: no common protocol version.
pub const ERROR_PROTOCOL_VERSION_MISMATCH: &str = "protocol-version-mismatch";

messages! {
    /// Any common message.
    enum Setup, extension: 0;

    /// The first message of a client (spec 3.6.1).
    SetupConnection = 0x00, channel_msg: false, "SetupConnection" {
        /// Which protocol the client wants, `PROTOCOL_*`.
        protocol: u8,
        /// The lowest version that the client speaks.
        min_version: u16,
        /// The highest version that the client speaks.
        max_version: u16,
        /// Features that the client requires.
        flags: u32,
        /// The host that the client dialled.
        endpoint_host: Str255,
        /// The port that the client dialled.
        endpoint_port: u16,
        /// Manufacturer and firmware; must be set.
        vendor: Str255,
        /// Hardware or software package.
        hardware_version: Str255,
        /// Firmware.
        firmware: Str255,
        /// Telemetry identifier; empty unless configured.
        device_id: Str255,
    }

    /// The server accepts the connection (spec 3.6.2).
    SetupConnectionSuccess = 0x01, channel_msg: false, "SetupConnection.Success" {
        /// The version in use from here on.
        used_version: u16,
        /// Features of the server.
        flags: u32,
    }

    /// The server refuses the connection and closes it (spec 3.6.3).
    SetupConnectionError = 0x02, channel_msg: false, "SetupConnection.Error" {
        /// All flags that the server does not support; 0 if the cause is another one.
        flags: u32,
        /// The cause.
        error_code: Str255,
    }

    /// A proxy changed what stands behind a channel (spec 3.6.4).
    ChannelEndpointChanged = 0x03, channel_msg: true, "ChannelEndpointChanged" {
        /// The channel.
        channel_id: u32,
    }

    /// The server asks its client to connect elsewhere (spec 3.6.5).
    Reconnect = 0x04, channel_msg: false, "Reconnect" {
        /// The new host; empty keeps the present one.
        new_host: Str255,
        /// The new port; 0 keeps the present one.
        new_port: u16,
    }
}

/// True for the message types of this chapter, which every protocol shares.
pub fn is_setup_message(message_type: u8) -> bool {
    message_type <= 0x0f
}

impl SetupConnection {
    /// Why a server of `protocol` that knows `supported_flags` cannot serve this client; `None` if
    /// it can. The error names all flags that are not supported (spec 3.6.3).
    pub fn refusal(&self, protocol: u8, supported_flags: u32) -> Option<SetupConnectionError> {
        let refuse = |flags, code: &'static str| {
            Some(SetupConnectionError { flags, error_code: code.into() })
        };
        if self.protocol != protocol {
            return refuse(0, ERROR_UNSUPPORTED_PROTOCOL);
        }
        if !(self.min_version..=self.max_version).contains(&VERSION) {
            return refuse(0, ERROR_PROTOCOL_VERSION_MISMATCH);
        }
        let unsupported = self.flags & !supported_flags;
        if unsupported != 0 {
            return refuse(unsupported, ERROR_UNSUPPORTED_FEATURE_FLAGS);
        }
        None
    }

    /// What one of our programs says of itself, with no telemetry.
    pub fn of_program(protocol: u8, flags: u32, host: &str, port: u16, program: &str) -> Self {
        Self {
            protocol,
            min_version: VERSION,
            max_version: VERSION,
            flags,
            endpoint_host: Str255::truncated(host),
            endpoint_port: port,
            vendor: "Adit".into(),
            hardware_version: Str255::truncated(program),
            firmware: env!("CARGO_PKG_VERSION").into(),
            device_id: Str255::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUPPORTED: u32 = REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING;

    fn message(protocol: u8, flags: u32) -> SetupConnection {
        SetupConnection::of_program(protocol, flags, "pool", 34_254, "test")
    }

    fn code(message: &SetupConnection) -> Option<String> {
        let refusal = message.refusal(PROTOCOL_MINING, SUPPORTED)?;
        Some(refusal.error_code.display().into_owned())
    }

    /// Spec 3.6.1: a client that wants another protocol is refused.
    #[test]
    fn another_protocol_is_refused() {
        let message = message(PROTOCOL_TEMPLATE_DISTRIBUTION, 0);
        assert_eq!(code(&message).as_deref(), Some(ERROR_UNSUPPORTED_PROTOCOL));
    }

    /// Spec 3.6.1: the version is 2, and it must be in the client's range.
    #[test]
    fn a_version_range_without_2_is_refused_and_one_around_it_is_not() {
        let old = SetupConnection { min_version: 1, max_version: 1, ..message(PROTOCOL_MINING, 0) };
        assert_eq!(code(&old).as_deref(), Some(ERROR_PROTOCOL_VERSION_MISMATCH));
        let wide = SetupConnection { min_version: 1, max_version: 9, ..old };
        assert_eq!(code(&wide), None);
    }

    /// Spec 3.6.3: the error holds the full set of the flags that are not supported.
    #[test]
    fn the_error_names_every_unsupported_flag_and_no_other() {
        let flags = REQUIRES_STANDARD_JOBS | REQUIRES_WORK_SELECTION | 1 << 31;
        let refusal = message(PROTOCOL_MINING, flags).refusal(PROTOCOL_MINING, SUPPORTED);
        assert_eq!(refusal.map(|error| error.flags), Some(REQUIRES_WORK_SELECTION | 1 << 31));
        assert_eq!(code(&message(PROTOCOL_MINING, SUPPORTED)), None);
    }
}
