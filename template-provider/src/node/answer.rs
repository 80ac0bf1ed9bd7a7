//! getblocktemplate's answer, read tolerantly and checked once.
//!
//! Nodes differ: keys are missing, null, or new. What is not needed is not read; what is needed and
//! wrong is refused with its name. Hashes come in display order and leave in internal byte order.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bitcoin::hex::FromHex;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use tracing::warn;

use super::coinbasetxn::{Expected, GivenCoinbase, UnusableCoinbase};
use crate::block_template::{
    BlockTemplate, Limits, Output, SIGOPS_LIMIT, Transaction, WEIGHT_LIMIT,
};

/// Rules that change how a template must be used (BIP9 prefixes those with `!`) and are understood.
const RULES_UNDERSTOOD: [&str; 2] = ["segwit", "signet"];
/// The one signet challenge that takes no signature: OP_TRUE.
const OPEN_SIGNET: &str = "51";

/// Bits of nVersion that miners change (BIP320).
const ROLLED_BITS: u32 = 0x1fff_e000;

/// Why an answer cannot be mined on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnusableTemplate {
    /// A value that is no such thing.
    #[error("its {0} cannot be read")]
    Unreadable(&'static str),
    /// The node does not say what the coinbase may spend.
    #[error("it has neither coinbasevalue nor coinbasetxn")]
    NoCoinbaseValue,
    /// The node's own coinbase cannot be used.
    #[error(transparent)]
    Coinbase(#[from] UnusableCoinbase),
    /// Bits of the version that must stay, and that miners roll.
    #[error("it requires the version bits {0:#010x}, which miners change (BIP320)")]
    RequiredBits(u32),
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
    vbrequired: Option<u32>,
    coinbasevalue: Option<u64>,
    coinbasetxn: Option<AnsweredCoinbase>,
    coinbaseaux: Option<BTreeMap<String, Value>>,
    transactions: Option<Vec<AnsweredTransaction>>,
    sigoplimit: Option<u64>,
    weightlimit: Option<u64>,
    rules: Option<Vec<String>>,
    default_witness_commitment: Option<String>,
    signet_challenge: Option<String>,
    /// Names the state that a long poll waits to see changed.
    pub longpollid: Option<String>,
    /// What whoever asked knows of the coinbases of who answered.
    #[serde(skip)]
    pub expected: Expected,
}

impl Answer {
    /// True if what the coinbase may spend can only be told from the subsidy.
    pub fn needs_subsidy(&self) -> bool {
        self.coinbasetxn.is_some() && self.coinbasevalue.is_none()
    }
}

#[derive(Debug, Deserialize)]
struct AnsweredCoinbase {
    data: String,
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
    /// The last answer's wishes for the scriptSig, in hex.
    wishes: String,
}

impl Reader {
    /// Parses and checks an answer.
    pub fn read(&mut self, mut answer: Answer) -> Result<BlockTemplate, UnusableTemplate> {
        check_rules(&answer)?;
        self.tell_wishes(&answer);
        let answered = answer.transactions.take().unwrap_or_default();
        let transactions = self.transactions(answered)?;
        let coinbase = coinbase(&answer, &transactions)?;
        let commitment = answer.default_witness_commitment.as_deref();
        let segwit = commitment.is_some()
            || coinbase.commits_to_witnesses
            || answer.rules.iter().flatten().any(|rule| rule.trim_start_matches('!') == "segwit")
            || transactions.iter().any(|transaction| transaction.txid != transaction.wtxid);
        Ok(BlockTemplate {
            prev_hash: hash(&answer.previousblockhash, "previousblockhash")?,
            height: answer.height,
            version: header_version(answer.version, answer.vbrequired)?,
            nbits: u32::from_str_radix(&answer.bits, 16)
                .map_err(|_| UnusableTemplate::Unreadable("bits"))?,
            curtime: answer.curtime,
            mintime: answer.mintime.unwrap_or(0),
            coinbase_value: coinbase.value,
            limits: Limits {
                weight: answer.weightlimit.unwrap_or(WEIGHT_LIMIT),
                sigops: answer.sigoplimit.unwrap_or(SIGOPS_LIMIT),
            },
            segwit,
            witness_commitment: commitment
                .map(|script| bytes(script, "default_witness_commitment"))
                .transpose()?,
            transactions,
            given_outputs: coinbase.outputs,
            is_stopgap: false,
        })
    }

    /// BIP22 asks for the values of coinbaseaux in the scriptSig, and no chain requires it. The
    /// start of the scriptSig that a template can give has 8 bytes, most of which the height takes:
    /// they are left out, and that is said.
    fn tell_wishes(&mut self, answer: &Answer) {
        let values = answer.coinbaseaux.iter().flatten().filter_map(|(_, value)| value.as_str());
        let wishes: String = values.collect();
        if wishes != self.wishes && !wishes.is_empty() {
            warn!(coinbaseaux = %wishes, "node's wishes for the scriptSig left out");
        }
        self.wishes = wishes;
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

/// What an answer says of the coinbase.
struct AboutCoinbase {
    value: u64,
    outputs: Vec<Output>,
    commits_to_witnesses: bool,
}

fn coinbase(
    answer: &Answer,
    transactions: &[Arc<Transaction>],
) -> Result<AboutCoinbase, UnusableTemplate> {
    let Some(given) = &answer.coinbasetxn else {
        let value = answer.coinbasevalue.ok_or(UnusableTemplate::NoCoinbaseValue)?;
        return Ok(AboutCoinbase { value, outputs: Vec::new(), commits_to_witnesses: false });
    };
    let Expected { recipient, schedule } = &answer.expected;
    let raw = bytes(&given.data, "coinbasetxn")?;
    let given = GivenCoinbase::read(&raw, recipient.as_deref())?;
    let subsidy = schedule.map(|schedule| schedule.subsidy(answer.height));
    let fees =
        transactions.iter().try_fold(0_u64, |sum, transaction| sum.checked_add(transaction.fee?));
    Ok(AboutCoinbase {
        value: given.value(answer.coinbasevalue, subsidy, fees)?,
        outputs: given.outputs,
        commits_to_witnesses: given.commits_to_witnesses,
    })
}

/// nVersion is a signed number in JSON and four bytes in the header. `required` bits stay set
/// (BIP9); miners change those of BIP320 as they like, so no such bit can be required of them.
fn header_version(version: i64, required: Option<u32>) -> Result<u32, UnusableTemplate> {
    let required = required.unwrap_or(0);
    if required & ROLLED_BITS != 0 {
        return Err(UnusableTemplate::RequiredBits(required));
    }
    let version = match i32::try_from(version) {
        Ok(signed) => u32::from_le_bytes(signed.to_le_bytes()),
        Err(_) => u32::try_from(version).map_err(|_| UnusableTemplate::Unreadable("version"))?,
    };
    Ok(version | required)
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
mod tests;
