//! What a gate shows of its work, and whom it makes wait.

use super::*;

fn gate(unsettled_max: usize) -> (Gate, Metrics) {
    let metrics = Metrics::new("x");
    let limits = GateLimits {
        unsettled_max,
        faults_per_minute_max: 0,
        connections_per_address_max: 2,
        ban: Duration::from_secs(60),
        ..GateLimits::of_connections(100)
    };
    (Gate::new(limits, &metrics), metrics)
}

async fn admit(gate: &Gate, peer: &str) -> Result<Place, Refusal> {
    gate.admit(peer.parse().unwrap()).await
}

fn shows(metrics: &Metrics, line: &str) -> bool {
    metrics.text().lines().any(|shown| shown == line)
}

#[tokio::test]
async fn who_is_turned_away_is_counted_by_the_limit_that_he_met() {
    let (gate, metrics) = gate(10);
    let one = admit(&gate, "203.0.113.1:1").await.ok();
    let two = admit(&gate, "203.0.113.1:2").await.ok();
    assert!(one.is_some() && two.is_some());
    let refused = admit(&gate, "203.0.113.1:3").await.err();
    assert_eq!(refused, Some(Refusal::Address));
    let line = "x_connections_refused_total{limit=\"connections_per_address_max\"} 1";
    assert!(shows(&metrics, line), "{}", metrics.text());
    assert!(shows(&metrics, "x_connections 2"));
    drop((one, two));
    assert!(shows(&metrics, "x_connections 0"));
    assert!(shows(&metrics, "x_connections_unsettled 0"));
}

#[tokio::test]
async fn a_port_that_is_full_turns_away_its_own_and_leaves_room_for_the_others() {
    let metrics = Metrics::new("x");
    let limits = GateLimits { unsettled_max: 10, ..GateLimits::of_connections(3) };
    let gate = Gate::new(limits, &metrics);
    let (small, usual) = (gate.of_port(1), gate.of_port(3));
    let one = admit(&small, "203.0.113.1:1").await.ok();
    assert!(one.is_some());
    assert_eq!(admit(&small, "203.0.113.2:1").await.err(), Some(Refusal::Port));
    assert!(shows(&metrics, "x_connections 1"), "who is turned away is not there");
    let others = [admit(&usual, "203.0.113.2:2").await, admit(&usual, "203.0.113.2:3").await];
    assert!(others.iter().all(Result::is_ok));
    drop(one);
    let again = admit(&small, "203.0.113.2:4").await;
    assert!(again.is_ok());
    assert_eq!(admit(&usual, "203.0.113.2:5").await.err(), Some(Refusal::Full));
}

#[tokio::test]
async fn a_ban_is_shown_and_holds() {
    let (gate, metrics) = gate(10);
    let place = admit(&gate, "203.0.113.1:1").await.ok().unwrap();
    place.fault("encryption");
    assert!(shows(&metrics, "x_peer_faults_total{fault=\"encryption\"} 1"));
    assert!(shows(&metrics, "x_bans_total{fault=\"encryption\"} 1"));
    assert_eq!(admit(&gate, "203.0.113.1:2").await.err(), Some(Refusal::Banned));
}

#[tokio::test]
async fn a_peer_that_settles_makes_room_for_the_next_and_one_that_is_turned_away_takes_none() {
    let (gate, _metrics) = gate(2);
    let mut first = admit(&gate, "203.0.113.1:1").await.ok().unwrap();
    let _second = admit(&gate, "203.0.113.1:2").await.ok().unwrap();
    let waits = gate.clone();
    let mut third = tokio::spawn(async move { admit(&waits, "203.0.113.1:3").await.err() });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!third.is_finished());
    first.settle();
    assert_eq!((&mut third).await.unwrap(), Some(Refusal::Address));
    // The room that it did not use is there for another.
    assert!(admit(&gate, "203.0.113.2:1").await.is_ok());
}
