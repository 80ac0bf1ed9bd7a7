//! Parcels arrive at last, once, and no parcel waits for another.

use std::collections::VecDeque;
use std::sync::Mutex;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::extension::{AcceptedBlock, Addition, Facts, Hook, Parcel};

/// A refusal at which the extension panics.
const PANIC: &str = "panic";

/// What a neighbour does with a parcel.
type Script = Box<dyn FnMut(&Parcel, Instant) -> Option<Delivery> + Send>;

/// An extension whose neighbour answers as its script says; `None` never answers.
struct Scripted {
    script: Mutex<Script>,
    calls: Mutex<Vec<(String, Instant)>>,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

impl Scripted {
    fn new(script: impl FnMut(&Parcel, Instant) -> Option<Delivery> + Send + 'static) -> Arc<Self> {
        let script: Script = Box::new(script);
        Arc::new(Self { script: Mutex::new(script), calls: Mutex::default() })
    }

    fn keys(&self) -> Vec<String> {
        self.calls.lock().unwrap().iter().map(|(key, _)| key.clone()).collect()
    }
}

impl Extension for Scripted {
    fn name(&self) -> &'static str {
        "shielded"
    }

    fn is_mandatory(&self) -> bool {
        false
    }

    fn output_bytes_max(&self) -> u32 {
        0
    }

    fn outputs(&self, facts: Facts<'_>) -> Result<Addition, String> {
        Ok(Addition::nothing(&facts))
    }

    fn on_accepted<'a>(&'a self, _: &'a AcceptedBlock, parcel: &'a Parcel) -> Hook<'a, Delivery> {
        Box::pin(async move {
            let now = Instant::now();
            self.calls.lock().unwrap().push((parcel.key.clone(), now));
            let delivery = (self.script.lock().unwrap())(parcel, now);
            match delivery {
                Some(Delivery::Refused(reason)) if reason == PANIC => panic!("as scripted"),
                Some(delivery) => delivery,
                None => std::future::pending().await,
            }
        })
    }
}

fn pending(extension: &str, key: &str) -> Pending {
    let block = AcceptedBlock { hash: "00aa".into(), height: 7 };
    let (extension, key) = (extension.to_owned(), key.to_owned());
    Pending::new(block, Parcel { extension, key, body: Value::Null })
}

fn store_with(keys: &[&str]) -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for key in keys {
        store.put(&pending("shielded", key)).unwrap();
    }
    (directory, store)
}

/// Runs the worker for a time, which passes as fast as it can; gives its metrics at the end. All
/// blocks are in the chain.
async fn deliver_for(seconds: u64, store: &Store, extension: &Arc<Scripted>) -> String {
    deliver_on(|| Standing::InChain, seconds, store, extension).await
}

/// The same, in a chain that says of each block where it stands.
async fn deliver_on(
    chain: impl Fn() -> Standing + Send + Sync + 'static,
    seconds: u64,
    store: &Store,
    extension: &Arc<Scripted>,
) -> String {
    let chain: AskChain = Arc::new(move |_| Box::pin(std::future::ready(chain())));
    let extension: Arc<dyn Extension> = Arc::<Scripted>::clone(extension);
    let metrics = Metrics::new("test");
    let deliver =
        deliver(store.clone(), Arc::from([extension]), chain, OutboxMetrics::new(&metrics));
    let ended = timeout(Duration::from_secs(seconds), deliver).await;
    assert!(ended.is_err(), "it delivers for as long as it is polled");
    metrics.text()
}

#[tokio::test(start_paused = true)]
async fn a_neighbour_that_is_down_for_five_minutes_gets_its_parcel_when_it_is_back() {
    let (_directory, store) = store_with(&["0a"]);
    let start = Instant::now();
    let back = start + Duration::from_secs(300);
    let extension = Scripted::new(move |_, now| match now < back {
        true => Some(Delivery::Failed("connection refused".into())),
        false => Some(Delivery::Done),
    });
    deliver_for(340, &store, &extension).await;
    assert_eq!(store.waiting(9).unwrap(), Vec::<String>::new());
    let calls = extension.calls.lock().unwrap();
    let (_, last) = calls.last().unwrap();
    assert!(*last < back + RETRY_MAX + Duration::from_secs(1), "{:?}", *last - start);
    // Ten to twenty attempts at the longest wait, and a few before.
    assert!((12..30).contains(&calls.len()), "{}", calls.len());
}

#[tokio::test(start_paused = true)]
async fn a_parcel_that_hangs_delays_no_other() {
    let (_directory, store) = store_with(&["0a", "0b", "0c"]);
    let extension = Scripted::new(|parcel, _| (parcel.key != "0a").then_some(Delivery::Done));
    deliver_for(5, &store, &extension).await;
    assert_eq!(store.waiting(9).unwrap(), ["shielded-0a"]);
}

