//! The client of the Template Distribution Protocol against a scripted provider, with no socket and
//! no real time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test says what it expects"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mining::memo::Memo;
use mining::share::Solution;
use mining::target::Target;
use mining::template::ChainTip;
use pool_sv2::template_receiver::session::{Command, Constraints, Event, LIMITS, TemplateReceiver};
use testkit::pair::{Ended, Pair};
use testkit::scripted::ScriptedPeer;
use wire::session::PeerError;
use wire::sv2::codec::{Blob, List};
use wire::sv2::frame::{EncodedFrame, Frame};
use wire::sv2::keys::AuthoritySecret;
use wire::sv2::link::Link;
use wire::sv2::message::Message;
use wire::sv2::noise::ServerIdentity;
use wire::sv2::setup::{Setup, SetupConnectionError, SetupConnectionSuccess};
use wire::sv2::template::{NewTemplate, SetNewPrevHash, TemplateDistribution};

const SECRET: &str = "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n";
const UNIX_NOW: u32 = 1_700_000_000;

struct Table {
    pair: Pair<TemplateReceiver, ScriptedPeer<Frame>>,
}

impl Table {
    fn new() -> Self {
        let authority: AuthoritySecret = SECRET.parse().unwrap();
        let key = authority.public();
        let identity = ServerIdentity::certified(&authority, 3_600, [3; 32], UNIX_NOW);
        let server = Link::server(Arc::new(identity), LIMITS, [1; 32]);
        let client = Link::client(Some(key), LIMITS, [2; 32], UNIX_NOW);
        let constraints = Constraints { output_bytes_max: 43, sigops_max: 4 };
        let now = Instant::now();
        let receiver = TemplateReceiver::new(client, "provider", 8442, constraints, now);
        let mut pair =
            Pair::new(receiver, ScriptedPeer::new(server, |frame| Ok(frame.clone())), now);
        pair.drive();
        Self { pair }
    }

    /// Set up, with the first two messages of the pool taken.
    fn ready() -> Self {
        let mut table = Self::new();
        table.frame();
        table.send(&SetupConnectionSuccess { used_version: 2, flags: 0 });
        table.frame();
        assert_eq!(table.pair.client.event(), Some(Event::Ready));
        table
    }

    fn send<M: Message>(&mut self, message: &M) {
        self.pair.command_server(EncodedFrame::new(message));
    }

    fn frame(&mut self) -> Frame {
        self.pair.server.event().expect("nothing came from the pool")
    }

    fn send_template(&mut self, template_id: u64, future_template: bool) {
        self.send(&NewTemplate {
            template_id,
            future_template,
            version: 0x2000_0000,
            coinbase_tx_version: 2,
            coinbase_prefix: Blob::new(vec![0x51]).unwrap(),
            coinbase_tx_input_sequence: u32::MAX,
            coinbase_tx_value_remaining: 5_000_000_000,
            coinbase_tx_outputs_count: 0,
            coinbase_tx_outputs: Blob::default(),
            coinbase_tx_locktime: 0,
            merkle_path: List::default(),
        });
    }

    fn send_prev_hash(&mut self, template_id: u64, hash: u8) {
        self.send(&SetNewPrevHash {
            template_id,
            prev_hash: [hash; 32],
            header_timestamp: 1_700_000_000,
            n_bits: 0x207f_ffff,
            target: [0x7f; 32],
        });
    }

    /// Tip and template of the next event.
    fn template(&mut self) -> (u8, u64) {
        match self.pair.client.event() {
            Some(Event::Template(tip, template)) => (tip.hash[0], template.id),
            other => panic!("no template but {other:?}"),
        }
    }
}

