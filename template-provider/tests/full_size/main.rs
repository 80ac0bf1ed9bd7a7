//! A template as full as a block can be, cut to the room of many clients; the real node says of
//! each whether its block would do.
//!
//! `ADIT_ROOMS=1000 cargo test --release -p template-provider --test full_size -- --nocapture`
//! tries more rooms than a test run needs, and prints what it measured.

#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests may say what they mean, and this one measures"
)]

mod figures;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use bitcoin::hashes::Hash;
use bitcoin::hex::DisplayHex;
use figures::Figures;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use template_provider::block_template::{BlockTemplate, Transaction, fees};
use template_provider::node::answer::Reader;
use template_provider::templates::build::{Contents, Extensions};
use template_provider::templates::draft::Draft;
use template_provider::templates::proposal::proposal;
use template_provider::templates::trim::Room;
use testkit::mempool;
use testkit::node::Node;

/// Rooms that a test run tries.
const ROOMS: u32 = 20;
/// The widest room that is tried: as large as a coinbase in a SubmitSolution can be, and all
/// signature operations of a block.
const BYTES_MAX: u32 = 60_000;
const SIGOPS_MAX: u16 = 20_000;
/// The first room is drawn with it; each run of the test tries the same.
const SEED: u64 = 4;
/// Signature operations that one byte can count as.
const SIGOPS_PER_BYTE: u32 = 20;

fn start() -> Node {
    let arguments = [&mempool::ARGUMENTS[..], &mempool::KNOTS_ARGUMENTS].concat();
    let node = Node::start_with(&arguments).or_else(|_| Node::start_with(&mempool::ARGUMENTS));
    let node = node.unwrap();
    mempool::fill(&node).unwrap();
    node
}

fn template(node: &Node) -> BlockTemplate {
    let answer = node.rpc("getblocktemplate", &json!([{ "rules": ["segwit"] }])).unwrap();
    Reader::default().read(serde_json::from_value(answer).unwrap()).unwrap()
}

/// A room that a coinbase can use fully.
fn any_room(random: &mut StdRng) -> Room {
    let output_bytes = random.gen_range(0..=BYTES_MAX);
    let output_bytes = if output_bytes < 9 { 0 } else { output_bytes };
    let most = output_bytes.saturating_sub(20) * SIGOPS_PER_BYTE;
    let output_sigops = random.gen_range(0..=SIGOPS_MAX.min(most.try_into().unwrap_or(u16::MAX)));
    Room { output_bytes, output_sigops }
}

/// What a set of transactions takes: weight and cost of signature operations.
fn load(transactions: &[Arc<Transaction>]) -> (u64, u64) {
    let of = |one: &Arc<Transaction>| (one.weight, one.sigops.unwrap());
    transactions.iter().map(of).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

/// What transactions may take beside a coinbase that uses `room`.
fn limit(offer: &BlockTemplate, room: Room) -> (u64, u64) {
    (
        offer.limits.weight - 1168 - 4 * u64::from(room.output_bytes),
        offer.limits.sigops - 4 * u64::from(room.output_sigops),
    )
}

/// Not one of those that were left out could have stayed: it has no room, or what it spends is
/// missing.
fn check_that_it_is_exact(offer: &BlockTemplate, kept: &Contents, room: Room) {
    let stays: HashSet<[u8; 32]> = kept.transactions.iter().map(|one| one.txid).collect();
    let inside: HashSet<[u8; 32]> = offer.transactions.iter().map(|one| one.txid).collect();
    let (limit, taken) = (limit(offer, room), load(&kept.transactions));
    assert!(taken.0 <= limit.0 && taken.1 <= limit.1, "{room:?}");
    for one in offer.transactions.iter().filter(|one| !stays.contains(&one.txid)) {
        let read: bitcoin::Transaction = bitcoin::consensus::deserialize(&one.data).unwrap();
        let mut parents = read.input.iter().map(|it| it.previous_output.txid.to_byte_array());
        let is_orphan = parents.any(|id| inside.contains(&id) && !stays.contains(&id));
        let has_room = taken.0 + one.weight <= limit.0 && taken.1 + one.sigops.unwrap() <= limit.1;
        assert!(is_orphan || !has_room, "left out for nothing, with {room:?}");
    }
}

/// Path, commitment, value and order, by other code than that which made them.
fn check_by_rust_bitcoin(offer: &BlockTemplate, kept: &Contents, block: &bitcoin::Block) {
    assert!(block.check_merkle_root());
    assert!(block.check_witness_commitment());
    assert!(block.weight().to_wu() <= 4_000_000);
    let left_out = fees(&offer.transactions) - fees(&kept.transactions);
    assert_eq!(kept.value_remaining, offer.coinbase_value - left_out);
    let paid: u64 = block.txdata[0].output.iter().map(|output| output.value.to_sat()).sum();
    let has_client_output = block.txdata[0].output.len() > 1;
    assert_eq!(paid, if has_client_output { kept.value_remaining } else { 0 });
    let order: Vec<_> = offer.transactions.iter().map(|one| one.txid).collect();
    let mut rest = order.iter();
    let follows = |one: &bitcoin::Transaction| {
        let txid = one.compute_txid().to_byte_array();
        rest.any(|next| *next == txid)
    };
    assert!(block.txdata[1..].iter().all(follows), "the node's order is kept");
}

#[test]
fn a_full_template_cut_to_any_room_is_exact_and_the_node_accepts_its_block() {
    let node = start();
    let offer = Arc::new(template(&node));
    let (weight, sigops) = load(&offer.transactions);
    let bytes: usize = offer.transactions.iter().map(|one| one.data.len()).sum();
    println!(
        "template: {} transactions, {bytes} bytes, {weight} weight, {sigops} sigops",
        offer.transactions.len()
    );
    assert!(weight > 3_990_000 && bytes > 3_500_000 && sigops > 30_000);
    let rooms = std::env::var("ADIT_ROOMS").map_or(ROOMS, |rooms| rooms.parse().unwrap());
    let draft = Draft::new(Arc::clone(&offer), Extensions::from([])).unwrap();
    let mut random = StdRng::seed_from_u64(SEED);
    let mut figures = Figures::default();
    for _ in 0..rooms {
        let room = any_room(&mut random);
        let began = Instant::now();
        let kept = draft.with_room(room).unwrap();
        let took = began.elapsed();
        check_that_it_is_exact(&offer, &kept, room);
        let bytes = proposal(&kept, offer.header_timestamp(), room);
        let block: bitcoin::Block = bitcoin::consensus::deserialize(&bytes).unwrap();
        check_by_rust_bitcoin(&offer, &kept, &block);
        let data = bytes.to_lower_hex_string();
        let request = json!([{ "mode": "proposal", "data": data, "rules": ["segwit"] }]);
        let began = Instant::now();
        let verdict = node.rpc("getblocktemplate", &request).unwrap();
        assert_eq!(verdict, Value::Null, "{room:?}");
        let judged = began.elapsed();
        figures.note(&offer, &kept, limit(&offer, room), took, judged);
    }
    figures.print();
}