#[tokio::test(start_paused = true)]
async fn a_parcel_that_hangs_is_tried_again() {
    let (_directory, store) = store_with(&["0a"]);
    let mut answers = VecDeque::from([None, Some(Delivery::Done)]);
    let extension = Scripted::new(move |_, _| answers.pop_front().unwrap());
    deliver_for(90, &store, &extension).await;
    assert_eq!(extension.keys(), ["0a", "0a"]);
    assert_eq!(store.waiting(9).unwrap(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_parcel_is_delivered_once_however_often_it_is_put_in() {
    let (_directory, store) = store_with(&["0a"]);
    let extension = Scripted::new(|_, _| Some(Delivery::Done));
    deliver_for(10, &store, &extension).await;
    store.put(&pending("shielded", "0a")).unwrap();
    deliver_for(10, &store, &extension).await;
    assert_eq!(extension.keys(), ["0a"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_parcel_is_put_aside_and_revived_by_a_person() {
    let (_directory, store) = store_with(&["0a"]);
    let mut answers = VecDeque::from([Delivery::Refused("HTTP 400".into()), Delivery::Done]);
    let extension = Scripted::new(move |_, _| answers.pop_front());
    let metrics = deliver_for(100, &store, &extension).await;
    assert!(metrics.contains("outbox_dead 1\n"), "{metrics}");
    assert_eq!(extension.keys(), ["0a"]);
    assert_eq!(store.all_dead().unwrap()[0].reason, "HTTP 400");
    // Another process revives it: the worker must see it by looking.
    let reviving = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(store.revive("shielded-0a").unwrap());
    };
    tokio::join!(deliver_for(40, &store, &extension), reviving);
    assert_eq!(extension.keys(), ["0a", "0a"]);
    assert_eq!(store.counts().unwrap().dead, 0);
}

#[tokio::test(start_paused = true)]
async fn a_parcel_that_nobody_can_deliver_is_kept() {
    let (_directory, store) = store_with(&["0a"]);
    store.put(&pending("other", "0b")).unwrap();
    let extension = Scripted::new(|_, _| Some(Delivery::Done));
    let metrics = deliver_for(100, &store, &extension).await;
    assert_eq!(extension.keys(), ["0a"]);
    assert_eq!(store.waiting(9).unwrap(), ["other-0b"]);
    assert!(metrics.contains("outbox_pending 1\n"), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn a_full_outbox_comes_to_its_neighbour_a_few_at_a_time() {
    let keys: Vec<_> = (0..20).map(|key| format!("{key:02}")).collect();
    let (_directory, store) = store_with(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    let extension = Scripted::new(|_, _| None);
    deliver_for(50, &store, &extension).await;
    assert_eq!(extension.keys().len(), AT_ONCE_MAX);
}

#[tokio::test(start_paused = true)]
async fn an_extension_that_panics_loses_no_parcel() {
    let (_directory, store) = store_with(&["0a"]);
    let mut answers = VecDeque::from([Delivery::Refused(PANIC.into()), Delivery::Done]);
    let extension = Scripted::new(move |_, _| answers.pop_front());
    deliver_for(10, &store, &extension).await;
    assert_eq!(store.waiting(9).unwrap(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_delivered_for_a_block_that_is_off_the_chain_until_it_is_back() {
    let (_directory, store) = store_with(&["0a"]);
    let extension = Scripted::new(|_, _| Some(Delivery::Done));
    let off_chain = || Standing::OffChain { above: BLOCKS_ABOVE_MAX - 1 };
    let metrics = deliver_on(off_chain, 600, &store, &extension).await;
    assert_eq!(extension.keys(), Vec::<String>::new());
    assert!(metrics.contains("outbox_off_chain 1\n"), "{metrics}");
    let start = Instant::now();
    let back = move || match start.elapsed() < Duration::from_secs(100) {
        true => Standing::OffChain { above: 1 },
        false => Standing::InChain,
    };
    let metrics = deliver_on(back, 140, &store, &extension).await;
    assert_eq!(extension.keys(), ["0a"]);
    assert!(metrics.contains("outbox_off_chain 0\n"), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn a_parcel_of_a_block_that_does_not_come_back_is_kept_for_a_person() {
    let (_directory, store) = store_with(&["0a"]);
    let extension = Scripted::new(|_, _| Some(Delivery::Done));
    let gone = || Standing::OffChain { above: BLOCKS_ABOVE_MAX };
    deliver_on(gone, 10, &store, &extension).await;
    assert_eq!(extension.keys(), Vec::<String>::new());
    let [dead] = store.all_dead().unwrap().try_into().unwrap();
    assert_eq!(dead.reason, "block 00aa left the chain and did not come back");
}

/// A parcel that has waited for so many seconds.
fn store_with_one_since(seconds: u64) -> (TempDir, Store) {
    let (directory, store) = store_with(&[]);
    let parcel = pending("shielded", "0a");
    store.put(&Pending { since: parcel.since - seconds, ..parcel }).unwrap();
    (directory, store)
}

#[tokio::test(start_paused = true)]
async fn while_no_node_answers_only_what_was_accepted_just_now_goes_out() {
    for (waited, delivered) in [(5, 1), (90, 0)] {
        let (_directory, store) = store_with_one_since(waited);
        let extension = Scripted::new(|_, _| Some(Delivery::Done));
        deliver_on(|| Standing::Unknown, 600, &store, &extension).await;
        assert_eq!(extension.keys().len(), delivered, "{waited}");
    }
    let (_directory, store) = store_with_one_since(90);
    let extension = Scripted::new(|_, _| Some(Delivery::Done));
    deliver_on(|| Standing::Untold, 10, &store, &extension).await;
    assert_eq!(extension.keys(), ["0a"], "nodes that cannot tell hold nothing up");
}

#[tokio::test(start_paused = true)]
async fn what_a_neighbour_declines_for_a_day_is_kept_for_a_person() {
    let day = DECLINED_MAX.as_secs();
    for (waited, dead) in [(day - 60, 0), (day, 1)] {
        let (_directory, store) = store_with_one_since(waited);
        let extension = Scripted::new(|_, _| Some(Delivery::Declined("not now".into())));
        deliver_for(10, &store, &extension).await;
        let counts = store.counts().unwrap();
        assert_eq!((counts.pending, counts.dead), (1 - dead, dead), "{waited}");
    }
}
