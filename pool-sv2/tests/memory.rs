//! What a connection can be made to hold: a miner that sends all that makes a pool remember gets it
//! to a bound, and not beyond.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    dead_code,
    reason = "a test says what it expects, and shares its miner with others"
)]

#[path = "downstream/miner.rs"]
mod miner;

use std::sync::Arc;
use std::time::Instant;

use allocation_counter::measure;
use bytes::BytesMut;
use miner::{HARD, OpenExtended, Table};
use pool_sv2::downstream::connection::{Command, Limits};
use pool_sv2::roster::{ChannelNow, Roster, Tally};
use pool_sv2::shares::Earner;
use tokio_util::sync::CancellationToken;
use wire::session::{PeerError, Session};
use wire::sv2::codec::List;
use wire::sv2::extensions::{RequestExtensions, WORKER_HASHRATE_TRACKING};
use wire::sv2::frame::EncodedFrame;
use wire::sv2::mining::{CloseChannel, Mining, SubmitSharesExtended};

const CHANNELS: usize = 20;
/// On each channel in a round, each with the name of a worker of its own.
const SHARES: u32 = 1_000;
/// Less than what three tips bring.
const REMEMBERED_MAX: usize = 50_000;
const ROUNDS_A_TIP: u32 = 2;
/// After so many rounds everything that has a limit is at it, and the last tip has come.
const FULL: u32 = 8;
const ROUNDS: u32 = 14;

struct Flood {
    table: Table,
    channels: Vec<OpenExtended>,
    job_id: u32,
    sent: u32,
    /// Bytes that the pool's session holds, without those of its start.
    held: i64,
    /// The most that it held.
    held_max: i64,
}

impl Flood {
    fn new(limits: Limits) -> Self {
        let mut table = Table::with_settings(|settings| {
            settings.vardiff.shares_per_minute = 1e9;
            settings.vardiff.search_shares_per_minute = 1e9;
            settings.limits = limits;
        });
        table.work(1, 1, HARD);
        table.set_up(0);
        let requested_extensions = List::new(vec![WORKER_HASHRATE_TRACKING]).unwrap();
        table.send(&RequestExtensions { request_id: 9, requested_extensions });
        table.frame();
        let name = |index: usize| format!("{index}.{}", "x".repeat(250));
        let channels = (0..CHANNELS).map(|index| table.open_extended_as(&name(index)));
        let channels = channels.collect::<Vec<_>>();
        let job_id = channels.last().unwrap().job.job_id;
        Self { table, channels, job_id, sent: 0, held: 0, held_max: 0 }
    }

    /// Lets the pool's session do something, and counts what it keeps of it.
    fn server<T>(&mut self, act: impl FnOnce(&mut Table) -> T) -> T {
        let (table, mut done) = (&mut self.table, None);
        let counted = measure(|| done = Some(act(table)));
        let most = i64::try_from(counted.bytes_max).unwrap();
        self.held_max = self.held_max.max(self.held + most);
        self.held += counted.bytes_current;
        done.unwrap()
    }

    fn take_work(&mut self, tip: u8) {
        let work = Arc::new(miner::work(tip, u64::from(tip), HARD, self.table.pair.now));
        self.server(|table| {
            let (now, server) = (table.pair.now, &mut table.pair.server.session);
            server.handle_command(now, Command::Work(work)).unwrap();
        });
        self.read();
    }

    /// The miner reads, and learns of a new job.
    fn read(&mut self) {
        let mut out = BytesMut::new();
        while self.server(|table| table.pair.server.session.poll_transmit(&mut out)) {}
        let client = &mut self.table.pair.client.session;
        client.handle_bytes(self.table.pair.now, &out).unwrap();
        self.held -= i64::try_from(out.capacity()).unwrap();
        while let Some(frame) = client.poll_event() {
            if let Ok(Mining::NewExtendedMiningJob(job)) =
                Mining::decode(frame.header.message_type, &frame.payload)
            {
                self.job_id = job.job_id;
            }
        }
    }

    fn share(&mut self, channel: usize) -> EncodedFrame {
        self.sent += 1;
        let share = self.channels.get(channel).unwrap().share(self.sent);
        let share = SubmitSharesExtended { job_id: self.job_id, ..share };
        let name = format!("{:0>32}", self.sent);
        EncodedFrame::with_appended(&share, &[b"\0\x02\x01\0\x20", name.as_bytes()].concat())
    }

