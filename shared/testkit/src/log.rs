//! What a program says: its lines on standard output, and its JSON log from standard error.
//!
//! Everything is kept, over restarts of the program too, so that a failed test can show it. With
//! `TESTKIT_LOGS=FOLDER` the logs are also written there, for a person to read.

use std::collections::VecDeque;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde_json::{Map, Value};

/// Lines that a failure shows.
const TAIL_LINES: usize = 25;
/// Lines that are kept; a longer run drops the oldest.
const LINES_MAX: usize = 200_000;

/// One log event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What happened.
    pub message: String,
    /// INFO and the like.
    pub level: String,
    /// Everything else.
    pub fields: Map<String, Value>,
}

impl Event {
    /// Reads a line of JSON; `None` if it is no log event.
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields: Map<String, Value> = serde_json::from_str(line).ok()?;
        let mut take = |key| match fields.remove(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let (message, level) = (take("message")?, take("level")?);
        Some(Self { message, level, fields })
    }

    /// True if it says `message`.
    pub fn is(&self, message: &str) -> bool {
        self.message == message
    }

    /// A field as text; empty if there is none.
    pub fn text(&self, field: &str) -> String {
        match self.fields.get(field) {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    /// A field as a number, if it is one.
    pub fn number(&self, field: &str) -> Option<u64> {
        self.fields.get(field).and_then(Value::as_u64)
    }
}

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mark(usize);

/// The log of one program. Clones are the same log.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Default)]
struct State {
    /// Lines of standard output, of the present run alone.
    said: Vec<String>,
    lines: VecDeque<(String, Option<Event>)>,
    /// Lines that were dropped from the front.
    dropped: usize,
    followers: Vec<Sender<(String, Event)>>,
}

impl Log {
    /// An empty log of the program that people call `name`.
    pub fn new(name: &str) -> Self {
        let (state, grown) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(Shared { name: name.to_owned(), state, grown }) }
    }

    /// Reads a program's log until it ends.
    pub fn read_events(&self, stderr: impl Read + Send + 'static) {
        let log = self.clone();
        let mut copy = std::env::var_os("TESTKIT_LOGS").and_then(|folder| {
            let path = Path::new(&folder).join(format!("{}.log", self.shared.name));
            OpenOptions::new().create(true).append(true).open(path).ok()
        });
        thread::spawn(move || {
            read_lines(stderr, |line| {
                if let Some(copy) = &mut copy {
                    let _ = writeln!(copy, "{line}");
                }
                log.take_line(line);
            });
        });
    }

    /// Reads a program's standard output until it ends.
    pub fn read_said(&self, stdout: impl Read + Send + 'static) {
        let log = self.clone();
        log.lock().said.clear();
        thread::spawn(move || {
            read_lines(stdout, |line| {
                log.lock().said.push(line);
                log.shared.grown.notify_all();
            });
        });
    }

    /// Sends every event from now on, with the program's name.
    pub fn follow(&self, follower: Sender<(String, Event)>) {
        self.lock().followers.push(follower);
    }

    /// The present end.
    pub fn end(&self) -> Mark {
        let state = self.lock();
        Mark(state.dropped + state.lines.len())
    }

    /// Waits for a line of standard output that starts with `start`; gives the rest of it.
    pub fn wait_said(&self, start: &str, within: Duration) -> Result<String> {
        let find = |state: &State| {
            let mut rests = state.said.iter().filter_map(|line| line.strip_prefix(start));
            rests.next().map(str::to_owned)
        };
        self.wait(&format!("the line `{start}...`"), within, find)
    }

    /// Waits for so many lines of standard output that start with `start`; gives the rests of them.
    pub fn wait_said_all(
        &self,
        start: &str,
        count: usize,
        within: Duration,
    ) -> Result<Vec<String>> {
        let find = |state: &State| {
            let rests = state.said.iter().filter_map(|line| line.strip_prefix(start));
            let rests: Vec<_> = rests.map(str::to_owned).collect();
            (rests.len() >= count).then_some(rests)
        };
        self.wait(&format!("{count} lines `{start}...`"), within, find)
    }

    /// Waits for the first event from `from` on that `matches`; `what` says what is waited for.
    pub fn wait_for(
        &self,
        from: Mark,
        within: Duration,
        what: &str,
        matches: impl Fn(&Event) -> bool,
    ) -> Result<Event> {
        self.wait(what, within, |state| state.events(from).find(|event| matches(event)).cloned())
    }

    /// The events from `from` on.
    pub fn events(&self, from: Mark) -> Vec<Event> {
        self.lock().events(from).cloned().collect()
    }

    /// The last lines, for a failure's message.
    pub fn tail(&self) -> String {
        let state = self.lock();
        let skipped = state.lines.len().saturating_sub(TAIL_LINES);
        let lines = state.lines.iter().skip(skipped);
        let tail: Vec<_> = lines.map(|(line, _)| format!("  {line}")).collect();
        format!("{} said last:\n{}", self.shared.name, tail.join("\n"))
    }

    fn wait<T>(
        &self,
        what: &str,
        within: Duration,
        find: impl Fn(&State) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + within;
        let mut state = self.lock();
        loop {
            if let Some(found) = find(&state) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(state);
                let (name, seconds) = (&self.shared.name, within.as_secs_f32());
                let tail = self.tail();
                return Err(anyhow!("waited {seconds} s for {what} of {name}, in vain; {tail}"));
            }
            let waited = self.shared.grown.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn take_line(&self, line: String) {
        let event = Event::parse(&line);
        let mut state = self.lock();
        if let Some(event) = &event {
            let name = &self.shared.name;
            state.followers.retain(|to| to.send((name.clone(), event.clone())).is_ok());
        }
        if state.lines.len() >= LINES_MAX {
            state.lines.pop_front();
            state.dropped += 1;
        }
        state.lines.push_back((line, event));
        self.shared.grown.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn events(&self, from: Mark) -> impl Iterator<Item = &Event> {
        let skipped = from.0.saturating_sub(self.dropped);
        self.lines.iter().skip(skipped).filter_map(|(_, event)| event.as_ref())
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({}, {} lines)", self.shared.name, self.end().0)
    }
}

fn read_lines(from: impl Read, mut take: impl FnMut(String)) {
    for line in BufReader::new(from).split(b'\n') {
        let Ok(line) = line else { return };
        take(String::from_utf8_lossy(&line).into_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUND: &str =
        r#"{"timestamp":"t","level":"INFO","message":"block found","height":7,"hash":"00ab"}"#;

    fn log_of(lines: &str) -> Log {
        let log = Log::new("a program");
        read_lines(lines.as_bytes(), |line| log.take_line(line));
        log
    }

    #[test]
    fn fields_of_a_json_line_are_read() {
        let event = Event::parse(FOUND).unwrap();
        assert!(event.is("block found"));
        assert_eq!((event.number("height"), event.text("hash")), (Some(7), "00ab".to_owned()));
        assert_eq!(event.text("height"), "7");
        assert_eq!(Event::parse("thread 'main' panicked"), None);
    }

    #[test]
    fn only_events_after_the_mark_count() {
        let log = log_of(FOUND);
        let no_time = Duration::ZERO;
        let found = |event: &Event| event.is("block found");
        assert!(log.wait_for(Mark::default(), no_time, "a block", found).is_ok());
        assert!(log.wait_for(log.end(), no_time, "a block", found).is_err());
    }

    #[test]
    fn a_waiter_is_woken_by_the_event() {
        let log = Log::new("a program");
        let writer = log.clone();
        let wait = move || {
            log.wait_for(Mark::default(), Duration::from_secs(10), "it", |event| {
                event.is("block found")
            })
        };
        let waiter = thread::spawn(wait);
        writer.take_line(FOUND.to_owned());
        assert!(waiter.join().unwrap().is_ok());
    }

    #[test]
    fn a_failure_shows_what_was_said_last() {
        let error = log_of("panicked at x").wait_said("mining at ", Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("panicked at x"), "{error}");
    }
}
