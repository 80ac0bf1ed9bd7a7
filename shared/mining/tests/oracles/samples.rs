//! Arbitrary templates, tips and payouts, in our form and in SRI's.

use bitcoin::consensus::serialize;
use bitcoin::{Amount, ScriptBuf, TxOut};
use mining::coinbase::Output;
use mining::target::Target;
use mining::template::{ChainTip, Template};
use proptest::collection::vec;
use proptest::prelude::*;
use stratum_core::binary_sv2::U256Owned;
use stratum_core::template_distribution_sv2::{NewTemplateOwned, SetNewPrevHashOwned};

/// A network target that no hash of these tests meets by chance.
pub(crate) const HARD_NBITS: u32 = 0x1703_ffff;
/// One that every second hash meets.
pub(crate) const REGTEST_NBITS: u32 = 0x207f_ffff;

/// The tag that SRI makes of the pool name "Adit": `Sv2/`, the pool, `/`, no miner, `/`.
pub(crate) const POOL_NAME: &str = "Adit";
pub(crate) const TAG: &[u8] = b"Sv2/Adit//";

/// A template and what the pool pays itself from it.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) template: Template,
    pub(crate) payouts: Vec<Output>,
}

impl Sample {
    pub(crate) fn with_id(mut self, id: u64) -> Self {
        self.template.id = id;
        self
    }

    /// `NewTemplate` as SRI takes it.
    pub(crate) fn to_sri(&self, future_template: bool) -> NewTemplateOwned {
        let Template { merkle_path, .. } = &self.template;
        let merkle_path: Vec<U256Owned> = merkle_path.iter().map(U256Owned::from).collect();
        NewTemplateOwned {
            template_id: self.template.id,
            future_template,
            version: self.template.version,
            coinbase_tx_version: self.template.coinbase_version,
            coinbase_prefix: self.template.coinbase_prefix.to_vec().try_into().unwrap(),
            coinbase_tx_input_sequence: self.template.coinbase_sequence,
            coinbase_tx_value_remaining: self.template.value_remaining,
            coinbase_tx_outputs_count: self.template.outputs_count,
            coinbase_tx_outputs: self.template.outputs.to_vec().try_into().unwrap(),
            coinbase_tx_locktime: self.template.coinbase_locktime,
            merkle_path: merkle_path.try_into().unwrap(),
        }
    }

    /// The payouts as rust-bitcoin has them.
    pub(crate) fn payouts_to_sri(&self) -> Vec<TxOut> {
        let payouts = self.payouts.iter();
        payouts.map(|output| tx_out(output.value, output.script.to_vec())).collect()
    }
}

pub(crate) fn tx_out(value: u64, script: Vec<u8>) -> TxOut {
    TxOut { value: Amount::from_sat(value), script_pubkey: ScriptBuf::from_bytes(script) }
}

/// The witness commitment output of BIP141 for `hash`.
pub(crate) fn commitment(hash: [u8; 32]) -> TxOut {
    tx_out(0, [&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], &hash].concat())
}

fn script() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..60)
}

/// Heights as nodes push them, and any other bytes that the specification allows (at most 8).
fn coinbase_prefix() -> impl Strategy<Value = Vec<u8>> {
    let pushed = (0..800_000_000_i64)
        .prop_map(|height| bitcoin::script::Builder::new().push_int(height).into_bytes());
    prop_oneof![3 => pushed, 1 => vec(any::<u8>(), 0..=8)]
}

fn payouts() -> impl Strategy<Value = Vec<Output>> {
    let output = (0..1_000_000_000_u64, script())
        .prop_map(|(value, script)| Output { value, script: script.into() });
    vec(output, 0..4)
}

/// Outputs of a template; the last one is a witness commitment or there is none.
fn template_outputs() -> impl Strategy<Value = Vec<TxOut>> {
    let plain = (any::<u16>(), script()).prop_map(|(value, script)| tx_out(value.into(), script));
    (vec(plain, 0..3), any::<Option<[u8; 32]>>()).prop_map(|(mut outputs, hash)| {
        outputs.extend(hash.map(commitment));
        outputs
    })
}

/// Any template with a merkle path of 0 to 14, its payouts adding up to what it leaves.
pub(crate) fn sample() -> impl Strategy<Value = Sample> {
    let numbers = any::<(u32, u32, u32, u32)>();
    let merkle_path = vec(any::<[u8; 32]>(), 0..=14);
    (numbers, coinbase_prefix(), payouts(), template_outputs(), merkle_path).prop_map(
        |((version, coinbase_version, sequence, locktime), prefix, payouts, mut outputs, path)| {
            if payouts.is_empty() && outputs.is_empty() {
                // A transaction has at least one output.
                outputs.push(commitment([0; 32]));
            }
            let template = Template {
                id: 0,
                version,
                coinbase_version,
                coinbase_prefix: prefix.into(),
                coinbase_sequence: sequence,
                value_remaining: payouts.iter().map(|output| output.value).sum(),
                outputs_count: outputs.len().try_into().unwrap(),
                outputs: outputs.iter().flat_map(serialize).collect::<Vec<_>>().into(),
                coinbase_locktime: locktime,
                merkle_path: path,
            };
            Sample { template, payouts }
        },
    )
}

/// A tip whose target is what its nBits say: SRI looks at nothing else.
pub(crate) fn tip(hash: [u8; 32], header_timestamp: u32, nbits: u32) -> ChainTip {
    ChainTip { hash, header_timestamp, nbits, target: Target::from_nbits(nbits).unwrap() }
}

/// `SetNewPrevHash` as SRI takes it.
pub(crate) fn tip_to_sri(tip: &ChainTip, template_id: u64) -> SetNewPrevHashOwned {
    SetNewPrevHashOwned {
        template_id,
        prev_hash: tip.hash.into(),
        header_timestamp: tip.header_timestamp,
        n_bits: tip.nbits,
        target: tip.target.to_le_bytes().into(),
    }
}