    /// Sends frames, and drops the events that come of them.
    fn submit(&mut self, frames: &[EncodedFrame]) -> Result<(), PeerError> {
        let client = &mut self.table.pair.client.session;
        for frame in frames {
            client.handle_command(self.table.pair.now, frame.clone()).unwrap();
        }
        let mut sealed = BytesMut::new();
        while client.poll_transmit(&mut sealed) {}
        self.server(|table| {
            let (now, server) = (table.pair.now, &mut table.pair.server.session);
            for piece in sealed.chunks(16 * 1024) {
                server.handle_bytes(now, piece)?;
                while server.poll_event().is_some() {}
            }
            Ok(())
        })
    }

    fn round(&mut self) {
        for channel in 0..CHANNELS {
            let frames: Vec<_> = (0..SHARES).map(|_| self.share(channel)).collect();
            self.submit(&frames).unwrap();
            let count = usize::try_from(SHARES).unwrap();
            self.server(|table| {
                let (now, server) = (table.pair.now, &mut table.pair.server.session);
                server.handle_command(now, Command::Committed(count)).unwrap();
            });
            self.read();
        }
    }
}

fn limits() -> Limits {
    Limits {
        channels_per_connection_max: CHANNELS,
        remembered_shares_max: REMEMBERED_MAX,
        shares_per_second_max: 10_000_000,
        ..Limits::default()
    }
}

#[test]
fn what_a_miner_makes_a_session_remember_stops_growing_below_the_bound() {
    let bound = i64::try_from(limits().session_bytes_max()).unwrap();
    let mut flood = Flood::new(limits());
    let mut held = Vec::new();
    for round in 0..ROUNDS {
        if round < FULL && round % ROUNDS_A_TIP == 0 {
            flood.take_work(u8::try_from(2 + round / ROUNDS_A_TIP).unwrap());
        }
        flood.round();
        held.push(flood.held);
    }
    let (growing, full) = held.split_at(usize::try_from(FULL).unwrap());
    let most = growing.iter().max().unwrap();
    assert!(full.iter().all(|held| held <= most), "{held:?}");
    // What cannot be remembered was refused; the miner is there, and its channels can be closed.
    assert!(flood.held_max < bound, "{} of {bound}", flood.held_max);
    let close = |channel_id| CloseChannel { channel_id, reason_code: "x".into() };
    let ids: Vec<_> = flood.channels.iter().map(|open| open.channel.channel_id).collect();
    let frames: Vec<_> = ids.into_iter().map(|id| EncodedFrame::new(&close(id))).collect();
    flood.submit(&frames).unwrap();
    assert!(flood.held < most / 10, "{} of {most} are left", flood.held);
}

/// Answers pile up for a miner that does not read: up to a bound, which ends its connection.
#[test]
fn answers_that_nobody_reads_end_the_session_below_the_bound() {
    let bound = i64::try_from(limits().session_bytes_max()).unwrap();
    let mut flood = Flood::new(limits());
    let unknown = SubmitSharesExtended { job_id: u32::MAX, ..flood.channels[0].share(1) };
    let frames = vec![EncodedFrame::new(&unknown); 2_000];
    let ended = loop {
        if let Err(error) = flood.submit(&frames) {
            break error;
        }
        assert!(flood.held_max < bound, "{} of {bound}", flood.held_max);
    };
    assert!(matches!(ended, PeerError::OverLimit(_)), "{ended:?}");
    assert!(flood.held_max < bound, "{} of {bound}", flood.held_max);
}

/// What people are shown of a connection is a small part of what it takes (docs/benchmarks.md).
#[test]
fn a_connections_place_on_the_roster_takes_half_a_kibibyte_and_is_given_back() {
    const CONNECTIONS: usize = 1_000;
    let (roster, shutdown) = (Roster::default(), CancellationToken::new());
    let earner = Arc::new(Earner::named("farm", "rig"));
    let mut there = Vec::with_capacity(CONNECTIONS);
    let mut come = || {
        let peer = ([203, 0, 113, 1], 4_711).into();
        let one = roster.enter(peer, 0, &shutdown);
        // It tells of itself again and again.
        for _ in 0..3 {
            let earner = Arc::clone(&earner);
            let tally = Tally::new(Instant::now());
            let channel = ChannelNow { id: 2, is_standard: true, earner, difficulty: 1.0, tally };
            one.show(vec![channel]);
        }
        there.push(one);
    };
    let held = measure(|| (0..CONNECTIONS).for_each(|_| come())).bytes_current;
    let of_one = held / i64::try_from(CONNECTIONS).unwrap();
    assert!((200..=512).contains(&of_one), "{of_one} bytes");
    let left = held + measure(|| drop(there)).bytes_current;
    assert!(left < held / 10, "{left} of {held} bytes are left");
}
