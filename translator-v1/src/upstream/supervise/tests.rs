//! What is said of the upstreams, in a time that is told.

use std::sync::Arc;

use super::*;
use crate::bridge::notify::sample_job;
use crate::teams::Channels;

/// Two upstreams that were not reached yet.
fn hub() -> Hub {
    let metrics = Metrics::new("test");
    let names = &NAMES[..2];
    let addresses = ["a:1".to_owned(), "b:2".to_owned()];
    let upstream = |(name, address): (&&'static str, &String)| Upstream {
        name,
        address: address.clone(),
        work: None,
        state: Err("not reached yet".to_owned()),
        doubted_until: None,
    };
    Hub {
        upstreams: names.iter().zip(&addresses).map(upstream).collect(),
        ways: Ways::new([]),
        choice: Choice::new(2, Duration::from_secs(30)),
        active: watch::Sender::new(None),
        teams: Teams::new(Channels::One),
        work: watch::Sender::new(None),
        work_without_upstream: Duration::from_secs(60),
        work_ends: None,
        health: Health::new(names),
        pools: Pools::new(names, addresses),
        gauge: metrics.gauges("upstream_state", STATE_HELP, "upstream"),
    }
}

/// Work on the tip of that number.
fn on(tip: u8) -> Report {
    let mut job = sample_job(0);
    job.tip.prev_hash = [tip; 32];
    Report::Work(Work { job: Arc::new(job), is_live: true, is_held: false })
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_is_not_believed_is_named_for_as_long_as_that_lasts() {
    let mut hub = hub();
    let said = |hub: &Hub| hub.health.shown("upstream 2").map(|(_, detail)| detail).unwrap();
    for index in [0, 1] {
        hub.take(index, on(1));
    }
    // Until then the first has only just come.
    tokio::time::advance(Duration::from_secs(60)).await;
    hub.take(1, on(200));
    tokio::time::advance(Duration::from_secs(3)).await;
    hub.decide();
    assert_eq!((*hub.active.borrow(), said(&hub)), (Some(1), "it gives work".to_owned()));
    // The real next tip.
    hub.take(0, on(3));
    assert_eq!(*hub.active.borrow(), Some(0));
    let doubt = "not believed about others' blocks for 60 min";
    assert_eq!(said(&hub), format!("it stands ready; {doubt}"));
    let details: Vec<_> = hub.pools.shown().into_iter().map(|pool| pool.detail).collect();
    assert_eq!(details, ["", doubt]);
    tokio::time::advance(Duration::from_secs(59 * 60)).await;
    hub.decide();
    assert!(said(&hub).ends_with("for 1 min"), "{}", said(&hub));
    tokio::time::advance(Duration::from_secs(60)).await;
    hub.decide();
    assert_eq!(said(&hub), "it stands ready");
}
