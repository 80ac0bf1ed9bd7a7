//! The state machine of one miner's connection: which request is answered where.
//!
//! Requests are answered in order. Nothing is sent before the subscribe reply, and between it and
//! the authorize reply nothing at all (rules 9 and 10). Until there is work no line is read: a
//! subscribe could not be answered with an extranonce.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use wire::session::{PeerError, Session, Timers};
use wire::sv1::client::{get_version_line, reconnect_line, show_message_line};
use wire::sv1::line::{LINE_BYTES_MAX, LineBuffer};
use wire::sv1::request::{Id, InvalidParams, Line, Request, read_text};
use wire::sv1::response::{Response, error_line, result_line};

use super::device_kind::DeviceKind;
use super::difficulty::MinerDifficulty;
use super::jobs::SentJobs;
use super::pace::Pace;
use super::replies::Replies;
use super::resume::{Departed, Parked};
use super::{Answers, Command, Event, MinerIdentity, MinerSettings};
use crate::bridge::extranonce::ExtranonceShape;
use crate::bridge::notify::Work;
use crate::bridge::submit::{ShareError, code};
use crate::miners::Hashrate;
use crate::teams::Channels;

/// A connection that has not authorized by then is closed.
const LOGIN_MAX: Duration = Duration::from_secs(30);
/// Requests that may wait for work, in bytes.
const INPUT_BYTES_MAX: usize = 4 * LINE_BYTES_MAX;
/// Answers and jobs that may wait for a miner that does not read, in bytes.
const OUTPUT_BYTES_MAX: usize = 512 * 1024;
/// The id of `client.get_version`: no miner's own, and a number that every miner holds.
const GET_VERSION_ID: u64 = 2_000_000_001;
/// The first byte of a TLS ClientHello.
const TLS_HANDSHAKE: u8 = 0x16;

/// One miner.
pub struct MinerSession {
    pub(super) identity: MinerIdentity,
    pub(super) departed: Departed,
    pub(super) channels: Channels,
    pub(super) answers: Answers,
    pub(super) work: Option<Work>,
    pub(super) agent: Arc<str>,
    /// What is known of miners with that name.
    pub(super) kind: Option<&'static DeviceKind>,
    /// The longest coinbase that the miner was found unable to hold.
    pub(super) too_long_told: usize,
    /// What the miner was told of its extranonce; none until it has subscribed.
    pub(super) shape: Option<ExtranonceShape>,
    /// True if the miner takes `mining.set_extranonce`.
    pub(super) takes_extranonce: bool,
    pub(super) workers: Vec<Arc<str>>,
    pub(super) jobs: SentJobs,
    pub(super) difficulty: MinerDifficulty,
    pub(super) replies: Replies,
    /// Shares that were answered early and have no verdict yet.
    pub(super) without_verdict: usize,
    pub(super) pace: Pace,
    /// True once a share of it was answered with true.
    pub(super) has_earned: bool,
    /// True if it gets no more jobs: it would not understand the extranonce of the next.
    pub(super) is_leaving: bool,
    pub(super) hashrate_told: Hashrate,
    pub(super) timers: Timers<Timer>,
    pub(super) events: VecDeque<Event>,
    pub(super) output: BytesMut,
    pub(super) is_finished: bool,
    input: LineBuffer,
    has_spoken: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// The miner must have authorized.
    Login,
    /// A job with another nTime is due, so that the miner does not think the connection dead.
    Keepalive,
    /// A job could not be sent within the second of the one before.
    NextSecond,
    /// Vardiff looks at silence.
    Vardiff,
    /// What was found before the miner could hear of its end has come.
    Goodbye,
}

