//! getblocktemplate's answer, read tolerantly and checked once.
//!
//! Nodes differ: keys are missing, null, or new. What is not needed is not read; what is needed and
//! wrong is refused with its name. Hashes come in display order and leave in internal byte order.

use std::collections::HashMap;
use std::sync::Arc;

use bitcoin::hex::FromHex;
use bytes::Bytes;
use serde::Deserialize;

use crate::block_template::{BlockTemplate, Limits, SIGOPS_LIMIT, Transaction, WEIGHT_LIMIT};

/// Rules that change how a template must be used (BIP9 prefixes those with `!`) and are understood.
const RULES_UNDERSTOOD: [&str; 2] = ["segwit", "signet"];
/// The one signet challenge that takes no signature: OP_TRUE.
const OPEN_SIGNET: &str = "51";

/// Why an answer cannot be mined on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnusableTemplate {
    /// A value that is no such thing.
    #[error("its {0} cannot be read")]
    Unreadable(&'static str),
    /// The node does not say what the coinbase may spend.
    #[error("it has no coinbasevalue: nodes that give a whole coinbasetxn are not supported yet")]
    NoCoinbaseValue,
    /// A rule that must be understood and is not.
    #[error("it follows the rule {0}, which this version does not know; update template-provider")]
    UnknownRule(String),
    /// Blocks of this signet are signed, which cannot be done after the miner's hash.
    #[error("blocks of this signet must be signed, which mining through Stratum cannot do")]
    SignedSignet,
}

/// The answer as it is on the wire.
#[derive(Debug, Deserialize)]
pub struct Answer {
    version: i64,
    previousblockhash: String,
    bits: String,
    height: u32,
    curtime: u32,
    mintime: Option<u32>,
    coinbasevalue: Option<u64>,
    transactions: Option<Vec<AnsweredTransaction>>,
    sigoplimit: Option<u64>,
    weightlimit: Option<u64>,
    rules: Option<Vec<String>>,
    default_witness_commitment: Option<String>,
    signet_challenge: Option<String>,
    /// Names the state that a long poll waits to see changed.
    pub longpollid: Option<String>,
}

#[derive(Debug, Deserialize)]
struct AnsweredTransaction {
    data: String,
    txid: Option<String>,
    hash: String,
    fee: Option<i64>,
    sigops: Option<u64>,
    weight: Option<u64>,
}

/// Reads answers, and shares what two answers in a row have in common: a mempool's transactions
/// stay for many templates, and old templates are kept.
#[derive(Debug, Default)]
pub struct Reader {
    /// The last answer's transactions by wtxid, as the node printed it.
    known: HashMap<String, Arc<Transaction>>,
}

impl Reader {
    /// Parses and checks an answer.
    pub fn read(&mut self, answer: Answer) -> Result<BlockTemplate, UnusableTemplate> {
        check_rules(&answer)?;
        let segwit = answer.default_witness_commitment.is_some()
            || answer.rules.iter().flatten().any(|rule| rule.trim_start_matches('!') == "segwit");
        let commitment = answer.default_witness_commitment.as_deref();
        let template = BlockTemplate {
            prev_hash: hash(&answer.previousblockhash, "previousblockhash")?,
            height: answer.height,
            version: header_version(answer.version)?,
            nbits: u32::from_str_radix(&answer.bits, 16)
                .map_err(|_| UnusableTemplate::Unreadable("bits"))?,
            curtime: answer.curtime,
            mintime: answer.mintime.unwrap_or(0),
            coinbase_value: answer.coinbasevalue.ok_or(UnusableTemplate::NoCoinbaseValue)?,
            limits: Limits {
                weight: answer.weightlimit.unwrap_or(WEIGHT_LIMIT),
                sigops: answer.sigoplimit.unwrap_or(SIGOPS_LIMIT),
            },
            segwit,
            witness_commitment: commitment
                .map(|script| bytes(script, "default_witness_commitment"))
                .transpose()?,
            transactions: self.transactions(answer.transactions.unwrap_or_default())?,
            given_outputs: Vec::new(),
            is_stopgap: false,
        };
        Ok(template)
    }

