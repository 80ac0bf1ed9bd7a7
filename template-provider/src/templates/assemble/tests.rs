//! Real blocks come out byte for byte, and what is no block is told apart.

use std::sync::Arc;

use bitcoin::hex::FromHex;

use super::*;
use crate::block_template::{BlockTemplate, Limits, Transaction};
use crate::templates::build::{Contents, build};
use crate::templates::samples::{none, offer, transaction};

/// The coinbase of mainnet block 170.
const COINBASE_170: &str = "0100000001000000000000000000000000000000000000000000000000000000000000\
    0000ffffffff0704ffff001d0102ffffffff0100f2052a01000000434104d46c4968bde02899d2aa0963367c7a6ce3\
    4eec332b32e42e5f3407e052d64ac625da6f0718e7b302140434bd725706957c092db53805b821a85b23a7ac61725b\
    ac00000000";
/// Its only other transaction: Satoshi's payment to Hal Finney.
const PAYMENT_170: &str = "0100000001c997a5e56e104102fa209c6a852dd90660a20b2d9c352423edce25857fcd37\
    04000000004847304402204e45e16932b8af514961a1d3a1a25fdf3f4f7732e9d624c6c61548ab5fb8cd4102201815\
    22ec8eca07de4860a4acdd12909d831cc56cbbac4622082221a8768d1d0901ffffffff0200ca9a3b00000000434104\
    ae1a62fe09c5f51b13905f07f06b99a2f7159b2225f374cd378d71302fa28414e7aab37397f554a7df5f142c21c1b7\
    303b8a0626f1baded5c72a704f7e6cd84cac00286bee0000000043410411db93e1dcdb8a016b49840f8c53bc1eb68a\
    382e97b1482ecad7b148a6909a5cb2e0eaddfb84ccf9744464f82e160bfa9b8b64f9d4c03f999b8643f656b412a3ac\
    00000000";

fn bytes(hex: &str) -> Bytes {
    Vec::from_hex(hex).unwrap().into()
}

/// A hash as explorers show it, in internal byte order.
fn hash(hex: &str) -> [u8; 32] {
    let mut hash = <[u8; 32]>::from_hex(hex).unwrap();
    hash.reverse();
    hash
}

/// What a node would have offered for mainnet block 170, before segwit.
fn offer_170() -> BlockTemplate {
    let txid = hash("f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16");
    let data = bytes(PAYMENT_170);
    let payment =
        Transaction { txid, wtxid: txid, fee: Some(0), sigops: Some(8), weight: 1100, data };
    BlockTemplate {
        prev_hash: hash("000000002a22cfee1f2c846adbd12b3e183d4f97683f85dad08a79780a84bd55"),
        height: 170,
        version: 1,
        nbits: 0x1d00_ffff,
        curtime: 1_231_731_025,
        mintime: 0,
        coinbase_value: 5_000_000_000,
        transactions: vec![Arc::new(payment)],
        limits: Limits { weight: 4_000_000, sigops: 80_000 },
        segwit: false,
        witness_commitment: None,
        given_outputs: Vec::new(),
        is_stopgap: false,
    }
}

fn solution_170() -> Solution {
    Solution {
        version: 1,
        header_timestamp: 1_231_731_025,
        header_nonce: 1_889_418_792,
        coinbase_tx: bytes(COINBASE_170),
    }
}

#[test]
fn mainnet_block_170_is_put_together_as_it_stands_in_the_chain() {
    let template = build(&offer_170(), &none()).unwrap();
    assert_eq!(template.coinbase_outputs_count, 0, "segwit was not in force");
    let block = assemble(&template, &solution_170()).unwrap();
    let known = "00000000d1145790a8694403d4063f323d499e655c83426834d4ce2f8dd4a2ee";
    assert_eq!(block.hash, hash(known));
    let read: bitcoin::Block = deserialize(&block.bytes).unwrap();
    assert_eq!(read.block_hash().to_string(), known);
    assert!(read.check_merkle_root());
    assert_eq!(read.txdata.len(), 2);
    assert_eq!(serialize(&read), block.bytes);
}

#[test]
fn another_nonce_is_no_block() {
    let template = build(&offer_170(), &none()).unwrap();
    let wrong = Solution { header_nonce: 1, ..solution_170() };
    assert!(matches!(assemble(&template, &wrong), Err(NotABlock::AboveTarget(_))));
}

/// The coinbase that a client of TDP makes: its own output first, then the template's.
fn coinbase(template: &Contents, witness: Option<[u8; 32]>) -> bitcoin::Transaction {
    let mut script = template.coinbase_prefix.to_vec();
    script.extend([4, 1, 2, 3, 4]);
    let mut outputs = vec![1 + u8::try_from(template.coinbase_outputs_count).unwrap()];
    outputs.extend(template.value_remaining.to_le_bytes());
    outputs.extend([1, 0x51]);
    outputs.extend(&template.coinbase_outputs[..]);
    bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::from_consensus(template.height - 1),
        input: vec![bitcoin::TxIn {
            previous_output: bitcoin::OutPoint::null(),
            script_sig: script.into(),
            sequence: bitcoin::Sequence(super::super::coinbase::COINBASE_SEQUENCE),
            witness: witness
                .map_or_else(Default::default, |value| bitcoin::Witness::from_slice(&[value])),
        }],
        output: deserialize(&outputs).unwrap(),
    }
}

