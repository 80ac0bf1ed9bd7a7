//! What is mined now: the template, and its coinbase output by output, in words.
//!
//! It only names what it knows by its bytes; everything else is shown as the script that it is.

use std::fmt;
use std::time::Duration;

use bitcoin::hex::DisplayHex;
use bitcoin::{Address, Network, Script, Transaction, TxOut};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Api, Refusal};

/// OP_RETURN, push of 36 bytes, and the mark of a witness commitment (BIP141).
const WITNESS_COMMITMENT: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
/// OP_RETURN.
const RETURN: u8 = 0x6a;
/// What names an M7 (BIP301).
const ACCEPT_TAG: [u8; 4] = [0xd1, 0x61, 0x73, 0x68];
/// OP_RETURN, a push of 34 bytes, and the mark by which indexers find a shielded note.
const ANCHOR: [u8; 4] = [0x6a, 0x22, 0xbb, 0x00];
/// OP_2 and a push of 32 bytes: the witness program that holds a note.
const NOTE: [u8; 2] = [0x52, 0x20];

/// What is mined now.
#[derive(Clone, PartialEq)]
pub struct TemplateNow {
    /// The height of the block, if the template tells it.
    pub height: Option<u32>,
    /// What it builds on, internal byte order.
    pub prev_hash: [u8; 32],
    /// The compact target of the block.
    pub nbits: u32,
    /// How difficult it is.
    pub difficulty: f64,
    /// The provider's number of the template.
    pub id: u64,
    /// Levels of the Merkle path: with n of them it has at most 2^n transactions.
    pub branches: usize,
    /// Since when it is mined, milliseconds since 1970.
    pub since_ms: u64,
    /// Since when its tip is known.
    pub tip_since_ms: u64,
    /// Connections that were there when the tip came and have been sent it.
    pub tip_connections: u32,
    /// How long after its first job was made the last of them was.
    pub tip_last: Duration,
    /// The coinbase of one miner, stripped of its witness.
    pub coinbase: Bytes,
}

impl fmt::Debug for TemplateNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TemplateNow({})", self.id)
    }
}

impl Api {
    /// `/api/v1/template`.
    pub(super) fn template(&self) -> Result<Value, Refusal> {
        let now = self.mined()?;
        let coinbase: Transaction = bitcoin::consensus::deserialize(&now.coinbase)
            .map_err(|_| Refusal::NotFound("the coinbase of the template cannot be read"))?;
        let value = coinbase.output.iter().fold(0_u64, |sum, it| sum + it.value.to_sat());
        let outputs: Vec<_> = coinbase
            .output
            .iter()
            .map(|it| output(it, &coinbase, self.facts.sources.network))
            .collect();
        Ok(json!({
            "height": now.height,
            "prev_hash": mining::hash::display(&now.prev_hash),
            "nbits": format!("{:08x}", now.nbits),
            "network_difficulty": now.difficulty,
            "template_id": now.id,
            "since_ms": now.since_ms,
            "tip_since_ms": now.tip_since_ms,
            "tip_reached": {
                "connections": now.tip_connections,
                "last_ms": now.tip_last.as_secs_f64() * 1_000.0,
            },
            "merkle_branches": now.branches,
            "pays": self.facts.mode.name(),
            "value": value,
            "outputs": outputs,
        }))
    }
}

fn output(output: &TxOut, coinbase: &Transaction, network: Network) -> Value {
    let script = output.script_pubkey.as_bytes();
    let meaning = meaning(script, coinbase, network);
    json!({
        "value": output.value.to_sat(),
        "script": script.to_lower_hex_string(),
        "kind": meaning.kind,
        "address": meaning.address,
        "detail": meaning.detail,
    })
}

/// What an output is for.
#[derive(Debug, PartialEq, Eq)]
struct Meaning {
    kind: &'static str,
    address: Option<String>,
    /// For people.
    detail: Option<String>,
}

