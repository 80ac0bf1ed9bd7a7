//! What clients mine on is written to disk behind their backs, and found there by the next run.
//!
//! Nothing waits for it: a disk that is slow loses templates here, and no client ever knows.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use service::advice;
use service::clock;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{error, warn};

use crate::spool::{Files, Shelf};
use crate::templates::build::Contents;
use crate::templates::record;
use crate::templates::store::{Offer, Template};

/// Templates that wait for the disk: some tips' worth for clients with rooms of their own. When it
/// is full the oldest is dropped, for its tip is left first; a block found on it after a crash of
/// the program would be lost.
const WAITING_MAX: usize = 64;
/// How often it is looked for what may go.
const CLEAR_EVERY: Duration = Duration::from_secs(10);

/// The spool. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(super) struct Spooling {
    files: Files,
    waiting: Arc<Mutex<VecDeque<Waiting>>>,
    came: Arc<Notify>,
}

struct Waiting {
    id: u64,
    tip: u64,
    contents: Arc<Contents>,
}

impl Spooling {
    pub(super) fn new(files: Files) -> Self {
        Self { files, waiting: Arc::default(), came: Arc::default() }
    }

    /// Has a template written that a client gets; returns at once.
    pub(super) fn keep(&self, template: &Template, tip: u64) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Clients with the same needs get the same template.
        if waiting.back().is_some_and(|last| last.id == template.id) {
            return;
        }
        if waiting.len() >= WAITING_MAX
            && let Some(Waiting { id, .. }) = waiting.pop_front()
        {
            warn!(template = id, "template not kept on disk: the disk is slow");
        }
        let contents = Arc::clone(&template.contents);
        waiting.push_back(Waiting { id: template.id, tip, contents });
        self.came.notify_one();
    }

    /// A template that this run does not know, if an earlier one wrote it.
    pub(super) async fn find(&self, id: u64) -> Option<Contents> {
        let files = self.files.clone();
        let read = spawn_blocking(move || match files.read(id) {
            Ok(Some(bytes)) => record::decode(&bytes).map(Some).map_err(io::Error::other),
            other => other.map(|_| None),
        });
        match read.await.map_err(io::Error::other).flatten() {
            Ok(contents) => contents,
            Err(error) => {
                error!(code = advice::SPOOL_BROKEN,
                    template = id, %error, "template on disk cannot be used");
                None
            }
        }
    }

    /// Writes and clears away for as long as it is polled.
    pub(super) async fn run(self, mut offers: watch::Receiver<Option<Arc<Offer>>>) {
        let files = self.files.clone();
        let left = on_disk(move || files.list()).await.unwrap_or_else(|error| {
            error!(code = advice::SPOOL_BROKEN,
                %error, "templates of an earlier run cannot be read");
            Default::default()
        });
        let mut shelf = Shelf::new(clock::now(), &left);
        let mut last = None;
        loop {
            while let Some(waiting) = self.next_waiting() {
                let (id, tip) = (waiting.id, waiting.tip);
                match self.write(waiting, &mut last).await {
                    Ok(bytes) => shelf.add(clock::now(), id, tip, bytes),
                    Err(error) => error!(code = advice::SPOOL_BROKEN,
                        template = id, %error, "template not kept on disk"),
                }
            }
            for id in shelf.take_over(clock::now()) {
                let files = self.files.clone();
                if let Err(error) = on_disk(move || files.remove(id)).await {
                    error!(code = advice::SPOOL_BROKEN,
                        template = id, %error, "template not removed from disk");
                }
            }
            tokio::select! {
                () = self.came.notified() => {}
                () = sleep(CLEAR_EVERY) => {}
                Ok(()) = offers.changed() => {
                    if let Some(offer) = offers.borrow_and_update().as_deref() {
                        shelf.tip_moved(clock::now(), offer.tip);
                    }
                }
            }
        }
    }

    fn next_waiting(&self) -> Option<Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Gives the bytes of the file. What was written last under another name is only linked.
    async fn write(&self, waiting: Waiting, last: &mut Option<Written>) -> io::Result<u64> {
        let Waiting { id, contents, .. } = waiting;
        let same = last.take().filter(|last| last.contents.as_ptr() == Arc::as_ptr(&contents));
        let (files, written) = (self.files.clone(), Arc::downgrade(&contents));
        let bytes = on_disk(move || {
            if let Some(same) = same
                && files.link(same.id, id).is_ok()
            {
                return Ok(same.bytes);
            }
            let record = record::encode(&contents).map_err(io::Error::other)?;
            files.write(id, &record)?;
            Ok(u64::try_from(record.len()).unwrap_or(u64::MAX))
        })
        .await?;
        *last = Some(Written { id, bytes, contents: written });
        Ok(bytes)
    }
}

/// What was written last. It may be gone from memory since, but then nothing else is in its place:
/// the weak pointer holds it.
struct Written {
    id: u64,
    bytes: u64,
    contents: Weak<Contents>,
}

async fn on_disk<T: Send + 'static>(
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(call).await.map_err(io::Error::other).flatten()
}
