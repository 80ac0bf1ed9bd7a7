//! One end of an SV2 connection on a real socket.

use anyhow::{Result, ensure};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::sv2::frame::Frame;
use wire::sv2::link::{Link, LinkLimits};
use wire::sv2::message::Message;

pub(crate) const LIMITS: LinkLimits =
    LinkLimits { frame_bytes_max: 1 << 17, output_bytes_max: 4 << 20 };

pub(crate) struct Talk {
    pub(crate) stream: TcpStream,
    pub(crate) link: Link,
}

impl Talk {
    /// A client's: until the link is open.
    pub(crate) async fn shake_hands(&mut self) -> Result<()> {
        while !self.link.is_open() {
            self.receive().await?;
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<()> {
        self.flush().await;
        let mut buffer = vec![0; 16_384];
        let count = self.stream.read(&mut buffer).await?;
        ensure!(count > 0, "the peer is gone");
        Ok(self.link.receive(&buffer[..count])?)
    }

    /// The next frame; an error once the peer is gone and all that it said was heard.
    pub(crate) async fn frame(&mut self) -> Result<Frame> {
        loop {
            if let Some(frame) = self.link.next_frame()? {
                return Ok(frame);
            }
            self.receive().await?;
        }
    }

    pub(crate) async fn send<M: Message>(&mut self, message: &M) -> Result<()> {
        self.link.send(message)?;
        self.flush().await;
        Ok(())
    }

    /// A peer that is gone may have said something before: that is for `frame` to find out.
    async fn flush(&mut self) {
        let mut out = BytesMut::new();
        self.link.poll_transmit(&mut out);
        let _ = self.stream.write_all(&out).await;
    }
}
