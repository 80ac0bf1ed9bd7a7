//! Who is active after which looks.

use super::*;

/// There for a long time, with a chain of so much work; its tip is named by it.
fn there(now: Instant, work: u8) -> Candidate {
    let tip = [work; 32];
    Candidate {
        answers: Answers::Since(now - Duration::from_secs(60)),
        refuses: false,
        network: OnNetwork::Yes,
        tip: Some(tip),
        work: Some((tip, tip)),
    }
}

fn gone(node: Candidate) -> Candidate {
    Candidate { answers: Answers::No, ..node }
}

fn now() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

/// A choice that saw these nodes once.
fn after(nodes: &[Candidate]) -> Choice {
    let mut choice = Choice::first();
    choice.look(now(), nodes);
    choice
}

#[test]
fn the_first_node_is_active_while_it_is_there() {
    let now = now();
    let mut choice = Choice::first();
    assert_eq!(choice.look(now, &[there(now, 5), there(now, 5)]), Verdict::Stays);
    assert_eq!(choice.active(), 0);
}

#[test]
fn a_node_that_has_not_had_time_to_answer_yet_is_waited_for() {
    let now = now();
    let mut choice = Choice::first();
    let asked = Candidate::default();
    assert_eq!(choice.look(now, &[asked, there(now, 5)]), Verdict::Stays);
    assert_eq!(choice.look(now, &[there(now, 5), there(now, 5)]), Verdict::Stays);
    assert_eq!(choice.active(), 0);
    // Once it failed to answer, it is lost like any other.
    let mut choice = Choice::first();
    assert!(matches!(choice.look(now, &[gone(asked), there(now, 5)]), Verdict::Switched(_)));
}

#[test]
fn a_node_that_hangs_at_the_start_is_waited_for_no_longer_than_for_one_that_is_back() {
    let now = now();
    let nodes = [Candidate::default(), there(now, 5)];
    let mut choice = Choice::first();
    assert_eq!(choice.look(now, &nodes), Verdict::Stays);
    let nearly = now + STEADY_MIN - Duration::from_secs(1);
    assert_eq!(choice.look(nearly, &nodes), Verdict::Stays);
    assert!(matches!(choice.look(now + STEADY_MIN, &nodes), Verdict::Switched(_)));
    assert_eq!(choice.active(), 1);
}

#[test]
fn the_node_with_the_most_work_takes_over_at_the_start() {
    let now = now();
    let lost = gone(Candidate::default());
    let unknown = Candidate { work: None, ..there(now, 9) };
    for (nodes, active) in [
        ([lost, there(now, 4), there(now, 5)], 2),
        ([lost, there(now, 5), there(now, 5)], 1),
        ([lost, unknown, there(now, 5)], 2),
    ] {
        let mut choice = Choice::first();
        choice.look(now, &nodes);
        choice.look(now + STEADY_MIN, &nodes);
        assert_eq!(choice.active(), active);
    }
}

#[test]
fn who_answers_first_at_the_start_does_not_win_by_that() {
    let now = now();
    let (lost, good) = (gone(Candidate::default()), there(now, 5));
    let mut choice = Choice::first();
    for early in [Candidate::default(), Candidate { work: None, ..good }] {
        assert_eq!(choice.look(now, &[lost, there(now, 4), early]), Verdict::Stays);
    }
    assert!(matches!(choice.look(now, &[lost, there(now, 4), good]), Verdict::Switched(_)));
    assert_eq!(choice.active(), 2);
}

#[test]
fn the_next_node_that_is_there_takes_the_place_of_one_that_is_lost() {
    let now = now();
    let (lost, good) = (gone(there(now, 5)), there(now, 5));
    let mut choice = after(&[good, good, good]);
    assert!(matches!(choice.look(now, &[lost, lost, good]), Verdict::Switched(_)));
    assert_eq!(choice.active(), 2);
}

#[test]
fn a_node_that_refuses_templates_is_as_good_as_lost() {
    let now = now();
    let refusing = Candidate { refuses: true, ..there(now, 5) };
    let mut choice = after(&[there(now, 5), there(now, 5)]);
    choice.look(now, &[refusing, there(now, 5)]);
    assert_eq!(choice.active(), 1);
    let mut choice = after(&[there(now, 5), there(now, 5)]);
    let verdict = choice.look(now, &[gone(there(now, 5)), refusing]);
    assert_eq!((verdict, choice.active()), (Verdict::NobodyElse, 0));
}

