//! One client of the Template Distribution Protocol (spec chapter 7), as a state machine.
//!
//! Noise handshake, SetupConnection, CoinbaseOutputConstraints, and from then on templates: one for
//! a new tip goes out as future template with a SetNewPrevHash behind it, one for the same tip is
//! to be mined at once. No I/O, no clock, no randomness of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tracing::debug;
use wire::session::{PeerError, Timers};
use wire::sv2::codec::DecodeError;
use wire::sv2::frame::Frame;
use wire::sv2::link::{Link, LinkLimits};
use wire::sv2::message::Message;
use wire::sv2::noise::ServerIdentity;
use wire::sv2::setup::{
    PROTOCOL_TEMPLATE_DISTRIBUTION, Setup, SetupConnection, SetupConnectionSuccess, VERSION,
    is_setup_message,
};
use wire::sv2::template::{
    CoinbaseOutputConstraints, NewTemplate, RequestTransactionDataError,
    RequestTransactionDataSuccess, SetNewPrevHash, SubmitSolution, TemplateDistribution,
};

/// The protocol defines no flags, so that none can be supported.
const SUPPORTED_FLAGS: u32 = 0;
/// How long the Noise handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long SetupConnection may take after it.
const SETUP_MAX: Duration = Duration::from_secs(10);
/// How long the first CoinbaseOutputConstraints may take. The spec says at once, but a client may
/// have to learn first from its pool what it will add.
const CONSTRAINTS_MAX: Duration = Duration::from_secs(60);
/// How often constraints may change within `CONSTRAINTS_WINDOW`: each may cost a trimmed template.
const CONSTRAINTS_PER_WINDOW_MAX: u32 = 30;
/// See `CONSTRAINTS_PER_WINDOW_MAX`.
const CONSTRAINTS_WINDOW: Duration = Duration::from_secs(60);

/// The longest message of a client is a SubmitSolution with 64 KiB of coinbase. Outwards, the
/// transactions of a block (up to 4 MB) must fit twice beside templates.
const LIMITS: LinkLimits =
    LinkLimits { frame_bytes_max: 66_000, output_bytes_max: 10 * 1024 * 1024 };

/// Signature operations for clients from before the field existed (what bitcoind reserves).
const SIGOPS_OF_OLD_CLIENTS: u16 = 400;

/// What the program tells a session.
#[derive(Debug)]
pub enum Command {
    /// Work for this client.
    Offer(Box<Offer>),
    /// The transactions that the client asked for.
    GiveTransactionData(Box<RequestTransactionDataSuccess>),
    /// Why it does not get them.
    RefuseTransactionData(RequestTransactionDataError),
    /// End the connection.
    Close(&'static str),
}

/// A template with the tip that it builds on.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Counts tips; a tip that the client does not know yet is announced.
    pub tip: u64,
    /// The template. Whether it is a future one is for the session to say.
    pub new_template: NewTemplate,
    /// What announces its tip.
    pub set_new_prev_hash: SetNewPrevHash,
}

/// What a session tells the program.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// The client is who it says it is: vendor and hardware, for the log.
    SetUp {
        /// Manufacturer and program.
        client: String,
    },
    /// The client wants templates with room for its outputs. Again: with another room.
    ConstraintsSet(CoinbaseOutputConstraints),
    /// A template went out.
    TemplateSent {
        /// Its id.
        template_id: u64,
        /// True if a new tip went with it.
        future: bool,
    },
    /// The client wants the transactions of a template.
    TransactionDataRequested {
        /// The template.
        template_id: u64,
    },
    /// The client found a block.
    SolutionSubmitted(SubmitSolution),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    AwaitHandshake,
    AwaitSetup,
    AwaitConstraints,
    Open,
    Finished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    /// What opens the connection must come in time.
    Opening,
}

/// One client's session.
pub struct Session {
    link: Link,
    state: State,
    timers: Timers<Timer>,
    events: VecDeque<Event>,
    /// The tip that the client knows.
    tip: Option<u64>,
    /// Start of the present window, and how often constraints came in it.
    constraints: (Instant, u32),
}

impl Session {
    /// A client has connected. `seed` must be fresh randomness.
    pub fn new(identity: Arc<ServerIdentity>, now: Instant, seed: [u8; 32]) -> Self {
        let mut timers = Timers::default();
        timers.set(Timer::Opening, now + HANDSHAKE_MAX);
        Self {
            link: Link::server(identity, LIMITS, seed),
            state: State::AwaitHandshake,
            timers,
            events: VecDeque::new(),
            tip: None,
            constraints: (now, 0),
        }
    }

