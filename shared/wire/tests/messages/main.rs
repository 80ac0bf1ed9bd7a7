//! Every message against two judges: SRI's crates, byte for byte and in both directions, and the
//! field tables of the specification, as bytes written by hand.
//!
//! Where SRI and the specification differ the specification wins, and the test says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test says what it expects"
)]

mod chapter8;
mod extensions;
mod fields;
mod golden;
mod hostile;
mod mining;
mod setup;
mod template;

use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use wire::sv2::codec::DecodeError;
use wire::sv2::message::Message;

/// Cases of each property: every message has its own, so this many of each.
const CASES: u32 = 64;

/// What SRI makes of bytes: the same message encoded again, if it can read them.
type Reencode = fn(&mut [u8]) -> Result<Vec<u8>, String>;

/// Runs `test` for many values.
fn property<S: Strategy>(strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { failure_persistence: None, ..Config::with_cases(CASES) };
    TestRunner::new(config).run(&strategy, test).unwrap();
}

/// Both sides encode the same bytes from the same fields, and both read them back. Cut short, they
/// are refused.
fn both_agree<M: Message + Clone + PartialEq + Debug>(
    strategy: impl Strategy<Value = M>,
    sri_encodes: impl Fn(&M) -> Vec<u8>,
    sri_reencodes: Reencode,
) {
    property(strategy, |message| {
        let ours = message.to_payload();
        let theirs = sri_encodes(&message);
        proptest::prop_assert_eq!(ours.as_ref(), theirs.as_slice(), "encoded");
        let read = M::from_payload(&theirs);
        proptest::prop_assert_eq!(read.as_ref(), Ok(&message), "we read what SRI wrote");
        let again = sri_reencodes(&mut ours.to_vec());
        proptest::prop_assert_eq!(again, Ok(theirs), "SRI reads what we wrote");
        // Every cut of a short message, the last one of a long one.
        let first = if ours.len() > 300 { ours.len() - 1 } else { 0 };
        for cut in first..ours.len() {
            let read = M::from_payload(&ours[..cut]);
            proptest::prop_assert_eq!(read, Err(DecodeError::Truncated), "cut at {}", cut);
        }
        Ok(())
    });
}

/// One test for each message: ours, SRI's borrowed and owned form, and the fields by our names;
/// last, a field that has another name in SRI.
macro_rules! agrees_with_sri {
    ($( $test:ident: $ours:ident, $sri:ty, $room:ident::$owned:ident {
        $( $field:ident ),* $( ; $name:ident as $their_name:ident )?
    } )*) => { $(
        #[test]
        fn $test() {
            use proptest::strategy::Strategy as _;
            use stratum_core::binary_sv2::{from_bytes, to_bytes};
            use $crate::fields::ToSri as _;

            $crate::both_agree(
                $crate::fields::samples!($($field)* $($name)?).prop_map(
                    |$crate::fields::pattern!($($field)* $($name)?)| {
                        $ours { $($field,)* $($name)? }
                    },
                ),
                |message| {
                    let $ours { $($field,)* $($name)? } = message.clone();
                    to_bytes($room::$owned {
                        $( $field: $field.to_sri(), )* $( $their_name: $name.to_sri() )?
                    }).unwrap()
                },
                |bytes| {
                    let read: Result<$sri, _> = from_bytes(bytes);
                    read.and_then(to_bytes).map_err(|error| format!("{error:?}"))
                },
            );
        }
    )* };
}
use agrees_with_sri;
