//! One miner as a V1 server sees it: it logs in as firmware does, takes jobs, and sends shares on
//! demand.
//!
//! It reads of each line what a share needs and no more, and hashes nothing, as its sibling for
//! Stratum V2. Whatever difficulty it is told, it sends: the server must have been given one that
//! any hash meets.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::BytesMut;
use wire::session::{PeerError, Session};
use wire::sv1::line::LineBuffer;
use wire::sv1::login::{Authorize, Subscribe, Subscribed};
use wire::sv1::notify::Notify;
use wire::sv1::request::{InvalidParams, Line, Request};
use wire::sv1::response::Response;
use wire::sv1::submit;
use wire::sv2::codec::Str255;

use super::{Event, LIMITS, Submit};

/// A job with the largest coinbase and merkle path fits.
const LINE_BYTES_MAX: usize = 512 * 1_024;
/// What it calls itself: firmware that no server has a rule for.
const AGENT: &str = concat!("adit-load/", env!("CARGO_PKG_VERSION"));
const SUBSCRIBE_ID: u64 = 1;
const AUTHORIZE_ID: u64 = 2;
/// A share's id is its sequence number and so much more.
const FIRST_SUBMIT_ID: u64 = 16;
/// What a server says to a share without saying why.
const NO_REASON: &str = "no reason given";
/// The name of a job that no server gives.
const NO_SUCH_JOB: &str = "no-such-job";

struct Job {
    id: Box<str>,
    prev_hash: [u8; 32],
    ntime: u32,
}

/// One miner's connection.
pub struct V1Miner {
    user: Box<str>,
    input: LineBuffer,
    output: BytesMut,
    is_authorized: bool,
    extranonce_2_bytes: usize,
    job: Option<Job>,
    events: VecDeque<Event>,
}

impl V1Miner {
    /// Starts to log in as `user`.
    pub fn new(user: &str) -> Self {
        let mut output = BytesMut::new();
        output.extend_from_slice(Subscribe::line(SUBSCRIBE_ID, AGENT).as_bytes());
        Self {
            user: user.into(),
            input: LineBuffer::new(LINE_BYTES_MAX),
            output,
            is_authorized: false,
            extranonce_2_bytes: 0,
            job: None,
            events: VecDeque::new(),
        }
    }

    /// True once shares can be sent.
    pub fn is_ready(&self) -> bool {
        self.is_authorized && self.job.is_some()
    }

    fn take_line(&mut self, line: &[u8]) -> Result<(), PeerError> {
        match Line::parse(&String::from_utf8_lossy(line))? {
            Line::Request(request) => self.take_request(&request),
            Line::Response(response) => self.take_response(&response),
        }
    }

    fn take_request(&mut self, request: &Request<'_>) -> Result<(), PeerError> {
        match request.method.as_ref() {
            "mining.notify" => self.take_job(Notify::read(&request.params).map_err(misread)?),
            "client.reconnect" => Err(PeerError::Closed("the server asked to reconnect")),
            _ => Ok(()),
        }
    }

    fn take_job(&mut self, notify: Notify) -> Result<(), PeerError> {
        let was_ready = self.is_ready();
        let Notify { job_id, prev_hash, ntime, .. } = notify;
        let is_tip = self.job.as_ref().is_some_and(|job| job.prev_hash != prev_hash);
        self.job = Some(Job { id: job_id.into(), prev_hash, ntime });
        if is_tip && was_ready {
            self.events.push_back(Event::Tip { prev_hash });
        }
        self.say_ready(was_ready);
        Ok(())
    }

    fn say_ready(&mut self, was_ready: bool) {
        if !was_ready && self.is_ready() {
            self.events.push_back(Event::Ready);
        }
    }

