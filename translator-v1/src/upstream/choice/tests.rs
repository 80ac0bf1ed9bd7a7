//! Which upstream is mined on, step by step, in a time that is told.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn choice() -> (Choice, Instant) {
    (Choice::new(2, 30 * SECOND), Instant::now())
}

#[test]
fn the_next_one_is_mined_on_at_once_when_the_best_is_lost() {
    let (mut choice, now) = choice();
    assert_eq!(choice.decide(now), None);
    choice.heard(1, [1; 32], now);
    assert_eq!(choice.decide(now), Some(1), "the best that there is");
    choice.heard(0, [1; 32], now);
    assert_eq!(choice.decide(now + 29 * SECOND), Some(1));
    assert_eq!(choice.next_look(), Some(now + 30 * SECOND));
    assert_eq!(choice.decide(now + 30 * SECOND), Some(0), "and back to the better one");
    choice.lost(0, now + 30 * SECOND);
    assert_eq!(choice.decide(now + 30 * SECOND), Some(1));
    choice.lost(1, now + 30 * SECOND);
    assert_eq!(choice.decide(now + 30 * SECOND), None);
}

/// Both give work on tip 1, and the second goes on to tip 2 after a minute.
fn left_behind() -> (Choice, Instant) {
    let (mut choice, now) = choice();
    for upstream in [0, 1] {
        choice.heard(upstream, [1; 32], now);
    }
    assert_eq!(choice.decide(now), Some(0));
    choice.heard(1, [2; 32], now + 60 * SECOND);
    (choice, now + 60 * SECOND)
}

#[test]
fn one_that_stays_behind_on_the_old_tip_is_left_after_two_seconds_and_has_to_prove_itself() {
    let (mut choice, now) = left_behind();
    assert_eq!(choice.decide(now + SECOND), Some(0), "it may be on its way");
    assert_eq!(choice.next_look(), Some(now + 2 * SECOND));
    assert_eq!(choice.decide(now + 2 * SECOND), Some(1));
    choice.heard(0, [2; 32], now + 10 * SECOND);
    assert_eq!(choice.decide(now + 39 * SECOND), Some(1), "it was late a moment ago");
    assert_eq!(choice.next_look(), Some(now + 40 * SECOND));
    assert_eq!(choice.decide(now + 40 * SECOND), Some(0));
}

#[test]
fn one_that_stays_behind_is_not_returned_to_at_the_next_blocks() {
    let (mut choice, now) = left_behind();
    assert_eq!(choice.decide(now + 2 * SECOND), Some(1));
    for step in 1..20_u8 {
        let at = now + 600 * SECOND * u32::from(step);
        choice.heard(1, [2 + step; 32], at);
        assert_eq!(choice.decide(at), Some(1), "{step}");
        assert_eq!(choice.decide(at + 60 * SECOND), Some(1), "{step}");
    }
}

#[test]
fn one_that_was_left_behind_and_connects_anew_still_is() {
    let (mut choice, now) = left_behind();
    assert_eq!(choice.decide(now + 2 * SECOND), Some(1));
    choice.lost(0, now + 3 * SECOND);
    choice.heard(0, [1; 32], now + 4 * SECOND);
    assert_eq!(choice.decide(now + 900 * SECOND), Some(1), "the same old tip");
    choice.lost(0, now + 900 * SECOND);
    choice.heard(0, [99; 32], now + 901 * SECOND);
    assert_eq!(choice.decide(now + 1_800 * SECOND), Some(1), "a tip that nobody knows");
    choice.heard(0, [2; 32], now + 1_801 * SECOND);
    assert_eq!(choice.decide(now + 1_900 * SECOND), Some(0), "the newest one");
}

/// Whoever comes back on a tip that nobody knows says nothing of the one who stood still.
#[test]
fn one_that_stands_still_has_not_caught_up_when_the_other_was_away_for_a_block() {
    let (mut choice, now) = left_behind();
    assert_eq!(choice.decide(now + 2 * SECOND), Some(1));
    choice.lost(1, now + 3 * SECOND);
    choice.heard(1, [5; 32], now + 4 * SECOND);
    choice.heard(0, [1; 32], now + 5 * SECOND);
    assert_eq!(choice.decide(now + 900 * SECOND), Some(1), "a job on the same old tip");
    choice.heard(0, [5; 32], now + 901 * SECOND);
    assert_eq!(choice.decide(now + 1_000 * SECOND), Some(0), "the newest one");
}

