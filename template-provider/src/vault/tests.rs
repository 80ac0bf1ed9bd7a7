//! What was found is there until it is judged, with its parcels, whatever the files look like.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::*;

/// A block without height and parcels, as earlier versions kept them.
fn block(hash: &str, block_hex: &str) -> Record {
    let (hash, block_hex) = (hash.to_owned(), block_hex.to_owned());
    Record { hash, height: None, block_hex, parcels: Vec::new() }
}

/// A block of height 7 with a parcel.
fn with_parcel(hash: &str, block_hex: &str) -> Record {
    let body = json!({ "secret": [1, 2, 3] });
    let parcel = Parcel { extension: "shielded".into(), key: "0a".into(), body };
    Record { height: Some(7), parcels: vec![parcel], ..block(hash, block_hex) }
}

#[test]
fn a_block_is_pending_until_it_is_judged() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(&directory.path().join("blocks")).unwrap();
    vault.keep(&block("aa", "00")).unwrap();
    vault.keep(&block("bb", "11")).unwrap();
    let mut pending = vault.pending().unwrap();
    pending.sort_by(|a, b| a.hash.cmp(&b.hash));
    assert_eq!(pending, [block("aa", "00"), block("bb", "11")]);
    vault.settle_accepted("aa").unwrap();
    vault.settle_refused("bb").unwrap();
    assert_eq!(vault.pending().unwrap(), []);
    let refused = directory.path().join("blocks/bb.refused");
    assert!(fs::read_to_string(refused).unwrap().ends_with("\n11\n"));
}

#[test]
fn a_block_that_was_not_written_whole_is_not_pending() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(directory.path()).unwrap();
    fs::write(directory.path().join("aa.partial"), "0").unwrap();
    assert_eq!(vault.pending().unwrap(), []);
}

/// The genesis block of regtest.
fn whole_block() -> (String, String) {
    let block = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
    (block.block_hash().to_string(), bitcoin::consensus::encode::serialize_hex(&block))
}

#[test]
fn a_block_that_was_written_whole_and_not_renamed_is_pending() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(directory.path()).unwrap();
    let (hash, block_hex) = whole_block();
    fs::write(directory.path().join(format!("{hash}.partial")), &block_hex).unwrap();
    assert_eq!(vault.pending().unwrap(), [block(&hash, &block_hex)]);
    vault.settle_accepted(&hash).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn no_part_of_a_block_and_no_unmined_one_is_pending() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(directory.path()).unwrap();
    let (hash, whole) = whole_block();
    let partial = directory.path().join(format!("{hash}.partial"));
    // The nonce is the last field of a header of 80 bytes: another one is not mined.
    let unmined = (0..).map(|nonce: u8| format!("{}{nonce:02x}{}", &whole[..152], &whole[154..]));
    let bytes = |hex: &String| Vec::from_hex(hex).unwrap();
    let unmined = unmined.into_iter().find(|hex| whole_block_hash(&bytes(hex)).is_none());
    let longer = format!("{whole}00");
    for content in [&whole[..whole.len() - 2], &whole[..160], &longer, &unmined.unwrap()] {
        fs::write(&partial, content).unwrap();
        assert_eq!(vault.pending().unwrap(), []);
    }
}

#[test]
fn a_file_that_cannot_be_used_hides_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(directory.path()).unwrap();
    let in_it = |name: &str| directory.path().join(name);
    fs::create_dir(in_it("directory.hex")).unwrap();
    fs::create_dir(in_it("directory.partial")).unwrap();
    fs::write(in_it("bytes.hex"), [0xff; 9]).unwrap();
    fs::write(in_it("odd.hex"), "123").unwrap();
    fs::write(in_it("empty.hex"), "").unwrap();
    vault.keep(&block("aa", "00")).unwrap();
    assert_eq!(vault.pending().unwrap(), [block("aa", "00")]);
}

#[test]
fn keeping_a_block_twice_is_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(directory.path()).unwrap();
    vault.keep(&block("aa", "00")).unwrap();
    vault.keep(&block("aa", "00")).unwrap();
    assert_eq!(vault.pending().unwrap().len(), 1);
}

