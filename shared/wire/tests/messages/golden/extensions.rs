//! Extension 0x0001, 2.

use wire::sv2::extensions::{RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess};

use super::{U16, golden, list};

/// Extension 0x0001, 3: its messages carry extension_type 0x0001 and no channel_msg bit.
#[test]
fn extension_1_request_extensions() {
    let message = RequestExtensions { request_id: U16, requested_extensions: list(&[2, 3]) };
    // request_id U16, requested_extensions SEQ0_64K[U16]
    golden(&message, "010000080000", &["0102", "020002000300"]);
}

#[test]
fn extension_1_request_extensions_success() {
    let message = RequestExtensionsSuccess { request_id: U16, supported_extensions: list(&[2]) };
    // request_id U16, supported_extensions SEQ0_64K[U16]
    golden(&message, "010001060000", &["0102", "01000200"]);
}

#[test]
fn extension_1_request_extensions_error() {
    let message = RequestExtensionsError {
        request_id: U16,
        unsupported_extensions: list(&[3]),
        required_extensions: list(&[5]),
    };
    // request_id U16, unsupported_extensions SEQ0_64K[U16], required_extensions SEQ0_64K[U16]
    golden(&message, "0100020a0000", &["0102", "01000300", "01000500"]);
}
