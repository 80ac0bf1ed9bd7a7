//! Parcels move from folder to folder, and a crash between two steps loses none.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::*;

pub(crate) fn pending(key: &str) -> Pending {
    let block = AcceptedBlock { hash: "00aa".into(), height: 7 };
    let body = json!({ "secret": [1, 2] });
    Pending::new(block, Parcel { extension: "shielded".into(), key: key.into(), body })
}

fn dead(key: &str) -> Dead {
    Dead { reason: "HTTP 400".into(), pending: pending(key) }
}

fn waiting(store: &Store) -> Vec<String> {
    store.waiting(usize::MAX).unwrap()
}

#[test]
fn a_delivered_parcel_never_waits_again_and_leaves_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let parcel = pending("0a");
    store.put(&parcel).unwrap();
    assert_eq!(waiting(&store), ["shielded-0a"]);
    assert_eq!(store.read("shielded-0a").unwrap(), Some(parcel.clone()));
    let file = directory.path().join("pending/shielded-0a.json");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    store.delivered(&parcel).unwrap();
    assert_eq!(store.read("shielded-0a").unwrap(), None);
    let reopened = Store::open(directory.path()).unwrap();
    reopened.put(&parcel).unwrap();
    assert_eq!(waiting(&reopened), Vec::<String>::new());
    let tombstone = fs::read_to_string(directory.path().join("done/shielded-0a.json")).unwrap();
    assert!(!tombstone.contains("secret"), "{tombstone}");
}

#[test]
fn what_was_delivered_before_a_crash_is_cleared_away() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    store.put(&pending("0a")).unwrap();
    let file = directory.path().join("pending/shielded-0a.json");
    let content = fs::read(&file).unwrap();
    store.delivered(&pending("0a")).unwrap();
    fs::write(&file, content).unwrap();
    assert_eq!(waiting(&store), Vec::<String>::new());
    assert!(!file.exists());
}

#[test]
fn a_dead_parcel_is_kept_and_can_be_revived() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    store.put(&pending("0a")).unwrap();
    store.bury(&dead("0a")).unwrap();
    assert_eq!(waiting(&store), Vec::<String>::new());
    store.put(&pending("0a")).unwrap();
    assert_eq!(waiting(&store), Vec::<String>::new(), "only a person revives it");
    assert_eq!(store.all_dead().unwrap()[0].reason, "HTTP 400");
    assert!(store.revive("shielded-0a").unwrap());
    assert_eq!((waiting(&store).len(), store.counts().unwrap().dead), (1, 0));
    assert!(!store.revive("shielded-0a").unwrap());
}

#[test]
fn deliveries_of_long_ago_are_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    store.delivered(&pending("0a")).unwrap();
    store.forget_delivered(DONE_KEPT).unwrap();
    assert_eq!(store.names(Folder::Done).unwrap().len(), 1);
    store.forget_delivered(Duration::ZERO).unwrap();
    assert_eq!(store.names(Folder::Done).unwrap().len(), 0);
}

#[test]
fn what_was_not_written_whole_does_not_wait() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    fs::write(directory.path().join("pending/shielded-0a.partial"), "{").unwrap();
    assert_eq!(waiting(&store), Vec::<String>::new());
    store.put(&pending("0a")).unwrap();
    assert_eq!(waiting(&store), ["shielded-0a"]);
}

#[test]
fn a_key_makes_a_name_that_leads_nowhere_else() {
    assert_eq!(file_name("bmm", "00ff"), "bmm-00ff");
    assert_eq!(file_name("bmm", "../A"), "bmm-%2e%2e%2f%41");
}

#[test]
fn putting_a_parcel_in_tells_what_came_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let parcel = pending("0a");
    assert_eq!(store.put(&parcel).unwrap(), Put::New);
    assert_eq!(store.put(&parcel).unwrap(), Put::Waiting);
    store.bury(&dead("0a")).unwrap();
    assert_eq!(store.put(&parcel).unwrap(), Put::Refused);
    assert_eq!(store.put_again(&parcel).unwrap(), Put::Refused);
    store.revive("shielded-0a").unwrap();
    store.delivered(&parcel).unwrap();
    let Put::Delivered { delivered_at: Some(at) } = store.put(&parcel).unwrap() else { panic!() };
    assert!((parcel.since..=unix_now()).contains(&at), "{at}");
    assert_eq!(waiting(&store), Vec::<String>::new());
    assert_eq!(store.put_again(&parcel).unwrap(), Put::New);
    assert_eq!(waiting(&store), ["shielded-0a"]);
    fs::write(directory.path().join("done/shielded-0b.json"), "torn").unwrap();
    assert_eq!(store.put(&pending("0b")).unwrap(), Put::Delivered { delivered_at: None });
}

#[test]
fn two_programs_that_change_one_parcel_lose_none() {
    let directory = tempfile::tempdir().unwrap();
    // Two stores know nothing of each other, as two programs do not.
    let [server, command] = [(); 2].map(|()| Store::open(directory.path()).unwrap());
    server.put(&pending("0a")).unwrap();
    let burying = std::thread::spawn(move || {
        for _ in 0..100 {
            if server.read("shielded-0a").unwrap().is_some() {
                server.bury(&dead("0a")).unwrap();
            }
        }
    });
    for _ in 0..100 {
        command.revive("shielded-0a").unwrap();
    }
    burying.join().unwrap();
    let counts = command.counts().unwrap();
    assert_eq!((counts.pending, counts.dead), (1 - counts.dead, counts.dead));
}

#[test]
fn a_change_waits_for_another_programs() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let changing = durable::lock(&directory.path().join(LOCK_FILE), Duration::ZERO).unwrap();
    let putting = std::thread::spawn({
        let store = store.clone();
        move || store.put(&pending("0a")).unwrap()
    });
    assert_eq!(waiting(&store), Vec::<String>::new(), "looking needs no lock");
    assert!(!putting.is_finished());
    drop(changing);
    assert_eq!(putting.join().unwrap(), Put::New);
}

#[test]
fn a_command_makes_no_outbox() {
    let directory = tempfile::tempdir().unwrap();
    assert!(Store::existing(directory.path()).is_none());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    Store::open(directory.path()).unwrap().put(&pending("0a")).unwrap();
    let existing = Store::existing(directory.path()).unwrap();
    assert_eq!(waiting(&existing), ["shielded-0a"]);
}
