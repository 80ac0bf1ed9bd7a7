//! Fills a node's mempool with more than a block holds: heavy witnesses, chains in which children
//! pay for their parents, and transactions full of signature operations.
//!
//! Nothing is signed: every coin is one that anybody may spend. Always the same transactions.

use anyhow::{Context, Result};
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::{
    Address, Amount, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness,
    absolute, opcodes, transaction,
};
use serde_json::{Value, json};

use crate::node::Node;

/// What a node must be started with to take them, and to put as many into a block as it can.
pub const ARGUMENTS: [&str; 8] = [
    "-minrelaytxfee=0.00000100",
    "-blockmintxfee=0.00000001",
    "-acceptnonstdtxn=1",
    "-blockmaxweight=4000000",
    "-blockreservedweight=2000",
    "-bytespersigop=1",
    "-datacarrier=1",
    "-maxmempool=300",
];
/// What only Bitcoin Knots knows, and refuses or limits otherwise.
pub const KNOTS_ARGUMENTS: [&str; 9] = [
    "-datacarriercost=0.25",
    "-acceptnonstddatacarrier=1",
    "-datacarrierfullcount=0",
    "-blockmaxsize=4000000",
    "-maxscriptsize=1000000",
    "-bytespersigopstrict=1",
    "-permitbaremultisig=1",
    "-maxtxlegacysigops=100000",
    "-rejectparasites=0",
];

/// Coins with a heavy witness.
const HEAVY: usize = 440;
/// Most of them that one transaction spends.
const HEAVY_TOGETHER: usize = 4;
/// Chains of small transactions, and their length: what a node takes.
const CHAINS: usize = 30;
const CHAIN_LENGTH: usize = 24;
/// Transactions with many signature operations, and how many outputs with 20 of them each has.
const SIGOP_HEAVY: usize = 110;
const SIGOP_OUTPUTS: usize = 15;
/// Satoshis of each coin to begin with.
const COIN: u64 = 5_000_000;
/// And of each output but the first of a transaction.
const SMALL_CHANGE: u64 = 1_000;
/// Blocks until a coinbase can be spent.
const MATURE_BLOCKS: u32 = 100;

/// A coin that anybody may spend by showing a script.
#[derive(Clone)]
struct Coin {
    at: OutPoint,
    value: u64,
    script: ScriptBuf,
}

/// Fills it. The node must have been started with `ARGUMENTS` and an empty chain.
pub fn fill(node: &Node) -> Result<()> {
    let coins = fan_out(node)?;
    let (heavy, coins) = coins.split_at(HEAVY);
    let (chains, sigop_heavy) = coins.split_at(CHAINS);
    let mut rest = heavy;
    let mut count = 0;
    while !rest.is_empty() {
        let together = (1 + count % HEAVY_TOGETHER).min(rest.len());
        let (spent, after) = rest.split_at(together);
        send(node, &paying(spent, &[open_script()], fee_rate(count)))?;
        (rest, count) = (after, count + 1);
    }
    for (index, coin) in chains.iter().enumerate() {
        let mut coin = coin.clone();
        for step in 0..CHAIN_LENGTH {
            let outputs = vec![open_script(); 1 + step % 3];
            let made = paying(&[coin], &outputs, fee_rate(index * 7 + step * 5));
            send(node, &made)?;
            coin = coin_of(&made, 0, anybody())?;
        }
    }
    for (index, coin) in sigop_heavy.iter().enumerate() {
        let mut outputs = vec![open_script()];
        outputs.extend(vec![counted_script(); 1 + index % SIGOP_OUTPUTS]);
        let made = paying(std::slice::from_ref(coin), &outputs, 3 * fee_rate(index));
        send(node, &made)?;
        if index % 4 == 0 {
            let child = coin_of(&made, 0, anybody())?;
            send(node, &paying(&[child], &[open_script()], fee_rate(index + 3)))?;
        }
    }
    Ok(())
}

/// Satoshis per virtual byte, from 2 to 40 in no order.
fn fee_rate(number: usize) -> u64 {
    2 + u64::try_from(number * 31 % 39).unwrap_or(0)
}

