//! Arbitrary values of every field type, and what they are in SRI's crates.

use proptest::collection::vec;
use proptest::prelude::*;
use stratum_core::binary_sv2::{
    B016MOwned, B032Owned, B064KOwned, B0255Owned, Seq064KOwned, Seq0255Owned, Str0255Owned,
    Sv2OptionOwned, U256Owned,
};
use stratum_core::common_messages_sv2::Protocol;
use wire::sv2::codec::{Blob, Bytes32, List, Reader, Str255, Wire};

/// A field type with arbitrary values.
pub(crate) trait Sample: Sized {
    fn sample() -> BoxedStrategy<Self>;
}

/// A field type that SRI has too.
pub(crate) trait ToSri {
    type Sri;
    fn to_sri(self) -> Self::Sri;
}

macro_rules! the_same_in_sri {
    ($($number:ty),*) => {$(
        impl Sample for $number {
            fn sample() -> BoxedStrategy<Self> {
                any::<$number>().boxed()
            }
        }
        impl ToSri for $number {
            type Sri = Self;
            fn to_sri(self) -> Self {
                self
            }
        }
    )*};
}
the_same_in_sri!(u16, u32, u64, f32, bool);

/// The only U8 of any message is `SetupConnection.protocol`. SRI does not read values above 2; we
/// do, because a server is to answer them (spec 3.6.3).
impl Sample for u8 {
    fn sample() -> BoxedStrategy<Self> {
        (0..=2_u8).boxed()
    }
}

impl ToSri for u8 {
    type Sri = Protocol;
    fn to_sri(self) -> Protocol {
        self.try_into().unwrap()
    }
}

impl Sample for [u8; 32] {
    fn sample() -> BoxedStrategy<Self> {
        any::<Self>().boxed()
    }
}

impl ToSri for [u8; 32] {
    type Sri = U256Owned;
    fn to_sri(self) -> U256Owned {
        self.into()
    }
}

impl Sample for Option<u32> {
    fn sample() -> BoxedStrategy<Self> {
        any::<Self>().boxed()
    }
}

impl ToSri for Option<u32> {
    type Sri = Sv2OptionOwned<u32>;
    fn to_sri(self) -> Sv2OptionOwned<u32> {
        Sv2OptionOwned::new(self)
    }
}

/// Any bytes, for nothing makes a peer send UTF-8.
impl Sample for Str255 {
    fn sample() -> BoxedStrategy<Self> {
        let bytes = prop_oneof![vec(any::<u8>(), 0..=20), vec(any::<u8>(), 255)];
        bytes
            .prop_map(|bytes| {
                let length = u8::try_from(bytes.len()).unwrap();
                Self::decode(&mut Reader::new(&[&[length], bytes.as_slice()].concat())).unwrap()
            })
            .boxed()
    }
}

impl ToSri for Str255 {
    type Sri = Str0255Owned;
    fn to_sri(self) -> Str0255Owned {
        self.as_bytes().to_vec().try_into().unwrap()
    }
}

impl Sample for Bytes32 {
    fn sample() -> BoxedStrategy<Self> {
        vec(any::<u8>(), 0..=32).prop_map(|bytes| Self::new(&bytes).unwrap()).boxed()
    }
}

impl ToSri for Bytes32 {
    type Sri = B032Owned;
    fn to_sri(self) -> B032Owned {
        self.as_slice().to_vec().try_into().unwrap()
    }
}

/// Short ones mostly, and the longest where that is not megabytes.
impl<const MAX: usize> Sample for Blob<MAX> {
    fn sample() -> BoxedStrategy<Self> {
        let longest = MAX.min(66_000);
        let length = prop_oneof![8 => 0..=100_usize, 1 => Just(longest)];
        let bytes = (length, any::<u8>()).prop_map(|(length, first)| {
            let numbers = (0..length).map(|at| u8::try_from(at % 251).unwrap());
            numbers.map(|number| number.wrapping_add(first)).collect::<Vec<_>>()
        });
        bytes.prop_map(|bytes| Self::new(bytes).unwrap()).boxed()
    }
}

macro_rules! blob_in_sri {
    ($($max:literal = $sri:ty),*) => {$(
        impl ToSri for Blob<$max> {
            type Sri = $sri;
            fn to_sri(self) -> $sri {
                self.as_slice().to_vec().try_into().unwrap()
            }
        }
    )*};
}
blob_in_sri!(255 = B0255Owned, 65_535 = B064KOwned, 16_777_215 = B016MOwned);

/// Short ones mostly, and for merkle paths the longest.
impl<T: Sample + std::fmt::Debug + Clone + 'static, const MAX: usize> Sample for List<T, MAX> {
    fn sample() -> BoxedStrategy<Self> {
        let elements = prop_oneof![8 => vec(T::sample(), 0..=14), 1 => vec(T::sample(), 255)];
        elements.prop_map(|elements| Self::new(elements).unwrap()).boxed()
    }
}

impl ToSri for List<[u8; 32], 255> {
    type Sri = Seq0255Owned<U256Owned>;
    fn to_sri(self) -> Self::Sri {
        let elements: Vec<_> = self.into_vec().into_iter().map(ToSri::to_sri).collect();
        elements.try_into().unwrap()
    }
}

impl ToSri for List<u16, 65_535> {
    type Sri = Seq064KOwned<u16>;
    fn to_sri(self) -> Self::Sri {
        self.into_vec().try_into().unwrap()
    }
}

impl ToSri for List<u32, 65_535> {
    type Sri = Seq064KOwned<u32>;
    fn to_sri(self) -> Self::Sri {
        self.into_vec().try_into().unwrap()
    }
}

impl ToSri for List<Blob<16_777_215>, 65_535> {
    type Sri = Seq064KOwned<B016MOwned>;
    fn to_sri(self) -> Self::Sri {
        let elements: Vec<_> = self.into_vec().into_iter().map(ToSri::to_sri).collect();
        elements.try_into().unwrap()
    }
}

/// Samples of as many fields as there are names, in nested pairs: tuples end at twelve.
macro_rules! samples {
    () => { proptest::strategy::Just(()) };
    ($first:ident $($rest:ident)*) => {
        ($crate::fields::Sample::sample(), $crate::fields::samples!($($rest)*))
    };
}

/// The pattern of what `samples!` gives.
macro_rules! pattern {
    () => { () };
    ($first:ident $($rest:ident)*) => { ($first, $crate::fields::pattern!($($rest)*)) };
}

pub(crate) use {pattern, samples};
