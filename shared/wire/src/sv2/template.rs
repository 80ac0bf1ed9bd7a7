//! The messages of the Template Distribution Protocol (spec chapter 7).
//!
//! None of them belongs to a channel. Hashes are in internal byte order, as in a block header.

use super::codec::{Blob, List, Str255};
use super::message::messages;

/// `RequestTransactionData.Error`: the template is no longer kept.
pub const ERROR_STALE_TEMPLATE_ID: &str = "stale-template-id";
/// `RequestTransactionData.Error`: no such template was sent.
pub const ERROR_TEMPLATE_ID_NOT_FOUND: &str = "template-id-not-found";

messages! {
    /// Any message of the Template Distribution Protocol.
    enum TemplateDistribution, extension: 0;

    /// How much room the client's coinbase outputs need (spec 7.1); the client's first message.
    CoinbaseOutputConstraints = 0x70, channel_msg: false, "CoinbaseOutputConstraints" {
        /// Serialised bytes of the outputs that the client will add.
        coinbase_output_max_additional_size: u32,
        /// Signature operations of those outputs.
        coinbase_output_max_additional_sigops: u16,
    }

    /// A block template (spec 7.2).
    NewTemplate = 0x71, channel_msg: false, "NewTemplate" {
        /// Strictly increasing.
        template_id: u64,
        /// True: for a coming `SetNewPrevHash`. False: for the last one sent.
        future_template: bool,
        /// Header version; the BIP323 bits are the miner's.
        version: u32,
        /// nVersion of the coinbase.
        coinbase_tx_version: u32,
        /// Up to 8 bytes with which the scriptSig starts (BIP34 height).
        coinbase_prefix: Blob<255>,
        /// nSequence of the coinbase input.
        coinbase_tx_input_sequence: u32,
        /// Satoshis left for the client's outputs.
        coinbase_tx_value_remaining: u64,
        /// Number of outputs in `coinbase_tx_outputs`.
        coinbase_tx_outputs_count: u32,
        /// Consensus-serialised outputs, without a count, to be the last ones.
        coinbase_tx_outputs: Blob<65_535>,
        /// nLockTime of the coinbase.
        coinbase_tx_locktime: u32,
        /// Merkle path of the coinbase, deepest first.
        merkle_path: List<[u8; 32], 255>,
    }

    /// The tip changed: mine on the named future template (spec 7.3).
    SetNewPrevHash = 0x72, channel_msg: false, "SetNewPrevHash" {
        /// The future template to use.
        template_id: u64,
        /// Hash of the tip.
        prev_hash: [u8; 32],
        /// Where nTime starts; not a minimum.
        header_timestamp: u32,
        /// nBits of the header.
        n_bits: u32,
        /// The highest hash that makes a block, little-endian.
        target: [u8; 32],
    }

    /// The client wants the transactions of a template (spec 7.4).
    RequestTransactionData = 0x73, channel_msg: false, "RequestTransactionData" {
        /// The template.
        template_id: u64,
    }

    /// All transactions of a template but the coinbase (spec 7.5).
    RequestTransactionDataSuccess = 0x74, channel_msg: false, "RequestTransactionData.Success" {
        /// The template.
        template_id: u64,
        /// Opaque; the witness reserved value.
        excess_data: Blob<65_535>,
        /// Serialised transactions in block order.
        transaction_list: List<Blob<16_777_215>, 65_535>,
    }

    /// Why there is no transaction data (spec 7.6).
    RequestTransactionDataError = 0x75, channel_msg: false, "RequestTransactionData.Error" {
        /// The template.
        template_id: u64,
        /// The cause.
        error_code: Str255,
    }

    /// A header that makes a block (spec 7.7).
    SubmitSolution = 0x76, channel_msg: false, "SubmitSolution" {
        /// The template that was mined.
        template_id: u64,
        /// Header version.
        version: u32,
        /// Header nTime.
        header_timestamp: u32,
        /// Header nonce.
        header_nonce: u32,
        /// The whole coinbase transaction, with its witness.
        coinbase_tx: Blob<65_535>,
    }
}