/// The coins that all begins with, in a block.
fn fan_out(node: &Node) -> Result<Vec<Coin>> {
    let address = Address::p2wsh(&anybody(), Network::Regtest).to_string();
    let mined = node.rpc("generatetoaddress", &json!([1, address]))?;
    let hash = mined.get(0).and_then(Value::as_str).context("no block was mined")?;
    let block = crate::block::MinedBlock::read(node, hash)?;
    let coinbase = block.block.coinbase().context("the block has no coinbase")?.clone();
    node.generate(MATURE_BLOCKS)?;
    let first = coin_of(&coinbase, 0, anybody())?;
    let heavy = (0..HEAVY).map(|_| heavy_script());
    let light = (0..CHAINS + SIGOP_HEAVY).map(|_| anybody());
    let scripts: Vec<ScriptBuf> = heavy.chain(light).collect();
    let output = |script: &ScriptBuf| TxOut {
        value: Amount::from_sat(COIN),
        script_pubkey: script.to_p2wsh(),
    };
    let made = spending(&[first], scripts.iter().map(output).collect());
    let hex = serialize_hex(&made);
    // What is left over is a fee, and the node would not believe it.
    node.rpc("generateblock", &json!([address, [hex]]))?;
    let coin = |(index, script): (usize, ScriptBuf)| coin_of(&made, index, script);
    scripts.into_iter().enumerate().map(coin).collect()
}

/// OP_TRUE, as the script that is shown.
fn anybody() -> ScriptBuf {
    Builder::new().push_opcode(opcodes::OP_TRUE).into_script()
}

/// A coin that anybody may spend.
fn open_script() -> ScriptBuf {
    anybody().to_p2wsh()
}

/// OP_CHECKMULTISIG alone: 20 signature operations, that nobody can ever run.
fn counted_script() -> ScriptBuf {
    Builder::new().push_opcode(opcodes::all::OP_CHECKMULTISIG).into_script()
}

/// Nearly as long as a script may be (10,000 bytes).
fn heavy_script() -> ScriptBuf {
    let mut ballast = PushBytesBuf::new();
    // No more than a push may hold: it cannot fail.
    let _ = ballast.extend_from_slice(&[7; 250]);
    let push =
        |builder: Builder| builder.push_slice(ballast.clone()).push_opcode(opcodes::all::OP_DROP);
    let builder = (0..38).fold(Builder::new(), |builder, _| push(builder));
    builder.push_opcode(opcodes::OP_TRUE).into_script()
}

fn coin_of(made: &Transaction, index: usize, script: ScriptBuf) -> Result<Coin> {
    let output = made.output.get(index).context("the transaction has no such output")?;
    let at = OutPoint { txid: made.compute_txid(), vout: index.try_into()? };
    Ok(Coin { at, value: output.value.to_sat(), script })
}

/// Spends them; the first output gets what the fee and the others leave.
fn paying(coins: &[Coin], scripts: &[ScriptBuf], fee_rate: u64) -> Transaction {
    let output = |script: &ScriptBuf| TxOut {
        value: Amount::from_sat(SMALL_CHANGE),
        script_pubkey: script.clone(),
    };
    let mut made = spending(coins, scripts.iter().map(output).collect());
    let fee = fee_rate * u64::try_from(made.vsize()).unwrap_or(u64::MAX);
    let spent: u64 = coins.iter().map(|coin| coin.value).sum();
    let others: u64 = made.output.iter().skip(1).map(|output| output.value.to_sat()).sum();
    if let Some(first) = made.output.first_mut() {
        first.value = Amount::from_sat(spent.saturating_sub(fee + others));
    }
    made
}

fn spending(coins: &[Coin], output: Vec<TxOut>) -> Transaction {
    let input = |coin: &Coin| TxIn {
        previous_output: coin.at,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness: Witness::from_slice(&[coin.script.as_bytes()]),
    };
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: coins.iter().map(input).collect(),
        output,
    }
}

fn send(node: &Node, made: &Transaction) -> Result<()> {
    // Any fee rate, and any value that is burnt.
    node.rpc("sendrawtransaction", &json!([serialize_hex(made), 0, 21_000_000]))?;
    Ok(())
}
