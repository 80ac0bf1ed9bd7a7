//! A scripted client against the session: no socket, and time is a number.

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;
use testkit::pair::{Ended, Pair};
use testkit::scripted::ScriptedPeer;
use wire::session::Session as _;
use wire::sv2::codec::{Blob, List};
use wire::sv2::frame::EncodedFrame;
use wire::sv2::keys::AuthoritySecret;
use wire::sv2::setup::{
    ERROR_PROTOCOL_VERSION_MISMATCH, ERROR_UNSUPPORTED_FEATURE_FLAGS, ERROR_UNSUPPORTED_PROTOCOL,
    PROTOCOL_MINING, SetupConnectionError,
};
use wire::sv2::template::{ERROR_TEMPLATE_ID_NOT_FOUND, RequestTransactionData};

use super::*;

const UNIX_NOW: u32 = 1_700_000_000;

#[derive(Debug, PartialEq)]
enum Received {
    Setup(Setup),
    Template(TemplateDistribution),
}

fn read(frame: &Frame) -> Result<Received, DecodeError> {
    let message_type = frame.header.message_type;
    match is_setup_message(message_type) {
        true => Setup::decode(message_type, &frame.payload).map(Received::Setup),
        false => TemplateDistribution::decode(message_type, &frame.payload).map(Received::Template),
    }
}

type Peers = Pair<ScriptedPeer<Received>, Session>;

/// Both ends of a connection that was just made.
fn connected() -> Peers {
    let authority = AuthoritySecret::generate(&mut StdRng::seed_from_u64(1));
    let key = authority.public();
    let identity = ServerIdentity::certified(&authority, 3600, [1; 32], UNIX_NOW);
    let now = Instant::now();
    // A client takes whole blocks.
    let limits = LinkLimits { frame_bytes_max: 5_000_000, output_bytes_max: 1_000_000 };
    let link = Link::client(Some(key), limits, [2; 32], UNIX_NOW);
    let client = ScriptedPeer::new(link, read);
    Pair::new(client, Session::new(Arc::new(identity), now, [3; 32]), now)
}

fn send(peers: &mut Peers, message: &impl Message) {
    peers.drive();
    peers.command_client(EncodedFrame::new(message));
}

fn setup() -> SetupConnection {
    SetupConnection::of_program(PROTOCOL_TEMPLATE_DISTRIBUTION, 0, "127.0.0.1", 8442, "test")
}

fn constraints() -> CoinbaseOutputConstraints {
    CoinbaseOutputConstraints {
        coinbase_output_max_additional_size: 100,
        coinbase_output_max_additional_sigops: 4,
    }
}

/// A connection on which everything has been said that opens it.
fn open() -> Peers {
    let mut peers = connected();
    send(&mut peers, &setup());
    send(&mut peers, &constraints());
    peers.client.events.clear();
    peers.server.events.clear();
    peers
}

fn offer(template_id: u64, tip: u64) -> Offer {
    Offer {
        tip,
        new_template: NewTemplate {
            template_id,
            future_template: true,
            version: 0x2000_0000,
            coinbase_tx_version: 2,
            coinbase_prefix: Blob::new(vec![0x51, 0x00]).unwrap(),
            coinbase_tx_input_sequence: 0xffff_fffe,
            coinbase_tx_value_remaining: 5_000_000_000,
            coinbase_tx_outputs_count: 0,
            coinbase_tx_outputs: Blob::default(),
            coinbase_tx_locktime: 0,
            merkle_path: List::default(),
        },
        set_new_prev_hash: SetNewPrevHash {
            template_id,
            prev_hash: [u8::try_from(tip).unwrap(); 32],
            header_timestamp: UNIX_NOW,
            n_bits: 0x207f_ffff,
            target: [0xff; 32],
        },
    }
}

fn give(peers: &mut Peers, offer: Offer) {
    peers.command_server(Command::Offer(Box::new(offer)));
}