#[test]
fn parcels_are_kept_with_their_block_where_nobody_else_reads_them() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(&directory.path().join("blocks")).unwrap();
    let record = with_parcel("aa", "00");
    vault.keep(&record).unwrap();
    assert_eq!(vault.pending().unwrap(), std::slice::from_ref(&record));
    assert_eq!(vault.read("aa").unwrap(), record);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(directory.path().join("blocks/aa.hex")), 0o600);
    assert_eq!(mode(directory.path().join("blocks")), 0o700);
}

#[test]
fn nothing_is_left_of_a_block_that_is_settled_and_was_written_in_part_before() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(directory.path()).unwrap();
    for settle in [Vault::settle_accepted, Vault::settle_refused] {
        fs::write(directory.path().join("aa.partial"), "{").unwrap();
        let record = with_parcel("aa", "00");
        // It was kept by an earlier run: nothing is written that a crash could cut short.
        let (other, elsewhere) = (tempfile::tempdir().unwrap(), "aa.hex");
        Vault::open(other.path()).unwrap().keep(&record).unwrap();
        fs::copy(other.path().join(elsewhere), directory.path().join(elsewhere)).unwrap();
        vault.keep(&record).unwrap();
        assert!(directory.path().join("aa.partial").exists());
        settle(&vault, "aa").unwrap();
        assert!(!directory.path().join("aa.partial").exists());
    }
}

#[test]
fn a_block_of_an_earlier_version_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(directory.path()).unwrap();
    fs::write(directory.path().join("aa.hex"), "00").unwrap();
    assert_eq!(vault.pending().unwrap(), [block("aa", "00")]);
}

#[test]
fn an_adopted_block_has_its_parcels() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(directory.path()).unwrap();
    let (hash, block_hex) = whole_block();
    let record = with_parcel(&hash, &block_hex);
    vault.keep(&record).unwrap();
    let whole = fs::read(directory.path().join(format!("{hash}.hex"))).unwrap();
    vault.settle_accepted(&hash).unwrap();
    let partial = directory.path().join(format!("{hash}.partial"));
    // Cut anywhere it is no block, and so never one without its parcels. The last byte is a line's
    // end.
    for length in [0, 1, 60, whole.len() / 2, whole.len() - 2] {
        fs::write(&partial, &whole[..length]).unwrap();
        assert_eq!(vault.pending().unwrap(), [], "{length}");
    }
    fs::write(&partial, &whole).unwrap();
    assert_eq!(vault.pending().unwrap(), [record]);
}

#[test]
fn a_block_whose_parcels_cannot_be_read_is_pending_and_its_file_is_kept_for_people() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(directory.path()).unwrap();
    fs::write(directory.path().join("aa.hex"), "{\"height\":7,\n00\n").unwrap();
    assert_eq!(vault.pending().unwrap(), [block("aa", "00")]);
    vault.settle_accepted("aa").unwrap();
    let copy = fs::read_to_string(directory.path().join("aa.damaged")).unwrap();
    assert!(copy.starts_with("{\"height\":7"));
}

#[test]
fn a_refused_block_is_listed_and_can_be_made_pending_again() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(directory.path()).unwrap();
    let (hash, block_hex) = whole_block();
    vault.keep(&with_parcel("aa", "00")).unwrap();
    vault.keep(&block(&hash, &block_hex)).unwrap();
    vault.settle_refused("aa").unwrap();
    let listed = vault.entries().unwrap().into_iter();
    let mut listed = listed.map(|entry| (entry.hash, entry.state, entry.height, entry.parcels));
    // The genesis block has no height in its coinbase.
    assert_eq!(listed.next(), Some((hash, State::Pending, None, 0)));
    assert_eq!(listed.next(), Some(("aa".into(), State::Refused, Some(7), 1)));
    assert_eq!(listed.next(), None);
    vault.reopen("aa").unwrap();
    vault.reopen("aa").unwrap();
    assert_eq!(vault.read("aa").unwrap(), with_parcel("aa", "00"));
    assert!(vault.reopen("bb").is_err(), "there is none");
}

#[test]
fn a_part_that_holds_nothing_is_cleared_away() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(directory.path()).unwrap();
    let [empty, torn] = ["aa.partial", "bb.partial"].map(|name| directory.path().join(name));
    fs::write(&empty, "").unwrap();
    fs::write(&torn, "{").unwrap();
    assert_eq!(vault.pending().unwrap(), []);
    assert_eq!(
        (empty.exists(), torn.exists()),
        (false, true),
        "what holds something is a person's"
    );
}
