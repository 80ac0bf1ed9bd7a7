//! The six-byte frame header (spec 3.2) and frames that are serialised once and sent to many.
//!
//! Encryption is not done here: a frame is plaintext.

use bytes::{BufMut, Bytes, BytesMut};

use super::message::Message;

/// Bytes of a frame header in plaintext.
pub const HEADER_BYTES: usize = 6;

/// The bit of `extension_type` that says: the payload starts with a channel id (spec 3.2.1).
const CHANNEL_MSG_BIT: u16 = 0x8000;

/// A frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The extension that defined the message, without the channel bit; 0 is the core spec.
    pub extension: u16,
    /// True if the payload starts with a channel id.
    pub channel_msg: bool,
    /// `msg_type` of spec chapter 8.
    pub message_type: u8,
    /// Payload bytes, a U24.
    pub length: u32,
}

impl Header {
    /// Of a message `M` whose payload has `length` bytes.
    pub fn of<M: Message>(length: usize) -> Self {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let (extension, channel_msg) = (M::EXTENSION, M::CHANNEL_MSG);
        Self { extension, channel_msg, message_type: M::MESSAGE_TYPE, length }
    }

    /// Encodes `extension_type`, `msg_type` and the U24 `msg_length`, all little-endian.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let bit = if self.channel_msg { CHANNEL_MSG_BIT } else { 0 };
        let [low, high] = (self.extension | bit).to_le_bytes();
        let [a, b, c, _] = self.length.to_le_bytes();
        [low, high, self.message_type, a, b, c]
    }

    /// Decodes a header; every six bytes are one.
    pub fn from_bytes(bytes: [u8; HEADER_BYTES]) -> Self {
        let [low, high, message_type, a, b, c] = bytes;
        let extension_type = u16::from_le_bytes([low, high]);
        Self {
            extension: extension_type & !CHANNEL_MSG_BIT,
            channel_msg: extension_type & CHANNEL_MSG_BIT != 0,
            message_type,
            length: u32::from_le_bytes([a, b, c, 0]),
        }
    }
}

/// A frame as it arrived: header and plaintext payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The header.
    pub header: Header,
    /// The payload; as long as the header says.
    pub payload: Bytes,
}

/// A message serialised once, to be sent on many connections.
///
/// The first four payload bytes of a channel message are its channel id: the only part that differs
/// from peer to peer, patched as the frame is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedFrame {
    header: [u8; HEADER_BYTES],
    payload: Bytes,
}

impl EncodedFrame {
    /// Serialises `message`.
    pub fn new<M: Message>(message: &M) -> Self {
        Self::with_appended(message, &[])
    }

    /// Serialises `message` with the fields that extensions append to it (spec 3.4.3).
    pub fn with_appended<M: Message>(message: &M, appended: &[u8]) -> Self {
        let mut payload = message.to_payload();
        payload.extend_from_slice(appended);
        Self::of_unknown(M::EXTENSION, M::CHANNEL_MSG, M::MESSAGE_TYPE, payload)
    }

    /// A frame of any kind, of an extension that we do not know for instance.
    pub fn of_unknown(
        extension: u16,
        channel_msg: bool,
        message_type: u8,
        payload: impl Into<Bytes>,
    ) -> Self {
        let payload = payload.into();
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let header = Header { extension, channel_msg, message_type, length };
        Self { header: header.to_bytes(), payload }
    }

    /// The encoded header.
    pub fn header(&self) -> &[u8; HEADER_BYTES] {
        &self.header
    }

    /// Appends the payload with its leading U32s replaced by `ids` (channel id, then job id where
    /// the message has one second).
    pub fn put_payload(&self, ids: &[u32], out: &mut BytesMut) {
        for id in ids {
            out.put_u32_le(*id);
        }
        out.put_slice(self.payload.get(ids.len() * 4..).unwrap_or_default());
    }

    /// Payload bytes.
    pub fn payload_len(&self) -> usize {
        self.payload.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sv2::mining::CloseChannel;

    /// Spec 3.2: a header is extension_type, msg_type and msg_length, a U24 of the plaintext.
    #[test]
    fn the_header_matches_the_bytes_of_the_spec() {
        // SubmitSharesExtended, channel message, 300 bytes.
        let header = Header { extension: 0, channel_msg: true, message_type: 0x1b, length: 300 };
        assert_eq!(header.to_bytes(), [0x00, 0x80, 0x1b, 0x2c, 0x01, 0x00]);
        assert_eq!(Header::from_bytes(header.to_bytes()), header);
    }

    /// Spec 3.2.1: the channel_msg bit is no part of the extension's number.
    #[test]
    fn the_channel_bit_is_not_part_of_the_extension() {
        let header = Header::from_bytes([0xbc, 0x8a, 0, 0, 0, 0]);
        assert_eq!((header.extension, header.channel_msg), (0x0abc, true));
    }

    #[test]
    fn a_frame_for_many_differs_only_in_its_channel_id() {
        let frame = EncodedFrame::new(&CloseChannel { channel_id: 1, reason_code: "x".into() });
        let mut out = BytesMut::new();
        frame.put_payload(&[0x0403_0201], &mut out);
        assert_eq!(out.as_ref(), [1, 2, 3, 4, 1, b'x']);
    }
}