/// What the client got: `T7 future`, `T8`, `P7`.
fn received(peers: &mut Peers) -> Vec<String> {
    let show = |received: Received| match received {
        Received::Template(TemplateDistribution::NewTemplate(template)) => {
            let future = if template.future_template { " future" } else { "" };
            format!("T{}{future}", template.template_id)
        }
        Received::Template(TemplateDistribution::SetNewPrevHash(tip)) => {
            format!("P{}", tip.template_id)
        }
        other => panic!("{other:?}"),
    };
    peers.client.events.drain(..).map(show).collect()
}

fn failure(peers: &Peers) -> &PeerError {
    match &peers.server.ended {
        Some(Ended::Failed(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_is_set_up_and_its_constraints_are_told() {
    let mut peers = connected();
    send(&mut peers, &setup());
    let success = SetupConnectionSuccess { used_version: 2, flags: 0 };
    assert_eq!(peers.client.event(), Some(Received::Setup(success.into())));
    let client = "Adit test".to_owned();
    assert_eq!(peers.server.event(), Some(Event::SetUp { client }));
    send(&mut peers, &constraints());
    assert_eq!(peers.server.event(), Some(Event::ConstraintsSet(constraints())));
    assert!(peers.server.ended.is_none());
}

fn assert_refused(setup: &SetupConnection, flags: u32, code: &'static str) {
    let mut peers = connected();
    send(&mut peers, setup);
    let error = SetupConnectionError { flags, error_code: code.into() };
    assert_eq!(peers.client.event(), Some(Received::Setup(error.into())));
    assert!(matches!(peers.server.ended, Some(Ended::Finished)), "{:?}", peers.server.ended);
    assert_eq!(peers.server.event(), None);
}

#[test]
fn another_protocol_is_refused() {
    let mining = SetupConnection { protocol: PROTOCOL_MINING, flags: 7, ..setup() };
    assert_refused(&mining, 0, ERROR_UNSUPPORTED_PROTOCOL);
}

#[test]
fn a_client_without_version_2_is_refused() {
    let newer = SetupConnection { min_version: 3, max_version: 9, ..setup() };
    assert_refused(&newer, 0, ERROR_PROTOCOL_VERSION_MISMATCH);
    let older = SetupConnection { min_version: 0, max_version: 1, ..setup() };
    assert_refused(&older, 0, ERROR_PROTOCOL_VERSION_MISMATCH);
}

#[test]
fn a_client_that_speaks_newer_versions_too_is_taken() {
    let mut peers = connected();
    send(&mut peers, &SetupConnection { max_version: 9, ..setup() });
    assert!(matches!(
        peers.client.event(),
        Some(Received::Setup(Setup::SetupConnectionSuccess(SetupConnectionSuccess {
            used_version: 2,
            ..
        })))
    ));
}

#[test]
fn all_flags_are_refused_and_named() {
    let flags = 0x8000_0005;
    assert_refused(&SetupConnection { flags, ..setup() }, flags, ERROR_UNSUPPORTED_FEATURE_FLAGS);
}

#[test]
fn the_first_message_must_be_the_setup() {
    let mut peers = connected();
    send(&mut peers, &constraints());
    assert!(matches!(failure(&peers), PeerError::Misbehaved(_)));
}

#[test]
fn a_second_setup_ends_the_connection() {
    let mut peers = open();
    send(&mut peers, &setup());
    assert!(matches!(failure(&peers), PeerError::Misbehaved(_)));
}

#[test]
fn a_message_of_a_server_ends_the_connection() {
    let mut peers = open();
    send(&mut peers, &offer(1, 1).new_template);
    assert!(matches!(failure(&peers), PeerError::Misbehaved(_)));
}

#[test]
fn bytes_that_are_no_handshake_end_the_connection() {
    let mut peers = connected();
    let ended = peers.server.session.handle_bytes(peers.now, &[0; 64]);
    // Any 64 bytes are a key in ElligatorSwift: what follows cannot be decrypted.
    let ended = ended.and_then(|()| peers.server.session.handle_bytes(peers.now, &[0; 100]));
    assert!(matches!(ended, Err(PeerError::Noise(_))), "{ended:?}");
}

#[test]
fn a_new_tip_is_a_future_template_and_then_its_prev_hash() {
    let mut peers = open();
    give(&mut peers, offer(7, 1));
    assert_eq!(received(&mut peers), ["T7 future", "P7"]);
    let sent = Event::TemplateSent { template_id: 7, future: true };
    assert_eq!(peers.server.event(), Some(sent));
}

#[test]
fn more_money_on_the_same_tip_is_a_template_to_mine_at_once() {
    let mut peers = open();
    give(&mut peers, offer(7, 1));
    give(&mut peers, offer(8, 1));
    give(&mut peers, offer(9, 2));
    give(&mut peers, offer(10, 3));
    assert_eq!(
        received(&mut peers),
        ["T7 future", "P7", "T8", "T9 future", "P9", "T10 future", "P10"]
    );
}

#[test]
fn nothing_is_sent_before_the_constraints() {
    let mut peers = connected();
    send(&mut peers, &setup());
    peers.client.events.clear();
    give(&mut peers, offer(7, 1));
    assert_eq!(received(&mut peers), [""; 0]);
    send(&mut peers, &constraints());
    give(&mut peers, offer(8, 1));
    assert_eq!(received(&mut peers), ["T8 future", "P8"], "the tip is new to this client");
}

#[test]
fn constraints_may_change() {
    let mut peers = open();
    give(&mut peers, offer(7, 1));
    let wider =
        CoinbaseOutputConstraints { coinbase_output_max_additional_size: 20_000, ..constraints() };
    peers.server.events.clear();
    send(&mut peers, &wider);
    assert_eq!(peers.server.event(), Some(Event::ConstraintsSet(wider)));
    give(&mut peers, offer(8, 1));
    assert_eq!(received(&mut peers), ["T7 future", "P7", "T8"]);
}

#[test]
fn constraints_that_never_stop_changing_end_the_connection() {
    let mut peers = open();
    for _ in 1..CONSTRAINTS_PER_WINDOW_MAX {
        send(&mut peers, &constraints());
    }
    assert!(peers.server.ended.is_none());
    peers.run_for(CONSTRAINTS_WINDOW);
    for _ in 0..CONSTRAINTS_PER_WINDOW_MAX {
        send(&mut peers, &constraints());
    }
    assert!(peers.server.ended.is_none());
    send(&mut peers, &constraints());
    assert!(matches!(failure(&peers), PeerError::OverLimit(_)));
}

#[test]
fn constraints_of_an_old_client_lack_the_sigops() {
    let mut peers = connected();
    send(&mut peers, &setup());
    peers.server.events.clear();
    struct Old;
    impl wire::sv2::codec::Wire for Old {
        fn encode(&self, out: &mut BytesMut) {
            100_u32.encode(out);
        }
        fn decode(_: &mut wire::sv2::codec::Reader<'_>) -> Result<Self, DecodeError> {
            Ok(Self)
        }
    }
    impl Message for Old {
        const EXTENSION: u16 = 0;
        const MESSAGE_TYPE: u8 = CoinbaseOutputConstraints::MESSAGE_TYPE;
        const CHANNEL_MSG: bool = false;
        const NAME: &'static str = "CoinbaseOutputConstraints";
    }
    send(&mut peers, &Old);
    let expected = CoinbaseOutputConstraints {
        coinbase_output_max_additional_size: 100,
        coinbase_output_max_additional_sigops: 400,
    };
    assert_eq!(peers.server.event(), Some(Event::ConstraintsSet(expected)));
}

#[test]
fn transaction_data_is_asked_for_and_given_or_refused() {
    let mut peers = open();
    send(&mut peers, &RequestTransactionData { template_id: 7 });
    let asked = Event::TransactionDataRequested { template_id: 7 };
    assert_eq!(peers.server.event(), Some(asked));
    // More than fits in one block of Noise, and in one read.
    let transaction = Blob::new(Bytes::from(vec![5; 200_000])).unwrap();
    let data = RequestTransactionDataSuccess {
        template_id: 7,
        excess_data: Blob::new(vec![0; 32]).unwrap(),
        transaction_list: List::new(vec![transaction]).unwrap(),
    };
    let refusal = RequestTransactionDataError {
        template_id: 8,
        error_code: ERROR_TEMPLATE_ID_NOT_FOUND.into(),
    };
    peers.command_server(Command::GiveTransactionData(Box::new(data.clone())));
    peers.command_server(Command::RefuseTransactionData(refusal.clone()));
    assert_eq!(peers.client.event(), Some(Received::Template(data.into())));
    assert_eq!(peers.client.event(), Some(Received::Template(refusal.into())));
}

#[test]
fn a_solution_is_told_even_before_the_constraints() {
    let mut peers = connected();
    send(&mut peers, &setup());
    peers.server.events.clear();
    let solution = SubmitSolution {
        template_id: 7,
        version: 0x2000_0000,
        header_timestamp: UNIX_NOW,
        header_nonce: 5,
        coinbase_tx: Blob::new(vec![1; 65_535]).unwrap(),
    };
    send(&mut peers, &solution);
    assert_eq!(peers.server.event(), Some(Event::SolutionSubmitted(solution)));
}

#[test]
fn a_silent_client_is_closed_at_each_step() {
    let mut peers = connected();
    // Nothing was delivered: the handshake never starts.
    peers.now += HANDSHAKE_MAX;
    let ended = peers.server.session.handle_timeout(peers.now);
    assert!(matches!(ended, Err(PeerError::TimedOut("the handshake"))), "{ended:?}");

    let mut peers = connected();
    peers.drive();
    peers.run_for(SETUP_MAX + peers.latency * 2);
    assert!(matches!(failure(&peers), PeerError::TimedOut("SetupConnection")));

    let mut peers = connected();
    send(&mut peers, &setup());
    peers.run_for(CONSTRAINTS_MAX - Duration::from_secs(1));
    assert!(peers.server.ended.is_none());
    peers.run_for(Duration::from_secs(2));
    assert!(matches!(failure(&peers), PeerError::TimedOut("CoinbaseOutputConstraints")));
}

#[test]
fn an_open_connection_may_be_silent_for_ever() {
    let mut peers = open();
    peers.run_for(Duration::from_secs(86_400));
    assert!(peers.server.ended.is_none());
}

#[test]
fn a_frame_longer_than_any_message_of_a_client_ends_the_connection() {
    let mut peers = open();
    let data = RequestTransactionDataSuccess {
        template_id: 7,
        excess_data: Blob::default(),
        transaction_list: List::new(vec![Blob::new(vec![0; 70_000]).unwrap()]).unwrap(),
    };
    send(&mut peers, &data);
    let too_long = DecodeError::FrameTooLong { length: 70_015, max: LIMITS.frame_bytes_max };
    match failure(&peers) {
        PeerError::InvalidMessage(error) => assert_eq!(*error, too_long),
        other => panic!("{other:?}"),
    }
}

#[test]
fn bytes_may_arrive_one_by_one() {
    let mut peers = connected();
    peers.fragment_bytes = 1;
    send(&mut peers, &setup());
    send(&mut peers, &constraints());
    give(&mut peers, offer(7, 1));
    peers.client.events.pop_front();
    assert_eq!(received(&mut peers), ["T7 future", "P7"]);
}

#[test]
fn a_client_that_does_not_read_is_closed_when_too_much_waits() {
    let mut peers = open();
    let block = Blob::new(Bytes::from(vec![5; 4_000_000])).unwrap();
    let data = RequestTransactionDataSuccess {
        template_id: 7,
        excess_data: Blob::default(),
        transaction_list: List::new(vec![block]).unwrap(),
    };
    let mut give = || {
        let command = Command::GiveTransactionData(Box::new(data.clone()));
        peers.server.session.handle_command(peers.now, command)
    };
    assert!(give().is_ok());
    assert!(give().is_ok());
    assert!(matches!(give(), Err(PeerError::OverLimit(_))));
}

#[test]
fn what_the_program_closes_is_closed() {
    let mut peers = open();
    peers.command_server(Command::Close("enough"));
    assert!(matches!(failure(&peers), PeerError::Closed("enough")));
}