#[test]
fn a_node_of_another_network_is_never_chosen_whatever_its_work() {
    let now = now();
    let good = there(now, 5);
    for network in [OnNetwork::No, OnNetwork::Unknown] {
        let foreign = Candidate { network, ..there(now, 200) };
        let mut choice = after(&[good, foreign]);
        assert_eq!(choice.look(now, &[gone(good), foreign]), Verdict::NobodyElse);
        // Nor is its work what clients were led to.
        let mut choice = after(&[foreign, good]);
        choice.look(now + STEADY_MIN * 2, &[foreign, good]);
        assert_eq!(choice.active(), 1, "{network:?}");
    }
}

#[test]
fn nobody_takes_over_with_less_work_than_clients_have() {
    let now = now();
    let mut choice = after(&[there(now, 5), there(now, 4)]);
    let lost = gone(there(now, 5));
    assert_eq!(choice.look(now, &[lost, there(now, 4)]), Verdict::NobodyElse);
    // However long it lasts, until it has caught up.
    let later = now + Duration::from_secs(3600);
    assert_eq!(choice.look(later, &[lost, there(later, 4)]), Verdict::NobodyElse);
    assert!(matches!(choice.look(later, &[lost, there(later, 5)]), Verdict::Switched(_)));
}

#[test]
fn a_tip_whose_work_is_not_known_yet_counts_for_more_than_the_one_before() {
    let now = now();
    let mut choice = after(&[there(now, 5), there(now, 5)]);
    // The active node saw another tip, and was lost before anybody asked for its work.
    let new = Candidate { tip: Some([6; 32]), ..there(now, 5) };
    let mut seen = Choice { served: choice.served, ..Choice::first() };
    seen.look(now, &[new, there(now, 5)]);
    let verdict = seen.look(now, &[gone(new), there(now, 5)]);
    assert_eq!(verdict, Verdict::NobodyElse, "the other is a block behind");
    let same = Candidate { work: None, ..new };
    assert!(matches!(seen.look(now, &[gone(new), same]), Verdict::Switched(_)), "the same tip");
    choice.look(now, &[new, there(now, 5)]);
    assert!(matches!(choice.look(now, &[gone(new), there(now, 6)]), Verdict::Switched(_)));
}

#[test]
fn a_node_of_unknown_work_takes_over_only_if_clients_have_nothing_yet() {
    let now = now();
    let unknown = Candidate { work: None, ..there(now, 9) };
    let mut choice = after(&[there(now, 5), unknown]);
    assert_eq!(choice.look(now, &[gone(there(now, 5)), unknown]), Verdict::NobodyElse);
    let (mut fresh, nodes) = (Choice::first(), [gone(Candidate::default()), unknown]);
    assert_eq!(fresh.look(now, &nodes), Verdict::Stays, "it may be known in a moment");
    assert!(matches!(fresh.look(now + STEADY_MIN, &nodes), Verdict::Switched(_)));
}

#[test]
fn work_goes_back_to_a_preferred_node_once_it_is_steady_and_not_behind() {
    let now = now();
    let good = there(now, 5);
    let mut choice = after(&[good, good]);
    choice.look(now, &[gone(good), good]);
    assert_eq!(choice.active(), 1);
    let back = Candidate { answers: Answers::Since(now), ..good };
    assert_eq!(choice.look(now, &[back, good]), Verdict::Stays, "it may be gone again");
    let later = now + STEADY_MIN;
    let behind = Candidate { answers: Answers::Since(now), ..there(now, 4) };
    assert_eq!(choice.look(later, &[behind, good]), Verdict::Stays);
    assert!(matches!(choice.look(later, &[back, good]), Verdict::Switched(_)));
    assert_eq!(choice.active(), 0);
}

#[test]
fn an_active_node_that_stays_behind_loses_its_place() {
    let start = now();
    let mut choice = after(&[there(start, 5), there(start, 5)]);
    let nodes = [there(start, 5), there(start, 6)];
    assert_eq!(choice.look(start, &nodes), Verdict::Stays);
    let nearly = start + BEHIND_MAX - Duration::from_millis(1);
    assert_eq!(choice.look(nearly, &nodes), Verdict::Stays);
    assert!(matches!(choice.look(start + BEHIND_MAX, &nodes), Verdict::Switched(_)));
    assert_eq!(choice.active(), 1);
    // And gets it back when it has caught up.
    let caught_up = [there(start, 6), there(start, 6)];
    choice.look(start + BEHIND_MAX, &caught_up);
    assert_eq!(choice.active(), 0);
}

#[test]
fn an_active_node_that_catches_up_in_time_stays() {
    let start = now();
    let mut choice = after(&[there(start, 5), there(start, 5)]);
    let (behind, level) = ([there(start, 5), there(start, 6)], [there(start, 6), there(start, 6)]);
    choice.look(start, &behind);
    choice.look(start + BEHIND_MAX / 2, &level);
    let again = start + BEHIND_MAX;
    assert_eq!(choice.look(again, &behind), Verdict::Stays, "counted from anew");
    assert_eq!(choice.active(), 0);
}
