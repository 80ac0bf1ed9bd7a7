//! Spec 3.6.

use wire::sv2::setup::{
    ChannelEndpointChanged, Reconnect, SetupConnection, SetupConnectionError,
    SetupConnectionSuccess,
};

use super::{U16, U32, golden, text};

#[test]
fn spec_3_6_1_setup_connection() {
    let message = SetupConnection {
        protocol: 2,
        min_version: 2,
        max_version: U16,
        flags: U32,
        endpoint_host: text("a.b"),
        endpoint_port: 0x8442,
        vendor: text("v"),
        hardware_version: text("h"),
        firmware: text("f"),
        device_id: text(""),
    };
    let fields = [
        "02",       // protocol U8
        "0200",     // min_version U16
        "0102",     // max_version U16
        "01020304", // flags U32
        "03612e62", // endpoint_host STR0_255
        "4284",     // endpoint_port U16
        "0176",     // vendor STR0_255
        "0168",     // hardware_version STR0_255
        "0166",     // firmware STR0_255
        "00",       // device_id STR0_255
    ];
    golden(&message, "000000160000", &fields);
}

#[test]
fn spec_3_6_2_setup_connection_success() {
    let message = SetupConnectionSuccess { used_version: 2, flags: U32 };
    // used_version U16, flags U32
    golden(&message, "000001060000", &["0200", "01020304"]);
}

#[test]
fn spec_3_6_3_setup_connection_error() {
    let message = SetupConnectionError { flags: U32, error_code: text("wrong") };
    // flags U32, error_code STR0_255
    golden(&message, "0000020a0000", &["01020304", "0577726f6e67"]);
}

#[test]
fn spec_3_6_4_channel_endpoint_changed() {
    // channel_id U32
    golden(&ChannelEndpointChanged { channel_id: U32 }, "008003040000", &["01020304"]);
}

#[test]
fn spec_3_6_5_reconnect() {
    let message = Reconnect { new_host: text("a.b"), new_port: U16 };
    // new_host STR0_255, new_port U16
    golden(&message, "000004060000", &["03612e62", "0102"]);
}
