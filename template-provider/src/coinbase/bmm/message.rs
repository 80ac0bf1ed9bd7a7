//! The two messages of blind merged mining (BIP301) that stand in a block: M7, by which a coinbase
//! accepts a side block, and M8, by which a transaction asks for that.
//!
//! Bytes to messages and back; what a block may hold of them is not decided here. A side block's
//! hash (h*) goes into them as the sidechain's bytes are, a main block's in internal byte order.

use bitcoin::Script;
use bitcoin::script::Instruction;
use bytes::{BufMut, BytesMut};
use serde::Deserialize;

use crate::block_template::Output;

/// OP_RETURN.
const RETURN: u8 = 0x6a;
/// What names an M7.
const ACCEPT_TAG: [u8; 4] = [0xd1, 0x61, 0x73, 0x68];
/// What names an M8; in the legacy layout of M7 it stands between h* and slot.
const REQUEST_TAG: [u8; 3] = [0x00, 0xbf, 0x00];
/// The push of an M7's 37 bytes: tag, slot, h*.
const ACCEPT_PUSH: u8 = 37;
/// The push of an M8's 68 bytes: tag, slot, h*, previous main block.
const REQUEST_PUSH: u8 = 68;
/// The longest script of an M7: the legacy layout's 45 bytes.
const ACCEPT_SCRIPT_BYTES_MAX: u32 = 45;
/// The most bytes that the output of an M7 takes: value 8, length 1, script.
pub const ACCEPT_OUTPUT_BYTES_MAX: u32 = 8 + 1 + ACCEPT_SCRIPT_BYTES_MAX;

/// How an M7 is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// OP_RETURN and one push of tag, slot and h*: the only one that the enforcer sees.
    #[default]
    Push,
    /// As BIP301's text has it: no push opcode after OP_RETURN.
    Raw,
    /// Of the old `drivechaind`: tag, h*, the tag of M8, slot, and the last four bytes of the
    /// previous block's hash as it is displayed.
    Legacy,
}

/// An M7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accept {
    /// The sidechain's slot.
    pub slot: u8,
    /// Hash of the side block.
    pub h_star: [u8; 32],
}

/// An M8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The sidechain's slot.
    pub slot: u8,
    /// Hash of the side block.
    pub h_star: [u8; 32],
    /// The main block that the request may be mined upon, and no other.
    pub prev_hash: [u8; 32],
}

impl Accept {
    /// Its output, without value, for a block on `prev_hash`.
    pub fn output(&self, encoding: Encoding, prev_hash: &[u8; 32]) -> Output {
        let mut script = BytesMut::new();
        script.put_u8(RETURN);
        if encoding == Encoding::Push {
            script.put_u8(ACCEPT_PUSH);
        }
        script.put_slice(&ACCEPT_TAG);
        if encoding != Encoding::Legacy {
            script.put_u8(self.slot);
            script.put_slice(&self.h_star);
        } else {
            script.put_slice(&self.h_star);
            script.put_slice(&REQUEST_TAG);
            script.put_u8(self.slot);
            let [a, b, c, d, ..] = *prev_hash;
            script.put_slice(&[d, c, b, a]);
        }
        Output::valueless(script)
    }

    /// Reads a scriptPubKey, whichever way it is written. As the enforcer does, it takes no notice
    /// of what follows h* in or after the push; without a push, a byte more or less makes it none.
    pub fn read(script: &[u8]) -> Option<Self> {
        let rest = script.strip_prefix(&[RETURN])?;
        match pushed(script).and_then(|pushed| pushed.strip_prefix(&ACCEPT_TAG)) {
            Some(message) => Self::of_slot_and_h_star(message),
            None => Self::read_unpushed(rest.strip_prefix(&ACCEPT_TAG)?),
        }
    }

    /// The two layouts without a push differ in length, so that none can be taken for the other.
    fn read_unpushed(message: &[u8]) -> Option<Self> {
        match message.len() {
            33 => Self::of_slot_and_h_star(message),
            40 => {
                let (h_star, rest) = message.split_first_chunk::<32>()?;
                let (slot, _prev_hash_end) = rest.strip_prefix(&REQUEST_TAG)?.split_first()?;
                Some(Self { slot: *slot, h_star: *h_star })
            }
            _ => None,
        }
    }

    fn of_slot_and_h_star(message: &[u8]) -> Option<Self> {
        let (slot, rest) = message.split_first()?;
        Some(Self { slot: *slot, h_star: *rest.first_chunk()? })
    }
}

/// What the script pushes right after OP_RETURN.
fn pushed(script: &[u8]) -> Option<&[u8]> {
    match Script::from_bytes(script).instructions().nth(1)?.ok()? {
        Instruction::PushBytes(bytes) => Some(bytes.as_bytes()),
        Instruction::Op(_) => None,
    }
}

impl Request {
    /// Reads the scriptPubKey of a transaction's first output. What follows its bytes makes it no
    /// less of a request to the enforcer, which throws out blocks with one that has no M7.
    pub fn read(script: &[u8]) -> Option<Self> {
        let rest = script.strip_prefix(&[RETURN, REQUEST_PUSH])?.strip_prefix(&REQUEST_TAG)?;
        let (slot, rest) = rest.split_first()?;
        let (h_star, rest) = rest.split_first_chunk::<32>()?;
        Some(Self { slot: *slot, h_star: *h_star, prev_hash: *rest.first_chunk()? })
    }