#[test]
fn one_to_whose_tip_the_others_go_back_has_caught_up() {
    let (mut choice, now) = left_behind();
    assert_eq!(choice.decide(now + 2 * SECOND), Some(1));
    choice.heard(1, [1; 32], now + 3 * SECOND);
    choice.heard(0, [1; 32], now + 4 * SECOND);
    assert_eq!(choice.decide(now + 100 * SECOND), Some(0));
}

#[test]
fn one_that_has_caught_up_is_not_kept_out_by_a_third_that_stands_still() {
    let (mut choice, now) = (Choice::new(3, 30 * SECOND), Instant::now());
    for upstream in [0, 1, 2] {
        choice.heard(upstream, [1; 32], now);
    }
    choice.heard(1, [2; 32], now);
    assert_eq!(choice.decide(now + 2 * SECOND), Some(1), "two stay behind");
    choice.lost(1, now + 3 * SECOND);
    choice.heard(1, [5; 32], now + 4 * SECOND);
    choice.lost(0, now + 5 * SECOND);
    choice.heard(0, [5; 32], now + 6 * SECOND);
    assert_eq!(choice.decide(now + 100 * SECOND), Some(0));
}

#[test]
fn one_that_missed_a_step_has_caught_up_when_it_shows_the_newest_tip() {
    let (mut choice, now) = left_behind();
    choice.heard(1, [3; 32], now + SECOND);
    assert_eq!(choice.decide(now + 2 * SECOND), Some(1));
    choice.heard(0, [3; 32], now + 3 * SECOND);
    assert_eq!(choice.decide(now + 33 * SECOND), Some(0));
}

#[test]
fn an_upstream_that_goes_back_to_an_older_tip_does_not_make_the_others_late() {
    let (mut choice, now) = choice();
    for upstream in [0, 1] {
        choice.heard(upstream, [1; 32], now);
        choice.heard(upstream, [2; 32], now + SECOND);
    }
    choice.heard(1, [1; 32], now + 2 * SECOND);
    assert_eq!(choice.decide(now + 60 * SECOND), Some(0));
}

#[test]
fn each_time_that_one_is_lost_it_has_to_give_work_for_twice_as_long() {
    let (mut choice, mut now) = choice();
    choice.heard(1, [1; 32], now);
    choice.heard(0, [1; 32], now);
    let first = now + 30 * SECOND;
    for wait in [30, 30, 60, 120, 240, 480, 960, 960] {
        let settled = now + wait * SECOND;
        if settled > first {
            assert_eq!(choice.decide(settled - SECOND), Some(1), "{wait}");
        }
        assert_eq!(choice.decide(settled), Some(0), "{wait}");
        choice.lost(0, settled);
        assert_eq!(choice.decide(settled), Some(1));
        now = settled;
        choice.heard(0, [1; 32], now);
    }
    let reliable = now + RELIABLE_AFTER;
    choice.decide(reliable);
    choice.lost(0, reliable);
    assert_eq!(choice.decide(reliable), Some(1));
    choice.heard(0, [1; 32], reliable);
    assert_eq!(choice.decide(reliable), Some(1));
    assert_eq!(choice.decide(reliable + 30 * SECOND), Some(0), "it was good for an hour");
}

#[test]
fn upstreams_that_never_agreed_on_a_tip_say_nothing_of_each_other() {
    let (mut choice, now) = choice();
    choice.heard(0, [1; 32], now);
    choice.heard(1, [7; 32], now);
    choice.heard(1, [8; 32], now + 5 * SECOND);
    assert_eq!(choice.decide(now + 50 * SECOND), Some(0));
}

#[test]
fn the_only_one_is_mined_on_however_late_it_is() {
    let (mut choice, now) = choice();
    choice.heard(0, [1; 32], now);
    choice.heard(1, [1; 32], now);
    choice.heard(1, [2; 32], now);
    choice.decide(now);
    choice.lost(1, now);
    assert_eq!(choice.decide(now + 10 * SECOND), Some(0));
}

#[test]
fn a_look_that_falls_due_while_it_is_decided_is_not_missed() {
    let (mut choice, now) = left_behind();
    let soon_after = now + SECOND / 1_000;
    choice.heard(1, [3; 32], soon_after);
    choice.decide(now + 2 * SECOND);
    assert_eq!(choice.next_look(), Some(soon_after + 2 * SECOND));
}

