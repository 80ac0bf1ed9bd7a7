//! What a set-up miner says to the pool, in whatever order, while work comes and goes: no panic, no
//! more channels than it may have, and no share without its work.

#![no_main]
#![allow(dead_code, reason = "the scripted miner has other users")]

#[path = "../../pool-sv2/tests/downstream/miner.rs"]
mod scripted;

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use mining::extranonce::ExtranonceAllocator;
use pool_sv2::downstream::connection::{Command, Event};
use pool_sv2::shares::ShareRecord;
use scripted::{HARD, REGTEST, TIP_TIME, Table};
use wire::session::Session;
use wire::sv2::codec::{Bytes32, Str255};
use wire::sv2::frame::EncodedFrame;
use wire::sv2::mining::{
    CloseChannel, OpenExtendedMiningChannel, OpenStandardMiningChannel, SubmitSharesExtended,
    SubmitSharesStandard, UpdateChannel,
};
use wire::sv2::setup::{PROTOCOL_MINING, SetupConnection};

const CHANNELS_MAX: usize = 4;
const STEPS_MAX: usize = 64;

#[derive(Debug, Arbitrary)]
struct Input {
    /// None: the miner starts without SetupConnection.
    flags: Option<u8>,
    steps: Vec<Step>,
}

#[derive(Debug, Arbitrary)]
enum Step {
    Said(Said),
    /// The same, so many times at once.
    Repeated(Said, u8),
    /// Seconds.
    Passed(u8),
    Work {
        tip: u8,
        is_easy: bool,
    },
    Committed(u8),
    Leave,
}

/// Ids, nonces and times are small, so that they are often right.
#[derive(Debug, Arbitrary)]
enum Said {
    SetUp(u8),
    OpenStandard { request: u8, user: String, hashrate: f32, max_target: Option<[u8; 32]> },
    OpenExtended { request: u8, user: String, hashrate: f32, max_target: u8, size: u8 },
    ShareStandard { channel: u8, job: u8, nonce: u8, ntime: u8, version: Option<u32> },
    ShareExtended { channel: u8, job: u8, nonce: u8, ntime: Option<u32>, extranonce: [u8; 9] },
    Update { channel: u8, hashrate: f32, maximum_target: [u8; 32] },
    Close { channel: u8 },
    Other { extension: u16, channel_msg: bool, kind: u8, payload: Vec<u8> },
}

impl Said {
    fn frame(&self) -> EncodedFrame {
        match self {
            Self::SetUp(flags) => EncodedFrame::new(&SetupConnection::of_program(
                PROTOCOL_MINING,
                (*flags).into(),
                "pool",
                1,
                "fuzz",
            )),
            Self::OpenStandard { request, user, hashrate, max_target } => {
                EncodedFrame::new(&OpenStandardMiningChannel {
                    request_id: (*request).into(),
                    user_identity: Str255::truncated(user),
                    nominal_hash_rate: *hashrate,
                    max_target: max_target.unwrap_or([0xff; 32]),
                })
            }
            Self::OpenExtended { request, user, hashrate, max_target, size } => {
                EncodedFrame::new(&OpenExtendedMiningChannel {
                    request_id: (*request).into(),
                    user_identity: Str255::truncated(user),
                    nominal_hash_rate: *hashrate,
                    max_target: [*max_target; 32],
                    min_extranonce_size: (*size).into(),
                })
            }
            Self::ShareStandard { channel, job, nonce, ntime, version } => {
                EncodedFrame::new(&SubmitSharesStandard {
                    channel_id: (*channel).into(),
                    sequence_number: (*nonce).into(),
                    job_id: (*job).into(),
                    nonce: (*nonce).into(),
                    ntime: TIP_TIME + u32::from(*ntime),
                    version: version.unwrap_or(0x2000_0000),
                })
            }
            Self::ShareExtended { channel, job, nonce, ntime, extranonce } => {
                // 8 bytes are right.
                let size = 8 + usize::from(*nonce == u8::MAX);
                EncodedFrame::new(&SubmitSharesExtended {
                    channel_id: (*channel).into(),
                    sequence_number: (*nonce).into(),
                    job_id: (*job).into(),
                    nonce: (*nonce).into(),
                    ntime: ntime.unwrap_or(TIP_TIME),
                    version: 0x2000_0000,
                    extranonce: Bytes32::new(&extranonce[..size]).unwrap(),
                })
            }
            Self::Update { channel, hashrate, maximum_target } => {
                EncodedFrame::new(&UpdateChannel {
                    channel_id: (*channel).into(),
                    nominal_hash_rate: *hashrate,
                    maximum_target: *maximum_target,
                })
            }
            Self::Close { channel } => EncodedFrame::new(&CloseChannel {
                channel_id: (*channel).into(),
                reason_code: "x".into(),
            }),
            Self::Other { extension, channel_msg, kind, payload } => {
                EncodedFrame::of_unknown(extension & 0x7fff, *channel_msg, *kind, payload.clone())
            }
        }
    }
}

fuzz_target!(|input: Input| {
    let mut table = Table::with_settings(|settings| {
        settings.extranonces = ExtranonceAllocator::new(100);
        // One hash in four is a share.
        settings.vardiff.min_difficulty = 1e-9;
        settings.limits.channels_per_connection_max = CHANNELS_MAX;
    });
    if let Some(flags) = input.flags {
        table.pair.command_client(Said::SetUp(flags & 5).frame());
    }
    for step in input.steps.into_iter().take(STEPS_MAX) {
        take(&mut table, step);
        for event in table.pair.server.events.drain(..) {
            if let Event::Share(share) = event {
                assert!(is_worth_its_work(&share), "{share:?}");
            }
        }
        table.pair.client.events.clear();
        assert!(table.pair.server.session.channels() <= CHANNELS_MAX);
    }
});

fn take(table: &mut Table, step: Step) {
    match step {
        Step::Said(said) => table.pair.command_client(said.frame()),
        Step::Repeated(said, count) => {
            let (now, frame) = (table.pair.now, said.frame());
            for _ in 0..count {
                let _ = table.pair.client.session.handle_command(now, frame.clone());
            }
            table.pair.drive();
        }
        Step::Passed(seconds) => table.wait(Duration::from_secs(seconds.into())),
        Step::Work { tip, is_easy } => table.work(tip, 1, if is_easy { REGTEST } else { HARD }),
        Step::Committed(count) => table.pair.command_server(Command::Committed(count.into())),
        Step::Leave => table.pair.command_server(Command::Leave),
    }
}

/// True if the work that is credited is in the hash.
fn is_worth_its_work(share: &ShareRecord) -> bool {
    // The most significant bytes are the last ones.
    let high = share.hash.last_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    u128::from(high) * share.work.0.saturating_sub(1) <= 1 << 32
}
