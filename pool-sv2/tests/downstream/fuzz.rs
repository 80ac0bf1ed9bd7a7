//! Whatever a miner says, in whatever order, while work comes and goes: the session never panics,
//! and holds no more than its limits.

use std::time::Duration;

use mining::extranonce::ExtranonceAllocator;
use pool_sv2::downstream::connection::{Command, Event};
use pool_sv2::shares::ShareRecord;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use wire::session::Session;
use wire::sv2::codec::{Bytes32, Str255};
use wire::sv2::frame::EncodedFrame;
use wire::sv2::message::Message;
use wire::sv2::mining::{
    CloseChannel, OpenExtendedMiningChannel, OpenStandardMiningChannel, SubmitSharesExtended,
    SubmitSharesStandard, UpdateChannel,
};
use wire::sv2::setup::{PROTOCOL_MINING, SetupConnection};

use crate::miner::{HARD, REGTEST, TIP_TIME, Table};

/// Channels that one connection may have here.
const CHANNELS_MAX: usize = 4;

/// Something that happens to a connection.
#[derive(Debug, Clone)]
enum Step {
    /// The miner sends a message.
    Said(EncodedFrame),
    /// The miner sends many at once.
    Repeated(EncodedFrame, usize),
    /// Time passes.
    Passed(u64),
    /// There is other work.
    Work { tip: u8, easy: bool },
    /// The ledger has written so many shares, or claims so.
    Committed(usize),
    /// The pool shuts down.
    Leave,
}

fn message<M: Message>(message: &M) -> EncodedFrame {
    EncodedFrame::new(message)
}

/// Ids that are often right.
fn id() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 1_u32..8, 1 => any::<u32>()]
}

fn share() -> impl Strategy<Value = EncodedFrame> {
    let ntime = prop_oneof![8 => TIP_TIME..TIP_TIME + 60, 1 => any::<u32>()];
    let version = prop_oneof![8 => Just(0x2000_0000_u32), 1 => any::<u32>()];
    let extranonce = prop_oneof![4 => vec(any::<u8>(), 8), 1 => vec(any::<u8>(), 0..=32)];
    let fields = (any::<bool>(), id(), any::<u32>(), id(), 0_u32..40, ntime, version, extranonce);
    fields.prop_map(
        |(standard, channel_id, sequence_number, job_id, nonce, ntime, version, extranonce)| {
            if standard {
                let share = SubmitSharesStandard {
                    channel_id,
                    sequence_number,
                    job_id,
                    nonce,
                    ntime,
                    version,
                };
                return message(&share);
            }
            let extranonce = Bytes32::new(&extranonce).unwrap();
            message(&SubmitSharesExtended {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce,
            })
        },
    )
}

fn open() -> impl Strategy<Value = EncodedFrame> {
    let max_target = prop_oneof![3 => Just([0xff; 32]), 1 => any::<[u8; 32]>()];
    let fields = (any::<bool>(), id(), "[a-z\u{0}é.]{0,40}", any::<f32>(), max_target, 0_u16..40);
    fields.prop_map(|(standard, request_id, user, nominal_hash_rate, max_target, size)| {
        let user_identity = Str255::truncated(&user);
        if standard {
            return message(&OpenStandardMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
            });
        }
        message(&OpenExtendedMiningChannel {
            request_id,
            user_identity,
            nominal_hash_rate,
            max_target,
            min_extranonce_size: size,
        })
    })
}

fn frame() -> impl Strategy<Value = EncodedFrame> {
    let update = (id(), any::<f32>(), any::<[u8; 32]>()).prop_map(
        |(channel_id, nominal_hash_rate, maximum_target)| {
            message(&UpdateChannel { channel_id, nominal_hash_rate, maximum_target })
        },
    );
    let close =
        id().prop_map(|channel_id| message(&CloseChannel { channel_id, reason_code: "x".into() }));
    let set_up = any::<u32>().prop_map(|flags| {
        message(&SetupConnection::of_program(PROTOCOL_MINING, flags & 7, "pool", 1, "test"))
    });
    // Well-formed in its header alone.
    let any_frame = (0_u16..4, any::<bool>(), any::<u8>(), vec(any::<u8>(), 0..300)).prop_map(
        |(extension, channel_msg, kind, payload)| {
            EncodedFrame::of_unknown(extension, channel_msg, kind, payload)
        },
    );
    prop_oneof![12 => share(), 8 => open(), 3 => update, 2 => close, 1 => set_up, 1 => any_frame]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => frame().prop_map(Step::Said),
        4 => (frame(), 1_usize..300).prop_map(|(frame, count)| Step::Repeated(frame, count)),
        6 => (0_u64..200).prop_map(Step::Passed),
        4 => (1_u8..4, any::<bool>()).prop_map(|(tip, easy)| Step::Work { tip, easy }),
        4 => (0_usize..50).prop_map(Step::Committed),
        1 => Just(Step::Leave),
    ]
}

fn take(table: &mut Table, step: Step) {
    let now = table.pair.now;
    match step {
        Step::Said(frame) => table.pair.command_client(frame),
        Step::Repeated(frame, count) => {
            for _ in 0..count {
                let _ = table.pair.client.session.handle_command(now, frame.clone());
            }
            table.pair.drive();
        }
        Step::Passed(seconds) => table.wait(Duration::from_secs(seconds)),
        Step::Work { tip, easy } => table.work(tip, 1, if easy { REGTEST } else { HARD }),
        Step::Committed(count) => table.pair.command_server(Command::Committed(count)),
        Step::Leave => table.pair.command_server(Command::Leave),
    }
}

/// True if the work that is credited is in the hash.
fn is_worth_its_work(share: &ShareRecord) -> bool {
    // The most significant bytes are the last ones.
    let high = share.hash.last_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    u128::from(high) * share.work.0.saturating_sub(1) <= 1 << 32
}

/// Flaw 22: no sequence of messages credits work that was not done.
#[test]
fn no_sequence_of_messages_panics_or_outgrows_the_limits_or_is_credited_for_nothing() {
    let config = Config { failure_persistence: None, ..Config::with_cases(32) };
    let steps = (any::<bool>(), vec(step(), 1..60));
    TestRunner::new(config)
        .run(&steps, |(sets_up, steps)| {
            let mut table = Table::with_settings(|settings| {
                settings.extranonces = ExtranonceAllocator::new(100);
                // One hash in four is a share.
                settings.vardiff.min_difficulty = 1e-9;
                settings.limits.channels_per_connection_max = CHANNELS_MAX;
            });
            if sets_up {
                table.set_up(0);
            }
            for step in steps {
                take(&mut table, step);
                for event in table.pair.server.events.drain(..) {
                    if let Event::Share(share) = event {
                        prop_assert!(is_worth_its_work(&share), "{share:?}");
                    }
                }
                table.pair.client.events.clear();
                prop_assert!(table.pair.server.session.channels() <= CHANNELS_MAX);
            }
            Ok(())
        })
        .unwrap();
}
