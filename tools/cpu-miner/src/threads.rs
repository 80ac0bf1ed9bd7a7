//! The hashing threads.
//!
//! Each has its own share of the nonces. Between batches of a few milliseconds it looks whether
//! there is other work, counts what it did, and rests if the hashrate is limited.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mining::header::Header;
use mining::target::Target;
use tokio::sync::mpsc;

use crate::desk::Desk;
use crate::scan::Scan;
use crate::work::{Rolls, Share, Work, nonces_of_lane};

/// Nonces between two looks at the desk: some milliseconds on any processor of this century.
const BATCH_NONCES: u64 = 16_384;
/// With a limited hashrate, a batch is at most this long, so that new work is never far off.
const LIMITED_BATCHES_PER_SECOND: u64 = 50;
/// How long the speed is measured.
const MEASURED: Duration = Duration::from_millis(100);

/// How many threads, and how fast.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Number of threads.
    pub threads: u32,
    /// Most hashes per second of all threads together; `None` is as many as there can be.
    pub hashes_per_second_max: Option<u64>,
}

impl Pace {
    /// What one thread may do.
    fn limit_per_thread(self) -> Option<u64> {
        self.hashes_per_second_max.map(|limit| (limit / u64::from(self.threads.max(1))).max(1))
    }
}

/// One thread's tools.
struct Lane {
    desk: Arc<Desk>,
    hashes: Arc<AtomicU64>,
    shares: mpsc::Sender<Share>,
    lane: u32,
    pace: Pace,
}

/// Starts the threads. They add to `hashes`, wait while `shares` is full (the pool's connection is
/// then slower than the threads, which harms nobody) and end when the desk is closed.
pub fn start(
    desk: &Arc<Desk>,
    hashes: &Arc<AtomicU64>,
    shares: &mpsc::Sender<Share>,
    pace: Pace,
) -> std::io::Result<()> {
    for lane in 0..pace.threads {
        let tools = Lane {
            desk: Arc::clone(desk),
            hashes: Arc::clone(hashes),
            shares: shares.clone(),
            lane,
            pace,
        };
        thread::Builder::new().name(format!("hash-{lane}")).spawn(move || tools.run())?;
    }
    Ok(())
}

impl Lane {
    fn run(&self) {
        while let Some((generation, work)) = self.desk.wait() {
            if self.mine(generation, &work).is_none() {
                return;
            }
        }
    }

    /// Hashes on `work` until there is other work; `None` if nobody takes shares any more.
    fn mine(&self, generation: u64, work: &Work) -> Option<()> {
        let mut rolls = Rolls::start();
        let mut brake = Brake::new(self.pace.limit_per_thread());
        loop {
            let header = rolls.header(work, work.received.elapsed());
            let mut scan = Scan::new(&header, work.target);
            let mut nonces = nonces_of_lane(self.lane, self.pace.threads);
            while !nonces.is_empty() {
                if self.desk.generation() != generation {
                    return Some(());
                }
                let end = nonces.end.min(nonces.start.saturating_add(brake.batch_nonces()));
                let found = scan.find(nonces.start..end);
                let next = found.map_or(end, |nonce| u64::from(nonce) + 1);
                self.hashes.fetch_add(next - nonces.start, Ordering::Relaxed);
                brake.rest_after(next - nonces.start);
                nonces.start = next;
                if let Some(nonce) = found {
                    let share = Share {
                        work: work.id,
                        extranonce: rolls.extranonce(&work.merkle),
                        version: header.version,
                        ntime: header.ntime,
                        nonce,
                        hash: Header { nonce, ..header }.hash(),
                    };
                    self.shares.blocking_send(share).ok()?;
                }
            }
            rolls.advance(work);
        }
    }
}

/// Keeps a thread at its limit.
struct Brake {
    limit: Option<u64>,
    started: Instant,
    hashed: u64,
}

impl Brake {
    fn new(limit: Option<u64>) -> Self {
        Self { limit, started: Instant::now(), hashed: 0 }
    }

