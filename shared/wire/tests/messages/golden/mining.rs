//! Spec chapter 5.3.

use wire::sv2::mining::{
    CloseChannel, NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess, OpenMiningChannelError, OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess, SetCustomMiningJob, SetCustomMiningJobError,
    SetCustomMiningJobSuccess, SetExtranoncePrefix, SetGroupChannel, SetNewPrevHash, SetTarget,
    SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess,
    UpdateChannel, UpdateChannelError,
};

use super::{A, A_HEX, F32, U16, U32, U64, UP_HEX, blob, bytes32, golden, list, text, up};

/// "wrong" as STR0_255.
const WRONG_HEX: &str = "0577726f6e67";

#[test]
fn spec_5_3_2_open_standard_mining_channel() {
    let message = OpenStandardMiningChannel {
        request_id: U32,
        user_identity: text("é"),
        nominal_hash_rate: F32,
        max_target: up(),
    };
    // request_id U32, user_identity STR0_255, nominal_hash_rate F32, max_target U256
    golden(&message, "0000102b0000", &["01020304", "02c3a9", "0000c03f", UP_HEX]);
}

#[test]
fn spec_5_3_3_open_standard_mining_channel_success() {
    let message = OpenStandardMiningChannelSuccess {
        request_id: U32,
        channel_id: 0x0d0c_0b0a,
        target: up(),
        extranonce_prefix: bytes32(&[0xe1, 0xe2, 0xe3, 0xe4]),
        group_channel_id: 9,
    };
    // request_id U32, channel_id U32, target U256, extranonce_prefix B0_32, group_channel_id U32
    let fields = ["01020304", "0a0b0c0d", UP_HEX, "04e1e2e3e4", "09000000"];
    golden(&message, "000011310000", &fields);
}

#[test]
fn spec_5_3_4_open_extended_mining_channel() {
    let message = OpenExtendedMiningChannel {
        request_id: U32,
        user_identity: text("é"),
        nominal_hash_rate: F32,
        max_target: up(),
        min_extranonce_size: U16,
    };
    // the fields of OpenStandardMiningChannel, min_extranonce_size U16
    golden(&message, "0000132d0000", &["01020304", "02c3a9", "0000c03f", UP_HEX, "0102"]);
}

#[test]
fn spec_5_3_5_open_extended_mining_channel_success() {
    let message = OpenExtendedMiningChannelSuccess {
        request_id: U32,
        channel_id: 0x0d0c_0b0a,
        target: up(),
        extranonce_size: U16,
        extranonce_prefix: bytes32(&[0xe1, 0xe2, 0xe3, 0xe4]),
        group_channel_id: 9,
    };
    let fields = [
        "01020304",   // request_id U32
        "0a0b0c0d",   // channel_id U32
        UP_HEX,       // target U256
        "0102",       // extranonce_size U16
        "04e1e2e3e4", // extranonce_prefix B0_32
        "09000000",   // group_channel_id U32
    ];
    golden(&message, "000014330000", &fields);
}

#[test]
fn spec_5_3_6_open_mining_channel_error() {
    let message = OpenMiningChannelError { request_id: U32, error_code: text("wrong") };
    // request_id U32, error_code STR0_255
    golden(&message, "0000120a0000", &["01020304", WRONG_HEX]);
}

#[test]
fn spec_5_3_7_update_channel() {
    let message = UpdateChannel { channel_id: U32, nominal_hash_rate: F32, maximum_target: up() };
    // channel_id U32, nominal_hash_rate F32, maximum_target U256
    golden(&message, "008016280000", &["01020304", "0000c03f", UP_HEX]);
}

#[test]
fn spec_5_3_8_update_channel_error() {
    let message = UpdateChannelError { channel_id: U32, error_code: text("wrong") };
    // channel_id U32, error_code STR0_255
    golden(&message, "0080170a0000", &["01020304", WRONG_HEX]);
}

