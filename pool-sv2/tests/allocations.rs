//! What an accepted share allocates once a connection has warmed up: nothing of its own, from its
//! encrypted bytes to the acknowledgement's. What a batch of shares takes is named here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    dead_code,
    reason = "a test says what it expects, and shares its miner with others"
)]

#[path = "downstream/miner.rs"]
mod miner;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use allocation_counter::measure;
use bytes::BytesMut;
use miner::{HARD, Table};
use pool_sv2::downstream::connection::{Command, Event};
use pool_sv2::shares::{self, Gathered, ShareQueue, ShareSender};
use wire::session::Session;
use wire::sv2::frame::EncodedFrame;
use wire::sv2::message::Message;
use wire::sv2::mining::{Mining, SubmitSharesSuccess};
use wire::sv2::setup::REQUIRES_STANDARD_JOBS;

/// Shares that arrive together.
const BATCH: u32 = 32;
/// Batches before anything is counted, and those that are. The table of the shares that were seen
/// doubles at 3,584 and at 7,168 of them (7/8 of a power of two): between the two it has room.
const WARM_UP: u32 = 120;
const COUNTED: u32 = 64;

/// Allocations for each hand-over to the ledger, however many shares are in it: the list of them.
const HAND_OVER: u64 = 1;
/// The queue to the ledger has room in blocks of so many hand-overs; each block is one allocation.
const QUEUE_BLOCK: u32 = 32;
/// Allocations for each acknowledgement, however many shares are in it: what each channel gets.
const ACKNOWLEDGEMENT: u64 = 1;

/// A miner with one channel, the pool's end of its connection, and the way to the ledger and back.
struct Bench {
    table: Table,
    now: Instant,
    sender: ShareSender,
    queue: ShareQueue,
    batch: Gathered,
    out: BytesMut,
}

impl Bench {
    fn new(flags: u32) -> Self {
        // More shares are wanted than come: the target stays.
        let mut table = Table::with_settings(|settings| {
            settings.vardiff.shares_per_minute = 1e7;
            settings.vardiff.search_shares_per_minute = 1e7;
            // All of them come at one moment; whoever is slowed down is counted, by name.
            settings.limits.shares_per_second_max = 1_000_000;
        });
        table.work(1, 1, HARD);
        table.set_up(flags);
        let (sender, queue) = shares::queue();
        let (batch, out) = (Gathered::default(), BytesMut::new());
        Self { now: table.pair.now, table, sender, queue, batch, out }
    }

    /// The encrypted bytes of a batch.
    fn sealed<M: Message>(&mut self, share: impl Fn(u32) -> M, batch: u32) -> BytesMut {
        let client = &mut self.table.pair.client.session;
        let mut sealed = BytesMut::new();
        for number in batch * BATCH..(batch + 1) * BATCH {
            client.handle_command(self.now, EncodedFrame::new(&share(number))).unwrap();
        }
        while client.poll_transmit(&mut sealed) {}
        sealed
    }

    /// Decodes, judges and accepts.
    fn submit(&mut self, sealed: &BytesMut) {
        let server = &mut self.table.pair.server.session;
        server.handle_bytes(self.now, sealed).unwrap();
        while let Some(event) = server.poll_event() {
            let Event::Share(share) = event else { panic!("{event:?}") };
            self.batch.shares.push(share);
        }
        assert_eq!(
            self.batch.shares.len(),
            usize::try_from(BATCH).unwrap(),
            "a share was rejected"
        );
    }

    /// Hands over, as the program does, and takes it out at the ledger's end.
    fn hand_over(&mut self) {
        let count = self.batch.shares.len();
        {
            let mut sending = pin!(self.sender.send(&mut self.batch));
            let mut context = Context::from_waker(Waker::noop());
            assert!(matches!(sending.as_mut().poll(&mut context), Poll::Ready(Some(_))));
        }
        self.batch.shares.reserve(count);
        let batch = self.queue.take().unwrap();
        self.queue.publish(&[batch.ticket]);
    }

    /// Encrypts the acknowledgement.
    fn acknowledge(&mut self) {
        let server = &mut self.table.pair.server.session;
        let count = usize::try_from(BATCH).unwrap();
        server.handle_command(self.now, Command::Committed(count)).unwrap();
        self.out.clear();
        assert!(server.poll_transmit(&mut self.out));
    }

    /// The miner reads what was encrypted last.
    fn read(&mut self) -> SubmitSharesSuccess {
        self.table.pair.client.session.handle_bytes(self.now, &self.out).unwrap();
        let frame = self.table.pair.client.session.poll_event().unwrap();
        match Mining::decode(frame.header.message_type, &frame.payload).unwrap() {
            Mining::SubmitSharesSuccess(success) => success,
            other => panic!("{other:?}"),
        }
    }

    /// Allocations of the three steps, all counted batches together.
    fn count<M: Message>(&mut self, share: impl Fn(u32) -> M) -> [u64; 3] {
        let mut counts = [0; 3];
        for batch in 0..WARM_UP + COUNTED {
            let sealed = self.sealed(&share, batch);
            let steps = [
                measure(|| self.submit(&sealed)),
                measure(|| self.hand_over()),
                measure(|| self.acknowledge()),
            ];
            assert_eq!(self.read().new_submits_accepted_count, BATCH);
            if batch >= WARM_UP {
                for (count, step) in counts.iter_mut().zip(steps) {
                    *count += step.count_total;
                }
            }
        }
        counts
    }
}

fn assert_named(counts: [u64; 3]) {
    let [submitted, handed_over, acknowledged] = counts;
    let batches = u64::from(COUNTED);
    let blocks = u64::from(COUNTED.div_ceil(QUEUE_BLOCK));
    assert_eq!(submitted, 0, "allocations from bytes to verdicts");
    assert!(handed_over <= batches * HAND_OVER + blocks, "{handed_over} to hand over");
    assert!(acknowledged <= batches * ACKNOWLEDGEMENT, "{acknowledged} to acknowledge");
}

#[test]
fn an_accepted_extended_share_allocates_nothing_of_its_own() {
    let mut bench = Bench::new(0);
    let open = bench.table.open_extended();
    assert_named(bench.count(|number| open.share(number)));
}

#[test]
fn an_accepted_standard_share_allocates_nothing_of_its_own() {
    let mut bench = Bench::new(REQUIRES_STANDARD_JOBS);
    let open = bench.table.open_standard();
    assert_named(bench.count(|number| open.share(number)));
}