impl MinerSession {
    /// A connection that has just been accepted.
    pub fn new(settings: &MinerSettings, identity: MinerIdentity, now: Instant) -> Self {
        let mut timers = Timers::default();
        timers.set(Timer::Login, now + LOGIN_MAX);
        Self {
            difficulty: MinerDifficulty::new(settings, now),
            departed: settings.departed.clone(),
            channels: settings.channels,
            answers: settings.answers,
            identity,
            work: None,
            agent: "".into(),
            kind: None,
            too_long_told: 0,
            shape: None,
            takes_extranonce: false,
            workers: Vec::new(),
            jobs: SentJobs::default(),
            replies: Replies::default(),
            without_verdict: 0,
            pace: Pace::new(settings.lines_per_second_max, now),
            has_earned: false,
            is_leaving: false,
            hashrate_told: Hashrate::default(),
            timers,
            events: VecDeque::new(),
            output: BytesMut::new(),
            is_finished: false,
            input: LineBuffer::new(LINE_BYTES_MAX),
            has_spoken: false,
        }
    }

    /// The session is over: its place is kept for a while, if it was of use to anybody.
    pub fn park(mut self, now: Instant) {
        let Some(shape) = self.shape.filter(|_| self.has_earned) else { return };
        let departed = self.departed.clone();
        self.jobs.condense();
        departed.park(Parked {
            difficulty: self.difficulty.carried(now),
            identity: self.identity,
            shape,
            jobs: self.jobs,
            at: now,
        });
    }

    /// True once the miner gets jobs.
    pub(super) fn is_logged_in(&self) -> bool {
        self.shape.is_some() && !self.workers.is_empty()
    }

    fn read_lines(&mut self, now: Instant) -> Result<(), PeerError> {
        let mut lines = 0_u32;
        while self.work.is_some() && !self.is_finished && !self.replies.is_over() {
            let Some(line) = self.input.next_line()? else { break };
            lines = lines.saturating_add(1);
            // Old firmware writes names in other encodings.
            self.take_line(now, &String::from_utf8_lossy(&line))?;
        }
        self.pace(now, lines);
        match self.input.len() > INPUT_BYTES_MAX {
            true => Err(PeerError::OverLimit("bytes of requests before there is work")),
            false => Ok(()),
        }
    }

    fn take_line(&mut self, now: Instant, line: &str) -> Result<(), PeerError> {
        let request = match Line::parse(line)? {
            Line::Request(request) => request,
            Line::Response(response) => {
                self.take_response(&response);
                return Ok(());
            }
        };
        let Request { id, method, params } = request;
        let answered = match &*method {
            "mining.submit" => {
                self.submit(now, id, &params);
                return Ok(());
            }
            "mining.configure" => self.configure(&params),
            "mining.subscribe" => self.subscribe(now, &params),
            "mining.authorize" => self.authorize(&params),
            "mining.suggest_difficulty" => self.suggest_difficulty(&params),
            "mining.suggest_target" => self.suggest_target(&params),
            "mining.capabilities" => self.take_capabilities(&params),
            "mining.extranonce.subscribe" => {
                self.takes_extranonce = true;
                Ok("true".to_owned())
            }
            "mining.ping" => Ok("\"pong\"".to_owned()),
            // ESP-Miner's answer to a ping looks like a request (rule 6).
            "pong" => return Ok(()),
            "mining.get_transactions" => {
                Err(other("a pool sends no transactions, only their hashes"))
            }
            _ => Err(other("unknown method")),
        };
        self.reply(&id, answered.as_deref());
        match &*method {
            "mining.subscribe" | "mining.authorize" => self.go_on_after_login(now),
            "mining.suggest_difficulty" | "mining.suggest_target" | "mining.capabilities" => {
                self.follow_difficulty(now);
            }
            _ => {}
        }
        Ok(())
    }

    /// Answers a request; one with the id null wants none (rule 3).
    pub(super) fn reply(&mut self, id: &Id, answer: Result<&str, &ShareError>) {
        if id.is_null() {
            return;
        }
        let line = match answer {
            Ok(result) => result_line(id, result),
            Err(error) => error_line(id, error.code, &error.text),
        };
        self.output.extend_from_slice(line.as_bytes());
    }

