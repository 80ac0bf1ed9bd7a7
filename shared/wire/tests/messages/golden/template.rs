//! Spec chapter 7.

use wire::sv2::template::{
    CoinbaseOutputConstraints, NewTemplate, RequestTransactionData, RequestTransactionDataError,
    RequestTransactionDataSuccess, SetNewPrevHash, SubmitSolution,
};

use super::{A, A_HEX, U16, U32, U64, UP_HEX, blob, golden, list, text, up};

#[test]
fn spec_7_1_coinbase_output_constraints() {
    let message = CoinbaseOutputConstraints {
        coinbase_output_max_additional_size: U32,
        coinbase_output_max_additional_sigops: U16,
    };
    // coinbase_output_max_additional_size U32, coinbase_output_max_additional_sigops U16
    golden(&message, "000070060000", &["01020304", "0102"]);
}

#[test]
fn spec_7_2_new_template() {
    let message = NewTemplate {
        template_id: U64,
        future_template: true,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: blob(&[0x03, 0x40, 0xe2, 0x01]),
        coinbase_tx_input_sequence: 0xffff_fffe,
        coinbase_tx_value_remaining: 5_000_000_000,
        coinbase_tx_outputs_count: 1,
        coinbase_tx_outputs: blob(&[0x0a, 0x0b, 0x0c]),
        coinbase_tx_locktime: 123_455,
        merkle_path: list(&[up(), A]),
    };
    let fields = [
        "0102030405060708", // template_id U64
        "01",               // future_template BOOL
        "00000020",         // version U32
        "02000000",         // coinbase_tx_version U32
        "040340e201",       // coinbase_prefix B0_255
        "feffffff",         // coinbase_tx_input_sequence U32
        "00f2052a01000000", // coinbase_tx_value_remaining U64
        "01000000",         // coinbase_tx_outputs_count U32
        "03000a0b0c",       // coinbase_tx_outputs B0_64K
        "3fe20100",         // coinbase_tx_locktime U32
        "02",               // merkle_path SEQ0_255[U256], deepest first
        UP_HEX,
        A_HEX,
    ];
    golden(&message, "000071700000", &fields);
}

#[test]
fn spec_7_3_set_new_prev_hash() {
    let message = SetNewPrevHash {
        template_id: U64,
        prev_hash: up(),
        header_timestamp: U32,
        n_bits: 0x1d00_ffff,
        target: A,
    };
    // template_id U64, prev_hash U256, header_timestamp U32, nBits U32, target U256
    let fields = ["0102030405060708", UP_HEX, "01020304", "ffff001d", A_HEX];
    golden(&message, "000072500000", &fields);
}

#[test]
fn spec_7_4_request_transaction_data() {
    // template_id U64
    let message = RequestTransactionData { template_id: U64 };
    golden(&message, "000073080000", &["0102030405060708"]);
}

#[test]
fn spec_7_5_request_transaction_data_success() {
    let message = RequestTransactionDataSuccess {
        template_id: U64,
        excess_data: blob(&[0xaa, 0xbb]),
        transaction_list: list(&[blob(&[0x11]), blob(&[0x22, 0x33])]),
    };
    let fields = [
        "0102030405060708", // template_id U64
        "0200aabb",         // excess_data B0_64K
        "0200",             // transaction_list SEQ0_64K[B0_16M]
        "01000011",
        "0200002233",
    ];
    golden(&message, "000074170000", &fields);
}

#[test]
fn spec_7_6_request_transaction_data_error() {
    let message = RequestTransactionDataError { template_id: U64, error_code: text("wrong") };
    // template_id U64, error_code STR0_255
    golden(&message, "0000750e0000", &["0102030405060708", "0577726f6e67"]);
}

#[test]
fn spec_7_7_submit_solution() {
    let message = SubmitSolution {
        template_id: U64,
        version: 0x2000_0000,
        header_timestamp: U32,
        header_nonce: 0xa1b2_c3d4,
        coinbase_tx: blob(&[0x0a, 0x0b, 0x0c]),
    };
    // template_id U64, version U32, header_timestamp U32, header_nonce U32, coinbase_tx B0_64K
    let fields = ["0102030405060708", "00000020", "01020304", "d4c3b2a1", "03000a0b0c"];
    golden(&message, "000076190000", &fields);
}