/// Searches a nonce; on regtest every second hash is a block.
fn mine(template: &Contents, coinbase: &bitcoin::Transaction, version: u32) -> Solution {
    let coinbase_tx = Bytes::from(serialize(coinbase));
    let candidate = |header_nonce| Solution {
        version,
        header_timestamp: 1_700_000_000,
        header_nonce,
        coinbase_tx: coinbase_tx.clone(),
    };
    let is_block = |solution: &Solution| {
        !matches!(assemble(template, solution), Err(NotABlock::AboveTarget(_)))
    };
    (0..10_000).map(candidate).find(is_block).unwrap()
}

fn template() -> Contents {
    let parent = transaction(1, &[], 500, 400, 0);
    let child = transaction(2, &[&parent], 700, 400, 0);
    build(&offer(&[parent, child]), &none()).unwrap()
}

#[test]
fn a_segwit_block_has_the_right_root_and_commitment() {
    let template = template();
    assert_eq!(template.value_remaining, 2_500_001_200);
    let coinbase = coinbase(&template, Some([0; 32]));
    let block = assemble(&template, &mine(&template, &coinbase, 0x2000_0000)).unwrap();
    let read: bitcoin::Block = deserialize(&block.bytes).unwrap();
    assert!(read.check_merkle_root());
    assert!(read.check_witness_commitment());
    assert_eq!(read.bip34_block_height(), Ok(200));
    assert_eq!(read.txdata[0], coinbase);
}

#[test]
fn a_witness_that_is_missing_is_added() {
    let template = template();
    let bare = coinbase(&template, None);
    let block = assemble(&template, &mine(&template, &bare, 0x2000_0000)).unwrap();
    let read: bitcoin::Block = deserialize(&block.bytes).unwrap();
    assert!(read.check_witness_commitment());
    assert_eq!(read.txdata[0], coinbase(&template, Some([0; 32])));
}

#[test]
fn a_witness_that_does_not_fit_the_commitment_is_replaced() {
    let template = template();
    let wrong = coinbase(&template, Some([1; 32]));
    let block = assemble(&template, &mine(&template, &wrong, 0x2000_0000)).unwrap();
    let read: bitcoin::Block = deserialize(&block.bytes).unwrap();
    assert!(read.check_witness_commitment());
}

#[test]
fn a_client_with_a_commitment_of_its_own_keeps_its_witness() {
    let template = template();
    let mut own = coinbase(&template, Some([1; 32]));
    own.output.push(own.output[0].clone());
    let block = assemble(&template, &mine(&template, &own, 0x2000_0000)).unwrap();
    let read: bitcoin::Block = deserialize(&block.bytes).unwrap();
    assert_eq!(read.txdata[0], own);
}

#[test]
fn a_witness_is_taken_out_where_the_chain_has_none() {
    let template = build(&offer_170(), &none()).unwrap();
    let mut coinbase: bitcoin::Transaction = deserialize(&bytes(COINBASE_170)).unwrap();
    coinbase.input[0].witness = bitcoin::Witness::from_slice(&[[0; 32]]);
    let coinbase_tx = serialize(&coinbase).into();
    let with_witness = assemble(&template, &Solution { coinbase_tx, ..solution_170() });
    assert_eq!(with_witness, assemble(&template, &solution_170()));
}

#[test]
fn a_block_with_foreign_version_bits_is_one_for_the_nodes_to_judge() {
    let template = template();
    let coinbase = coinbase(&template, None);
    for version in [0x2000_0000 | BIP323_MASK, 0x6000_0000, 0x2000_0001] {
        let block = assemble(&template, &mine(&template, &coinbase, version)).unwrap();
        assert_eq!(block.bytes[..4], version.to_le_bytes());
    }
}

#[test]
fn what_is_no_coinbase_is_told() {
    let template = template();
    let with = |coinbase_tx: Bytes| {
        assemble(&template, &Solution { version: 0x2000_0000, coinbase_tx, ..solution_170() })
    };
    assert!(matches!(with(Bytes::new()), Err(NotABlock::Coinbase(_))));
    assert!(matches!(with(bytes(PAYMENT_170)), Err(NotABlock::Coinbase(_))));
    let mut longer = bytes(COINBASE_170).to_vec();
    longer.push(0);
    assert!(matches!(with(longer.into()), Err(NotABlock::Coinbase(_))));
}

#[test]
fn a_commitment_of_the_node_that_does_not_fit_is_refused() {
    let good = template();
    let commitment = good.coinbase_outputs.slice(9..);
    let parent = transaction(1, &[], 500, 400, 0);
    let child = transaction(2, &[&parent], 700, 400, 0);
    let told = BlockTemplate { witness_commitment: Some(commitment), ..offer(&[parent, child]) };
    assert_eq!(build(&told, &none()), Ok(good));
    let wrong = BlockTemplate { transactions: vec![], ..told };
    assert_eq!(build(&wrong, &none()), Err(crate::templates::build::BuildError::Commitment));
}
