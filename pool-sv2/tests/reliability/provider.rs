//! A template provider with one template, of a chain that is too hard for any hash here.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use bytes::{BufMut, BytesMut};
use service::certificates::Certificates;
use service::clock;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use wire::sv2::codec::{Blob, List};
use wire::sv2::frame::Frame;
use wire::sv2::keys::{AuthorityKey, AuthoritySecret};
use wire::sv2::link::Link;
use wire::sv2::setup::{SetupConnectionSuccess, VERSION, is_setup_message};
use wire::sv2::template::{NewTemplate, SetNewPrevHash, TemplateDistribution};

use super::talk::{LIMITS, Talk};

const AUTHORITY: &str = "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n";
/// A target that no hash here meets.
const N_BITS: u32 = 0x1701_ffff;

/// The provider, on a thread of its own, for one pool after the other.
pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    pub(crate) key: AuthorityKey,
    _runtime: Runtime,
}

impl Provider {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let authority: AuthoritySecret = AUTHORITY.parse().unwrap();
        let key = authority.public();
        let certificates = Certificates::new(authority, 86_400);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let link = Link::server(certificates.current(), LIMITS, clock::fresh_seed());
                // A pool that is killed ends it.
                tokio::spawn(serve(stream, link));
            }
        });
        Self { address, key, _runtime: runtime }
    }
}

async fn serve(stream: TcpStream, link: Link) -> Result<()> {
    let mut talk = Talk { stream, link };
    loop {
        let frame = talk.frame().await?;
        answer(&mut talk, &frame).await?;
    }
}

async fn answer(talk: &mut Talk, frame: &Frame) -> Result<()> {
    let kind = frame.header.message_type;
    if is_setup_message(kind) {
        return talk.send(&SetupConnectionSuccess { used_version: VERSION, flags: 0 }).await;
    }
    match TemplateDistribution::decode(kind, &frame.payload)? {
        TemplateDistribution::CoinbaseOutputConstraints(_) => {
            talk.send(&template()).await?;
            talk.send(&tip()).await
        }
        TemplateDistribution::SubmitSolution(_) => bail!("a block, of such difficulty"),
        _ => Ok(()),
    }
}

fn template() -> NewTemplate {
    let mut outputs = BytesMut::new();
    outputs.put_u64_le(0);
    outputs.put_slice(&[38, 0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed]);
    outputs.put_bytes(0x77, 32);
    NewTemplate {
        template_id: 1,
        future_template: true,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: Blob::new(vec![3, 1, 2, 3]).unwrap(),
        coinbase_tx_input_sequence: u32::MAX,
        coinbase_tx_value_remaining: 312_500_000,
        coinbase_tx_outputs_count: 1,
        coinbase_tx_outputs: Blob::new(outputs).unwrap(),
        coinbase_tx_locktime: 0,
        merkle_path: List::new(Vec::new()).unwrap(),
    }
}

fn tip() -> SetNewPrevHash {
    let mut target = [0; 32];
    target[20..23].copy_from_slice(&[0xff, 0xff, 0x01]);
    SetNewPrevHash {
        template_id: 1,
        prev_hash: [0x5a; 32],
        header_timestamp: clock::unix_now_seconds(),
        n_bits: N_BITS,
        target,
    }
}
