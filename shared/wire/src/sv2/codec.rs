//! The primitive data types of SV2 (spec 3.1) as bytes.
//!
//! All multi-byte integers are little-endian. Decoding never panics and never allocates more than
//! the input holds. What a value means is not decided here.

use std::borrow::Cow;
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

/// Why bytes are not a value of the wanted type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ended inside a field.
    #[error("the message ends inside a field")]
    Truncated,
    /// A length prefix exceeds what the type allows.
    #[error("a field of {length} where at most {max} are allowed")]
    TooLong {
        /// The length that the prefix announced, in elements.
        length: usize,
        /// The most that the type allows.
        max: usize,
    },
    /// A message type that this protocol does not define.
    #[error("message type {0:#04x} is not defined for this protocol")]
    UnknownMessage(u8),
    /// A frame that exceeds the limit of this connection.
    #[error("a frame of {length} bytes where at most {max} are accepted")]
    FrameTooLong {
        /// Announced payload length in bytes.
        length: usize,
        /// Limit of the connection in bytes.
        max: usize,
    },
}

/// Bytes still to be decoded.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Takes exactly `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes an array of `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// What has not been decoded: TLV fields of extensions (spec 3.4.3), if any.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes a length prefix as wide as `max` needs and checks it against `max`.
    fn length(&mut self, max: usize) -> Result<usize, DecodeError> {
        let mut wide = [0; 4];
        let prefix = self.take(prefix_bytes(max))?;
        for (to, from) in wide.iter_mut().zip(prefix) {
            *to = *from;
        }
        let length = usize::try_from(u32::from_le_bytes(wide)).unwrap_or(usize::MAX);
        if length > max {
            return Err(DecodeError::TooLong { length, max });
        }
        Ok(length)
    }
}

/// Bytes of the length prefix of a type that holds at most `max` elements (spec 3.1).
const fn prefix_bytes(max: usize) -> usize {
    match max {
        0..=255 => 1,
        256..=65_535 => 2,
        _ => 3,
    }
}

/// Writes `length` in a prefix as wide as `max` needs. Callers hold `length <= max`.
fn put_length(out: &mut BytesMut, length: usize, max: usize) {
    let wide = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    out.extend(wide.iter().take(prefix_bytes(max)));
}

/// A value with one encoding on the wire.
pub trait Wire: Sized {
    /// Appends the encoding.
    fn encode(&self, out: &mut BytesMut);
    /// Reads one value.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

macro_rules! little_endian {
    ($($number:ty),*) => {$(
        impl Wire for $number {
            fn encode(&self, out: &mut BytesMut) {
                out.put_slice(&self.to_le_bytes());
            }
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(Self::from_le_bytes(reader.array()?))
            }
        }
    )*};
}
little_endian!(u8, u16, u32, u64, f32);

/// BOOL: only the least significant bit counts (spec 3.1).
impl Wire for bool {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(*self));
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(u8::decode(reader)? & 1 == 1)
    }
}

/// U256, and other 32-byte fields: the bytes in wire order, which is little-endian.
impl Wire for [u8; 32] {
    fn encode(&self, out: &mut BytesMut) {
        out.put_slice(self);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array()
    }
}

/// `OPTION[T]`: a sequence of zero or one elements.
impl<T: Wire> Wire for Option<T> {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(self.is_some()));
        if let Some(value) = self {
            value.encode(out);
        }
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.length(255)? {
            0 => Ok(None),
            1 => Ok(Some(T::decode(reader)?)),
            length => Err(DecodeError::TooLong { length, max: 1 }),
        }
    }
}

/// STR0_255: bytes, by recommendation UTF-8. Kept as they came, so that two identities that differ
/// on the wire never become one.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Str255(Bytes);

impl Str255 {
    /// The first 255 bytes of `text`, cut at a character's end.
    pub fn truncated(text: &str) -> Self {
        let mut end = text.len().min(255);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self(Bytes::copy_from_slice(text.get(..end).unwrap_or_default().as_bytes()))
    }

    /// The text, with bytes that are no UTF-8 replaced: for display only.
    pub fn display(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// The text, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The bytes as they were on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Error codes and names known at compile time.
impl From<&'static str> for Str255 {
    fn from(text: &'static str) -> Self {
        Self::truncated(text)
    }
}

impl fmt::Debug for Str255 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.display())
    }
}

impl Wire for Str255 {
    fn encode(&self, out: &mut BytesMut) {
        put_length(out, self.0.len(), 255);
        out.put_slice(&self.0);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.length(255)?;
        Ok(Self(Bytes::copy_from_slice(reader.take(length)?)))
    }
}

/// B0_32: up to 32 bytes, held without an allocation because shares carry one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Bytes32 {
    /// Invariant: at most 32.
    length: u8,
    bytes: [u8; 32],
}