    fn transactions(
        &mut self,
        answered: Vec<AnsweredTransaction>,
    ) -> Result<Vec<Arc<Transaction>>, UnusableTemplate> {
        let mut known = HashMap::with_capacity(answered.len());
        let mut transactions = Vec::with_capacity(answered.len());
        for answered in answered {
            let before = self.known.remove(&answered.hash);
            // The fee may differ (prioritised for mining), the bytes cannot.
            let same = before.filter(|before| before.fee == fee(&answered));
            let transaction = match same {
                Some(before) => before,
                None => Arc::new(transaction(&answered)?),
            };
            known.insert(answered.hash, Arc::clone(&transaction));
            transactions.push(transaction);
        }
        self.known = known;
        Ok(transactions)
    }
}

fn check_rules(answer: &Answer) -> Result<(), UnusableTemplate> {
    let required = answer.rules.iter().flatten().filter_map(|rule| rule.strip_prefix('!'));
    for rule in required {
        if !RULES_UNDERSTOOD.contains(&rule) {
            return Err(UnusableTemplate::UnknownRule(rule.to_owned()));
        }
    }
    match answer.signet_challenge.as_deref() {
        None | Some("" | OPEN_SIGNET) => Ok(()),
        Some(_) => Err(UnusableTemplate::SignedSignet),
    }
}

/// nVersion is a signed number in JSON and four bytes in the header.
fn header_version(version: i64) -> Result<u32, UnusableTemplate> {
    let unreadable = UnusableTemplate::Unreadable("version");
    match i32::try_from(version) {
        Ok(signed) => Ok(u32::from_le_bytes(signed.to_le_bytes())),
        Err(_) => u32::try_from(version).map_err(|_| unreadable),
    }
}

fn transaction(answered: &AnsweredTransaction) -> Result<Transaction, UnusableTemplate> {
    let data = bytes(&answered.data, "transaction data")?;
    // Before BIP145 `hash` was all there was.
    let txid = answered.txid.as_deref().unwrap_or(&answered.hash);
    // Where the weight is not said, the most that these bytes can weigh.
    let heaviest = u64::try_from(data.len()).unwrap_or(u64::MAX).saturating_mul(4);
    Ok(Transaction {
        txid: hash(txid, "txid")?,
        wtxid: hash(&answered.hash, "transaction hash")?,
        fee: fee(answered),
        sigops: answered.sigops,
        weight: answered.weight.unwrap_or(heaviest),
        data,
    })
}

fn fee(answered: &AnsweredTransaction) -> Option<u64> {
    answered.fee.and_then(|fee| u64::try_from(fee).ok())
}

fn bytes(hex: &str, name: &'static str) -> Result<Bytes, UnusableTemplate> {
    let bytes = Vec::<u8>::from_hex(hex);
    bytes.map(Bytes::from).map_err(|_| UnusableTemplate::Unreadable(name))
}