fn meaning(script: &[u8], coinbase: &Transaction, network: Network) -> Meaning {
    let plain = |kind| Meaning { kind, address: None, detail: None };
    let with = |kind, detail| Meaning { kind, address: None, detail: Some(detail) };
    if script.is_empty() {
        return plain("finder");
    }
    if script.starts_with(&WITNESS_COMMITMENT) {
        return plain("witness-commitment");
    }
    if let Some(accepted) = accepted(script) {
        return with("bmm-accept", accepted);
    }
    if let Some(commitment) = script.strip_prefix(&ANCHOR) {
        return with("note-anchor", format!("note {}", commitment.to_lower_hex_string()));
    }
    if let Some(commitment) = script.strip_prefix(&NOTE).filter(|it| is_note(it, coinbase)) {
        return with("shielded-note", format!("note {}", commitment.to_lower_hex_string()));
    }
    if script.first() == Some(&RETURN) {
        return plain("data");
    }
    match Address::from_script(Script::from_bytes(script), network) {
        Ok(address) => Meaning { address: Some(address.to_string()), ..plain("payment") },
        Err(_) => plain("script"),
    }
}

/// A witness program is a note only if an anchor beside it says so.
fn is_note(commitment: &[u8], coinbase: &Transaction) -> bool {
    let mut scripts = coinbase.output.iter().map(|it| it.script_pubkey.as_bytes());
    commitment.len() == 32 && scripts.any(|it| it.strip_prefix(&ANCHOR) == Some(commitment))
}

/// Slot and hash of the side block that an M7 accepts, in any of its three layouts.
fn accepted(script: &[u8]) -> Option<String> {
    let rest = script.strip_prefix(&[RETURN])?;
    let rest = rest.strip_prefix(&[37]).unwrap_or(rest).strip_prefix(&ACCEPT_TAG)?;
    let (slot, hash) = match rest.len() {
        33 => rest.split_first()?,
        40 => (rest.get(35)?, rest.get(..32)?),
        _ => return None,
    };
    Some(format!("sidechain {slot}, h* {}", hash.to_lower_hex_string()))
}

#[cfg(test)]
mod tests {
    use bitcoin::absolute::LockTime;
    use bitcoin::hex::FromHex;
    use bitcoin::transaction::Version;
    use bitcoin::{Amount, ScriptBuf};

    use super::*;

    fn coinbase(scripts: &[&str]) -> Transaction {
        let output = |hex: &&str| TxOut {
            value: Amount::from_sat(5),
            script_pubkey: ScriptBuf::from_bytes(Vec::from_hex(hex).unwrap()),
        };
        let output = scripts.iter().map(output).collect();
        Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: Vec::new(), output }
    }

    fn kinds(scripts: &[&str]) -> Vec<(&'static str, Option<String>)> {
        let coinbase = coinbase(scripts);
        let meaning =
            |it: &TxOut| meaning(it.script_pubkey.as_bytes(), &coinbase, Network::Bitcoin);
        coinbase.output.iter().map(meaning).map(|it| (it.kind, it.address.or(it.detail))).collect()
    }

    #[test]
    fn each_output_is_named_by_what_it_is_for() {
        let (h, note) = ("ab".repeat(32), "cd".repeat(32));
        let named = kinds(&[
            "0014751e76e8199196d454941c45d1b3a323f1433bd6",
            &format!("6a24aa21a9ed{}", "00".repeat(32)),
            &format!("6a25d161736803{h}"),
            &format!("6ad161736803{h}"),
            &format!("6ad1617368{h}00bf000301020304"),
            &format!("5220{note}"),
            &format!("6a22bb00{note}"),
            "6a0101",
            "51",
            "",
        ]);
        let (shown, side) = (format!("note {note}"), format!("sidechain 3, h* {h}"));
        let expected = [
            ("payment", Some("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4".to_owned())),
            ("witness-commitment", None),
            ("bmm-accept", Some(side.clone())),
            ("bmm-accept", Some(side.clone())),
            ("bmm-accept", Some(side)),
            ("shielded-note", Some(shown.clone())),
            ("note-anchor", Some(shown)),
            ("data", None),
            ("script", None),
            ("finder", None),
        ];
        assert_eq!(named, expected);
    }

    #[test]
    fn a_witness_program_without_an_anchor_is_an_address_and_no_note() {
        let [(kind, Some(address))] = &kinds(&[&format!("5220{}", "cd".repeat(32))])[..] else {
            panic!("it has an address");
        };
        assert!(*kind == "payment" && address.starts_with("bc1z"), "{address}");
    }
}
