//! A shielded coinbase, by each way to the pool: the reward goes into a note and to no address, and
//! the sidecar gets the note once the block is in the chain.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use serde_json::Value;
use testkit::log::Mark;
use testkit::wait::until;
use testkit::world::{COINBASE_TAG, Plan, Route, Shielded, TRANSLATOR_USER};

use super::{SOON, alone};

const OWNER: &str = "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";
/// Start of the script with a note's commitment: witness version 2, a push of 32 bytes.
const NOTE: [u8; 2] = [0x52, 0x20];
const OP_RETURN: u8 = 0x6a;

/// A sidecar that takes every note, and remembers their commitments.
struct Sidecar {
    url: String,
    commitments: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Sidecar {
    fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let commitments = Arc::<Mutex<Vec<_>>>::default();
        let taken = Arc::clone(&commitments);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away in the middle sends its note again.
                if let Ok(commitment) = take_note(stream) {
                    taken.lock().unwrap_or_else(PoisonError::into_inner).push(commitment);
                }
            }
        });
        Ok(Self { url, commitments })
    }

    fn has(&self, commitment: &[u8]) -> bool {
        let taken = self.commitments.lock().unwrap_or_else(PoisonError::into_inner);
        taken.iter().any(|one| one == commitment)
    }
}

/// Reads one request and answers it.
fn take_note(mut stream: TcpStream) -> anyhow::Result<Vec<u8>> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    anyhow::ensure!(request.starts_with("POST /submit "), "{request}");
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim().to_lowercase().split_once(": ") {
            Some(("content-length", value)) => length = value.parse()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let note: Value = serde_json::from_slice(&body)?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    let commitment = note.get("commitment").context("the note has no commitment")?;
    Ok(serde_json::from_value(commitment.clone())?)
}

fn mine_into_a_note(route: Route) -> anyhow::Result<()> {
    let _alone = alone();
    let sidecar = Sidecar::start()?;
    let shielded = Shielded { owner: OWNER.to_owned(), sidecar_url: sidecar.url.clone() };
    let plan = Plan::for_test()?.with_shielded_coinbases(shielded);
    let (plan, user) = match route {
        Route::V1 => (plan.with_translator(), TRANSLATOR_USER),
        Route::V2Extended | Route::V2Standard => (plan, "device"),
    };
    let mut world = plan.start()?;
    world.node.pay_itself(100)?;
    let _device = world.start_device(route, "device")?;
    let block = world.wait_for_block(user, Mark::default(), SOON)?;
    block.check_tag(COINBASE_TAG)?;
    block.check_witness_commitment()?;
    let coinbase = block.block.coinbase().context("the block has no coinbase")?;
    let scripts = || coinbase.output.iter().map(|output| output.script_pubkey.as_bytes());
    let notes: Vec<_> = scripts().filter_map(|script| script.strip_prefix(&NOTE)).collect();
    let [note] = notes[..] else { anyhow::bail!("{} notes in {coinbase:?}", notes.len()) };
    for output in &coinbase.output {
        let script = output.script_pubkey.as_bytes();
        let is_transparent = !script.starts_with(&NOTE) && script.first() != Some(&OP_RETURN);
        assert!(!is_transparent && output.value.to_sat() == 0, "{output:?}");
    }
    until("the sidecar has the note", SOON, || Ok(sidecar.has(note).then_some(())))?;
    Ok(())
}

#[test]
fn a_shielded_block_is_mined_on_a_standard_channel() -> anyhow::Result<()> {
    mine_into_a_note(Route::V2Standard)
}

#[test]
fn a_shielded_block_is_mined_on_an_extended_channel() -> anyhow::Result<()> {
    mine_into_a_note(Route::V2Extended)
}

#[test]
fn a_shielded_block_is_mined_by_stratum_v1() -> anyhow::Result<()> {
    mine_into_a_note(Route::V1)
}