/// The backup shows tip after tip that it has made up, and gets the miners after two seconds.
fn made_up() -> (Choice, Instant) {
    let (mut choice, now) = left_behind();
    for step in 0..20_u8 {
        choice.heard(1, [200 + step; 32], now);
    }
    assert_eq!(choice.decide(now + 2 * SECOND), Some(1), "nobody can tell yet");
    (choice, now)
}

#[test]
fn a_backup_that_makes_tips_up_has_the_miners_until_the_next_real_tip_and_then_not_again() {
    let (mut choice, now) = made_up();
    let real = now + 300 * SECOND;
    assert_eq!(choice.mistrusted_until(1, real), None);
    choice.heard(0, [3; 32], real);
    assert_eq!(choice.decide(real), Some(0), "at once: it was never late");
    assert_eq!(choice.mistrusted_until(1, real), Some(real + 3_600 * SECOND));
    assert_eq!(choice.mistrusted_until(0, real), None);
    assert_eq!(choice.mistrusted_until(1, real + 3_600 * SECOND), None);
    // Whatever the other one shows now, and however often it connects anew.
    choice.heard(1, [250; 32], real + SECOND);
    assert_eq!(choice.decide(real + 10 * SECOND), Some(0));
    choice.lost(1, real + 11 * SECOND);
    choice.heard(1, [3; 32], real + 12 * SECOND);
    choice.heard(1, [251; 32], real + 13 * SECOND);
    assert_eq!(choice.decide(real + 3_599 * SECOND), Some(0));
}

#[test]
fn a_backup_that_was_wrong_again_is_not_believed_for_twice_as_long() {
    let (mut choice, now) = made_up();
    let mut real = now + 300 * SECOND;
    choice.heard(0, [3; 32], real);
    assert_eq!(choice.decide(real), Some(0));
    for (step, hours) in [1_u8, 2, 4, 8, 16, 32, 64].into_iter().enumerate() {
        let step = u8::try_from(step).unwrap();
        let believed = real + 3_600 * SECOND * u32::from(hours);
        assert_eq!(choice.decide(believed - SECOND), Some(0), "{hours}");
        assert_eq!(choice.decide(believed), Some(1), "{hours}");
        real = believed + 300 * SECOND;
        choice.heard(0, [100 + step; 32], real);
        assert_eq!(choice.decide(real), Some(0), "{hours}");
    }
}

#[test]
fn a_backup_that_goes_back_once_it_has_the_miners_loses_them_at_once() {
    let (mut choice, now) = left_behind();
    assert_eq!(choice.decide(now + 2 * SECOND), Some(1));
    choice.heard(1, [1; 32], now + 3 * SECOND);
    assert_eq!(choice.decide(now + 3 * SECOND), Some(0));
    choice.heard(1, [4; 32], now + 4 * SECOND);
    assert_eq!(choice.decide(now + 600 * SECOND), Some(0), "and is not believed again");
}

#[test]
fn a_backup_that_was_right_is_believed_the_next_time_too() {
    let (mut choice, now) = left_behind();
    assert_eq!(choice.decide(now + 2 * SECOND), Some(1));
    choice.heard(0, [2; 32], now + 10 * SECOND);
    assert_eq!(choice.decide(now + 40 * SECOND), Some(0));
    choice.heard(1, [3; 32], now + 600 * SECOND);
    assert_eq!(choice.decide(now + 602 * SECOND), Some(1));
}

#[test]
fn what_two_upstreams_show_is_believed_whatever_became_of_one_of_them() {
    let (mut choice, now) = (Choice::new(3, 30 * SECOND), Instant::now());
    for upstream in [0, 1, 2] {
        choice.heard(upstream, [1; 32], now);
    }
    choice.heard(1, [2; 32], now);
    choice.heard(2, [2; 32], now);
    assert_eq!(choice.decide(now + 2 * SECOND), Some(1));
    // It goes its own way, and that is no proof against two.
    choice.heard(0, [9; 32], now + 10 * SECOND);
    choice.heard(1, [3; 32], now + 600 * SECOND);
    choice.heard(2, [3; 32], now + 600 * SECOND);
    assert!(choice.upstreams.iter().all(|upstream| upstream.trust.holds(now)));
}
