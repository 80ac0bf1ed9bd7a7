//! Protocol extensions: how they are negotiated (extension 0x0001), and the fields that one of them
//! appends to messages of the core (spec 3.4.3).
//!
//! The numbers in front of an appended field are little-endian, as all on the wire and as SRI
//! writes them; the specification's example has them big-endian, which is read as well.

use super::codec::{DecodeError, List, Reader};
use super::message::messages;

/// Extensions negotiation.
pub const NEGOTIATION: u16 = 0x0001;
/// Worker-specific hashrate tracking: each share names its worker.
pub const WORKER_HASHRATE_TRACKING: u16 = 0x0002;

/// The field of `WORKER_HASHRATE_TRACKING` in `SubmitSharesExtended`: the worker's name.
pub const FIELD_USER_IDENTITY: u8 = 0x01;
/// Most bytes of that field.
pub const USER_IDENTITY_BYTES_MAX: usize = 32;

messages! {
    /// Any message of extension 0x0001.
    enum Negotiation, extension: NEGOTIATION;

    /// The client's wishes, directly after `SetupConnection.Success` (extension 0x0001, 2).
    RequestExtensions = 0x00, channel_msg: false, "RequestExtensions" {
        /// Pairs the answer with the request.
        request_id: u16,
        /// Extensions that the client wants to use.
        requested_extensions: List<u16, 65_535>,
    }

    /// What the server supports of them (extension 0x0001, 2).
    RequestExtensionsSuccess = 0x01, channel_msg: false, "RequestExtensions.Success" {
        /// The request.
        request_id: u16,
        /// Extensions that may be used from here on.
        supported_extensions: List<u16, 65_535>,
    }

    /// None of them is supported, or one that the server needs is missing (extension 0x0001, 2).
    RequestExtensionsError = 0x02, channel_msg: false, "RequestExtensions.Error" {
        /// The request.
        request_id: u16,
        /// Requested, but not supported.
        unsupported_extensions: List<u16, 65_535>,
        /// Required by the server, but not requested.
        required_extensions: List<u16, 65_535>,
    }
}

/// A field that an extension appended to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// The extension, without the channel bit.
    pub extension: u16,
    /// Which of its fields.
    pub field: u8,
    /// The value.
    pub value: &'a [u8],
}

/// How the numbers in front of an appended field are written.
#[derive(Debug, Clone, Copy)]
enum ByteOrder {
    /// As all numbers of the protocol.
    Little,
    /// As in the specification's example.
    Big,
}

/// The field `field` of `extension` among the bytes after a message's last own field; none if it is
/// not there. All of the fields are written in the same byte order, whichever it is.
pub fn find_tlv(appended: &[u8], extension: u16, field: u8) -> Result<Option<&[u8]>, DecodeError> {
    let little = find_in_order(appended, extension, field, ByteOrder::Little);
    if let Ok(Some(_)) = little {
        return little;
    }
    find_in_order(appended, extension, field, ByteOrder::Big).or(little)
}

fn find_in_order(
    appended: &[u8],
    extension: u16,
    field: u8,
    order: ByteOrder,
) -> Result<Option<&[u8]>, DecodeError> {
    let mut reader = Reader::new(appended);
    while !reader.rest().is_empty() {
        let tlv = read_tlv(&mut reader, order)?;
        if (tlv.extension, tlv.field) == (extension, field) {
            return Ok(Some(tlv.value));
        }
    }
    Ok(None)
}

/// Appends a field to `out`; false, and nothing is appended, if the value is too long for any.
pub fn put_tlv(out: &mut Vec<u8>, tlv: &Tlv<'_>) -> bool {
    let Ok(length) = u16::try_from(tlv.value.len()) else { return false };
    out.extend_from_slice(&tlv.extension.to_le_bytes());
    out.push(tlv.field);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(tlv.value);
    true
}

/// Reads type (U16 and U8), length (U16) and value.
fn read_tlv<'a>(reader: &mut Reader<'a>, order: ByteOrder) -> Result<Tlv<'a>, DecodeError> {
    let number = match order {
        ByteOrder::Little => u16::from_le_bytes,
        ByteOrder::Big => u16::from_be_bytes,
    };
    let extension = number(reader.array()?);
    let [field] = reader.array()?;
    let length = number(reader.array()?);
    Ok(Tlv { extension, field, value: reader.take(length.into())? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Extension 0x0002, field 0x01, 10 bytes, "Worker_001".
    const LITTLE: &[u8] = b"\x02\x00\x01\x0a\x00Worker_001";
    /// The same as the example of the spec has it.
    const BIG: &[u8] = b"\x00\x02\x01\x00\x0aWorker_001";

    fn name(appended: &[u8]) -> Result<Option<&[u8]>, DecodeError> {
        find_tlv(appended, WORKER_HASHRATE_TRACKING, FIELD_USER_IDENTITY)
    }

    /// Spec 3.1, 3.4.3: type and length of an appended field are U16, which is little-endian; those
    /// of the example are big-endian, and are read too.
    #[test]
    fn a_worker_is_named_in_the_byte_order_of_the_protocol_or_of_the_example() {
        for appended in [LITTLE, BIG] {
            assert_eq!(name(appended), Ok(Some(b"Worker_001".as_slice())));
        }
    }

    #[test]
    fn a_field_is_written_in_the_byte_order_of_the_protocol() {
        let mut out = Vec::new();
        let (extension, field) = (WORKER_HASHRATE_TRACKING, FIELD_USER_IDENTITY);
        assert!(put_tlv(&mut out, &Tlv { extension, field, value: b"Worker_001" }));
        assert_eq!(out, LITTLE);
        assert!(!put_tlv(&mut out, &Tlv { extension, field, value: &[0; 70_000] }));
        assert_eq!(out, LITTLE);
    }

    /// Extension 0x0002, 1.3: fields are found in any order, and unknown ones are passed over.
    #[test]
    fn a_field_is_found_among_others() {
        let little = (b"\x09\x00\x01\x02\x00ab".as_slice(), b"\x02\x00\x02\x00\x00", LITTLE);
        let big = (b"\x00\x09\x01\x00\x02ab".as_slice(), b"\x00\x02\x02\x00\x00", BIG);
        for (other, empty, named) in [little, big] {
            let all = [other, empty.as_slice(), named, other].concat();
            assert_eq!(name(&all), Ok(Some(b"Worker_001".as_slice())));
            assert_eq!(name(&[other, empty.as_slice()].concat()), Ok(None));
        }
        assert_eq!(name(&[]), Ok(None));
    }

    /// What SRI's crates write is read.
    #[test]
    fn a_field_of_sri_names_its_worker() {
        let (extension, field) = (WORKER_HASHRATE_TRACKING, FIELD_USER_IDENTITY);
        let theirs = stratum_core::parsers_sv2::Tlv::new(extension, field, b"rig".to_vec())
            .encode()
            .unwrap();
        assert_eq!(name(&theirs), Ok(Some(b"rig".as_slice())));
    }

    #[test]
    fn a_field_that_ends_early_is_truncated() {
        for cut in 1..LITTLE.len() {
            assert_eq!(name(LITTLE.get(..cut).unwrap()), Err(DecodeError::Truncated), "{cut}");
        }
    }
}
