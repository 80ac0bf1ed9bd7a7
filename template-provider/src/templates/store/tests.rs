//! Ids rise, templates outlive their tip a little, and clients share what they can.

use super::*;
use crate::block_template::Limits;
use crate::templates::samples::{none, offer, transaction};

fn published(number: u64, tip: u64) -> Offer {
    let all = [transaction(1, &[], 7, 3_000_000, 0), transaction(2, &[], 5, 900_000, 0)];
    let draft = Arc::new(Draft::new(Arc::new(offer(&all)), none()).unwrap());
    Offer { number, tip, published_at: Instant::now(), tip_heard_at: None, draft }
}

/// A room for which the published transactions must be trimmed: beyond 98,832 weight units.
const WIDE: Room = Room { output_bytes: 30_000, output_sigops: 0 };
const NARROW: Room = Room { output_bytes: 100, output_sigops: 4 };

fn store(now: Instant) -> Store {
    let store = Store::new(1_700_000_000_000, 0);
    store.tip_moved(now, 1);
    store
}

#[test]
fn ids_exceed_those_of_any_earlier_run() {
    let now = Instant::now();
    let first = store(now).template(now, &published(1, 1), NARROW, 0).unwrap();
    let restarted = Store::new(1_700_000_000_001, 0);
    restarted.tip_moved(now, 1);
    let second = restarted.template(now, &published(1, 1), NARROW, 0).unwrap();
    assert!(second.id >= first.id + IDS_PER_MILLISECOND);
    // The clock may have been set back meanwhile.
    let set_back = Store::new(1, second.id);
    set_back.tip_moved(now, 1);
    assert!(set_back.template(now, &published(1, 1), NARROW, 0).unwrap().id > second.id);
}

#[test]
fn clients_that_need_no_trimming_share_one_template() {
    let now = Instant::now();
    let (store, offer) = (store(now), published(1, 1));
    let a = store.template(now, &offer, NARROW, 0).unwrap();
    let b = store.template(now, &offer, Room::default(), 0).unwrap();
    assert_eq!(a.id, b.id);
    assert!(Arc::ptr_eq(&a.contents, &offer.whole));
}

#[test]
fn a_client_that_needs_room_gets_a_trimmed_template_that_others_share() {
    let now = Instant::now();
    let (store, offer) = (store(now), published(1, 1));
    let whole = store.template(now, &offer, NARROW, 0).unwrap();
    let trimmed = store.template(now, &offer, WIDE, 0).unwrap();
    let again = store.template(now, &offer, WIDE, 0).unwrap();
    assert!(trimmed.id > whole.id);
    assert_eq!(trimmed.id, again.id);
    assert_eq!((whole.contents.transactions.len(), trimmed.contents.transactions.len()), (2, 1));
}

#[test]
fn a_client_that_comes_back_to_an_earlier_room_still_gets_a_higher_id() {
    let now = Instant::now();
    let (store, offer) = (store(now), published(1, 1));
    let whole = store.template(now, &offer, NARROW, 0).unwrap();
    let trimmed = store.template(now, &offer, WIDE, whole.id).unwrap();
    let back = store.template(now, &offer, NARROW, trimmed.id).unwrap();
    assert!(whole.id < trimmed.id && trimmed.id < back.id);
    assert_eq!(back.contents, whole.contents);
    assert!(store.find(now, whole.id).is_ok());
}

#[test]
fn each_offer_has_templates_of_its_own() {
    let now = Instant::now();
    let store = store(now);
    let first = store.template(now, &published(1, 1), NARROW, 0).unwrap();
    let second = store.template(now, &published(2, 1), NARROW, first.id).unwrap();
    assert!(second.id > first.id);
    // A slow client may still ask for the older one: its id is new, nothing is lost.
    let late = store.template(now, &published(1, 1), NARROW, 0).unwrap();
    assert!(late.id > second.id);
    assert_eq!(store.template(now, &published(2, 1), NARROW, 0).unwrap().id, second.id);
}

#[test]
fn a_template_outlives_its_tip_by_a_minute() {
    let now = Instant::now();
    let store = store(now);
    let old = store.template(now, &published(1, 1), NARROW, 0).unwrap();
    let later = now + Duration::from_secs(3600);
    store.tip_moved(later, 2);
    let new = store.template(later, &published(2, 2), NARROW, old.id).unwrap();
    let almost = later + KEPT_AFTER_TIP_MOVED - Duration::from_millis(1);
    assert!(store.find(almost, old.id).is_ok());
    assert_eq!(store.find(later + KEPT_AFTER_TIP_MOVED, old.id).err(), Some(Missing::Stale));
    assert!(store.find(later + KEPT_AFTER_TIP_MOVED, new.id).is_ok());
}

