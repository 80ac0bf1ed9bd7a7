//! What a plain send of a line to each of many connections takes over loopback: a server's figures
//! for new tips are to be held against it, for most of them is the kernel's.
//!
//! Threads that do nothing else write the same bytes, and one event loop reads them. It knows no
//! protocol.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Barrier;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::{Events, Interest, Poll, Token};
use rustix::time::{ClockId, clock_gettime};

use crate::figures::{Better, Figures, median, microseconds_each, milliseconds};

/// After it what one round leaves the kernel to do is over.
const PAUSE: Duration = Duration::from_millis(100);
/// Neither side waits longer for the other.
const STUCK_MAX: Duration = Duration::from_secs(10);
/// Events that are taken at once.
const EVENTS: usize = 1_024;
const READ_BYTES: usize = 64 * 1_024;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sends {
    /// How many connections get it.
    pub connections: usize,
    /// How long it is.
    pub bytes: usize,
    /// How often.
    pub tips: usize,
    /// On how many threads, each with its part of the connections.
    pub threads: usize,
}

/// Sends, and gives the medians of all rounds, and what the quickest took.
pub fn measure(sends: &Sends) -> Result<Figures> {
    let (senders, mut readers) = connected(sends.connections)?;
    let line = vec![b'x'; sends.bytes];
    let parts = parts_of(&senders, sends.threads);
    let (mut processor, mut last) = (Vec::new(), Vec::new());
    for _ in 0..sends.tips {
        let round = round(&parts, &line, &mut readers)?;
        let count = u64::try_from(sends.connections)?;
        processor.extend(microseconds_each(round.processor, count));
        last.push(milliseconds(round.last));
        sleep(PAUSE);
    }
    let mut figures = Figures::default();
    for (name, unit, values) in [("CPU of a send", "us", processor), ("last read", "ms", last)] {
        let least = values.iter().copied().reduce(f64::min);
        let both = [median(values), least].into_iter().zip(["", ", at least"]);
        for (value, suffix) in both {
            let value = value.context("--tips 0 leaves nothing to measure")?;
            figures.put(&format!("{name}{suffix}"), unit, value, Better::Lower);
        }
    }
    Ok(figures)
}

/// The connections of each of so many threads, nearly the same number for all.
fn parts_of(senders: &[TcpStream], threads: usize) -> Vec<&[TcpStream]> {
    let threads = threads.clamp(1, senders.len().max(1));
    let (mut parts, mut rest) = (Vec::with_capacity(threads), senders);
    for left in (1..=threads).rev() {
        let (part, others) = rest.split_at(rest.len().div_ceil(left));
        parts.push(part);
        rest = others;
    }
    parts
}

/// Both ends of so many connections.
fn connected(count: usize) -> Result<(Vec<TcpStream>, Readers)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let (mut senders, mut readers) = (Vec::with_capacity(count), Readers::new()?);
    for _ in 0..count {
        readers.add(TcpStream::connect(address)?)?;
        let (sender, _) = listener.accept()?;
        sender.set_nodelay(true)?;
        sender.set_write_timeout(Some(STUCK_MAX))?;
        senders.push(sender);
    }
    Ok((senders, readers))
}

/// What one line to each connection took.
struct Round {
    /// Processor time of the threads that sent.
    processor: Duration,
    /// Until the last byte was read.
    last: Duration,
}

fn round(parts: &[&[TcpStream]], line: &[u8], readers: &mut Readers) -> Result<Round> {
    let bytes = parts.iter().map(|part| part.len() * line.len()).sum();
    let start = Barrier::new(parts.len() + 1);
    scope(|threads| {
        let send = |part| {
            start.wait();
            send_to_each(part, line)
        };
        let sending: Vec<_> = parts.iter().map(|part| threads.spawn(move || send(part))).collect();
        start.wait();
        let began = Instant::now();
        let last = readers.read(bytes)?.saturating_duration_since(began);
        let mut processor = Duration::ZERO;
        for thread in sending {
            let Ok(sent) = thread.join() else { bail!("a thread that sends has panicked") };
            processor += sent?;
        }
        Ok(Round { processor, last })
    })
}

/// Gives the processor time that it took.
fn send_to_each(streams: &[TcpStream], line: &[u8]) -> Result<Duration> {
    let before = processor_time()?;
    for mut stream in streams {
        stream.write_all(line)?;
    }
    Ok(processor_time()?.saturating_sub(before))
}

/// The processor time of this thread so far.
fn processor_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::ThreadCPUTime).try_into()?)
}

/// The other ends.
struct Readers {
    poll: Poll,
    streams: Vec<mio::net::TcpStream>,
    events: Events,
    buffer: Vec<u8>,
}

impl Readers {
    fn new() -> Result<Self> {
        let (poll, events) = (Poll::new()?, Events::with_capacity(EVENTS));
        Ok(Self { poll, streams: Vec::new(), events, buffer: vec![0; READ_BYTES] })
    }

    fn add(&mut self, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        let token = Token(self.streams.len());
        self.poll.registry().register(&mut stream, token, Interest::READABLE)?;
        self.streams.push(stream);
        Ok(())
    }

    /// Reads so many bytes from all together; gives when the last one came.
    fn read(&mut self, bytes: usize) -> Result<Instant> {
        let mut left = bytes;
        while left > 0 {
            self.poll.poll(&mut self.events, Some(STUCK_MAX))?;
            if self.events.is_empty() {
                bail!("nothing came for {} s", STUCK_MAX.as_secs());
            }
            for event in &self.events {
                let Some(stream) = self.streams.get_mut(event.token().0) else { continue };
                left = left.saturating_sub(read_all(stream, &mut self.buffer)?);
            }
        }
        Ok(Instant::now())
    }
}

/// Reads what is there; gives how many bytes.
fn read_all(stream: &mut mio::net::TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut bytes = 0;
    loop {
        match stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => bytes += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(bytes),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_is_sent_the_line_whatever_the_threads() {
        for threads in [0, 1, 2, 7] {
            let sends = Sends { connections: 3, bytes: 100_000, tips: 2, threads };
            let figures = measure(&sends).unwrap();
            assert!(figures.0.iter().all(|figure| figure.value > 0.0), "{figures:?}");
        }
    }

    #[test]
    fn each_thread_has_its_part_and_each_connection_a_thread() {
        let (senders, _readers) = connected(9).unwrap();
        let sizes: Vec<_> = parts_of(&senders, 6).iter().map(|part| part.len()).collect();
        assert_eq!(sizes, [2, 2, 2, 1, 1, 1]);
    }
}
