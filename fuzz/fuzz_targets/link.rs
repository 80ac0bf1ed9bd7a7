//! An open link between SRI's client and our server: whatever SRI sends arrives as it was, in
//! whatever pieces; a byte that was changed on the way ends the link at its frame.

#![no_main]

use arbitrary::Arbitrary;
use fuzz::{FRAME_BYTES_MAX, SriPeer, sri_client};
use libfuzzer_sys::fuzz_target;
use wire::sv2::frame::{EncodedFrame, Header};
use wire::sv2::link::Link;

#[derive(Debug, Arbitrary)]
struct Input {
    frames: Vec<Sent>,
    pieces: Vec<u16>,
    /// Where a byte is changed, and how; 0 changes nothing.
    changed: Option<(u16, u8)>,
    /// Frames of ours on their way back.
    back: Vec<Sent>,
}

#[derive(Debug, Arbitrary)]
struct Sent {
    extension: u16,
    message_type: u8,
    start: Vec<u8>,
    /// Zeroes that follow, so that several chunks of Noise are filled.
    zeroes: u16,
    more: u8,
}

impl Sent {
    fn payload(&self) -> Vec<u8> {
        let mut payload = self.start.clone();
        let zeroes = usize::from(self.zeroes) + usize::from(self.more & 1) * 65_536;
        payload.resize(payload.len() + zeroes, 0);
        payload.truncate(FRAME_BYTES_MAX + 1);
        payload
    }

    fn header(&self, length: usize) -> Header {
        Header {
            extension: self.extension & 0x7fff,
            channel_msg: self.extension & 0x8000 != 0,
            message_type: self.message_type,
            length: u32::try_from(length).unwrap(),
        }
    }
}

fuzz_target!(|input: Input| {
    let (mut server, mut peer) = sri_client();
    there(&input, &mut server, &mut peer);
    back(&input.back);
});

fn there(input: &Input, server: &mut Link, peer: &mut SriPeer) {
    let mut bytes = Vec::new();
    let mut frames = Vec::new();
    for sent in input.frames.iter().take(8) {
        let payload = sent.payload();
        let header = sent.header(payload.len());
        bytes.extend(peer.seal(header, &payload));
        frames.push((header, payload, bytes.len()));
    }
    let mut changed_at = usize::MAX;
    if let Some((at, mask)) = input.changed
        && mask != 0
        && let Some(byte) = bytes.get_mut(usize::from(at))
    {
        *byte ^= mask;
        changed_at = usize::from(at);
    }
    let mut arrived = Vec::new();
    let ended = deliver(server, &bytes, &input.pieces, &mut arrived);
    let is_good = |(_, payload, end): &&(Header, Vec<u8>, usize)| {
        payload.len() <= FRAME_BYTES_MAX && *end <= changed_at
    };
    let good: Vec<_> = frames.iter().take_while(is_good).collect();
    assert_eq!(arrived.len(), good.len());
    for (frame, (header, payload, _)) in arrived.iter().zip(&good) {
        assert_eq!((&frame.header, frame.payload.as_ref()), (header, payload.as_slice()));
    }
    let is_whole = good.len() == frames.len();
    // A length that was changed is found when its header is opened, like everything else.
    assert_eq!(ended.is_none(), is_whole, "{ended:?}");
}

fn deliver(
    server: &mut Link,
    bytes: &[u8],
    pieces: &[u16],
    arrived: &mut Vec<wire::sv2::frame::Frame>,
) -> Option<wire::session::PeerError> {
    let mut rest = bytes;
    let mut pieces = pieces.iter().map(|piece| usize::from(*piece).max(1)).cycle();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(pieces.next().unwrap_or(usize::MAX).min(rest.len()));
        rest = later;
        if let Err(error) = server.receive(now) {
            return Some(error);
        }
        loop {
            match server.next_frame() {
                Ok(Some(frame)) => arrived.push(frame),
                Ok(None) => break,
                Err(error) => return Some(error),
            }
        }
    }
    None
}

/// SRI reads what we send.
fn back(frames: &[Sent]) {
    let (mut server, mut peer) = sri_client();
    let mut sent = Vec::new();
    for frame in frames.iter().take(8) {
        let payload = frame.payload();
        let header = frame.header(payload.len());
        let (extension, channel_msg) = (header.extension, header.channel_msg);
        let kind = header.message_type;
        let encoded = EncodedFrame::of_unknown(extension, channel_msg, kind, payload.clone());
        server.send_frame(&encoded, &[]).unwrap();
        sent.push((header, payload));
    }
    assert_eq!(peer.open(&fuzz::sent(&mut server)), Ok(sent));
}