    /// True if `bytes` hold the start of an M8 anywhere: a quick look that spares parsing.
    pub fn may_be_in(bytes: &[u8]) -> bool {
        const START: [u8; 5] =
            [RETURN, REQUEST_PUSH, REQUEST_TAG[0], REQUEST_TAG[1], REQUEST_TAG[2]];
        bytes.windows(START.len()).any(|window| window == START)
    }
}

/// The M7s among `outputs`.
pub fn accepts(outputs: &[Output]) -> impl Iterator<Item = Accept> {
    outputs.iter().filter_map(|output| Accept::read(&output.script))
}

#[cfg(test)]
mod tests {
    use super::*;

    const H_STAR: &str = "1200007c0ca1efd8d128fedf50c73f395b0cceb0ffa823edbd971b4afd913021";
    const M7: &str =
        "6a25d1617368011200007c0ca1efd8d128fedf50c73f395b0cceb0ffa823edbd971b4afd913021";
    const M7_RAW: &str =
        "6ad1617368011200007c0ca1efd8d128fedf50c73f395b0cceb0ffa823edbd971b4afd913021";
    const M7_LEGACY: &str = concat!(
        "6ad1617368",
        "1200007c0ca1efd8d128fedf50c73f395b0cceb0ffa823edbd971b4afd913021",
        "00bf00",
        "01",
        "8e275eb1"
    );
    const M8: &str = concat!(
        "6a4400bf0001",
        "1200007c0ca1efd8d128fedf50c73f395b0cceb0ffa823edbd971b4afd913021",
        "b15e278eeda7a8188f68b952ce9e1b47659b19b0b2bc817b2bffb497e5000000"
    );
    const PREV_DISPLAY: &str = "000000e597b4ff2b7b81bcb2b0199b65471b9ece52b9688f18a8a7ed8e275eb1";

    fn hex(text: &str) -> Vec<u8> {
        bitcoin::hex::FromHex::from_hex(text).unwrap()
    }

    fn known() -> (Accept, [u8; 32]) {
        let mut prev_hash: [u8; 32] = hex(PREV_DISPLAY).try_into().unwrap();
        prev_hash.reverse();
        (Accept { slot: 1, h_star: hex(H_STAR).try_into().unwrap() }, prev_hash)
    }

    #[test]
    fn an_accept_has_the_known_bytes_in_each_layout_and_is_read_back() {
        let (accept, prev_hash) = known();
        for (encoding, bytes) in
            [(Encoding::Push, M7), (Encoding::Raw, M7_RAW), (Encoding::Legacy, M7_LEGACY)]
        {
            let output = accept.output(encoding, &prev_hash);
            assert_eq!((output.value, &output.script[..]), (0, &hex(bytes)[..]), "{encoding:?}");
            assert_eq!(Accept::read(&output.script), Some(accept), "{encoding:?}");
        }
        let longest = u32::try_from(hex(M7_LEGACY).len()).unwrap();
        assert_eq!(longest, ACCEPT_SCRIPT_BYTES_MAX);
    }

    #[test]
    fn a_request_is_read_from_the_known_bytes() {
        let (Accept { slot, h_star }, prev_hash) = known();
        let request = Request::read(&hex(M8));
        assert_eq!(request, Some(Request { slot, h_star, prev_hash }));
        assert!(Request::may_be_in(&hex(&format!("00{M8}00"))));
        assert!(!Request::may_be_in(&hex(M7)));
    }

    #[test]
    fn a_byte_less_makes_it_no_message() {
        for text in [M7, M7_RAW, M7_LEGACY, M8] {
            let whole = hex(text);
            for script in [&whole[..whole.len() - 1], &whole[1..]] {
                assert_eq!(Accept::read(script), None, "{text}");
                assert_eq!(Request::read(script), None, "{text}");
            }
        }
    }

    #[test]
    fn what_follows_makes_it_no_less_of_a_message_where_the_enforcer_sees_one() {
        let longer = |text: &str| [&hex(text)[..], &[0]].concat();
        assert_eq!(Request::read(&longer(M8)), Request::read(&hex(M8)));
        assert!(Request::read(&hex(M8)).is_some());
        let accept = Some(known().0);
        assert_eq!(Accept::read(&longer(M7)), accept);
        let longer_push = M7.replacen("6a25", "6a26", 1) + "07";
        assert_eq!(Accept::read(&hex(&longer_push)), accept);
        let long_opcode = M7.replacen("6a25", "6a4c25", 1);
        assert_eq!(Accept::read(&hex(&long_opcode)), accept);
        for unseen in [M7_RAW, M7_LEGACY] {
            assert_eq!(Accept::read(&longer(unseen)), None, "{unseen}");
        }
    }

    #[test]
    fn another_tag_makes_it_no_message() {
        for (position, text) in [(2, M7), (1, M7_RAW), (37, M7_LEGACY), (2, M8)] {
            let mut script = hex(text);
            script[position] ^= 1;
            assert_eq!(Accept::read(&script), None, "{text}");
            assert_eq!(Request::read(&script), None, "{text}");
        }
    }

    #[test]
    fn a_raw_accept_of_slot_37_is_read_as_what_it_is() {
        // 37 is also the push opcode of the other layout.
        let accept = Accept { slot: 37, h_star: [0x25; 32] };
        for encoding in [Encoding::Push, Encoding::Raw, Encoding::Legacy] {
            assert_eq!(Accept::read(&accept.output(encoding, &[1; 32]).script), Some(accept));
        }
    }
}
