//! What goes into a template, with sources that are files.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use service::metrics::Metrics;
use tempfile::TempDir;
use tokio::sync::Notify;

use super::config::{Ask, ByteOrder, SelfBmm, SourceSettings};
use super::*;
use crate::block_template::Output;

const TIP: [u8; 32] = [1; 32];
const NEXT_TIP: [u8; 32] = [2; 32];

struct Setup {
    bmm: Bmm,
    republish: Arc<Notify>,
    metrics: Metrics,
    directory: TempDir,
}

impl Setup {
    /// A slot for each file name.
    fn new(slots: &[u8], adjust: impl Fn(&mut SlotSettings)) -> Self {
        let directory = TempDir::new().unwrap();
        let settings: Vec<_> = slots
            .iter()
            .map(|slot| {
                let mut settings = of_file(*slot, directory.path());
                adjust(&mut settings);
                settings
            })
            .collect();
        let republish = Arc::new(Notify::new());
        let metrics = Metrics::new("x");
        let bmm = Bmm::start(&settings, &republish, &Counts::new(&metrics));
        Self { bmm, republish, metrics, directory }
    }

    fn write(&self, slot: u8, text: &str) {
        let path = self.directory.path().join(slot.to_string());
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    /// Until the publisher is told that there is something new.
    async fn until_republish(&self) {
        let told = self.republish.notified();
        tokio::time::timeout(Duration::from_secs(10), told).await.expect("a republish");
    }

    fn scripts(&self, prev_hash: [u8; 32], present: &[Output]) -> Vec<Vec<u8>> {
        let addition = self.bmm.outputs(facts(prev_hash, present)).unwrap();
        assert_eq!(addition.value_left, 5000, "an M7 costs nothing");
        addition.outputs.iter().map(|output| output.script.to_vec()).collect()
    }
}

fn of_file(slot: u8, directory: &Path) -> SlotSettings {
    let source = SourceSettings {
        ask: Ask::File(directory.join(slot.to_string())),
        byte_order: ByteOrder::AsIs,
        poll: Duration::from_millis(5),
        deadline: Duration::from_secs(5),
    };
    let (encoding, self_bmm) = (Encoding::Push, SelfBmm::IfNoBid);
    SlotSettings { slot, encoding, self_bmm, required: false, source: Some(source) }
}

fn facts(prev_hash: [u8; 32], present: &[Output]) -> Facts<'_> {
    Facts { prev_hash, height: 7, value: 5000, fees: Some(0), present }
}

fn m7(slot: u8, byte: u8) -> Vec<u8> {
    [&[0x6a, 0x25, 0xd1, 0x61, 0x73, 0x68, slot][..], &[byte; 32]].concat()
}

#[tokio::test]
async fn each_slot_gets_its_m7_once_its_source_has_spoken() {
    let setup = Setup::new(&[3, 200], |_| {});
    setup.write(3, &"ab".repeat(32));
    assert!(setup.scripts(TIP, &[]).is_empty(), "nothing is known, and nothing waited for");
    setup.bmm.tip_moved(TIP);
    setup.until_republish().await;
    assert_eq!(setup.scripts(TIP, &[]), [m7(3, 0xab)]);
    setup.write(200, &"cd".repeat(32));
    setup.until_republish().await;
    assert_eq!(setup.scripts(TIP, &[]), [m7(3, 0xab), m7(200, 0xcd)]);
}

#[tokio::test]
async fn what_was_asked_for_one_tip_is_never_used_for_the_next() {
    let setup = Setup::new(&[3], |_| {});
    setup.write(3, &"ab".repeat(32));
    setup.bmm.tip_moved(TIP);
    setup.until_republish().await;
    setup.bmm.tip_moved(NEXT_TIP);
    assert!(setup.scripts(NEXT_TIP, &[]).is_empty(), "not asked again yet");
    setup.until_republish().await;
    assert_eq!(setup.scripts(NEXT_TIP, &[]), [m7(3, 0xab)]);
    assert!(setup.scripts(TIP, &[]).is_empty(), "nor the other way round");
}

