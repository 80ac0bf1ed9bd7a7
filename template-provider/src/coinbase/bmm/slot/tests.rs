//! The task of a slot, in paused time where time is what matters.

use tokio::time::advance;

use super::*;
use crate::coinbase::bmm::config::Ask;

const TIP: [u8; 32] = [1; 32];

struct Setup {
    tips: watch::Sender<Option<[u8; 32]>>,
    watched: Watched,
    republish: Republish,
}

fn start(ask: Ask, poll: Duration, deadline: Duration) -> Setup {
    let tips = watch::Sender::new(Some(TIP));
    let republish = Republish::default();
    let settings = SourceSettings { ask, byte_order: ByteOrder::AsIs, poll, deadline };
    let counts = Counts::new(&service::metrics::Metrics::new("x"));
    let told = Told { tips: tips.subscribe(), republish: republish.clone(), counts };
    let watched = Watched::start(3, settings, told);
    Setup { tips, watched, republish }
}

/// Whether a republish was asked for since the last look.
async fn is_told(republish: &Republish) -> bool {
    tokio::select! {
        biased;
        () = republish.notified() => true,
        () = std::future::ready(()) => false,
    }
}

#[tokio::test]
async fn a_command_past_its_deadline_counts_as_failed() {
    let ask = Ask::Command("sleep".to_owned(), vec!["1000".to_owned()]);
    let mut setup = start(ask, Duration::from_secs(1000), Duration::from_millis(20));
    assert_eq!(setup.watched.next().await, Err(Absence::Failed));
    drop(setup.tips);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_changes_its_mind_is_published_now_and_then() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "01".repeat(32)).unwrap();
    let ask = Ask::File(file.path().to_owned());
    let mut setup = start(ask, Duration::from_millis(100), Duration::from_secs(1000));
    assert_eq!(setup.watched.next().await.unwrap().h_star, [1; 32]);
    std::fs::write(file.path(), "02".repeat(32)).unwrap();
    while setup.watched.next().await.unwrap().h_star != [2; 32] {}
    assert!(is_told(&setup.republish).await);
    setup.watched.next().await.unwrap();
    assert!(!is_told(&setup.republish).await, "too early for another");
    advance(REPUBLISH_INTERVAL_MIN).await;
    setup.watched.next().await.unwrap();
    setup.watched.next().await.unwrap();
    assert!(is_told(&setup.republish).await);
}

#[tokio::test(start_paused = true)]
async fn an_outage_takes_away_nothing_that_was_said_of_the_tip() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "01".repeat(32)).unwrap();
    let ask = Ask::File(file.path().to_owned());
    let mut setup = start(ask, Duration::from_millis(10), Duration::from_secs(1000));
    setup.watched.next().await.unwrap();
    file.close().unwrap();
    // Time runs on only while nothing else is left to do: it is asked in between, many times.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(setup.watched.for_tip(&TIP).unwrap().h_star, [1; 32]);
    setup.tips.send_replace(Some([2; 32]));
    assert_eq!(setup.watched.next().await, Err(Absence::Failed));
}

#[tokio::test]
async fn the_task_ends_when_nobody_tells_the_tip_any_more() {
    let ask = Ask::Command("sleep".to_owned(), vec!["1000".to_owned()]);
    let Setup { tips, mut watched, .. } =
        start(ask, Duration::from_secs(1000), Duration::from_secs(1000));
    drop(tips);
    assert!(watched.0.changed().await.is_err());
}