    fn batch_nonces(&self) -> u64 {
        let limited = self.limit.map(|limit| (limit / LIMITED_BATCHES_PER_SECOND).max(1));
        limited.unwrap_or(BATCH_NONCES).min(BATCH_NONCES)
    }

    /// Sleeps until `hashes` more are within the limit.
    fn rest_after(&mut self, hashes: u64) {
        let Some(limit) = self.limit else { return };
        self.hashed = self.hashed.saturating_add(hashes);
        let due = Duration::from_nanos(
            u64::try_from(u128::from(self.hashed) * 1_000_000_000 / u128::from(limit))
                .unwrap_or(u64::MAX),
        );
        thread::sleep(due.saturating_sub(self.started.elapsed()));
    }
}

/// Measures what `pace` will give, in hashes per second, on one thread for a tenth of a second.
pub fn measure(pace: Pace) -> f64 {
    let header = Header {
        version: 0,
        prev_hash: [0; 32],
        merkle_root: [0; 32],
        ntime: 0,
        nbits: 0,
        nonce: 0,
    };
    let mut scan = Scan::new(&header, Target::from_le_bytes([0; 32]));
    let start = Instant::now();
    let mut hashed = 0_u32;
    while start.elapsed() < MEASURED {
        let from = u64::from(hashed);
        // Nothing meets a target of zero: the result only keeps the work from being left out.
        std::hint::black_box(scan.find(from..from + 1024));
        hashed = hashed.saturating_add(1024);
    }
    let measured = f64::from(hashed) / start.elapsed().as_secs_f64() * f64::from(pace.threads);
    let limit = pace.hashes_per_second_max.map_or(f64::INFINITY, to_f64);
    measured.min(limit)
}

/// A count as a rate: exact below 2^53, which no processor reaches in a second.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a rate for people")]
pub fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::{MerkleSource, WorkId};

    fn easy_work(number: u32) -> Arc<Work> {
        Arc::new(Work {
            id: WorkId { connection: 1, number },
            version: 0x2000_0000,
            rolling_mask: 0,
            prev_hash: [1; 32],
            nbits: 0x207f_ffff,
            min_ntime: 1000,
            received: Instant::now(),
            target: Target::from_difficulty(1e-7),
            merkle: MerkleSource::Fixed([2; 32]),
        })
    }

    fn start_two() -> (Arc<Desk>, mpsc::Receiver<Share>) {
        let desk = Arc::new(Desk::default());
        let (shares, taken) = mpsc::channel(1);
        let pace = Pace { threads: 2, hashes_per_second_max: None };
        start(&desk, &Arc::default(), &shares, pace).unwrap();
        (desk, taken)
    }

    #[test]
    fn threads_find_shares_of_the_present_work_that_meet_its_target() {
        let (desk, mut shares) = start_two();
        let work = easy_work(1);
        desk.put(Some(Arc::clone(&work)));
        for _ in 0..20 {
            let share = shares.blocking_recv().unwrap();
            let mut header = Rolls::start().header(&work, Duration::ZERO);
            header.ntime = share.ntime;
            header.nonce = share.nonce;
            assert_eq!(share.work, work.id);
            assert!(work.target.is_met_by(&header.hash()));
        }
        desk.close();
    }

    #[test]
    fn new_work_replaces_the_old_one_and_a_closed_desk_ends_the_threads() {
        let (desk, mut shares) = start_two();
        desk.put(Some(easy_work(1)));
        assert_eq!(shares.blocking_recv().unwrap().work.number, 1);
        desk.put(Some(easy_work(2)));
        while shares.blocking_recv().unwrap().work.number != 2 {}
        desk.close();
        // The channel ends when the last thread has gone.
        while shares.blocking_recv().is_some() {}
    }

    #[test]
    fn a_limit_holds_over_all_threads() {
        let pace = Pace { threads: 2, hashes_per_second_max: Some(10_000) };
        assert_eq!(pace.limit_per_thread(), Some(5_000));
        let mut brake = Brake::new(pace.limit_per_thread());
        assert_eq!(brake.batch_nonces(), 100);
        let start = Instant::now();
        brake.rest_after(500);
        assert!(start.elapsed() >= Duration::from_millis(95), "{:?}", start.elapsed());
    }
}
