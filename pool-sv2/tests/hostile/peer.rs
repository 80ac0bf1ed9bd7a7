//! A peer on a real socket: as far as it has come, and whatever it wants to send.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use service::clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use wire::sv2::codec::Bytes32;
use wire::sv2::frame::{EncodedFrame, Frame};
use wire::sv2::keys::AuthorityKey;
use wire::sv2::link::{Link, LinkLimits};
use wire::sv2::message::Message;
use wire::sv2::mining::{
    Mining, OpenExtendedMiningChannel, SubmitSharesExtended, SubmitSharesSuccess,
};
use wire::sv2::setup::{PROTOCOL_MINING, SetupConnection};

use crate::pool::Pool;

/// What any answer may take, on a machine that has much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// A peer that means no good holds what it wants.
const LIMITS: LinkLimits = LinkLimits { frame_bytes_max: 1 << 20, output_bytes_max: 1 << 26 };

/// How far a peer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Connected,
    /// Half of its first message is sent.
    WithinHandshake,
    /// Encrypted, and nothing said.
    ShookHands,
    SetUp,
    HasChannel,
    /// A share was accepted.
    Mines,
}

impl State {
    pub(crate) const ALL: [Self; 6] = [
        Self::Connected,
        Self::WithinHandshake,
        Self::ShookHands,
        Self::SetUp,
        Self::HasChannel,
        Self::Mines,
    ];

    pub(crate) fn is_encrypted(self) -> bool {
        self >= Self::ShookHands
    }
}

/// A peer of the pool.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    pub(crate) link: Link,
    /// What it said last, as it went over the wire.
    pub(crate) last_sent: Vec<u8>,
    channel_id: u32,
    job_id: u32,
    ntime: u32,
    next_share: u32,
}

impl Peer {
    /// From `source`, an address of this machine.
    pub(crate) async fn connect(pool: &Pool, source: &str) -> Result<Self> {
        Self::connect_to(pool.address, pool.key, source).await
    }

    async fn connect_to(address: SocketAddr, key: AuthorityKey, source: &str) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(source.parse()?, 0))?;
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        let now = clock::unix_now_seconds();
        let link = Link::client(Some(key), LIMITS, clock::fresh_seed(), now);
        let (last_sent, next_share) = (Vec::new(), 0);
        Ok(Self { stream, link, last_sent, channel_id: 0, job_id: 0, ntime: 0, next_share })
    }

    /// A peer that has come to `state`.
    pub(crate) async fn at(pool: &Pool, source: &str, state: State) -> Result<Self> {
        let mut peer = Self::connect(pool, source).await?;
        if state == State::WithinHandshake {
            let act_1 = peer.unsent();
            peer.write(&act_1[..30]).await?;
        }
        if state >= State::ShookHands {
            peer.shake_hands().await?;
        }
        if state >= State::SetUp {
            peer.set_up().await?;
        }
        if state >= State::HasChannel {
            peer.open_channel().await?;
        }
        if state >= State::Mines {
            peer.mine().await?;
        }
        Ok(peer)
    }

    async fn shake_hands(&mut self) -> Result<()> {
        self.flush().await?;
        while !self.link.is_open() {
            self.receive().await?;
        }
        Ok(())
    }

    async fn set_up(&mut self) -> Result<()> {
        let setup = SetupConnection::of_program(PROTOCOL_MINING, 0, "pool", 1, "test");
        self.send(&setup).await?;
        ensure!(self.frame().await?.header.message_type == 0x01, "not set up");
        Ok(())
    }

    pub(crate) async fn open_channel(&mut self) -> Result<()> {
        self.send(&open_request(1)).await?;
        loop {
            match self.message().await? {
                Mining::OpenExtendedMiningChannelSuccess(open) => self.channel_id = open.channel_id,
                Mining::NewExtendedMiningJob(job) => self.job_id = job.job_id,
                Mining::SetNewPrevHash(tip) => {
                    self.ntime = tip.min_ntime;
                    return Ok(());
                }
                other => bail!("{} instead of a channel", other.name()),
            }
        }
    }

    /// Submits a share and waits until it is acknowledged.
    pub(crate) async fn mine(&mut self) -> Result<()> {
        self.next_share += 1;
        let sequence_number = self.next_share;
        self.send(&self.share(sequence_number)).await?;
        loop {
            match self.message().await? {
                Mining::SubmitSharesSuccess(SubmitSharesSuccess {
                    last_sequence_number, ..
                }) if last_sequence_number == sequence_number => return Ok(()),
                Mining::NewExtendedMiningJob(job) => {
                    self.job_id = job.job_id;
                    self.ntime = job.min_ntime.unwrap_or(self.ntime);
                }
                Mining::SubmitSharesError(error) => {
                    bail!("share refused: {}", error.error_code.display())
                }
                _ => {}
            }
        }
    }

    pub(crate) fn share(&self, nonce: u32) -> SubmitSharesExtended {
        SubmitSharesExtended {
            channel_id: self.channel_id,
            sequence_number: nonce,
            job_id: self.job_id,
            nonce,
            ntime: self.ntime,
            version: 0x2000_0000,
            extranonce: Bytes32::new(&[0; 8]).unwrap(),
        }
    }

    pub(crate) async fn send<M: Message>(&mut self, message: &M) -> Result<()> {
        self.send_frame(&EncodedFrame::new(message)).await
    }

    pub(crate) async fn send_frame(&mut self, frame: &EncodedFrame) -> Result<()> {
        self.link.send_frame(frame, &[])?;
        self.flush().await
    }

    /// What it has to say, sealed and not sent.
    pub(crate) fn unsent(&mut self) -> Vec<u8> {
        let mut out = BytesMut::new();
        self.link.poll_transmit(&mut out);
        out.to_vec()
    }

    async fn flush(&mut self) -> Result<()> {
        let bytes = self.unsent();
        self.write(&bytes).await?;
        self.last_sent = bytes;
        Ok(())
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        timeout(PATIENCE, self.stream.write_all(bytes))
            .await
            .context("the pool does not read")??;
        Ok(())
    }

    async fn receive(&mut self) -> Result<()> {
        let mut buffer = [0; 4_096];
        let read = timeout(PATIENCE, self.stream.read(&mut buffer)).await;
        let count = read.context("the pool says nothing")??;
        ensure!(count > 0, "the pool closed the connection");
        self.link.receive(&buffer[..count])?;
        Ok(())
    }

    async fn frame(&mut self) -> Result<Frame> {
        loop {
            if let Some(frame) = self.link.next_frame()? {
                return Ok(frame);
            }
            self.receive().await?;
        }
    }

    pub(crate) async fn message(&mut self) -> Result<Mining> {
        let frame = self.frame().await?;
        Ok(Mining::decode(frame.header.message_type, &frame.payload)?)
    }

    /// Waits until the pool closes; fails if it does not.
    pub(crate) async fn closed(&mut self) -> Result<()> {
        let mut buffer = [0; 4_096];
        loop {
            let read = timeout(PATIENCE, self.stream.read(&mut buffer)).await;
            match read.context("the pool does not close")? {
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) => {}
            }
        }
    }
}

pub(crate) fn open_request(request_id: u32) -> OpenExtendedMiningChannel {
    OpenExtendedMiningChannel {
        request_id,
        user_identity: "miner.a".into(),
        nominal_hash_rate: 0.0,
        max_target: [0xff; 32],
        min_extranonce_size: 8,
    }
}