#[test]
fn a_template_taken_after_its_tip_was_left_is_forgotten_too() {
    let now = Instant::now();
    let store = store(now);
    store.tip_moved(now, 2);
    let late = store.template(now, &published(1, 1), NARROW, 0).unwrap();
    assert!(store.find(now, late.id).is_ok());
    assert_eq!(store.find(now + KEPT_AFTER_TIP_MOVED, late.id).err(), Some(Missing::Stale));
}

#[test]
fn an_id_that_was_never_given_out_is_not_stale() {
    let now = Instant::now();
    let store = store(now);
    let made = store.template(now, &published(1, 1), NARROW, 0).unwrap();
    for id in [0, made.id - 1, made.id + 1, u64::MAX] {
        assert_eq!(store.find(now, id).err(), Some(Missing::NeverMade), "{id}");
    }
}

#[test]
fn past_the_limit_the_oldest_go() {
    let now = Instant::now();
    let store = store(now);
    let mut ids = Vec::new();
    for number in 1..=u64::try_from(TEMPLATES_MAX).unwrap() + 1 {
        let mut offer = published(1, 1);
        offer.number = number;
        ids.push(store.template(now, &offer, NARROW, 0).unwrap().id);
    }
    assert_eq!(store.find(now, ids[0]).err(), Some(Missing::Stale));
    assert!(store.find(now, ids[1]).is_ok());
    assert!(store.find(now, ids[TEMPLATES_MAX]).is_ok());
}

/// Many short connections, each asking as often as a session lets it.
fn ask_greedily(store: &Store, now: Instant, offer: &Offer, room: impl Fn(u32) -> Room) {
    for connection in 0..67 {
        let mut after = 0;
        for question in 0..30 {
            after = store.template(now, offer, room(connection * 30 + question), after).unwrap().id;
        }
    }
}

#[test]
fn clients_that_ask_again_and_again_get_the_names_that_others_got_before() {
    let now = Instant::now();
    let (store, offer) = (store(now), published(1, 1));
    let first = store.template(now, &offer, NARROW, 0).unwrap();
    ask_greedily(&store, now, &offer, |_| NARROW);
    let next = store.template(now, &published(2, 1), NARROW, 0).unwrap();
    assert_eq!(next.id, first.id + 30);
    assert!(store.find(now, first.id).is_ok());
}

#[test]
fn a_template_that_is_mined_on_outlives_thousands_that_others_ask_for() {
    let now = Instant::now();
    let (store, old, offer) = (store(now), published(1, 1), published(2, 1));
    let wider = |more| Room { output_bytes: WIDE.output_bytes + more, ..WIDE };
    let superseded = store.template(now, &old, NARROW, 0).unwrap();
    let live = store.template(now, &offer, NARROW, superseded.id).unwrap();
    ask_greedily(&store, now, &offer, |_| NARROW);
    ask_greedily(&store, now, &offer, wider);
    for held in [&superseded, &live] {
        assert_eq!(store.find(now, held.id).unwrap().id, held.id);
    }
    assert!(store.lock().kept.len() <= TEMPLATES_MAX + 2, "memory has a bound");
}

#[test]
fn the_templates_of_left_tips_go_first() {
    let now = Instant::now();
    let store = store(now);
    store.tip_moved(now, 2);
    let live = store.template(now, &published(2, 2), NARROW, 0).unwrap().id;
    // A slow client takes an offer whose tip was left.
    let left = store.template(now, &published(1, 1), NARROW, 0).unwrap().id;
    for number in 3..=u64::try_from(TEMPLATES_MAX).unwrap() {
        store.template(now, &published(number, 2), NARROW, 0).unwrap();
    }
    assert!(store.find(now, left).is_ok() && store.find(now, live).is_ok(), "all fit");
    store.template(now, &published(5000, 2), NARROW, 0).unwrap();
    assert_eq!(store.find(now, left).err(), Some(Missing::Stale));
    assert!(store.find(now, live).is_ok());
}

#[test]
fn ntime_starts_later_for_a_client_that_comes_later() {
    let offer = published(1, 1);
    let start = offer.published_at;
    assert_eq!(offer.header_timestamp(start), 1_700_000_000);
    assert_eq!(offer.header_timestamp(start + Duration::from_millis(90_500)), 1_700_000_090);
}

#[test]
fn a_client_that_cannot_be_served_is_told_so() {
    let now = Instant::now();
    let room = Room { output_bytes: u32::MAX, output_sigops: 0 };
    let error = store(now).template(now, &published(1, 1), room, 0).unwrap_err();
    assert_eq!(error, BuildError::NoRoom);
}

#[test]
fn the_samples_need_trimming_for_the_wide_room_alone() {
    let offer = published(1, 1);
    assert_eq!(offer.block.limits, Limits { weight: 4_000_000, sigops: 80_000 });
    assert!(offer.fits(NARROW));
    assert!(!offer.fits(WIDE));
}