/// Spec 7.1: CoinbaseOutputConstraints follows the setup at once.
#[test]
fn constraints_are_the_first_message_after_the_setup() {
    let mut table = Table::new();
    let setup = table.frame();
    let setup = Setup::decode(setup.header.message_type, &setup.payload).unwrap();
    let Setup::SetupConnection(setup) = setup else { panic!() };
    assert_eq!((setup.protocol, setup.min_version, setup.max_version), (2, 2, 2));
    assert!(!setup.vendor.as_bytes().is_empty(), "vendor must be set (3.6.1)");
    table.send(&SetupConnectionSuccess { used_version: 2, flags: 0 });
    let frame = table.frame();
    let message = TemplateDistribution::decode(frame.header.message_type, &frame.payload).unwrap();
    let TemplateDistribution::CoinbaseOutputConstraints(constraints) = message else { panic!() };
    assert_eq!(constraints.coinbase_output_max_additional_size, 43);
    assert_eq!(constraints.coinbase_output_max_additional_sigops, 4);
}

/// Spec 7.3: a future template is mined when SetNewPrevHash names it.
#[test]
fn a_future_template_is_work_only_with_its_tip() {
    let mut table = Table::ready();
    table.send_template(1, true);
    table.send_template(2, true);
    assert_eq!(table.pair.client.event(), None);
    table.send_prev_hash(2, 9);
    assert_eq!(table.template(), (9, 2));
}

/// Spec 7.2: a template that is not a future one builds on the last tip.
#[test]
fn a_template_that_is_not_a_future_one_goes_with_the_last_tip() {
    let mut table = Table::ready();
    table.send_template(1, true);
    table.send_prev_hash(1, 9);
    table.send_template(2, false);
    assert_eq!(table.template(), (9, 1));
    assert_eq!(table.template(), (9, 2));
}

#[test]
fn a_tip_for_an_unknown_template_ends_the_connection() {
    let mut table = Table::ready();
    table.send_prev_hash(5, 9);
    assert!(matches!(table.pair.client.ended, Some(Ended::Failed(PeerError::Misbehaved(_)))));
}

#[test]
fn an_active_template_without_a_tip_ends_the_connection() {
    let mut table = Table::ready();
    table.send_template(1, false);
    assert!(matches!(table.pair.client.ended, Some(Ended::Failed(PeerError::Misbehaved(_)))));
}

#[test]
fn a_provider_that_refuses_is_named_by_its_reason() {
    let mut table = Table::new();
    table.send(&SetupConnectionError { flags: 0, error_code: "unsupported-protocol".into() });
    let Some(Ended::Failed(error)) = &table.pair.client.ended else { panic!("it goes on") };
    assert!(error.to_string().contains("unsupported-protocol"), "{error}");
}

#[test]
fn a_provider_that_does_not_answer_is_given_up_after_ten_seconds() {
    let mut table = Table::new();
    table.pair.run_for(Duration::from_secs(11));
    assert!(matches!(table.pair.client.ended, Some(Ended::Failed(PeerError::TimedOut(_)))));
}

/// Spec 7.7: a solution is sent at once, its coinbase with the BIP141 fields.
#[test]
fn a_solution_is_sent_with_its_whole_coinbase() {
    let mut table = Table::ready();
    let tip = ChainTip { hash: [1; 32], header_timestamp: 1, nbits: 1, target: Target::MAX };
    let solution = Solution {
        template_id: 7,
        version: 0x2000_0020,
        ntime: 3,
        nonce: 4,
        coinbase: Bytes::from_static(&[1, 2, 3]),
        hash: [0; 32],
        height: None,
        tip: Arc::new(tip),
        memo: Memo::default(),
    };
    table.pair.command_client(Command::Submit(solution));
    let frame = table.frame();
    let message = TemplateDistribution::decode(frame.header.message_type, &frame.payload).unwrap();
    let TemplateDistribution::SubmitSolution(sent) = message else { panic!() };
    assert_eq!((sent.template_id, sent.version), (7, 0x2000_0020));
    assert_eq!((sent.header_timestamp, sent.header_nonce), (3, 4));
    assert_eq!(sent.coinbase_tx.as_slice(), [1, 2, 3]);
}
