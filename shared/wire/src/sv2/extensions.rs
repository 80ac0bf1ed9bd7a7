//! Protocol extensions: how they are negotiated (extension 0x0001), and the fields that one of them
//! appends to messages of the core (spec 3.4.3).
//!
//! Unlike all else on the wire, the numbers in front of an appended field are big-endian.

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

/// The field `field` of `extension` among the bytes after a message's last own field; none if it is
/// not there.
pub fn find_tlv(appended: &[u8], extension: u16, field: u8) -> Result<Option<&[u8]>, DecodeError> {
    let mut reader = Reader::new(appended);
    while !reader.rest().is_empty() {
        let tlv = read_tlv(&mut reader)?;
        if (tlv.extension, tlv.field) == (extension, field) {
            return Ok(Some(tlv.value));
        }
    }
    Ok(None)
}

/// Reads type (U16 and U8), length (U16) and value, big-endian.
fn read_tlv<'a>(reader: &mut Reader<'a>) -> Result<Tlv<'a>, DecodeError> {
    let extension = u16::from_be_bytes(reader.array()?);
    let [field] = reader.array()?;
    let length = u16::from_be_bytes(reader.array()?);
    Ok(Tlv { extension, field, value: reader.take(length.into())? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the spec: extension 0x0002, field 0x01, 10 bytes, "Worker_001".
    const EXAMPLE: &[u8] = b"\x00\x02\x01\x00\x0aWorker_001";

    fn name(appended: &[u8]) -> Result<Option<&[u8]>, DecodeError> {
        find_tlv(appended, WORKER_HASHRATE_TRACKING, FIELD_USER_IDENTITY)
    }

    /// Spec 3.4.3: type and length of an appended field are big-endian, as in the example.
    #[test]
    fn the_example_of_the_spec_names_its_worker() {
        assert_eq!(name(EXAMPLE), Ok(Some(b"Worker_001".as_slice())));
    }

    /// Extension 0x0002, 1.3: fields are found in any order, and unknown ones are passed over.
    #[test]
    fn a_field_is_found_among_others() {
        let other = b"\x00\x09\x01\x00\x02ab";
        let empty = b"\x00\x02\x02\x00\x00";
        let both = [other.as_slice(), empty, EXAMPLE, other].concat();
        assert_eq!(name(&both), Ok(Some(b"Worker_001".as_slice())));
        assert_eq!(name(&[other.as_slice(), empty].concat()), Ok(None));
        assert_eq!(name(&[]), Ok(None));
    }

    #[test]
    fn a_field_that_ends_early_is_truncated() {
        for cut in 1..EXAMPLE.len() {
            assert_eq!(name(EXAMPLE.get(..cut).unwrap()), Err(DecodeError::Truncated), "{cut}");
        }
    }
}