    fn handle_frame(&mut self, now: Instant, frame: &Frame) -> Result<(), PeerError> {
        let message_type = frame.header.message_type;
        if frame.header.extension != 0 {
            debug!(extension = frame.header.extension, message_type, "frame discarded");
            return Ok(());
        }
        if self.state == State::AwaitSetup {
            return self.handle_setup(now, frame);
        }
        if is_setup_message(message_type) {
            return Err(PeerError::Misbehaved("a setup message after the setup"));
        }
        match decode(frame) {
            Ok(message) => self.handle_message(now, message),
            Err(DecodeError::UnknownMessage(_)) => {
                debug!(message_type, "unknown message ignored");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn handle_setup(&mut self, now: Instant, frame: &Frame) -> Result<(), PeerError> {
        let message_type = frame.header.message_type;
        if message_type != SetupConnection::MESSAGE_TYPE {
            return Err(PeerError::Misbehaved("the first message must be SetupConnection"));
        }
        let Setup::SetupConnection(setup) = Setup::decode(message_type, &frame.payload)? else {
            return Err(PeerError::Misbehaved("the first message must be SetupConnection"));
        };
        if let Some(refusal) = setup.refusal(PROTOCOL_TEMPLATE_DISTRIBUTION, SUPPORTED_FLAGS) {
            debug!(error = %refusal.error_code.display(), "client refused");
            self.link.send(&refusal)?;
            self.state = State::Finished;
            self.timers.stop(Timer::Opening);
            return Ok(());
        }
        self.link.send(&SetupConnectionSuccess { used_version: VERSION, flags: 0 })?;
        self.state = State::AwaitConstraints;
        self.timers.set(Timer::Opening, now + CONSTRAINTS_MAX);
        let client = format!("{} {}", setup.vendor.display(), setup.hardware_version.display());
        self.events.push_back(Event::SetUp { client });
        Ok(())
    }

    fn handle_message(
        &mut self,
        now: Instant,
        message: TemplateDistribution,
    ) -> Result<(), PeerError> {
        match message {
            TemplateDistribution::CoinbaseOutputConstraints(constraints) => {
                self.count_constraints(now)?;
                self.state = State::Open;
                self.timers.stop(Timer::Opening);
                self.events.push_back(Event::ConstraintsSet(constraints));
            }
            TemplateDistribution::RequestTransactionData(request) => {
                let template_id = request.template_id;
                self.events.push_back(Event::TransactionDataRequested { template_id });
            }
            // Even before the constraints: a client that comes back may have found it elsewhere.
            TemplateDistribution::SubmitSolution(solution) => {
                self.events.push_back(Event::SolutionSubmitted(solution));
            }
            TemplateDistribution::NewTemplate(_)
            | TemplateDistribution::SetNewPrevHash(_)
            | TemplateDistribution::RequestTransactionDataSuccess(_)
            | TemplateDistribution::RequestTransactionDataError(_) => {
                return Err(PeerError::Misbehaved("a client sent a server's message"));
            }
        }
        Ok(())
    }

    fn count_constraints(&mut self, now: Instant) -> Result<(), PeerError> {
        let (start, count) = &mut self.constraints;
        if now.duration_since(*start) >= CONSTRAINTS_WINDOW {
            (*start, *count) = (now, 0);
        }
        *count += 1;
        match *count > CONSTRAINTS_PER_WINDOW_MAX {
            true => Err(PeerError::OverLimit("changes of CoinbaseOutputConstraints")),
            false => Ok(()),
        }
    }

    fn offer(&mut self, offer: Offer) -> Result<(), PeerError> {
        if self.state != State::Open {
            return Ok(());
        }
        let future = self.tip != Some(offer.tip);
        let new_template = NewTemplate { future_template: future, ..offer.new_template };
        self.link.send(&new_template)?;
        if future {
            self.link.send(&offer.set_new_prev_hash)?;
            self.tip = Some(offer.tip);
        }
        let template_id = new_template.template_id;
        self.events.push_back(Event::TemplateSent { template_id, future });
        Ok(())
    }
}

/// Decodes a message; constraints without sigops are those of a client from before they existed.
fn decode(frame: &Frame) -> Result<TemplateDistribution, DecodeError> {
    let message_type = frame.header.message_type;
    let is_old =
        message_type == CoinbaseOutputConstraints::MESSAGE_TYPE && frame.payload.len() == 4;
    if !is_old {
        return TemplateDistribution::decode(message_type, &frame.payload);
    }
    let mut payload = BytesMut::from(frame.payload.as_ref());
    payload.extend_from_slice(&SIGOPS_OF_OLD_CLIENTS.to_le_bytes());
    TemplateDistribution::decode(message_type, &payload)
}

impl wire::session::Session for Session {
    type Command = Command;
    type Event = Event;

    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), PeerError> {
        if self.state == State::Finished {
            return Ok(());
        }
        self.link.receive(bytes)?;
        if self.state == State::AwaitHandshake && self.link.is_open() {
            self.state = State::AwaitSetup;
            self.timers.set(Timer::Opening, now + SETUP_MAX);
        }
        while self.state != State::Finished {
            let Some(frame) = self.link.next_frame()? else { break };
            self.handle_frame(now, &frame)?;
        }
        Ok(())
    }

    fn handle_command(&mut self, _now: Instant, command: Command) -> Result<(), PeerError> {
        match command {
            Command::Offer(offer) => self.offer(*offer),
            Command::GiveTransactionData(data) => self.link.send(&*data),
            Command::RefuseTransactionData(refusal) => self.link.send(&refusal),
            Command::Close(reason) => Err(PeerError::Closed(reason)),
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError> {
        match (self.timers.pop_expired(now), self.state) {
            (None, _) => Ok(()),
            (Some(Timer::Opening), State::AwaitHandshake) => {
                Err(PeerError::TimedOut("the handshake"))
            }
            (Some(Timer::Opening), State::AwaitSetup) => {
                Err(PeerError::TimedOut("SetupConnection"))
            }
            (Some(Timer::Opening), _) => Err(PeerError::TimedOut("CoinbaseOutputConstraints")),
        }
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        self.link.poll_transmit(out)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn is_finished(&self) -> bool {
        self.state == State::Finished
    }
}

#[cfg(test)]
mod tests;
