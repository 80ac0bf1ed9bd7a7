//! The miner against a scripted pool.

use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::Arc;
use testkit::pair::{Ended, Pair};
use testkit::scripted::ScriptedPeer;
use wire::sv2::frame::EncodedFrame;
use wire::sv2::keys::AuthoritySecret;
use wire::sv2::mining::Mining;
use wire::sv2::noise::ServerIdentity;
use wire::sv2::setup::SetupConnectionSuccess;

use super::*;

const UNIX_NOW: u32 = 1_700_000_000;

/// A miner whose setup was taken, and a pool that says what a test wants.
struct Table {
    pair: Pair<Miner, ScriptedPeer<Frame>>,
}

impl Table {
    fn new(channel: Channel) -> Self {
        let authority = AuthoritySecret::generate(&mut StdRng::seed_from_u64(1));
        let identity = ServerIdentity::certified(&authority, 3_600, [3; 32], UNIX_NOW);
        let server = Link::server(Arc::new(identity), LIMITS, [1; 32]);
        let client = Link::client(None, LIMITS, [2; 32], UNIX_NOW);
        let miner = Miner::new(client, channel, "load.1", "pool", 1);
        let scripted = ScriptedPeer::new(server, |frame| Ok(frame.clone()));
        let mut table = Self { pair: Pair::new(miner, scripted, Instant::now()) };
        table.pair.drive();
        let setup = table.frame();
        assert_eq!(setup.header.message_type, SetupConnection::MESSAGE_TYPE);
        table.say(&SetupConnectionSuccess { used_version: 2, flags: 0 });
        table
    }

    /// With an extended channel 7 of group 1, and work on tip 3.
    fn extended() -> Self {
        let mut table = Self::new(Channel::Extended);
        table.frame();
        table.say(&OpenExtendedMiningChannelSuccess {
            request_id: REQUEST_ID,
            channel_id: 7,
            target: [0xff; 32],
            extranonce_size: 8,
            extranonce_prefix: Bytes32::default(),
            group_channel_id: 1,
        });
        table.say(&job(1, 5, None));
        table.say(&tip(1, 5, 3));
        table
    }

    fn say<M: Message>(&mut self, message: &M) {
        self.pair.command_server(EncodedFrame::new(message));
    }

    fn frame(&mut self) -> Frame {
        self.pair.server.event().expect("the miner said nothing")
    }

    fn share(&mut self, submit: Submit) -> SubmitSharesExtended {
        self.pair.command_client(submit);
        let frame = self.frame();
        match Mining::decode(frame.header.message_type, &frame.payload).unwrap() {
            Mining::SubmitSharesExtended(share) => share,
            other => panic!("{other:?} is no share"),
        }
    }

    fn events(&mut self) -> Vec<Event> {
        self.pair.client.events.drain(..).collect()
    }
}

fn job(channel_id: u32, job_id: u32, min_ntime: Option<u32>) -> NewExtendedMiningJob {
    NewExtendedMiningJob {
        channel_id,
        job_id,
        min_ntime,
        version: 0x2000_0000,
        version_rolling_allowed: true,
        merkle_path: Default::default(),
        coinbase_tx_prefix: Default::default(),
        coinbase_tx_suffix: Default::default(),
    }
}

fn tip(channel_id: u32, job_id: u32, prev_hash: u8) -> SetNewPrevHash {
    let (prev_hash, min_ntime, nbits) = ([prev_hash; 32], UNIX_NOW, 0x1701_ffff);
    SetNewPrevHash { channel_id, job_id, prev_hash, min_ntime, nbits }
}

const FIRST: Submit = Submit { sequence_number: 1, is_wrong: false };

#[test]
fn a_device_requires_standard_jobs_and_opens_a_standard_channel() {
    let mut table = Table::new(Channel::Standard);
    let frame = table.frame();
    assert_eq!(frame.header.message_type, OpenStandardMiningChannel::MESSAGE_TYPE);
    let request = OpenStandardMiningChannel::from_payload(&frame.payload).unwrap();
    assert_eq!(request.max_target, [0xff; 32]);
}

#[test]
fn it_is_ready_with_the_job_that_the_first_tip_activates() {
    let mut table = Table::extended();
    assert_eq!(table.events(), [Event::Ready]);
    let share = table.share(FIRST);
    assert_eq!((share.channel_id, share.job_id, share.ntime), (7, 5, UNIX_NOW));
}

#[test]
fn every_share_has_another_extranonce_of_the_channels_size() {
    let mut table = Table::extended();
    let first = table.share(FIRST);
    let second = table.share(Submit { sequence_number: 2, ..FIRST });
    assert_eq!(first.extranonce.as_slice().len(), 8);
    assert_ne!(first.extranonce, second.extranonce);
}

#[test]
fn another_tip_is_told_with_its_hash_and_shares_go_to_its_job() {
    let mut table = Table::extended();
    table.say(&job(1, 6, None));
    table.say(&tip(1, 6, 4));
    assert_eq!(table.events(), [Event::Ready, Event::Tip { prev_hash: [4; 32] }]);
    assert_eq!(table.share(FIRST).job_id, 6);
    table.say(&job(7, 8, Some(UNIX_NOW + 9)));
    let share = table.share(Submit { sequence_number: 2, ..FIRST });
    assert_eq!((share.job_id, share.ntime), (8, UNIX_NOW + 9));
}

#[test]
fn a_wrong_share_names_a_job_that_does_not_exist() {
    let mut table = Table::extended();
    assert_ne!(table.share(Submit { is_wrong: true, ..FIRST }).job_id, 5);
}

#[test]
fn verdicts_are_told_with_their_sequence_numbers() {
    let mut table = Table::extended();
    table.say(&SubmitSharesSuccess {
        channel_id: 7,
        last_sequence_number: 3,
        new_submits_accepted_count: 3,
        new_shares_sum: 3,
    });
    let error_code = Str255::from("stale-share");
    table.say(&SubmitSharesError { channel_id: 7, sequence_number: 4, error_code });
    let events = table.events();
    assert_eq!(events.get(1), Some(&Event::Accepted { last_sequence_number: 3, shares: 3 }));
    assert!(matches!(events.get(2), Some(Event::Rejected { sequence_number: 4, .. })));
}

#[test]
fn a_tip_for_a_job_that_was_not_sent_ends_the_connection() {
    let mut table = Table::extended();
    table.say(&tip(1, 99, 4));
    assert!(matches!(table.pair.client.ended, Some(Ended::Failed(PeerError::Misbehaved(_)))));
}