    fn take_response(&mut self, response: &Response<'_>) -> Result<(), PeerError> {
        match response.id.number() {
            Some(SUBSCRIBE_ID) => self.take_subscribed(response),
            Some(AUTHORIZE_ID) => {
                if !response.is_true() {
                    let message = format!("the server refused the user {}", self.user);
                    return Err(PeerError::Incompatible(message));
                }
                let was_ready = self.is_ready();
                self.is_authorized = true;
                self.say_ready(was_ready);
                Ok(())
            }
            Some(id) => {
                self.take_verdict(id, response);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn take_subscribed(&mut self, response: &Response<'_>) -> Result<(), PeerError> {
        let result = response.outcome().map_err(|refusal| {
            PeerError::Incompatible(format!("the server refused mining.subscribe: {refusal}"))
        })?;
        self.extranonce_2_bytes = Subscribed::read(result).map_err(misread)?.extranonce_2_bytes;
        let authorize = Authorize::line(AUTHORIZE_ID, &self.user, "x");
        self.output.extend_from_slice(authorize.as_bytes());
        Ok(())
    }

    fn take_verdict(&mut self, id: u64, response: &Response<'_>) {
        let sequence_number = id.checked_sub(FIRST_SUBMIT_ID).and_then(|id| id.try_into().ok());
        let Some(sequence_number) = sequence_number else { return };
        let event = match response.outcome() {
            Ok(_) if response.is_true() => {
                Event::Accepted { last_sequence_number: sequence_number, shares: 1 }
            }
            Ok(_) => Event::Rejected { sequence_number, code: Str255::truncated(NO_REASON) },
            Err(refusal) => {
                Event::Rejected { sequence_number, code: Str255::truncated(&refusal.text) }
            }
        };
        self.events.push_back(event);
    }

    fn submit(&mut self, submit: Submit) -> Result<(), PeerError> {
        let job = self.job.as_ref().ok_or(PeerError::Misbehaved("no job yet"))?;
        if self.output.len() > LIMITS.output_bytes_max {
            return Err(PeerError::OverLimit("bytes waiting for a server that does not read"));
        }
        // Every share rolls its extranonce: the server must hash the whole merkle path.
        let mut extranonce_2 = submit.sequence_number.to_le_bytes().to_vec();
        extranonce_2.resize(self.extranonce_2_bytes, 0);
        let share = submit::Submit {
            worker: (&*self.user).into(),
            job_id: if submit.is_wrong { NO_SUCH_JOB.into() } else { (&*job.id).into() },
            extranonce_2,
            ntime: job.ntime,
            nonce: submit.sequence_number,
            version_bits: None,
        };
        let line = share.line(u64::from(submit.sequence_number) + FIRST_SUBMIT_ID);
        self.output.extend_from_slice(line.as_bytes());
        Ok(())
    }
}

/// A line whose arguments are not what the method takes.
fn misread(InvalidParams(what): InvalidParams) -> PeerError {
    PeerError::Misbehaved(what)
}

impl Session for V1Miner {
    type Command = Submit;
    type Event = Event;

    fn handle_bytes(&mut self, _now: Instant, bytes: &[u8]) -> Result<(), PeerError> {
        self.input.receive(bytes);
        while let Some(line) = self.input.next_line()? {
            self.take_line(&line)?;
        }
        Ok(())
    }

    fn handle_command(&mut self, _now: Instant, submit: Submit) -> Result<(), PeerError> {
        self.submit(submit)
    }

    /// How long a login may take is the crew's rule.
    fn handle_timeout(&mut self, _now: Instant) -> Result<(), PeerError> {
        Ok(())
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        let has_more = !self.output.is_empty();
        out.extend_from_slice(&self.output.split());
        has_more
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSCRIBED: &str =
        "{\"id\":1,\"result\":[[[\"mining.notify\",\"1\"]],\"00000001\",8],\"error\":null}\n";
    const TRUE: &str = ",\"result\":true,\"error\":null}\n";

    fn notify(job: &str, tip: char) -> String {
        let prev_hash: String = std::iter::repeat_n(tip, 64).collect();
        format!(
            "{{\"id\":null,\"method\":\"mining.notify\",\"params\":[\"{job}\",\"{prev_hash}\",\
             \"aa\",\"bb\",[],\"20000000\",\"207fffff\",\"6553f100\",true]}}\n"
        )
    }

    /// A miner that has logged in and has the job `a` on tip 1.
    fn ready() -> V1Miner {
        let mut miner = V1Miner::new("load.7");
        say(&mut miner, SUBSCRIBED);
        say(&mut miner, &format!("{{\"id\":2{TRUE}"));
        assert!(!miner.is_ready(), "there is no job yet");
        say(&mut miner, &notify("a", '1'));
        assert_eq!(miner.poll_event(), Some(Event::Ready));
        sent(&mut miner);
        miner
    }

    fn say(miner: &mut V1Miner, line: &str) {
        miner.handle_bytes(Instant::now(), line.as_bytes()).unwrap();
    }

    fn sent(miner: &mut V1Miner) -> String {
        let mut out = BytesMut::new();
        while miner.poll_transmit(&mut out) {}
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn submitted(miner: &mut V1Miner, sequence_number: u32, is_wrong: bool) -> String {
        miner.handle_command(Instant::now(), Submit { sequence_number, is_wrong }).unwrap();
        sent(miner)
    }

    #[test]
    fn it_asks_for_the_job_only_after_it_has_subscribed() {
        let mut miner = V1Miner::new("load.7");
        assert!(sent(&mut miner).contains("mining.subscribe"));
        say(&mut miner, SUBSCRIBED);
        let authorize = sent(&mut miner);
        assert!(authorize.contains("mining.authorize") && authorize.contains("load.7"));
    }

    #[test]
    fn a_job_on_another_prev_hash_is_a_tip_and_another_job_is_none() {
        let mut miner = ready();
        say(&mut miner, &notify("b", '1'));
        assert_eq!(miner.poll_event(), None);
        say(&mut miner, &notify("c", '2'));
        assert_eq!(miner.poll_event(), Some(Event::Tip { prev_hash: [0x22; 32] }));
    }

    #[test]
    fn each_share_has_an_extranonce_of_its_own_in_the_size_that_was_told() {
        let mut miner = ready();
        let share = submitted(&mut miner, 5, false);
        assert!(share.contains("\"a\",\"0500000000000000\",\"6553f100\",\"00000005\""), "{share}");
        assert!(submitted(&mut miner, 6, true).contains(NO_SUCH_JOB));
    }

    #[test]
    fn answers_are_told_by_the_share_that_they_are_for() {
        let mut miner = ready();
        submitted(&mut miner, 1, false);
        submitted(&mut miner, 2, false);
        say(&mut miner, &format!("{{\"id\":17{TRUE}"));
        let accepted = Event::Accepted { last_sequence_number: 1, shares: 1 };
        assert_eq!(miner.poll_event(), Some(accepted));
        say(&mut miner, "{\"id\":18,\"result\":null,\"error\":[21,\"stale\",null]}\n");
        let rejected = Event::Rejected { sequence_number: 2, code: Str255::truncated("stale") };
        assert_eq!(miner.poll_event(), Some(rejected));
    }
}