#[test]
fn spec_5_3_9_close_channel() {
    let message = CloseChannel { channel_id: U32, reason_code: text("wrong") };
    // channel_id U32, reason_code STR0_255
    golden(&message, "0080180a0000", &["01020304", WRONG_HEX]);
}

#[test]
fn spec_5_3_10_set_extranonce_prefix() {
    let extranonce_prefix = bytes32(&[0xe1, 0xe2, 0xe3, 0xe4]);
    let message = SetExtranoncePrefix { channel_id: U32, extranonce_prefix };
    // channel_id U32, extranonce_prefix B0_32
    golden(&message, "008019090000", &["01020304", "04e1e2e3e4"]);
}

#[test]
fn spec_5_3_11_submit_shares_standard() {
    let message = SubmitSharesStandard {
        channel_id: U32,
        sequence_number: 2,
        job_id: 3,
        nonce: 0xa1b2_c3d4,
        ntime: 0x6553_f100,
        version: 0x2000_0000,
    };
    // channel_id, sequence_number, job_id, nonce, ntime, version: all U32
    let fields = ["01020304", "02000000", "03000000", "d4c3b2a1", "00f15365", "00000020"];
    golden(&message, "00801a180000", &fields);
}

#[test]
fn spec_5_3_12_submit_shares_extended() {
    let message = SubmitSharesExtended {
        channel_id: U32,
        sequence_number: 2,
        job_id: 3,
        nonce: 0xa1b2_c3d4,
        ntime: 0x6553_f100,
        version: 0x2000_0000,
        extranonce: bytes32(&[1, 2, 3, 4, 5, 6, 7, 8]),
    };
    let fields = [
        "01020304",           // channel_id U32
        "02000000",           // sequence_number U32
        "03000000",           // job_id U32
        "d4c3b2a1",           // nonce U32
        "00f15365",           // ntime U32
        "00000020",           // version U32
        "080102030405060708", // extranonce B0_32
    ];
    golden(&message, "00801b210000", &fields);
}

#[test]
fn spec_5_3_13_submit_shares_success() {
    let message = SubmitSharesSuccess {
        channel_id: U32,
        last_sequence_number: 2,
        new_submits_accepted_count: 3,
        new_shares_sum: U64,
    };
    // channel_id U32, last_sequence_number U32, new_submits_accepted_count U32, new_shares_sum U64
    let fields = ["01020304", "02000000", "03000000", "0102030405060708"];
    golden(&message, "00801c140000", &fields);
}

#[test]
fn spec_5_3_14_submit_shares_error() {
    let message =
        SubmitSharesError { channel_id: U32, sequence_number: 2, error_code: text("wrong") };
    // channel_id U32, sequence_number U32, error_code STR0_255
    golden(&message, "00801d0e0000", &["01020304", "02000000", WRONG_HEX]);
}

#[test]
fn spec_5_3_15_new_mining_job() {
    let message = NewMiningJob {
        channel_id: U32,
        job_id: 2,
        min_ntime: Some(0x6553_f100),
        version: 0x2000_0000,
        merkle_root: up(),
    };
    // channel_id U32, job_id U32, min_ntime OPTION[U32], version U32, merkle_root U256
    let fields = ["01020304", "02000000", "0100f15365", "00000020", UP_HEX];
    golden(&message, "008015310000", &fields);
    let future = NewMiningJob { min_ntime: None, ..message };
    let fields = ["01020304", "02000000", "00", "00000020", UP_HEX];
    golden(&future, "0080152d0000", &fields);
}

