//! The messages of the share path and of a new tip, ours beside SRI's codec, and what one
//! connection of many costs at a new tip. Not a test: `cargo bench -p wire`.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark says what it expects"
)]

use std::sync::Arc;

use bytes::BytesMut;
use divan::{Bencher, black_box};
use rand::SeedableRng;
use rand::rngs::StdRng;
use stratum_core::binary_sv2::{from_bytes, to_bytes};
use stratum_core::mining_sv2 as sri;
use wire::sv2::codec::{Blob, Bytes32, List};
use wire::sv2::frame::EncodedFrame;
use wire::sv2::keys::AuthoritySecret;
use wire::sv2::link::{Link, LinkLimits};
use wire::sv2::message::Message;
use wire::sv2::mining::{
    NewExtendedMiningJob, SetNewPrevHash, SubmitSharesExtended, SubmitSharesSuccess,
};
use wire::sv2::noise::ServerIdentity;

const NTIME: u32 = 1_700_000_000;
/// Merkle hashes of a block of four thousand transactions.
const MERKLE_PATH: usize = 12;
const LIMITS: LinkLimits = LinkLimits { frame_bytes_max: 1 << 17, output_bytes_max: 1 << 20 };

fn main() {
    divan::main();
}

fn share() -> SubmitSharesExtended {
    SubmitSharesExtended {
        channel_id: 2,
        sequence_number: 7,
        job_id: 9,
        nonce: 11,
        ntime: NTIME,
        version: 0x2000_0000,
        extranonce: Bytes32::new(&[5; 8]).unwrap(),
    }
}

fn success() -> SubmitSharesSuccess {
    SubmitSharesSuccess {
        channel_id: 2,
        last_sequence_number: 7,
        new_submits_accepted_count: 3,
        new_shares_sum: 1_000,
    }
}

fn job() -> NewExtendedMiningJob {
    NewExtendedMiningJob {
        channel_id: 1,
        job_id: 9,
        min_ntime: None,
        version: 0x2000_0000,
        version_rolling_allowed: true,
        merkle_path: List::new(vec![[3; 32]; MERKLE_PATH]).unwrap(),
        coinbase_tx_prefix: Blob::new(vec![1; 60]).unwrap(),
        coinbase_tx_suffix: Blob::new(vec![2; 100]).unwrap(),
    }
}

fn prev_hash() -> SetNewPrevHash {
    let (prev_hash, nbits) = ([8; 32], 0x1701_ffff);
    SetNewPrevHash { channel_id: 1, job_id: 9, prev_hash, min_ntime: NTIME, nbits }
}

#[divan::bench_group]
mod read_submit_shares_extended {
    use super::*;

    #[divan::bench]
    fn ours(bencher: Bencher<'_, '_>) {
        let payload = share().to_payload();
        bencher.bench(|| SubmitSharesExtended::from_payload(black_box(&payload)).unwrap());
    }

    #[divan::bench]
    fn sri(bencher: Bencher<'_, '_>) {
        let payload = share().to_payload().to_vec();
        bencher.with_inputs(|| payload.clone()).bench_local_refs(|payload| {
            let share: sri::SubmitSharesExtended<'_> = from_bytes(black_box(payload)).unwrap();
            share.nonce
        });
    }
}

#[divan::bench_group]
mod write_submit_shares_success {
    use super::*;

    #[divan::bench]
    fn ours(bencher: Bencher<'_, '_>) {
        let success = success();
        bencher.bench(|| black_box(&success).to_payload());
    }

    #[divan::bench]
    fn sri(bencher: Bencher<'_, '_>) {
        let success = success();
        bencher.bench(|| {
            let SubmitSharesSuccess {
                channel_id,
                last_sequence_number,
                new_submits_accepted_count,
                new_shares_sum,
            } = *black_box(&success);
            to_bytes(sri::SubmitSharesSuccess {
                channel_id,
                last_sequence_number,
                new_submits_accepted_count,
                new_shares_sum,
            })
        });
    }
}

/// A server's link after its handshake.
fn open_link() -> Link {
    let authority = AuthoritySecret::generate(&mut StdRng::seed_from_u64(1));
    let identity = ServerIdentity::certified(&authority, 3_600, [3; 32], NTIME);
    let mut server = Link::server(Arc::new(identity), LIMITS, [1; 32]);
    let mut client = Link::client(None, LIMITS, [2; 32], NTIME);
    let mut act = BytesMut::new();
    client.poll_transmit(&mut act);
    server.receive(&act).unwrap();
    act.clear();
    server.poll_transmit(&mut act);
    assert!(server.is_open(), "the handshake is over");
    server
}

/// What one connection costs when a new tip goes to all.
#[divan::bench_group]
mod new_tip_for_a_connection {
    use super::*;

    /// The frames are made once for all; here they are encrypted.
    #[divan::bench]
    fn from_frames_made_once(bencher: Bencher<'_, '_>) {
        let (job, prev_hash) = (EncodedFrame::new(&job()), EncodedFrame::new(&prev_hash()));
        let (mut link, mut out) = (open_link(), BytesMut::new());
        bencher.bench_local(|| {
            link.send_frame(&job, &[1, 9]).unwrap();
            link.send_frame(&prev_hash, &[1, 9]).unwrap();
            out.clear();
            link.poll_transmit(&mut out)
        });
    }

    /// The same with both messages encoded for this connection.
    #[divan::bench]
    fn from_messages(bencher: Bencher<'_, '_>) {
        let (job, prev_hash) = (job(), prev_hash());
        let (mut link, mut out) = (open_link(), BytesMut::new());
        bencher.bench_local(|| {
            link.send(&job).unwrap();
            link.send(&prev_hash).unwrap();
            out.clear();
            link.poll_transmit(&mut out)
        });
    }
}