#[tokio::test]
async fn a_source_that_names_its_tip_is_used_for_that_one_alone() {
    let setup = Setup::new(&[3], |_| {});
    let (h_star, other) = ("ab".repeat(32), "02".repeat(32));
    setup.write(3, &format!("{h_star} {other}"));
    setup.bmm.tip_moved(TIP);
    let mut watched = setup.bmm.slots[0].watched.clone();
    assert_eq!(watched.next().await, Err(Absence::Stale));
    assert!(setup.scripts(TIP, &[]).is_empty());
    setup.bmm.tip_moved(NEXT_TIP);
    setup.until_republish().await;
    assert_eq!(setup.scripts(NEXT_TIP, &[]), [m7(3, 0xab)]);
}

#[tokio::test]
async fn zeros_and_nonsense_are_left_out() {
    for (text, expected) in [("00".repeat(32), Absence::Zero), ("zz".into(), Absence::Failed)] {
        let setup = Setup::new(&[3], |_| {});
        setup.write(3, &text);
        setup.bmm.tip_moved(TIP);
        let mut watched = setup.bmm.slots[0].watched.clone();
        assert_eq!(watched.next().await, Err(expected));
        assert!(setup.scripts(TIP, &[]).is_empty());
        let reason = expected.label();
        let counted = format!("x_bmm_omitted_total{{slot=\"3\",reason=\"{reason}\"}} 1");
        let text = setup.metrics.text();
        assert!(text.contains(&counted) && text.contains("age_seconds{slot=\"3\"} 0"), "{text}");
    }
}

#[tokio::test]
async fn a_slot_that_is_taken_gets_no_second_m7() {
    let setup = Setup::new(&[3, 4], |_| {});
    setup.write(3, &"ab".repeat(32));
    setup.bmm.tip_moved(TIP);
    setup.until_republish().await;
    setup.write(4, &"cd".repeat(32));
    setup.until_republish().await;
    for encoding in [Encoding::Push, Encoding::Raw, Encoding::Legacy] {
        let present = Accept { slot: 3, h_star: [9; 32] }.output(encoding, &TIP);
        assert_eq!(setup.scripts(TIP, &[present]), [m7(4, 0xcd)], "{encoding:?}");
    }
}

#[tokio::test]
async fn a_required_slot_without_h_star_means_no_template() {
    let setup = Setup::new(&[3], |settings| settings.required = true);
    assert!(setup.bmm.is_mandatory());
    let error = setup.bmm.outputs(facts(TIP, &[])).unwrap_err();
    assert!(error.contains("slot 3") && error.contains("waiting"), "{error}");
    setup.write(3, &"ab".repeat(32));
    setup.bmm.tip_moved(TIP);
    setup.until_republish().await;
    assert_eq!(setup.scripts(TIP, &[]).len(), 1);
    assert!(!Setup::new(&[3], |_| {}).bmm.is_mandatory());
}

#[tokio::test]
async fn the_byte_order_is_the_operators() {
    let setup = Setup::new(&[3], |settings| {
        settings.source.as_mut().unwrap().byte_order = ByteOrder::Reversed;
    });
    setup.write(3, &format!("01{}", "ff".repeat(31)));
    setup.bmm.tip_moved(TIP);
    setup.until_republish().await;
    let script = setup.scripts(TIP, &[]).remove(0);
    assert_eq!((script[7], script[38]), (0xff, 1));
}

#[tokio::test]
async fn all_outputs_fit_in_what_is_said_of_them() {
    let setup = Setup::new(&[3, 4, 5], |settings| settings.encoding = Encoding::Legacy);
    for slot in [3, 4, 5] {
        setup.write(slot, &"ab".repeat(32));
    }
    setup.bmm.tip_moved(TIP);
    while setup.scripts(TIP, &[]).len() < 3 {
        setup.until_republish().await;
    }
    let bytes: usize = setup.scripts(TIP, &[]).iter().map(|script| 8 + 1 + script.len()).sum();
    assert_eq!(usize::try_from(setup.bmm.output_bytes_max()).unwrap(), bytes);
}