impl Bytes32 {
    /// Copies `bytes`; `None` if there are more than 32.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut copy = [0; 32];
        copy.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self { length: u8::try_from(bytes.len()).ok()?, bytes: copy })
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl fmt::Debug for Bytes32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Wire for Bytes32 {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(self.length);
        out.put_slice(self.as_slice());
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.length(32)?;
        Self::new(reader.take(length)?).ok_or(DecodeError::TooLong { length, max: 32 })
    }
}

/// B0_255, B0_64K, B0_16M: up to `MAX` bytes.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Blob<const MAX: usize>(Bytes);

impl<const MAX: usize> Blob<MAX> {
    /// Takes `bytes`; `None` if there are more than `MAX`.
    pub fn new(bytes: impl Into<Bytes>) -> Option<Self> {
        let bytes = bytes.into();
        (bytes.len() <= MAX).then_some(Self(bytes))
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, shared.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl<const MAX: usize> fmt::Debug for Blob<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl<const MAX: usize> Wire for Blob<MAX> {
    fn encode(&self, out: &mut BytesMut) {
        put_length(out, self.0.len(), MAX);
        out.put_slice(&self.0);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.length(MAX)?;
        Ok(Self(Bytes::copy_from_slice(reader.take(length)?)))
    }
}

/// `SEQ0_255[T]`, `SEQ0_64K[T]`: up to `MAX` elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> List<T, MAX> {
    /// Takes `elements`; `None` if there are more than `MAX`.
    pub fn new(elements: Vec<T>) -> Option<Self> {
        (elements.len() <= MAX).then_some(Self(elements))
    }

    /// The elements.
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }

    /// The elements, owned.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T: Wire, const MAX: usize> Wire for List<T, MAX> {
    fn encode(&self, out: &mut BytesMut) {
        put_length(out, self.0.len(), MAX);
        for element in &self.0 {
            element.encode(out);
        }
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.length(MAX)?;
        // Every element takes at least a byte, so an honest length never exceeds the rest.
        let mut elements = Vec::with_capacity(length.min(reader.rest().len()).min(1024));
        for _ in 0..length {
            elements.push(T::decode(reader)?);
        }
        Ok(Self(elements))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: &impl Wire) -> Vec<u8> {
        let mut out = BytesMut::new();
        value.encode(&mut out);
        out.to_vec()
    }

    fn decoded<T: Wire>(bytes: &[u8]) -> Result<T, DecodeError> {
        T::decode(&mut Reader::new(bytes))
    }

    /// Spec 3.1: integers are little-endian.
    #[test]
    fn integers_are_little_endian() {
        assert_eq!(encoded(&0x0102_0304_u32), [4, 3, 2, 1]);
        assert_eq!(decoded::<u16>(&[1, 2]), Ok(0x0201));
    }

    /// Spec 3.1: of a BOOL only the least significant bit counts.
    #[test]
    fn a_bool_is_its_least_significant_bit() {
        assert_eq!(decoded::<bool>(&[0xfe]), Ok(false));
        assert_eq!(decoded::<bool>(&[0xff]), Ok(true));
    }

    /// Spec 3.1: OPTION is a sequence of at most one element.
    #[test]
    fn an_option_is_a_sequence_of_at_most_one() {
        assert_eq!(encoded(&Some(7_u32)), [1, 7, 0, 0, 0]);
        assert_eq!(encoded(&None::<u32>), [0]);
        let two = decoded::<Option<u8>>(&[2, 1, 1]);
        assert_eq!(two, Err(DecodeError::TooLong { length: 2, max: 1 }));
    }

    /// Spec 3.1: a length prefix is as wide as the type says.
    #[test]
    fn length_prefixes_are_as_wide_as_the_type_needs() {
        let blob = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        assert_eq!(encoded(&Blob::<255>::new(blob(&[9])).unwrap()), [1, 9]);
        assert_eq!(encoded(&Blob::<65_535>::new(blob(&[9])).unwrap()), [1, 0, 9]);
        assert_eq!(encoded(&Blob::<16_777_215>::new(blob(&[9])).unwrap()), [1, 0, 0, 9]);
        assert_eq!(encoded(&List::<u16, 65_535>::new(vec![1]).unwrap()), [1, 0, 1, 0]);
    }

    /// Spec 3.1: B0_32 holds at most 32 bytes.
    #[test]
    fn a_b0_32_longer_than_32_is_refused() {
        let mut bytes = vec![33];
        bytes.extend([0; 33]);
        assert_eq!(decoded::<Bytes32>(&bytes), Err(DecodeError::TooLong { length: 33, max: 32 }));
    }

    #[test]
    fn a_field_that_ends_early_is_truncated() {
        assert_eq!(decoded::<Str255>(&[3, b'a']), Err(DecodeError::Truncated));
        assert_eq!(decoded::<List<[u8; 32], 255>>(&[1, 0]), Err(DecodeError::Truncated));
        assert_eq!(decoded::<u64>(&[0; 7]), Err(DecodeError::Truncated));
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let text = "é".repeat(200);
        assert_eq!(Str255::truncated(&text).as_bytes().len(), 254);
    }
}