/// Display order to internal byte order.
pub fn hash(hex: &str, name: &'static str) -> Result<[u8; 32], UnusableTemplate> {
    let mut bytes = <[u8; 32]>::from_hex(hex).map_err(|_| UnusableTemplate::Unreadable(name))?;
    bytes.reverse();
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// As small as bitcoind makes them on regtest.
    fn answer() -> Value {
        json!({
            "capabilities": ["proposal"],
            "version": 536_870_912,
            "rules": ["csv", "!segwit", "taproot"],
            "previousblockhash": format!("0f{}", "00".repeat(31)),
            "transactions": [],
            "coinbaseaux": {},
            "coinbasevalue": 5_000_000_000_u64,
            "longpollid": "0f1",
            "target": "7fffff",
            "mintime": 1_700_000_001,
            "sigoplimit": 80_000,
            "weightlimit": 4_000_000,
            "curtime": 1_700_000_000,
            "bits": "207fffff",
            "height": 1,
            "default_witness_commitment": "6a24aa21a9ed",
        })
    }

    fn read(answer: Value) -> Result<BlockTemplate, UnusableTemplate> {
        Reader::default().read(serde_json::from_value(answer).unwrap())
    }

    fn with(key: &str, value: Value) -> Value {
        let mut answer = answer();
        answer[key] = value;
        answer
    }

    fn transaction(hash: u8, fee: &Value) -> Value {
        json!({
            "data": "0102", "txid": "aa".repeat(32), "hash": format!("{hash:02x}").repeat(32),
            "fee": fee, "depends": [], "sigops": null, "weight": null,
        })
    }

    #[test]
    fn hashes_are_turned_into_internal_byte_order() {
        let template = read(answer()).unwrap();
        assert_eq!(template.prev_hash[31], 0x0f);
        assert_eq!(template.prev_hash[0], 0);
    }

    #[test]
    fn the_header_starts_no_earlier_than_consensus_allows() {
        assert_eq!(read(answer()).unwrap().header_timestamp(), 1_700_000_001);
    }

    #[test]
    fn nulls_and_missing_keys_mean_the_limits_of_bip141() {
        let mut answer = with("sigoplimit", Value::Null);
        let keys = answer.as_object_mut().unwrap();
        for key in ["weightlimit", "mintime", "longpollid", "rules"] {
            keys.remove(key);
        }
        keys.insert("signet_challenge".into(), Value::Null);
        keys.insert("default_witness_commitment".into(), Value::Null);
        let template = read(answer).unwrap();
        assert_eq!(template.limits, Limits { weight: 4_000_000, sigops: 80_000 });
        assert_eq!(template.mintime, 0);
        assert!(!template.segwit);
    }

    #[test]
    fn a_version_with_its_highest_bit_set_is_negative_in_json() {
        assert_eq!(read(with("version", json!(-2))).unwrap().version, 0xffff_fffe);
        assert_eq!(read(with("version", json!(0x3fff_e000))).unwrap().version, 0x3fff_e000);
    }

    #[test]
    fn a_rule_that_must_be_understood_and_is_not_is_refused() {
        let error = read(with("rules", json!(["csv", "!fork"]))).unwrap_err();
        assert_eq!(error, UnusableTemplate::UnknownRule("fork".into()));
        assert!(read(with("rules", json!(["fork", "!segwit", "!signet"]))).is_ok());
    }

    #[test]
    fn only_a_signet_that_needs_no_signature_is_mined() {
        assert!(read(with("signet_challenge", json!("51"))).is_ok());
        let error = read(with("signet_challenge", json!("0014ab"))).unwrap_err();
        assert_eq!(error, UnusableTemplate::SignedSignet);
    }

    #[test]
    fn a_template_without_coinbasevalue_is_refused() {
        let error = read(with("coinbasevalue", Value::Null)).unwrap_err();
        assert_eq!(error, UnusableTemplate::NoCoinbaseValue);
    }

    #[test]
    fn what_the_node_does_not_say_of_a_transaction_stays_unknown() {
        let template = read(with("transactions", json!([transaction(1, &Value::Null)]))).unwrap();
        let transaction = &template.transactions[0];
        assert_eq!((transaction.fee, transaction.sigops), (None, None));
        assert_eq!(transaction.weight, 8);
    }

    #[test]
    fn two_answers_share_the_transactions_that_they_have_in_common() {
        let mut reader = Reader::default();
        let mut read = |transactions: Value| {
            let answer = serde_json::from_value(with("transactions", transactions)).unwrap();
            reader.read(answer).unwrap().transactions
        };
        let first = read(json!([transaction(1, &json!(5)), transaction(2, &json!(6))]));
        let second = read(json!([transaction(2, &json!(6)), transaction(1, &json!(7))]));
        assert!(Arc::ptr_eq(&first[1], &second[0]));
        assert_eq!(second[1].fee, Some(7), "its fee was raised by prioritisetransaction");
    }
}
