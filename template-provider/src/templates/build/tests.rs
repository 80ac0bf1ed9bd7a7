//! What extensions add stands where it must, is paid for, and has room.

use std::sync::Mutex;

use super::*;
use crate::dependencies;
use crate::extension::{AcceptedBlock, Delivery, Hook};
use crate::templates::samples::{none, offer, transaction};

/// An extension that adds an output with its byte and keeps what it was told.
#[derive(Debug)]
struct Fixed {
    byte: u8,
    value: u64,
    is_mandatory: bool,
    output_bytes_max: u32,
    outputs: Option<Vec<Output>>,
    /// `value`, `fees` and how many outputs were present, of each question.
    told: Mutex<Vec<(u64, u64, usize)>>,
}

fn fixed(byte: u8) -> Fixed {
    Fixed {
        byte,
        value: 0,
        is_mandatory: false,
        output_bytes_max: 11,
        outputs: Some(vec![Output::valueless(vec![0x6a, byte])]),
        told: Mutex::default(),
    }
}

impl Extension for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn is_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn output_bytes_max(&self) -> u32 {
        self.output_bytes_max
    }

    fn outputs(&self, facts: Facts<'_>) -> Result<Addition, String> {
        self.told.lock().unwrap().push((facts.value, facts.fees.unwrap(), facts.present.len()));
        let mut outputs = self.outputs.clone().ok_or("it knows nothing")?;
        outputs[0].value = self.value;
        let key = format!("{:02x}", self.byte);
        let body = serde_json::json!({ "value": facts.value });
        let parcels = vec![Parcel { extension: "fixed".into(), key, body }];
        Ok(Addition { outputs, value_left: facts.value.saturating_sub(self.value), parcels })
    }

    fn on_accepted<'a>(&'a self, _: &'a AcceptedBlock, _: &'a Parcel) -> Hook<'a, Delivery> {
        Box::pin(async { Delivery::Done })
    }
}

fn extensions<const N: usize>(all: [Arc<Fixed>; N]) -> Extensions {
    all.map(|one| -> Arc<dyn Extension> { one }).into()
}

/// The outputs of the template, read back.
fn outputs(contents: &Contents) -> Vec<Output> {
    let output = |output: TxOut| Output {
        value: output.value.to_sat(),
        script: output.script_pubkey.into_bytes().into(),
    };
    contents.outputs().into_iter().map(output).collect()
}

fn with_room(
    offer: &BlockTemplate,
    extensions: &Extensions,
    output_bytes: u32,
) -> Result<Contents, BuildError> {
    let parents = dependencies::parents(&offer.transactions);
    build_with_room(offer, &parents, extensions, Room { output_bytes, output_sigops: 0 })
}

#[test]
fn the_nodes_outputs_come_first_then_the_extensions_in_order_and_the_commitment_last() {
    let given = Output::valueless(vec![0x6a, 9]);
    let offer = BlockTemplate { given_outputs: vec![given.clone()], ..offer(&[]) };
    let contents = build(&offer, &extensions([Arc::new(fixed(1)), Arc::new(fixed(2))])).unwrap();
    let commitment = Output::valueless(witness_commitment(&[]));
    let [one, two] = [1, 2].map(|byte| Output::valueless(vec![0x6a, byte]));
    assert_eq!(outputs(&contents), [given, one, two, commitment]);
}

#[test]
fn each_extension_is_told_of_what_those_before_it_left() {
    let spending = |byte, value| Arc::new(Fixed { value, ..fixed(byte) });
    let (first, second) = (spending(1, 500), spending(2, 70));
    let offer = offer(&[transaction(1, &[], 7, 400, 0)]);
    let contents = build(&offer, &extensions([Arc::clone(&first), Arc::clone(&second)])).unwrap();
    assert_eq!(*first.told.lock().unwrap(), [(2_500_000_007, 7, 0)]);
    assert_eq!(*second.told.lock().unwrap(), [(2_499_999_507, 7, 1)]);
    assert_eq!(contents.value_remaining, 2_499_999_437);
    let keys: Vec<_> = contents.parcels.iter().map(|parcel| &parcel.key[..]).collect();
    assert_eq!(keys, ["01", "02"]);
}

#[test]
fn a_mandatory_extension_without_outputs_lets_no_template_out() {
    let silent =
        |is_mandatory| extensions([Arc::new(Fixed { outputs: None, is_mandatory, ..fixed(1) })]);
    let refusal = BuildError::Extension { name: "fixed", reason: "it knows nothing".into() };
    assert_eq!(build(&offer(&[]), &silent(true)), Err(refusal.clone()));
    assert_eq!(with_room(&offer(&[]), &silent(true), 10), Err(refusal));
    assert_eq!(build(&offer(&[]), &silent(false)), build(&offer(&[]), &none()));
}

