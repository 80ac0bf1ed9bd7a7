//! One miner's host, without a socket.

use service::gate::{Gate, GateLimits};
use service::metrics::Metrics;
use wire::sv2::codec::Bytes32;

use super::*;
use crate::bridge::notify::{ChannelEpoch, Work, sample_job};
use crate::bridge::submit::{ShareError, code};
use crate::downstream::Answers;
use crate::downstream::resume::Departed;
use crate::shares::queue;
use crate::teams::Channels;

/// Flaw 12: the token of a V1 session cannot be guessed.
#[test]
fn a_token_is_32_digits_and_no_two_are_the_same() {
    let tokens: std::collections::BTreeSet<_> = (0..100).map(|_| token()).collect();
    assert_eq!(tokens.len(), 100);
    let is_hex =
        |token: &String| token.len() == 32 && token.bytes().all(|it| it.is_ascii_hexdigit());
    assert!(tokens.iter().all(is_hex), "{tokens:?}");
    // Not all that is random may be a few bytes of it.
    let ends: std::collections::BTreeSet<_> = tokens.iter().map(|it| &it[24..]).collect();
    assert_eq!(ends.len(), 100);
}

/// A service whose only upstream gives work, and what is sent to that.
fn service() -> (Service, mpsc::Receiver<Submitted>, watch::Sender<Option<Assigned>>) {
    let metrics = Metrics::new("test");
    let (upward, sent) = queue();
    let job = Arc::new(sample_job(0));
    let work = Work { job, is_live: true, is_held: false };
    let assigned = Assigned { work, ways: Ways::new([upward]) };
    let (giver, work) = watch::channel(Some(assigned));
    let settings = MinerSettings {
        vardiff: mining::vardiff::VardiffPolicy {
            shares_per_minute: 6.0,
            search_shares_per_minute: 6.0,
            min_difficulty: 1e-6,
        },
        initial_hashrate: 1e6,
        answers: Answers::Upstream,
        channels: Channels::One,
        lines_per_second_max: 100,
        departed: Departed::default(),
    };
    let service = Service {
        settings: Arc::new(settings),
        seats: Seats::default(),
        work,
        miners: Miners::default(),
        teams: Teams::new(Channels::One),
        register: Register::default(),
        counts: Counts::new(&metrics),
        handshakes: Handshakes::new(
            Handshakes::usual_at_once(),
            std::time::Duration::from_secs(1),
            &metrics,
        ),
        elsewhere: None,
        shutdown: CancellationToken::new(),
    };
    (service, sent, giver)
}

fn block(nonce: u32) -> UpstreamShare {
    UpstreamShare {
        epoch: ChannelEpoch(1),
        job_id: 7,
        nonce,
        ntime: 1000,
        version: 0x2000_0000,
        extranonce: Bytes32::new(&[1; 10]).unwrap(),
        is_block: true,
    }
}

/// Flaw 23: nothing that is broken on a V1 miner's side stands before a block.
#[tokio::test]
async fn a_block_goes_up_though_nobody_hears_the_verdict_and_what_people_see_is_broken() {
    let (service, mut sent, _giver) = service();
    let gate = Gate::new(GateLimits::of_connections(10), &Metrics::new("test"));
    let peer: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let place = gate.admit(peer).await.unwrap();
    let mut host = MinerHost::new(service, peer, place);
    assert!(matches!(host.next_command().await, Some(Command::Work(Some(_)))));
    host.verdicts.close();
    host.shown.poison();
    let worker: Arc<str> = "w".into();
    host.take_event(Event::BlockFound { worker: Arc::clone(&worker), hash: [0; 32] }).await;
    let answer = Err(ShareError::new(code::LOW_DIFFICULTY, "x"));
    let refused = Event::Answered {
        worker: Arc::clone(&worker),
        difficulty: 1.0,
        is_upstreams: false,
        answer,
    };
    host.take_event(refused).await;
    let (ticket, share) = (4, block(1));
    host.take_event(Event::Submit { ticket, share, worker: Arc::clone(&worker) }).await;
    host.take_event(Event::SubmitBlock { share: block(2), worker }).await;
    let nonces: Vec<_> =
        std::iter::from_fn(|| sent.try_recv().ok()).map(|it| it.share.nonce).collect();
    assert_eq!(nonces, [1, 2]);
}
