//! The device's side of Stratum V1: log in, take jobs, send shares.
//!
//! Free of I/O. It bears with what pools in the wild do: unknown methods, missing answers to
//! `mining.configure`, errors in any form.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mining::target::Target;
use mining::version::ROLLING_MASK;
use tracing::{debug, info};
use wire::session::{PeerError, Session, Timers};
use wire::sv1::line::LineBuffer;
use wire::sv1::login::{Authorize, Configure, Subscribe, Subscribed};
use wire::sv1::notify::{Notify, read_difficulty, read_extranonce};
use wire::sv1::request::{InvalidParams, Line, Request};
use wire::sv1::response::{Response, error_line, result_line};
use wire::sv1::submit::{Submit, hex_u32};

use crate::pool::{Event, WorkNames};
use crate::work::{CoinbaseParts, EXTRANONCE_BYTES_MAX, MerkleSource, Share, Work};

/// How long the pool may take to let the device in.
const LOGIN_MAX: Duration = Duration::from_secs(30);
/// A pool that sends nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(180);
/// A job with the largest coinbase and merkle path fits.
const LINE_BYTES_MAX: usize = 512 * 1024;
/// Bytes that may wait for a pool that does not read.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;

const AGENT: &str = concat!("adit-cpu-miner/", env!("CARGO_PKG_VERSION"));

const CONFIGURE_ID: u64 = 1;
const SUBSCRIBE_ID: u64 = 2;
const AUTHORIZE_ID: u64 = 3;
/// Shares have this id and higher ones.
const FIRST_SUBMIT_ID: u64 = 10;

/// `mining.submit` and others: a method that is not known (JSON-RPC).
const ERROR_UNKNOWN_METHOD: i64 = -32_601;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    Login,
    Silence,
}

/// The extranonce as the pool divides it.
#[derive(Debug, Clone)]
struct Extranonce {
    fixed: Vec<u8>,
    rolled_bytes: usize,
}

/// What a share needs beside itself.
#[derive(Debug, Clone)]
struct Job {
    job_id: Arc<str>,
    mask: u32,
}

/// One connection to a pool.
pub struct Sv1Session {
    user: String,
    password: String,
    input: LineBuffer,
    output: BytesMut,
    timers: Timers<Timer>,
    events: VecDeque<Event>,
    authorized: bool,
    /// Before the answer to `mining.subscribe` there is none.
    extranonce: Option<Extranonce>,
    mask: u32,
    target: Target,
    tip: Option<[u8; 32]>,
    names: WorkNames<Job>,
    next_submit_id: u64,
}

impl Sv1Session {
    /// Starts to log in. `connection` counts the connections of this process.
    pub fn new(user: String, password: String, now: Instant, connection: u32) -> Self {
        let mut timers = Timers::default();
        timers.set(Timer::Login, now + LOGIN_MAX);
        let mut output = BytesMut::new();
        let configure = Configure::version_rolling_line(CONFIGURE_ID, ROLLING_MASK);
        output.extend_from_slice(configure.as_bytes());
        output.extend_from_slice(Subscribe::line(SUBSCRIBE_ID, AGENT).as_bytes());
        Self {
            user,
            password,
            input: LineBuffer::new(LINE_BYTES_MAX),
            output,
            timers,
            events: VecDeque::new(),
            authorized: false,
            extranonce: None,
            mask: 0,
            // What a pool means that never says a difficulty.
            target: Target::from_difficulty(1.0),
            tip: None,
            names: WorkNames::new(connection),
            next_submit_id: FIRST_SUBMIT_ID,
        }
    }

