//! A job from the pool to the miner and a share back: both ends hash the same header.

use mining::hash::double_sha256;
use mining::target::Target;
use translator_v1::bridge::notify::Work;
use translator_v1::downstream::Command as MinerCommand;
use translator_v1::upstream::{Command, Event};
use wire::sv2::mining::{SubmitSharesExtended, SubmitSharesSuccess};

use crate::device::{Device, HARD_NBITS, Rolling, UPSTREAM_DIFFICULTY};
use crate::pool::{CHANNEL, Pool, job, prev_hash};

/// Gives the miner what the pool sent, as the program does.
fn hand_down(pool: &mut Pool, device: &mut Device) {
    for event in std::mem::take(&mut pool.events) {
        match event {
            Event::Job { job, .. } => {
                device.command(MinerCommand::Work(Some(Work {
                    job,
                    is_live: true,
                    is_held: false,
                })));
            }
            Event::Verdict { ticket, verdict } => {
                device.command(MinerCommand::Verdict { ticket: ticket.into(), verdict });
            }
            other => assert!(matches!(other, Event::ChannelOpened { .. }), "{other:?}"),
        }
    }
}

/// The header hash as a pool computes it: from its own job and what the share says.
fn hash_at_pool(id: u32, tip: u8, share: &SubmitSharesExtended) -> [u8; 32] {
    let sent = job(id, None);
    let coinbase = [
        sent.coinbase_tx_prefix.as_slice(),
        &[0xe1, 0xe2],
        share.extranonce.as_slice(),
        sent.coinbase_tx_suffix.as_slice(),
    ]
    .concat();
    let root = double_sha256(&[double_sha256(&coinbase), [0x66; 32]].concat());
    let header = [
        &share.version.to_le_bytes()[..],
        &[tip; 32],
        &root,
        &share.ntime.to_le_bytes(),
        &HARD_NBITS.to_le_bytes(),
        &share.nonce.to_le_bytes(),
    ]
    .concat();
    double_sha256(&header)
}

#[test]
fn a_share_has_the_same_hash_at_the_miner_and_at_the_pool() {
    let target = Target::from_difficulty(UPSTREAM_DIFFICULTY);
    let mut pool = Pool::working(target.to_le_bytes());
    let mut device = Device::new();
    hand_down(&mut pool, &mut device);
    device.login();
    for (id, tip, bits) in [
        (1, 0xa1, None),
        (2, 0xb2, Some((0x1fff_e000, Rolling::Or))),
        (3, 0xc3, Some((0x0123_4000, Rolling::Xor))),
    ] {
        if id > 1 {
            pool.send(&job(id, None));
            pool.send(&prev_hash(id, tip, HARD_NBITS));
            hand_down(&mut pool, &mut device);
        }
        let notify = device.job.clone().unwrap();
        let found = device.mine_job(&notify, 0, bits, |hash| target.is_met_by(hash));
        device.send(&found.line(9, "w"));
        let (ticket, share) = device.passed_on().unwrap();
        pool.command(Command::Submit {
            share,
            worker: "w".into(),
            ticket: ticket.try_into().unwrap(),
        });
        let submitted: SubmitSharesExtended = pool.take();
        assert_eq!((submitted.job_id, submitted.channel_id), (id, CHANNEL));
        let hash = hash_at_pool(id, tip, &submitted);
        assert_eq!(hash, found.hash);
        assert!(target.is_met_by(&hash));
        device.lines.clear();
        pool.send(&SubmitSharesSuccess {
            channel_id: CHANNEL,
            last_sequence_number: submitted.sequence_number,
            new_submits_accepted_count: 1,
            new_shares_sum: 1,
        });
        hand_down(&mut pool, &mut device);
        assert_eq!(device.line()["result"], true);
    }
}
