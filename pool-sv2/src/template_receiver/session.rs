//! One connection to a template provider (spec chapter 7), as a state machine.
//!
//! It gives a template only together with the tip that it builds on. What a template is worth, and
//! what is done with it, is not decided here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mining::share::Solution;
use mining::target::Target;
use mining::template::{ChainTip, Template};
use tracing::{debug, trace};
use wire::session::{PeerError, Session, Timers};
use wire::sv2::codec::{Blob, DecodeError};
use wire::sv2::frame::Frame;
use wire::sv2::link::{Link, LinkLimits};
use wire::sv2::setup::{PROTOCOL_TEMPLATE_DISTRIBUTION, Setup, SetupConnection, is_setup_message};
use wire::sv2::template::{
    CoinbaseOutputConstraints, NewTemplate, SetNewPrevHash, SubmitSolution, TemplateDistribution,
};

/// What the link may hold. A pool never asks for transaction data, so no message is larger than a
/// template with 64 KiB of outputs and 255 merkle hashes.
pub const LIMITS: LinkLimits = LinkLimits { frame_bytes_max: 1 << 17, output_bytes_max: 8 << 20 };

/// Handshake and setup must be done within this.
const SETUP_MAX: Duration = Duration::from_secs(10);
/// Future templates that are kept; the oldest goes first.
const FUTURE_TEMPLATES_MAX: usize = 16;

/// What the pool tells the session.
#[derive(Debug)]
pub enum Command {
    /// Send a solution at once.
    Submit(Solution),
}

/// What the session tells the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The provider accepted the connection.
    Ready,
    /// A template to mine on now, with its tip.
    Template(Arc<ChainTip>, Arc<Template>),
}

/// What the pool needs of each template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Constraints {
    /// Serialised bytes of the outputs that the pool adds.
    pub output_bytes_max: u32,
    /// Signature operations of those outputs.
    pub sigops_max: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    Setup,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Handshake,
    AwaitSetup,
    Ready,
}

/// A connection to a template provider.
pub struct TemplateReceiver {
    link: Link,
    state: State,
    setup: SetupConnection,
    constraints: Constraints,
    timers: Timers<Timer>,
    tip: Option<Arc<ChainTip>>,
    future: BTreeMap<u64, Arc<Template>>,
    events: VecDeque<Event>,
}

impl TemplateReceiver {
    /// Starts over `link`, a client's, to `host` and `port` as dialled.
    pub fn new(link: Link, host: &str, port: u16, constraints: Constraints, now: Instant) -> Self {
        let mut timers = Timers::default();
        timers.set(Timer::Setup, now + SETUP_MAX);
        let setup =
            SetupConnection::of_program(PROTOCOL_TEMPLATE_DISTRIBUTION, 0, host, port, "pool-sv2");
        Self {
            link,
            state: State::Handshake,
            setup,
            constraints,
            timers,
            tip: None,
            future: BTreeMap::new(),
            events: VecDeque::new(),
        }
    }

