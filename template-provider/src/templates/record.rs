//! Templates as bytes, so that a block can still be put together by the next run of the program.
//!
//! A line of JSON, the transactions one after the other, and a checksum of it all: a record that
//! was cut short or changed is told apart. Pure: where the bytes are kept is not known here. They
//! hold parcels, and so secrets.

use std::sync::Arc;

use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash;
use bitcoin::hex::{DisplayHex, FromHex};
use bytes::Bytes;
use mining::hash::double_sha256;
use serde::{Deserialize, Serialize};

use super::build::Contents;
use crate::block_template::Transaction;
use crate::extension::Parcel;

/// Of the layout below. A record of another version is not read: it is of no use for longer than
/// minutes.
const VERSION: u32 = 1;
const CHECKSUM_BYTES: usize = 32;

/// Why a record is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotARecord {
    /// Cut short or changed.
    #[error("its checksum is wrong")]
    Checksum,
    /// Written by another version of the program, or something else.
    #[error("it cannot be read: {0}")]
    Malformed(String),
}

/// What stands before the transactions. Bytes are hex, hashes in internal byte order.
#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    prev_hash: String,
    height: u32,
    block_version: u32,
    nbits: u32,
    coinbase_prefix: String,
    coinbase_outputs: String,
    coinbase_outputs_count: u32,
    value_remaining: u64,
    merkle_path: Vec<String>,
    segwit: bool,
    fees: u64,
    parcels: Vec<Parcel>,
    /// Bytes of each transaction.
    transactions: Vec<usize>,
}

/// All that is needed to put a block together.
pub fn encode(contents: &Contents) -> Result<Vec<u8>, NotARecord> {
    let path = contents.merkle_path.iter().map(|hash| hash.to_lower_hex_string());
    let head = Head {
        version: VERSION,
        prev_hash: contents.prev_hash.to_lower_hex_string(),
        height: contents.height,
        block_version: contents.version,
        nbits: contents.nbits,
        coinbase_prefix: contents.coinbase_prefix.to_lower_hex_string(),
        coinbase_outputs: contents.coinbase_outputs.to_lower_hex_string(),
        coinbase_outputs_count: contents.coinbase_outputs_count,
        value_remaining: contents.value_remaining,
        merkle_path: path.collect(),
        segwit: contents.segwit,
        fees: contents.fees,
        parcels: contents.parcels.clone(),
        transactions: contents.transactions.iter().map(|one| one.data.len()).collect(),
    };
    let mut record = serde_json::to_vec(&head).map_err(malformed)?;
    record.push(b'\n');
    for transaction in &contents.transactions {
        record.extend_from_slice(&transaction.data);
    }
    let checksum = double_sha256(&record);
    record.extend_from_slice(&checksum);
    Ok(record)
}

/// The template of a record. What blocks do not need is lost: fees, sigops and weights of the
/// transactions.
pub fn decode(record: &[u8]) -> Result<Contents, NotARecord> {
    let (body, checksum) =
        record.split_last_chunk::<CHECKSUM_BYTES>().ok_or(NotARecord::Checksum)?;
    if double_sha256(body) != *checksum {
        return Err(NotARecord::Checksum);
    }
    let end = body.iter().position(|byte| *byte == b'\n').unwrap_or(body.len());
    let (head, data) = body.split_at_checked(end + 1).ok_or_else(|| malformed("no head"))?;
    let head: Head = serde_json::from_slice(head).map_err(malformed)?;
    if head.version != VERSION {
        return Err(malformed(format_args!("it is of version {}", head.version)));
    }
    let path = head.merkle_path.iter().map(|hash| hash_of(hash));
    Ok(Contents {
        prev_hash: hash_of(&head.prev_hash)?,
        height: head.height,
        version: head.block_version,
        nbits: head.nbits,
        coinbase_prefix: bytes_of(&head.coinbase_prefix)?,
        coinbase_outputs: bytes_of(&head.coinbase_outputs)?,
        coinbase_outputs_count: head.coinbase_outputs_count,
        value_remaining: head.value_remaining,
        merkle_path: path.collect::<Result<_, _>>()?,
        transactions: transactions_of(Bytes::copy_from_slice(data), &head.transactions)?,
        segwit: head.segwit,
        fees: head.fees,
        parcels: head.parcels,
    })
}

fn transactions_of(
    mut data: Bytes,
    lengths: &[usize],
) -> Result<Vec<Arc<Transaction>>, NotARecord> {
    let mut transactions = Vec::new();
    for length in lengths {
        if *length > data.len() {
            return Err(malformed("fewer transactions than it says"));
        }
        let data = data.split_to(*length);
        let read: bitcoin::Transaction = deserialize(&data).map_err(malformed)?;
        transactions.push(Arc::new(Transaction {
            txid: read.compute_txid().to_byte_array(),
            wtxid: read.compute_wtxid().to_byte_array(),
            fee: None,
            sigops: None,
            weight: read.weight().to_wu(),
            data,
        }));
    }
    match data.is_empty() {
        true => Ok(transactions),
        false => Err(malformed("more transactions than it says")),
    }
}

fn bytes_of(hex: &str) -> Result<Bytes, NotARecord> {
    Vec::from_hex(hex).map(Bytes::from).map_err(malformed)
}

fn hash_of(hex: &str) -> Result<[u8; 32], NotARecord> {
    <[u8; 32]>::from_hex(hex).map_err(malformed)
}

#[expect(clippy::needless_pass_by_value, reason = "it maps errors")]
fn malformed(reason: impl ToString) -> NotARecord {
    NotARecord::Malformed(reason.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::templates::build::build;
    use crate::templates::samples::{none, offer, transaction};

    fn contents() -> Contents {
        let parent = transaction(1, &[], 500, 400, 0);
        let child = transaction(2, &[&parent], 700, 400, 0);
        let key = "0a".to_owned();
        let parcel = Parcel { extension: "shielded".into(), key, body: json!([1, 2]) };
        Contents { parcels: vec![parcel], ..build(&offer(&[parent, child]), &none()).unwrap() }
    }

    #[test]
    fn a_template_comes_back_with_all_that_a_block_needs() {
        let contents = contents();
        let read = decode(&encode(&contents).unwrap()).unwrap();
        let data = |contents: &Contents| {
            let all = contents.transactions.iter();
            all.map(|one| (one.data.clone(), one.txid, one.wtxid)).collect::<Vec<_>>()
        };
        assert_eq!(data(&read), data(&contents));
        assert_eq!(Contents { transactions: contents.transactions.clone(), ..read }, contents);
    }

    #[test]
    fn a_record_that_was_torn_or_changed_is_no_template() {
        let record = encode(&contents()).unwrap();
        for length in [0, 1, 31, 32, record.len() / 2, record.len() - 1] {
            assert_eq!(decode(&record[..length]), Err(NotARecord::Checksum), "{length}");
        }
        for position in [0, record.len() / 2, record.len() - 1] {
            let mut changed = record.clone();
            changed[position] ^= 1;
            assert_eq!(decode(&changed), Err(NotARecord::Checksum), "{position}");
        }
    }

    #[test]
    fn a_record_of_another_version_is_told() {
        let mut body = encode(&contents()).unwrap();
        body.truncate(body.len() - CHECKSUM_BYTES);
        let text = String::from_utf8_lossy(&body[..12]).into_owned();
        assert!(text.starts_with("{\"version\":1"), "{text}");
        body[11] = b'2';
        let checksum = double_sha256(&body);
        body.extend_from_slice(&checksum);
        assert_eq!(decode(&body), Err(malformed("it is of version 2")));
    }
}
