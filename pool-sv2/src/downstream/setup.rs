//! SetupConnection (spec 3.6.1, 5.3.1): who may stay.

use wire::sv2::codec::Str255;
use wire::sv2::setup::{
    ERROR_PROTOCOL_VERSION_MISMATCH, ERROR_UNSUPPORTED_FEATURE_FLAGS, ERROR_UNSUPPORTED_PROTOCOL,
    PROTOCOL_MINING, REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING, SetupConnection,
    SetupConnectionError, VERSION,
};

/// Every flag that this pool serves. REQUIRES_WORK_SELECTION waits for job declaration.
const SUPPORTED_FLAGS: u32 = REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING;

/// What the pool must remember of an accepted connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Features {
    /// The miner cannot process extended jobs: no group, no extended channel.
    pub(super) standard_jobs_only: bool,
}

/// Accepts the connection, or says why not, with all flags that are not supported (spec 3.6.3).
pub(super) fn negotiate(message: &SetupConnection) -> Result<Features, SetupConnectionError> {
    let refuse = |flags, error_code: &'static str| {
        Err(SetupConnectionError { flags, error_code: Str255::from(error_code) })
    };
    if message.protocol != PROTOCOL_MINING {
        return refuse(0, ERROR_UNSUPPORTED_PROTOCOL);
    }
    if !(message.min_version..=message.max_version).contains(&VERSION) {
        return refuse(0, ERROR_PROTOCOL_VERSION_MISMATCH);
    }
    let unsupported = message.flags & !SUPPORTED_FLAGS;
    if unsupported != 0 {
        return refuse(unsupported, ERROR_UNSUPPORTED_FEATURE_FLAGS);
    }
    Ok(Features { standard_jobs_only: message.flags & REQUIRES_STANDARD_JOBS != 0 })
}

#[cfg(test)]
mod tests {
    use wire::sv2::setup::{PROTOCOL_TEMPLATE_DISTRIBUTION, REQUIRES_WORK_SELECTION};

    use super::*;

    fn message(protocol: u8, flags: u32) -> SetupConnection {
        SetupConnection::of_program(protocol, flags, "pool", 34_254, "test")
    }

    #[test]
    fn another_protocol_is_refused() {
        let error = negotiate(&message(PROTOCOL_TEMPLATE_DISTRIBUTION, 0)).unwrap_err();
        assert_eq!(error.error_code, ERROR_UNSUPPORTED_PROTOCOL.into());
    }

    #[test]
    fn a_version_range_without_2_is_refused() {
        let old = SetupConnection { min_version: 1, max_version: 1, ..message(PROTOCOL_MINING, 0) };
        let error = negotiate(&old).unwrap_err();
        assert_eq!(error.error_code, ERROR_PROTOCOL_VERSION_MISMATCH.into());
        let wide = SetupConnection { min_version: 1, max_version: 9, ..old };
        assert!(negotiate(&wide).is_ok());
    }

    #[test]
    fn the_error_names_every_unsupported_flag_and_no_other() {
        let flags = REQUIRES_STANDARD_JOBS | REQUIRES_WORK_SELECTION | 1 << 31;
        let error = negotiate(&message(PROTOCOL_MINING, flags)).unwrap_err();
        assert_eq!(error.flags, REQUIRES_WORK_SELECTION | 1 << 31);
        assert_eq!(error.error_code, ERROR_UNSUPPORTED_FEATURE_FLAGS.into());
    }

    #[test]
    fn version_rolling_and_standard_jobs_are_served() {
        let flags = REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING;
        let features = negotiate(&message(PROTOCOL_MINING, flags)).unwrap();
        assert!(features.standard_jobs_only);
    }
}