#[test]
fn spec_5_3_16_new_extended_mining_job() {
    let message = NewExtendedMiningJob {
        channel_id: U32,
        job_id: 2,
        min_ntime: Some(0x6553_f100),
        version: 0x2000_0000,
        version_rolling_allowed: true,
        merkle_path: list(&[up(), A]),
        coinbase_tx_prefix: blob(&[0x0a, 0x0b, 0x0c]),
        coinbase_tx_suffix: blob(&[0x0d, 0x0e]),
    };
    let fields = [
        "01020304",   // channel_id U32
        "02000000",   // job_id U32
        "0100f15365", // min_ntime OPTION[U32]
        "00000020",   // version U32
        "01",         // version_rolling_allowed BOOL
        "02",         // merkle_path SEQ0_255[U256], deepest first
        UP_HEX,
        A_HEX,
        "03000a0b0c", // coinbase_tx_prefix B0_64K
        "02000d0e",   // coinbase_tx_suffix B0_64K
    ];
    golden(&message, "00801f5c0000", &fields);
}

#[test]
fn spec_5_3_17_set_new_prev_hash() {
    let message = SetNewPrevHash {
        channel_id: U32,
        job_id: 2,
        prev_hash: up(),
        min_ntime: 0x6553_f100,
        nbits: 0x1d00_ffff,
    };
    // channel_id U32, job_id U32, prev_hash U256, min_ntime U32, nbits U32
    let fields = ["01020304", "02000000", UP_HEX, "00f15365", "ffff001d"];
    golden(&message, "008020300000", &fields);
}

#[test]
fn spec_5_3_18_set_custom_mining_job() {
    let message = SetCustomMiningJob {
        channel_id: U32,
        request_id: 2,
        mining_job_token: blob(&[0xaa, 0xbb]),
        version: 0x2000_0000,
        prev_hash: up(),
        min_ntime: 0x6553_f100,
        nbits: 0x1d00_ffff,
        coinbase_tx_version: 3,
        coinbase_prefix: blob(&[0x03, 0x40, 0xe2, 0x01]),
        coinbase_tx_input_n_sequence: 0xffff_fffe,
        coinbase_tx_outputs: blob(&[0x0a, 0x0b, 0x0c]),
        coinbase_tx_locktime: 123_455,
        merkle_path: list(&[A]),
    };
    let fields = [
        "01020304",   // channel_id U32
        "02000000",   // request_id U32
        "02aabb",     // mining_job_token B0_255
        "00000020",   // version U32
        UP_HEX,       // prev_hash U256
        "00f15365",   // min_ntime U32
        "ffff001d",   // nbits U32
        "03000000",   // coinbase_tx_version U32
        "040340e201", // coinbase_prefix B0_255
        "feffffff",   // coinbase_tx_input_nSequence U32
        "03000a0b0c", // coinbase_tx_outputs B0_64K
        "3fe20100",   // coinbase_tx_locktime U32
        "01",         // merkle_path SEQ0_255[U256]
        A_HEX,
    ];
    golden(&message, "0080226e0000", &fields);
}

#[test]
fn spec_5_3_19_set_custom_mining_job_success() {
    let message = SetCustomMiningJobSuccess { channel_id: U32, request_id: 2, job_id: 3 };
    // channel_id U32, request_id U32, job_id U32
    golden(&message, "0080230c0000", &["01020304", "02000000", "03000000"]);
}

#[test]
fn spec_5_3_20_set_custom_mining_job_error() {
    let message =
        SetCustomMiningJobError { channel_id: U32, request_id: 2, error_code: text("wrong") };
    // channel_id U32, request_id U32, error_code STR0_255
    golden(&message, "0080240e0000", &["01020304", "02000000", WRONG_HEX]);
}

#[test]
fn spec_5_3_21_set_target() {
    let message = SetTarget { channel_id: U32, maximum_target: up() };
    // channel_id U32, maximum_target U256
    golden(&message, "008021240000", &["01020304", UP_HEX]);
}

#[test]
fn spec_5_3_22_set_group_channel() {
    let message = SetGroupChannel { group_channel_id: U32, channel_ids: list(&[2, U32]) };
    // group_channel_id U32, channel_ids SEQ0_64K[U32]
    golden(&message, "0000250e0000", &["01020304", "0200", "02000000", "01020304"]);
}
