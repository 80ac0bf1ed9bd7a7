//! What clients can rely on, whatever the node offers in which order.

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use tokio::time::Instant as TokioInstant;

use super::*;
use crate::templates::assemble::{NotABlock, Solution, assemble};
use crate::templates::build::Contents;
use crate::templates::samples;
use crate::templates::trim::Room;

const EASY: u32 = 0x207f_ffff;
const HARD: u32 = 0x1d00_ffff;

type Offers = watch::Receiver<Option<Arc<Offer>>>;

/// A publisher with its queue.
fn publishing() -> (mpsc::Sender<Offered>, Offers, Arc<Store>) {
    let (queue, offered) = mpsc::channel(1);
    let offers = watch::Sender::new(None);
    let (seen, store) = (offers.subscribe(), Arc::new(Store::new(1)));
    tokio::spawn(publish(offered, Arc::clone(&store), offers, 1000));
    (queue, seen, store)
}

/// Publishes it; the offer that everybody gets.
async fn published(
    queue: &mpsc::Sender<Offered>,
    offers: &mut Offers,
    template: BlockTemplate,
) -> Arc<Offer> {
    queue.send(Offered { template, asked_at: TokioInstant::now() }).await.unwrap();
    offers.changed().await.unwrap();
    offers.borrow_and_update().clone().unwrap()
}

fn with(nbits: u32, curtime: u32, value: u64) -> BlockTemplate {
    BlockTemplate { nbits, curtime, coinbase_value: value, ..samples::offer(&[]) }
}

/// The first solution of a coinbase that fits `nbits`, whatever the template says.
fn mined(contents: &Contents, nbits: u32, template: &BlockTemplate) -> Solution {
    let coinbase = bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![bitcoin::TxIn {
            script_sig: bitcoin::ScriptBuf::from_bytes(contents.coinbase_prefix.to_vec()),
            ..bitcoin::TxIn::default()
        }],
        output: vec![deserialize(&contents.coinbase_outputs).unwrap()],
    };
    let txid = coinbase.compute_txid().to_byte_array();
    let header = |nonce| mining::header::Header {
        version: contents.version,
        prev_hash: contents.prev_hash,
        merkle_root: mining::merkle::root_from_path(txid, &contents.merkle_path),
        ntime: template.header_timestamp(),
        nbits,
        nonce,
    };
    let target = mining::target::Target::from_nbits(nbits).unwrap();
    let nonce = (0..).find(|nonce| target.is_met_by(&header(*nonce).hash())).unwrap();
    Solution {
        version: contents.version,
        header_timestamp: template.header_timestamp(),
        header_nonce: nonce,
        coinbase_tx: serialize(&coinbase).into(),
    }
}

#[tokio::test]
async fn a_template_keeps_the_difficulty_that_was_announced_with_it() {
    let (queue, mut offers, store) = publishing();
    let hard = published(&queue, &mut offers, with(HARD, 1000, 5000)).await;
    let easy = published(&queue, &mut offers, with(EASY, 2000, 9000)).await;
    assert!(easy.tip > hard.tip, "clients learn nBits with a tip alone");
    let now = clock::now();
    let old = store.template(now, &hard, Room::default(), 0).unwrap();
    let new = store.template(now, &easy, Room::default(), old.id).unwrap();
    let solution = mined(&new.contents, EASY, &easy.block);
    let kept = |id| store.find(now, id).unwrap().contents;
    let block = assemble(&kept(new.id), &solution).unwrap();
    let header: bitcoin::block::Header = deserialize(&block.bytes[..80]).unwrap();
    assert_eq!(header.bits.to_consensus(), EASY);
    // The older one stands for what was announced with it, not for what came later.
    let late = assemble(&kept(old.id), &solution).unwrap_err();
    assert!(matches!(late, NotABlock::AboveTarget(_)), "{late:?}");
}
