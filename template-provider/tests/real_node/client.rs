//! A client of the Template Distribution Protocol over a socket, which mines for itself.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use mining::hash::double_sha256;
use mining::header::Header;
use mining::merkle::root_from_path;
use mining::target::Target;
use wire::sv2::codec::Blob;
use wire::sv2::keys::Sv2Url;
use wire::sv2::link::{Link, LinkLimits};
use wire::sv2::message::Message;
use wire::sv2::setup::{PROTOCOL_TEMPLATE_DISTRIBUTION, Setup, SetupConnection};
use wire::sv2::template::{
    CoinbaseOutputConstraints, NewTemplate, SetNewPrevHash, SubmitSolution, TemplateDistribution,
};

/// How long the provider may be silent where something is waited for.
const READ_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Client {
    stream: TcpStream,
    link: Link,
}

impl Client {
    /// Connects, and reserves `room`: bytes and sigops.
    pub(crate) fn connect(url: &Sv2Url, room: (u32, u16)) -> Self {
        let stream = TcpStream::connect((url.host.as_str(), url.port)).unwrap();
        stream.set_read_timeout(Some(READ_MAX)).unwrap();
        let limits = LinkLimits { frame_bytes_max: 5_000_000, output_bytes_max: 1_000_000 };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        // Enough randomness for a connection that hides nothing.
        let seed = double_sha256(&stream.local_addr().unwrap().port().to_le_bytes());
        let link = Link::client(url.authority_key, limits, seed, now.try_into().unwrap());
        let mut client = Self { stream, link };
        client.flush();
        while !client.link.is_open() {
            client.read();
        }
        let protocol = PROTOCOL_TEMPLATE_DISTRIBUTION;
        client.send(&SetupConnection::of_program(protocol, 0, &url.host, url.port, "test"));
        let frame = client.next_frame();
        let answer = Setup::decode(frame.header.message_type, &frame.payload).unwrap();
        assert!(matches!(answer, Setup::SetupConnectionSuccess(_)), "{answer:?}");
        client.send(&CoinbaseOutputConstraints {
            coinbase_output_max_additional_size: room.0,
            coinbase_output_max_additional_sigops: room.1,
        });
        client
    }

    pub(crate) fn send(&mut self, message: &impl Message) {
        self.link.send(message).unwrap();
        self.flush();
    }

    pub(crate) fn submit(&mut self, solution: &SubmitSolution) {
        self.send(solution);
    }

    pub(crate) fn next(&mut self) -> TemplateDistribution {
        let frame = self.next_frame();
        TemplateDistribution::decode(frame.header.message_type, &frame.payload).unwrap()
    }

    pub(crate) fn next_template(&mut self) -> NewTemplate {
        match self.next() {
            TemplateDistribution::NewTemplate(template) => template,
            other => panic!("{other:?}"),
        }
    }

    /// The next future template and its tip; templates for the present tip are passed over.
    pub(crate) fn next_tip(&mut self) -> (NewTemplate, SetNewPrevHash) {
        let mut future = self.next_template();
        while !future.future_template {
            future = self.next_template();
        }
        match self.next() {
            TemplateDistribution::SetNewPrevHash(tip) => (future, tip),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn next_refusal(&mut self) -> String {
        match self.next() {
            TemplateDistribution::RequestTransactionDataError(error) => {
                error.error_code.display().into_owned()
            }
            other => panic!("{other:?}"),
        }
    }

    fn next_frame(&mut self) -> wire::sv2::frame::Frame {
        loop {
            if let Some(frame) = self.link.next_frame().unwrap() {
                return frame;
            }
            self.read();
        }
    }

    fn read(&mut self) {
        let mut bytes = [0; 16 * 1024];
        let count = self.stream.read(&mut bytes).expect("the provider is silent");
        assert!(count > 0, "the provider closed the connection");
        self.link.receive(&bytes[..count]).unwrap();
    }

    fn flush(&mut self) {
        let mut out = BytesMut::new();
        while self.link.poll_transmit(&mut out) {}
        self.stream.write_all(&out).unwrap();
    }
}

/// Mines on a template; `extranonce` makes blocks of one template differ.
pub(crate) fn mine(template: &NewTemplate, tip: &SetNewPrevHash, extranonce: u8) -> SubmitSolution {
    // OP_TRUE takes all of it; where nothing is left there is no output for it.
    let scripts = [vec![0x51]];
    let scripts = &scripts[usize::from(template.coinbase_tx_value_remaining == 0)..];
    mine_outputs(template, tip, extranonce, scripts)
}

/// Mines with outputs of `bytes` in all, or of as many as a SubmitSolution holds.
pub(crate) fn mine_with_outputs(
    template: &NewTemplate,
    tip: &SetNewPrevHash,
    bytes: u32,
) -> SubmitSolution {
    let bytes = usize::try_from(bytes).unwrap().min(65_000);
    // Value 8, length 3, and a script that returns at once.
    let mut script = vec![0; bytes - 11];
    script[0] = 0x6a;
    mine_outputs(template, tip, 9, &[script])
}

fn mine_outputs(
    template: &NewTemplate,
    tip: &SetNewPrevHash,
    extranonce: u8,
    scripts: &[Vec<u8>],
) -> SubmitSolution {
    let stripped = coinbase(template, extranonce, scripts, false);
    let root = root_from_path(double_sha256(&stripped), template.merkle_path.as_slice());
    let target = Target::from_le_bytes(tip.target);
    let header = |nonce| Header {
        version: template.version,
        prev_hash: tip.prev_hash,
        merkle_root: root,
        ntime: tip.header_timestamp,
        nbits: tip.n_bits,
        nonce,
    };
    let nonce = (0..).find(|nonce| target.is_met_by(&header(*nonce).hash())).unwrap();
    SubmitSolution {
        template_id: template.template_id,
        version: template.version,
        header_timestamp: tip.header_timestamp,
        header_nonce: nonce,
        coinbase_tx: Blob::new(coinbase(template, extranonce, scripts, true)).unwrap(),
    }
}

/// The coinbase, the first output taking all that the template leaves.
fn coinbase(
    template: &NewTemplate,
    extranonce: u8,
    scripts: &[Vec<u8>],
    with_witness: bool,
) -> Vec<u8> {
    let mut bytes = template.coinbase_tx_version.to_le_bytes().to_vec();
    if with_witness {
        bytes.extend([0, 1]);
    }
    bytes.push(1);
    bytes.extend([0; 32]);
    bytes.extend([0xff; 4]);
    let mut script = template.coinbase_prefix.as_slice().to_vec();
    script.extend([1, extranonce]);
    put_sized(&mut bytes, &script);
    bytes.extend(template.coinbase_tx_input_sequence.to_le_bytes());
    let outputs = scripts.len() + usize::try_from(template.coinbase_tx_outputs_count).unwrap();
    bytes.push(u8::try_from(outputs).unwrap());
    let mut value = template.coinbase_tx_value_remaining;
    for script in scripts {
        bytes.extend(std::mem::take(&mut value).to_le_bytes());
        put_sized(&mut bytes, script);
    }
    bytes.extend(template.coinbase_tx_outputs.as_slice());
    if with_witness {
        bytes.extend([1, 32]);
        bytes.extend([0; 32]);
    }
    bytes.extend(template.coinbase_tx_locktime.to_le_bytes());
    bytes
}

fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    match u16::try_from(bytes.len()).unwrap() {
        short @ 0..=252 => out.push(u8::try_from(short).unwrap()),
        long => {
            out.push(0xfd);
            out.extend(long.to_le_bytes());
        }
    }
    out.extend(bytes);
}
