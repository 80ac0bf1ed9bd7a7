//! How structs become messages: one declaration gives the struct, its codec, its type number and
//! its place in the protocol's enum.
//!
//! The macro is private to the wire room; what it makes is plain structs with public fields.

use bytes::BytesMut;

use super::codec::{DecodeError, Reader, Wire};

/// A message.
pub trait Message: Wire {
    /// The extension that defined it; 0 is the core specification.
    const EXTENSION: u16;
    /// `msg_type` of spec chapter 8.
    const MESSAGE_TYPE: u8;
    /// The `channel_msg` bit of spec chapter 8: the payload starts with a channel id.
    const CHANNEL_MSG: bool;
    /// The name in the spec.
    const NAME: &'static str;

    /// The payload alone, without a frame header.
    fn to_payload(&self) -> BytesMut {
        let mut out = BytesMut::new();
        self.encode(&mut out);
        out
    }

    /// Decodes a payload; bytes after the last field are TLVs, which are not interpreted here.
    fn from_payload(payload: &[u8]) -> Result<Self, DecodeError> {
        Self::with_appended(payload).map(|(message, _)| message)
    }

    /// Decodes a payload, and gives besides what extensions appended to it.
    fn with_appended(payload: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let mut reader = Reader::new(payload);
        Ok((Self::decode(&mut reader)?, reader.rest()))
    }
}

/// Declares the messages of one protocol and the enum that holds any of them.
macro_rules! messages {
    (
        $(#[$enum_doc:meta])*
        enum $protocol:ident, extension: $extension:expr;
        $(
            $(#[$doc:meta])*
            $name:ident = $number:literal, channel_msg: $channel:literal, $spec_name:literal {
                $( $(#[$field_doc:meta])* $field:ident: $type:ty, )*
            }
        )*
    ) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq)]
            pub struct $name {
                $( $(#[$field_doc])* pub $field: $type, )*
            }

            impl $crate::sv2::codec::Wire for $name {
                fn encode(&self, out: &mut bytes::BytesMut) {
                    $( self.$field.encode(out); )*
                }
                fn decode(
                    reader: &mut $crate::sv2::codec::Reader<'_>,
                ) -> Result<Self, $crate::sv2::codec::DecodeError> {
                    Ok(Self { $( $field: <$type>::decode(reader)?, )* })
                }
            }

            impl $crate::sv2::message::Message for $name {
                const EXTENSION: u16 = $extension;
                const MESSAGE_TYPE: u8 = $number;
                const CHANNEL_MSG: bool = $channel;
                const NAME: &'static str = $spec_name;
            }

            impl From<$name> for $protocol {
                fn from(message: $name) -> Self {
                    Self::$name(message)
                }
            }
        )*

        $(#[$enum_doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $protocol {
            $( #[doc = $spec_name] $name($name), )*
        }

        impl $protocol {
            /// Decodes the payload of a frame of type `message_type`.
            pub fn decode(
                message_type: u8,
                payload: &[u8],
            ) -> Result<Self, $crate::sv2::codec::DecodeError> {
                use $crate::sv2::message::Message as _;
                match message_type {
                    $( $number => Ok(Self::$name($name::from_payload(payload)?)), )*
                    unknown => Err($crate::sv2::codec::DecodeError::UnknownMessage(unknown)),
                }
            }

            /// The name in the spec.
            pub fn name(&self) -> &'static str {
                match self {
                    $( Self::$name(_) => $spec_name, )*
                }
            }
        }
    };
}
pub(super) use messages;