    fn take_work(&mut self, now: Instant, work: Option<Work>) -> Result<(), PeerError> {
        let Some(work) = work else {
            self.work = None;
            // Who has not subscribed may wait; who mines is sent to its next pool.
            if self.shape.is_some() {
                self.show_message("no valid work for too long: try your next pool");
                self.is_finished = true;
            }
            return Ok(());
        };
        let is_new = self.work.as_ref().is_none_or(|present| {
            !Arc::ptr_eq(&present.job, &work.job) || present.is_held != work.is_held
        });
        self.work = Some(work);
        if is_new {
            self.follow_work(now);
        }
        self.read_lines(now)
    }

    /// The translator shuts down: a miner that mines goes elsewhere if there is an elsewhere, and
    /// in any case (rule 30).
    fn leave(&mut self, elsewhere: Option<&(String, u16)>) {
        if let Some((host, port)) = elsewhere.filter(|_| self.is_logged_in()) {
            self.output.extend_from_slice(reconnect_line(host, *port).as_bytes());
        }
        self.is_finished = true;
    }

    /// Says a sentence to whoever looks at the miner, once it may be spoken to (rule 10).
    pub(super) fn show_message(&mut self, text: &str) {
        if self.is_logged_in() {
            self.output.extend_from_slice(show_message_line(text).as_bytes());
        }
    }

    /// Asks a miner that gave no name what it is.
    pub(super) fn ask_for_agent(&mut self) {
        if self.agent.is_empty() {
            self.output.extend_from_slice(get_version_line(GET_VERSION_ID).as_bytes());
        }
    }

    /// Answers to requests that were never made (a pong) are of no interest.
    fn take_response(&mut self, response: &Response<'_>) {
        let name = response.outcome().ok().and_then(read_text);
        if let Some(name) = name.filter(|_| response.id.number() == Some(GET_VERSION_ID))
            && self.agent.is_empty()
        {
            self.set_agent(&name);
            self.events.push_back(Event::Named { agent: Arc::clone(&self.agent) });
        }
    }

    fn check_output(&self) -> Result<(), PeerError> {
        match self.output.len() > OUTPUT_BYTES_MAX {
            true => Err(PeerError::OverLimit("bytes waiting for a miner that does not read")),
            false => Ok(()),
        }
    }
}

impl Session for MinerSession {
    type Command = Command;
    type Event = Event;

    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), PeerError> {
        if !std::mem::replace(&mut self.has_spoken, true) && bytes.first() == Some(&TLS_HANDSHAKE) {
            return Err(PeerError::Incompatible("TLS on a plain port".into()));
        }
        self.input.receive(bytes);
        self.read_lines(now)?;
        self.check_output()
    }

    fn handle_command(&mut self, now: Instant, command: Command) -> Result<(), PeerError> {
        match command {
            Command::Work(work) => self.take_work(now, work)?,
            Command::Verdict { ticket, verdict } => {
                self.take_verdict(ticket, &verdict);
                if !self.input.is_empty() {
                    self.read_lines(now)?;
                }
            }
            Command::Leave { elsewhere } => self.leave(elsewhere.as_ref()),
        }
        self.check_output()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError> {
        while let Some(timer) = self.timers.pop_expired(now) {
            match timer {
                Timer::Login => return Err(PeerError::TimedOut("subscribe and authorize")),
                Timer::Keepalive | Timer::NextSecond => self.send_job(now),
                Timer::Vardiff => self.check_difficulty(now),
                Timer::Goodbye => self.is_finished = true,
            }
        }
        self.check_output()
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        if self.output.is_empty() {
            return false;
        }
        // Nothing is held back: a miner that has been told its job needs no buffer.
        out.unsplit(std::mem::take(&mut self.output));
        true
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn poll_pause(&self) -> Option<Instant> {
        self.paused_until()
    }

    fn is_finished(&self) -> bool {
        self.is_finished
    }
}

/// A refusal that has no code of its own.
pub(super) fn other(text: &str) -> ShareError {
    ShareError::new(code::OTHER, text)
}

impl From<InvalidParams> for ShareError {
    fn from(error: InvalidParams) -> Self {
        Self::new(code::OTHER, error.0)
    }
}