    fn handle_frame(&mut self, frame: &Frame) -> Result<(), PeerError> {
        let kind = frame.header.message_type;
        if frame.header.extension != 0 {
            debug!(extension = frame.header.extension, "message of an unknown extension ignored");
            return Ok(());
        }
        if is_setup_message(kind) {
            return self.handle_setup(Setup::decode(kind, &frame.payload)?);
        }
        if self.state != State::Ready {
            return Err(PeerError::Misbehaved("a template message before SetupConnection.Success"));
        }
        match TemplateDistribution::decode(kind, &frame.payload) {
            Ok(message) => self.handle_message(message),
            Err(DecodeError::UnknownMessage(kind)) => {
                debug!(kind, "message of an unknown type ignored");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn handle_setup(&mut self, message: Setup) -> Result<(), PeerError> {
        match message {
            Setup::SetupConnectionSuccess(_) if self.state == State::AwaitSetup => {
                self.state = State::Ready;
                self.timers.stop(Timer::Setup);
                self.events.push_back(Event::Ready);
                self.link.send(&CoinbaseOutputConstraints {
                    coinbase_output_max_additional_size: self.constraints.output_bytes_max,
                    coinbase_output_max_additional_sigops: self.constraints.sigops_max,
                })
            }
            Setup::SetupConnectionError(error) => {
                Err(PeerError::Incompatible(error.error_code.display().into_owned()))
            }
            Setup::Reconnect(_) => Err(PeerError::Closed("the provider asked to reconnect")),
            other => {
                debug!(message = other.name(), "message ignored");
                Ok(())
            }
        }
    }

    fn handle_message(&mut self, message: TemplateDistribution) -> Result<(), PeerError> {
        trace!(message = message.name(), "received");
        match message {
            TemplateDistribution::NewTemplate(message) => self.take_template(message),
            TemplateDistribution::SetNewPrevHash(message) => self.take_prev_hash(&message),
            other => {
                debug!(message = other.name(), "message ignored");
                Ok(())
            }
        }
    }

    fn take_template(&mut self, message: NewTemplate) -> Result<(), PeerError> {
        let is_future = message.future_template;
        let template = Arc::new(read_template(message));
        if is_future {
            self.future.insert(template.id, template);
            if self.future.len() > FUTURE_TEMPLATES_MAX {
                self.future.pop_first();
            }
            return Ok(());
        }
        let tip = self.tip.clone();
        let tip = tip.ok_or(PeerError::Misbehaved("an active template before SetNewPrevHash"))?;
        self.events.push_back(Event::Template(tip, template));
        Ok(())
    }

    fn take_prev_hash(&mut self, message: &SetNewPrevHash) -> Result<(), PeerError> {
        let template = self.future.remove(&message.template_id).ok_or(PeerError::Misbehaved(
            "SetNewPrevHash for a template that was not sent as a future one",
        ))?;
        let tip = Arc::new(ChainTip {
            hash: message.prev_hash,
            header_timestamp: message.header_timestamp,
            nbits: message.n_bits,
            target: Target::from_le_bytes(message.target),
        });
        // What was speculated for this height is of no more use (spec 7.3).
        self.future.clear();
        self.tip = Some(Arc::clone(&tip));
        self.events.push_back(Event::Template(tip, template));
        Ok(())
    }
}

fn read_template(message: NewTemplate) -> Template {
    Template {
        id: message.template_id,
        version: message.version,
        coinbase_version: message.coinbase_tx_version,
        coinbase_prefix: message.coinbase_prefix.into_bytes(),
        coinbase_sequence: message.coinbase_tx_input_sequence,
        value_remaining: message.coinbase_tx_value_remaining,
        outputs_count: message.coinbase_tx_outputs_count,
        outputs: message.coinbase_tx_outputs.into_bytes(),
        coinbase_locktime: message.coinbase_tx_locktime,
        merkle_path: message.merkle_path.into_vec(),
    }
}

impl Session for TemplateReceiver {
    type Command = Command;
    type Event = Event;

    fn handle_bytes(&mut self, _now: Instant, bytes: &[u8]) -> Result<(), PeerError> {
        self.link.receive(bytes)?;
        if self.state == State::Handshake && self.link.is_open() {
            self.state = State::AwaitSetup;
            self.link.send(&self.setup)?;
        }
        while let Some(frame) = self.link.next_frame()? {
            self.handle_frame(&frame)?;
        }
        Ok(())
    }

    fn handle_command(&mut self, _now: Instant, command: Command) -> Result<(), PeerError> {
        let Command::Submit(solution) = command;
        let Some(coinbase_tx) = Blob::new(solution.coinbase) else {
            return Err(PeerError::OverLimit("a coinbase of more than 64 KiB"));
        };
        self.link.send(&SubmitSolution {
            template_id: solution.template_id,
            version: solution.version,
            header_timestamp: solution.ntime,
            header_nonce: solution.nonce,
            coinbase_tx,
        })
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError> {
        match self.timers.pop_expired(now) {
            Some(Timer::Setup) => Err(PeerError::TimedOut("the provider did not answer in time")),
            None => Ok(()),
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
}
