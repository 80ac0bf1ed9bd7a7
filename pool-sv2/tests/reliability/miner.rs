//! A miner on a standard channel that floods a pool with shares, and knows which of them were
//! acknowledged: by the more significant half of their header's hash, as the log does.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use mining::hash::double_sha256;
use service::clock;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use wire::sv2::codec::Str255;
use wire::sv2::keys::AuthorityKey;
use wire::sv2::link::Link;
use wire::sv2::mining::{
    Mining, NewMiningJob, OpenStandardMiningChannel, SetNewPrevHash, SubmitSharesStandard,
};
use wire::sv2::setup::{PROTOCOL_MINING, REQUIRES_STANDARD_JOBS, SetupConnection};

use super::talk::{LIMITS, Talk};

/// Shares that wait for their answer.
const WINDOW: usize = 200;
/// Each share of this number is sent twice, and the second must be rejected.
const TWICE: u32 = 50;

/// An acknowledgement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said {
    /// Nanoseconds since 1970 at which it was heard.
    pub(crate) time_ns: u128,
    /// Upper half of the share's hash.
    pub(crate) hash: u128,
}

/// What all miners of a pool's life have heard.
#[derive(Default)]
pub(crate) struct Heard {
    /// In the order of their times.
    acknowledged: Mutex<Vec<Said>>,
    /// Told at each acknowledgement.
    news: Notify,
}

impl Heard {
    pub(crate) fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// The hashes that were acknowledged.
    pub(crate) fn take(&self) -> Vec<u128> {
        self.said().into_iter().map(|said| said.hash).collect()
    }

    pub(crate) fn said(&self) -> Vec<Said> {
        std::mem::take(&mut self.acknowledged.lock().unwrap())
    }
}

/// Waits until more than `count` shares are acknowledged; panics if that takes longer.
pub(crate) async fn acknowledged_beyond(heard: &Heard, count: usize, within: Duration) {
    let more = async {
        while heard.count() <= count {
            heard.news.notified().await;
        }
    };
    assert!(timeout(within, more).await.is_ok(), "no acknowledgement within {within:?}");
}

struct Miner {
    talk: Talk,
    channel_id: u32,
    job: Option<NewMiningJob>,
    tip: Option<SetNewPrevHash>,
    next: u32,
    /// Sequence numbers and hashes; no hash for a share that must be rejected.
    waiting: VecDeque<(u32, Option<u128>)>,
    heard: Arc<Heard>,
}

/// Mines until the pool is gone; all that it said until then was heard.
pub(crate) async fn mine(
    address: SocketAddr,
    key: AuthorityKey,
    name: String,
    heard: Arc<Heard>,
) -> Result<()> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let link = Link::client(Some(key), LIMITS, clock::fresh_seed(), clock::unix_now_seconds());
    let mut talk = Talk { stream, link };
    talk.shake_hands().await?;
    let flags = REQUIRES_STANDARD_JOBS;
    talk.send(&SetupConnection::of_program(PROTOCOL_MINING, flags, "pool", 1, "test")).await?;
    talk.frame().await?;
    talk.send(&OpenStandardMiningChannel {
        request_id: 1,
        user_identity: Str255::truncated(&name),
        nominal_hash_rate: 1.0,
        max_target: [0xff; 32],
    })
    .await?;
    let mut miner = Miner {
        talk,
        channel_id: 0,
        job: None,
        tip: None,
        next: 1,
        waiting: VecDeque::new(),
        heard,
    };
    loop {
        miner.submit()?;
        let frame = miner.talk.frame().await?;
        miner.hear(Mining::decode(frame.header.message_type, &frame.payload)?)?;
    }
}

impl Miner {
    fn hear(&mut self, message: Mining) -> Result<()> {
        match message {
            Mining::OpenStandardMiningChannelSuccess(open) => self.channel_id = open.channel_id,
            Mining::NewMiningJob(job) => self.job = Some(job),
            Mining::SetNewPrevHash(tip) => self.tip = Some(tip),
            Mining::SubmitSharesSuccess(success) => {
                let mut acknowledged = self.heard.acknowledged.lock().unwrap();
                let time_ns = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
                while let Some((number, hash)) = self.waiting.front().copied()
                    && number <= success.last_sequence_number
                {
                    self.waiting.pop_front();
                    acknowledged.extend(hash.map(|hash| Said { time_ns, hash }));
                    assert!(hash.is_some(), "the same share was accepted twice");
                }
                self.heard.news.notify_one();
            }
            Mining::SubmitSharesError(error) => {
                let at = self.waiting.iter().position(|it| it.0 == error.sequence_number);
                let rejected = at.and_then(|at| self.waiting.remove(at));
                assert!(matches!(rejected, Some((_, None))), "{}", error.error_code.display());
            }
            Mining::OpenMiningChannelError(error) => bail!("{}", error.error_code.display()),
            _ => {}
        }
        Ok(())
    }

    /// Fills up the window.
    fn submit(&mut self) -> Result<()> {
        let (Some(job), Some(tip)) = (self.job.clone(), self.tip.clone()) else {
            return Ok(());
        };
        let ntime = job.min_ntime.unwrap_or(tip.min_ntime).max(tip.min_ntime);
        while self.waiting.len() < WINDOW {
            let number = self.next;
            self.next += 1;
            let is_second = number.is_multiple_of(TWICE);
            let nonce = if is_second { number - 1 } else { number };
            let share = SubmitSharesStandard {
                channel_id: self.channel_id,
                sequence_number: number,
                job_id: job.job_id,
                nonce,
                ntime,
                version: job.version,
            };
            self.talk.link.send(&share)?;
            let hash = (!is_second).then(|| hash_high(&job, &tip, ntime, nonce));
            self.waiting.push_back((number, hash));
        }
        Ok(())
    }
}

fn hash_high(job: &NewMiningJob, tip: &SetNewPrevHash, ntime: u32, nonce: u32) -> u128 {
    let mut header = Vec::with_capacity(80);
    header.extend_from_slice(&job.version.to_le_bytes());
    header.extend_from_slice(&tip.prev_hash);
    header.extend_from_slice(&job.merkle_root);
    for number in [ntime, tip.nbits, nonce] {
        header.extend_from_slice(&number.to_le_bytes());
    }
    u128::from_le_bytes(double_sha256(&header)[16..].try_into().unwrap())
}