#[test]
fn an_extension_that_takes_more_than_it_said_is_left_out() {
    let long = Fixed { output_bytes_max: 10, ..fixed(1) };
    let greedy = Fixed { value: 3_000_000_000, ..fixed(2) };
    let expected = build(&offer(&[]), &none()).unwrap();
    for broken in [long, greedy] {
        let mandatory = Fixed { is_mandatory: true, ..fixed(broken.byte) };
        let mandatory =
            Fixed { value: broken.value, output_bytes_max: broken.output_bytes_max, ..mandatory };
        assert_eq!(build(&offer(&[]), &extensions([Arc::new(broken)])).unwrap(), expected);
        let refused = build(&offer(&[]), &extensions([Arc::new(mandatory)]));
        assert!(matches!(refused, Err(BuildError::Extension { .. })), "{refused:?}");
    }
}

#[test]
fn a_trimmed_template_asks_the_extensions_again_with_the_value_that_is_left() {
    let all = [transaction(1, &[], 7, 3_000_000, 0), transaction(2, &[], 5, 995_000, 0)];
    let extension = Arc::new(fixed(1));
    let contents = with_room(&offer(&all), &extensions([Arc::clone(&extension)]), 10_000).unwrap();
    assert_eq!(contents.transactions, all[..1]);
    assert_eq!(*extension.told.lock().unwrap(), [(2_500_000_007, 7, 0)]);
    assert_eq!(contents.parcels[0].body["value"], 2_500_000_007_u64);
    assert_eq!(contents.value_remaining, 2_500_000_007);
}

/// The room that is left is used to the last byte, and not one more.
fn assert_leaves(offer: &BlockTemplate, extensions: &Extensions, bytes: u32) {
    let whole = build(offer, extensions).unwrap();
    let spare = spare(offer, &whole).unwrap();
    assert_eq!(spare.weight / 4, u64::from(bytes));
    assert_eq!(with_room(offer, extensions, bytes).unwrap(), whole);
    assert!(with_room(offer, extensions, bytes + 1).unwrap().transactions.is_empty());
}

#[test]
fn the_outputs_of_node_and_extensions_take_room_from_the_client() {
    let plain = offer(&[transaction(1, &[], 7, 4_000_000 - 1168 - 400, 0)]);
    assert_leaves(&plain, &none(), 100);
    assert_leaves(&plain, &extensions([Arc::new(fixed(1)), Arc::new(fixed(2))]), 78);
    let given = Output::valueless(vec![0x6a; 31]);
    let given = BlockTemplate { given_outputs: vec![given], ..plain };
    assert_leaves(&given, &none(), 60);
    assert_leaves(&given, &extensions([Arc::new(fixed(1))]), 49);
}

#[test]
fn what_happens_to_be_signature_operations_in_an_output_is_counted() {
    // OP_RETURN and two bytes that are CHECKSIG and CHECKMULTISIG to who counts: 84 of cost.
    let counted = Output::valueless(vec![0x6a, 0xac, 0xae]);
    let all = [transaction(1, &[], 7, 400, 100), transaction(2, &[], 5, 400, 79_900 - 83)];
    let offer = BlockTemplate { given_outputs: vec![counted.clone()], ..offer(&all) };
    assert_eq!(spare(&offer, &build(&offer, &none()).unwrap()), None);
    let kept = |contents: Contents| contents.transactions.len();
    assert_eq!(kept(with_room(&offer, &none(), 0).unwrap()), 1);
    // An extension's are known only when they are made.
    let extension = Fixed { outputs: Some(vec![counted]), output_bytes_max: 12, ..fixed(1) };
    let offer = BlockTemplate { given_outputs: vec![], ..offer };
    assert_eq!(kept(with_room(&offer, &none(), 0).unwrap()), 2);
    assert_eq!(kept(with_room(&offer, &extensions([Arc::new(extension)]), 0).unwrap()), 1);
}

#[test]
fn another_commitment_never_stands_where_it_would_count() {
    let wrong = Output::valueless([&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], &[7; 32]].concat());
    let offer = BlockTemplate { given_outputs: vec![wrong.clone()], ..offer(&[]) };
    let contents = build(&offer, &none()).unwrap();
    assert_eq!(
        contents,
        build(&BlockTemplate { given_outputs: vec![], ..offer }, &none()).unwrap()
    );
    let extension = Fixed { outputs: Some(vec![wrong.clone()]), output_bytes_max: 47, ..fixed(1) };
    let contents =
        build(&super::super::samples::offer(&[]), &extensions([Arc::new(extension)])).unwrap();
    assert_eq!(outputs(&contents), [wrong, Output::valueless(witness_commitment(&[]))]);
}
