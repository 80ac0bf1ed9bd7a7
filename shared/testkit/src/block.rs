//! What a block of the node shows of the pool that mined it: tag, payout, witness commitment.
//!
//! The commitment is computed anew from the transactions (BIP141), not taken from the node.

use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use bitcoin::hex::FromHex;
use bitcoin::{Address, Amount, Block, Network, ScriptBuf, Txid, WitnessCommitment};
use serde_json::{Value, json};

use crate::node::Node;

/// How the commitment's output starts: OP_RETURN, 36 bytes, 0xaa21a9ed (BIP141).
const COMMITMENT_START: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// A block as the node has it.
#[derive(Debug, Clone)]
pub struct MinedBlock {
    /// Display order.
    pub hash: String,
    /// Distance from the first block.
    pub height: u64,
    /// The whole block.
    pub block: Block,
}

impl MinedBlock {
    /// Reads a block from the node; it must be in its best chain.
    pub fn read(node: &Node, hash: &str) -> Result<Self> {
        let header = node.rpc("getblockheader", &json!([hash]))?;
        let confirmations = header.get("confirmations").and_then(Value::as_i64).unwrap_or(-1);
        ensure!(confirmations > 0, "block {hash} is not in the node's best chain");
        let bytes = node.rpc("getblock", &json!([hash, 0]))?;
        let bytes = Vec::from_hex(bytes.as_str().context("getblock gave no text")?)?;
        let height = header.get("height").and_then(Value::as_u64);
        Ok(Self {
            hash: hash.to_owned(),
            height: height.context("the header has no height")?,
            block: bitcoin::consensus::deserialize(&bytes)?,
        })
    }

    /// Hash of the block before it, display order.
    pub fn prev_hash(&self) -> String {
        self.block.header.prev_blockhash.to_string()
    }

    /// True if it holds the transaction (display order).
    pub fn contains(&self, txid: &str) -> Result<bool> {
        let txid = Txid::from_str(txid)?;
        Ok(self.block.txdata.iter().any(|transaction| transaction.compute_txid() == txid))
    }

    /// Fails unless the coinbase carries `tag`.
    pub fn check_tag(&self, tag: &str) -> Result<()> {
        let coinbase = self.block.coinbase().context("the block has no coinbase")?;
        let script = coinbase.input.first().map(|input| input.script_sig.as_bytes());
        let carries = script
            .is_some_and(|script| script.windows(tag.len()).any(|part| part == tag.as_bytes()));
        ensure!(carries, "the coinbase of block {} lacks the tag {tag}", self.hash);
        Ok(())
    }

    /// What the coinbase pays to `address`; fails if that is nothing.
    pub fn check_payout(&self, address: &str) -> Result<Amount> {
        let address = Address::from_str(address)?.require_network(Network::Regtest)?;
        let script: ScriptBuf = address.script_pubkey();
        let coinbase = self.block.coinbase().context("the block has no coinbase")?;
        let paid = coinbase.output.iter().filter(|output| output.script_pubkey == script);
        let sum: Amount = paid.map(|output| output.value).sum();
        ensure!(sum > Amount::ZERO, "block {} pays nothing to {address}", self.hash);
        Ok(sum)
    }

    /// Fails unless the coinbase commits to the witnesses of this block's transactions (BIP141).
    pub fn check_witness_commitment(&self) -> Result<WitnessCommitment> {
        let coinbase = self.block.coinbase().context("the block has no coinbase")?;
        let outputs = coinbase.output.iter().map(|output| output.script_pubkey.as_bytes());
        let said = outputs.filter_map(|script| script.strip_prefix(&COMMITMENT_START)).next_back();
        let said = said.context("the coinbase has no witness commitment")?;
        let reserved = coinbase.input.first().and_then(|input| input.witness.nth(0));
        let reserved = reserved.context("the coinbase has no witness reserved value")?;
        let root = self.block.witness_root().context("the block has no transactions")?;
        let computed = Block::compute_witness_commitment(&root, reserved);
        let computed_bytes: &[u8] = computed.as_ref();
        if said.get(..32) != Some(computed_bytes) {
            bail!("block {} commits to other witnesses than its own", self.hash);
        }
        Ok(computed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_with_a_payment() -> MinedBlock {
        let node = Node::start_funded().unwrap();
        node.pay_itself(20).unwrap();
        let hash = node.generate(1).unwrap().remove(0);
        MinedBlock::read(&node, &hash).unwrap()
    }

    #[test]
    fn the_nodes_own_block_has_a_right_commitment_and_a_changed_one_has_not() {
        let mut mined = block_with_a_payment();
        assert_eq!(mined.block.txdata.len(), 2);
        mined.check_witness_commitment().unwrap();
        let payment = mined.block.txdata.last_mut().unwrap();
        payment.input.first_mut().unwrap().witness.push([1]);
        assert!(mined.check_witness_commitment().is_err());
    }

    #[test]
    fn a_block_of_another_miner_fails_the_checks_of_the_pool() {
        let mined = block_with_a_payment();
        assert!(mined.check_tag("/Adit/").is_err());
        let nobody = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
        assert!(mined.check_payout(nobody).is_err());
    }
}