    fn take_response(&mut self, response: &Response<'_>) -> Result<(), PeerError> {
        match response.id.number() {
            Some(CONFIGURE_ID) => {
                // A pool that does not know the method lets no version be rolled.
                let mask = response.outcome().ok().and_then(Configure::granted_mask);
                self.mask = mask.unwrap_or(0) & ROLLING_MASK;
                Ok(())
            }
            Some(SUBSCRIBE_ID) => self.take_subscribed(response),
            Some(AUTHORIZE_ID) => self.take_authorized(response),
            Some(id) if id >= FIRST_SUBMIT_ID => {
                self.take_verdict(response);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn take_subscribed(&mut self, response: &Response<'_>) -> Result<(), PeerError> {
        let result = response.outcome().map_err(|refusal| {
            PeerError::Incompatible(format!("the pool refused mining.subscribe: {refusal}"))
        })?;
        let subscribed = Subscribed::read(result).map_err(misread)?;
        self.set_extranonce(subscribed.extranonce_1, subscribed.extranonce_2_bytes)?;
        self.send(&Authorize::line(AUTHORIZE_ID, &self.user, &self.password))
    }

    fn take_authorized(&mut self, response: &Response<'_>) -> Result<(), PeerError> {
        if !response.is_true() {
            let reason = response.outcome().err().map_or_else(String::new, |refusal| refusal.text);
            let message = format!("the pool refused the user {}: {reason}", self.user);
            return Err(PeerError::Incompatible(message));
        }
        if !self.authorized {
            self.authorized = true;
            self.timers.stop(Timer::Login);
            self.events.push_back(Event::Ready);
        }
        Ok(())
    }

    fn take_verdict(&mut self, response: &Response<'_>) {
        let event = match response.outcome() {
            Ok(_) if response.is_true() => Event::Accepted { shares: 1 },
            Ok(_) => Event::Rejected { reason: "no reason given".to_owned() },
            Err(refusal) => Event::Rejected { reason: refusal.text },
        };
        self.events.push_back(event);
    }

    fn take_request(&mut self, now: Instant, request: &Request<'_>) -> Result<(), PeerError> {
        let Request { id, method, params } = request;
        match method.as_ref() {
            "mining.notify" => self.take_job(now, Notify::read(params).map_err(misread)?),
            "mining.set_difficulty" => {
                let difficulty = read_difficulty(params).map_err(misread)?;
                self.target = Target::from_difficulty(difficulty);
                Ok(())
            }
            "mining.set_extranonce" => {
                let (fixed, rolled_bytes) = read_extranonce(params).map_err(misread)?;
                self.set_extranonce(fixed, rolled_bytes)
            }
            "mining.set_version_mask" => {
                let mask = params.elements().ok().and_then(|elements| elements.text(0));
                self.mask = mask.and_then(|text| hex_u32(&text)).unwrap_or(0) & ROLLING_MASK;
                Ok(())
            }
            "client.reconnect" => Err(PeerError::Closed("the pool asked to reconnect")),
            "client.show_message" => {
                let text = params.elements().ok().and_then(|elements| elements.text(0));
                info!(message_of_pool = text.as_deref().unwrap_or_default(), "message shown");
                Ok(())
            }
            "client.get_version" => self.send(&result_line(id, &format!("\"{AGENT}\""))),
            "mining.ping" => self.send(&result_line(id, "\"pong\"")),
            _ if id.is_null() => {
                debug!(%method, "unknown notification ignored");
                Ok(())
            }
            _ => self.send(&error_line(id, ERROR_UNKNOWN_METHOD, "unknown method")),
        }
    }

    fn set_extranonce(&mut self, fixed: Vec<u8>, rolled_bytes: usize) -> Result<(), PeerError> {
        if rolled_bytes == 0 || rolled_bytes > EXTRANONCE_BYTES_MAX {
            let message = format!("an extranonce2 of {rolled_bytes} bytes cannot be rolled");
            return Err(PeerError::Incompatible(message));
        }
        self.extranonce = Some(Extranonce { fixed, rolled_bytes });
        Ok(())
    }

    fn take_job(&mut self, now: Instant, job: Notify) -> Result<(), PeerError> {
        let extranonce = self
            .extranonce
            .clone()
            .ok_or(PeerError::Misbehaved("a job before the subscription"))?;
        if job.clean_jobs || self.tip != Some(job.prev_hash) {
            self.names.clear();
            self.tip = Some(job.prev_hash);
        }
        let id = self.names.name(Job { job_id: job.job_id.into(), mask: self.mask });
        let mut prefix = job.coinbase_1;
        prefix.extend_from_slice(&extranonce.fixed);
        self.events.push_back(Event::Work(Arc::new(Work {
            id,
            version: job.version,
            rolling_mask: self.mask,
            prev_hash: job.prev_hash,
            nbits: job.nbits,
            min_ntime: job.ntime,
            received: now,
            target: self.target,
            merkle: MerkleSource::Rolled(CoinbaseParts {
                prefix,
                extranonce_bytes: extranonce.rolled_bytes,
                suffix: job.coinbase_2,
                path: job.merkle_path,
            }),
        })));
        Ok(())
    }

    fn send(&mut self, line: &str) -> Result<(), PeerError> {
        if self.output.len() + line.len() > OUTPUT_BYTES_MAX {
            return Err(PeerError::OverLimit("bytes waiting for a pool that does not read"));
        }
        self.output.extend_from_slice(line.as_bytes());
        Ok(())
    }
}

/// A line whose arguments are not what the method takes.
fn misread(InvalidParams(what): InvalidParams) -> PeerError {
    PeerError::Misbehaved(what)
}

impl Session for Sv1Session {
    type Command = Share;
    type Event = Event;

    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), PeerError> {
        self.timers.set(Timer::Silence, now + SILENCE_MAX);
        self.input.receive(bytes);
        while let Some(line) = self.input.next_line()? {
            match Line::parse(&String::from_utf8_lossy(&line))? {
                Line::Request(request) => self.take_request(now, &request)?,
                Line::Response(response) => self.take_response(&response)?,
            }
        }
        Ok(())
    }

    fn handle_command(&mut self, _now: Instant, share: Share) -> Result<(), PeerError> {
        let Some(Job { job_id, mask }) = self.names.job(share.work).cloned() else {
            self.events.push_back(Event::Withheld);
            return Ok(());
        };
        let submit = Submit {
            worker: self.user.as_str().into(),
            job_id: job_id.as_ref().into(),
            extranonce_2: share.extranonce,
            ntime: share.ntime,
            nonce: share.nonce,
            version_bits: (mask != 0).then_some(share.version & mask),
        };
        let line = submit.line(self.next_submit_id);
        self.next_submit_id = self.next_submit_id.wrapping_add(1).max(FIRST_SUBMIT_ID);
        self.send(&line)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError> {
        match self.timers.pop_expired(now) {
            Some(Timer::Login) => Err(PeerError::TimedOut("the pool did not let the device in")),
            Some(Timer::Silence) => Err(PeerError::TimedOut("the pool sent nothing")),
            None => Ok(()),
        }
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        if self.output.is_empty() {
            return false;
        }
        out.unsplit(self.output.split());
        true
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }
}
