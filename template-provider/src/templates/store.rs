//! Templates by id: named once, kept for as long as somebody may mine on them.
//!
//! Clients whose outputs fit beside everything that the node offers share one template; the others
//! get one for their room. A template is kept before anybody learns its id, so that a solution can
//! never be too early. What one client asks for never pushes out what another one mines on.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::build::{BuildError, Contents};
use super::draft::Draft;
use super::trim::Room;

/// How long a template is kept after the tip moved on: a solution may be on its way (at least 10
/// s).
const KEPT_AFTER_TIP_MOVED: Duration = Duration::from_secs(60);
/// Most templates that are kept besides those that somebody holds; past it the oldest go.
const TEMPLATES_MAX: usize = 1024;
/// Most different rooms for which the present offer's trimmed templates are shared; past it each
/// client gets its own.
const SHARED_ROOMS_MAX: usize = 64;
/// Templates that a program can name in each millisecond of its life without meeting the ids of its
/// next one: ids start at the time of start, this many times over. A program can be killed and be
/// there again within a second.
const IDS_PER_MILLISECOND: u64 = 1 << 8;

/// What the node offers now, published to all clients.
#[derive(Debug)]
pub struct Offer {
    /// Counts offers.
    pub number: u64,
    /// Counts tips: differs from the last offer's if everybody must leave the old work.
    pub tip: u64,
    /// When it was published.
    pub published_at: Instant,
    /// When its tip was first heard of, if this is the first offer on it; for the statistics.
    pub tip_heard_at: Option<Instant>,
    /// What is offered.
    pub draft: Arc<Draft>,
}

impl Offer {
    /// Where nTime starts for a client that gets it `now`, by the node's clock: an offer may
    /// stand for as long as no block is found.
    pub fn header_timestamp(&self, now: Instant) -> u32 {
        let age = now.duration_since(self.published_at).as_secs();
        self.block.header_timestamp().saturating_add(u32::try_from(age).unwrap_or(u32::MAX))
    }
}

/// An offer is a draft that has a place in the order of things.
impl Deref for Offer {
    type Target = Draft;

    fn deref(&self) -> &Draft {
        &self.draft
    }
}

/// A template with its name. Who holds one keeps it from being pushed out by others.
#[derive(Debug, Clone)]
pub struct Template {
    /// Strictly increasing, over restarts too.
    pub id: u64,
    /// What it is.
    pub contents: Arc<Contents>,
    /// Counts who holds it, the store among them.
    held: Arc<()>,
}

/// Why there is no template of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// No such template was made by this program since it started.
    NeverMade,
    /// It was made, and is no longer kept.
    Stale,
}

/// The templates that are kept. Its lock is taken when a template is given out and when a solution
/// comes, never while one is built.
#[derive(Debug)]
pub struct Store {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    first_id: u64,
    next_id: u64,
    tip: u64,
    kept: BTreeMap<u64, Kept>,
    /// The number of the newest offer that was given out, and its templates by room (`None` is the
    /// whole).
    shared: (u64, BTreeMap<Option<Room>, Shared>),
}

/// What an offer is for one room: once made, and named again for each client that must get a higher
/// id than it has.
#[derive(Debug)]
struct Shared {
    contents: Arc<Contents>,
    ids: BTreeSet<u64>,
}

#[derive(Debug)]
struct Kept {
    template: Template,
    tip: u64,
    /// When its tip was left.
    left_at: Option<Instant>,
}

impl Kept {
    fn is_held(&self) -> bool {
        Arc::strong_count(&self.template.held) > 1
    }
}

impl Store {
    /// An empty store whose ids exceed `last_id`, the highest that is known to have been given, and
    /// those of any program started before `unix_now` (milliseconds): the clock may be behind.
    pub fn new(unix_now: u64, last_id: u64) -> Self {
        let first_id = unix_now.saturating_mul(IDS_PER_MILLISECOND).max(last_id.saturating_add(1));
        let shared = (0, BTreeMap::new());
        let kept = BTreeMap::new();
        let inner = Inner { first_id, next_id: first_id, tip: 0, kept, shared };
        Self { inner: Mutex::new(inner) }
    }

    /// Notes that the tip with number `tip` is the one to mine on now.
    pub fn tip_moved(&self, now: Instant, tip: u64) {
        let mut inner = self.lock();
        inner.tip = tip;
        for kept in inner.kept.values_mut().filter(|kept| kept.tip != tip) {
            kept.left_at.get_or_insert(now);
        }
        inner.forget(now);
    }

    /// The template of `offer` for a client that needs `room`, with an id above `after`. It can be
    /// found for as long as it is held and its tip was not left.
    pub fn template(
        &self,
        now: Instant,
        offer: &Offer,
        room: Room,
        after: u64,
    ) -> Result<Template, BuildError> {
        let wanted = room;
        let room = (!offer.fits(room)).then_some(room);
        // A statement of its own: the lock is free again after it.
        let shared = self.lock().shared(offer.number, room, after);
        let contents = match shared {
            Some((_, Some(named))) => return Ok(named),
            // A client that came back to an earlier room still wants a higher id.
            Some((contents, None)) => contents,
            None => offer.with_room(wanted)?,
        };
        Ok(self.lock().name(now, offer, room, contents))
    }

    /// The template `id`, if it is kept.
    pub fn find(&self, now: Instant, id: u64) -> Result<Template, Missing> {
        let mut inner = self.lock();
        inner.forget(now);
        match inner.kept.get(&id) {
            Some(kept) => Ok(kept.template.clone()),
            None if (inner.first_id..inner.next_id).contains(&id) => Err(Missing::Stale),
            None => Err(Missing::NeverMade),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it is held; if it did, the maps would still be whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// What the offer `number` is for `room`, and its lowest name above `after`: clients that ask
    /// again and again run through the names that others got before them.
    fn shared(
        &self,
        number: u64,
        room: Option<Room>,
        after: u64,
    ) -> Option<(Arc<Contents>, Option<Template>)> {
        let (shared_number, rooms) = &self.shared;
        let shared = rooms.get(&room).filter(|_| *shared_number == number)?;
        let mut above = shared.ids.range(after.saturating_add(1)..);
        let named = above.find_map(|id| self.kept.get(id)).map(|kept| kept.template.clone());
        Some((Arc::clone(&shared.contents), named))
    }

    fn name(
        &mut self,
        now: Instant,
        offer: &Offer,
        room: Option<Room>,
        contents: Arc<Contents>,
    ) -> Template {
        let template = Template { id: self.next_id, contents, held: Arc::default() };
        self.next_id += 1;
        // A slow client may take an offer whose tip has been left already.
        let left_at = (offer.tip != self.tip).then_some(now);
        let kept = Kept { template: template.clone(), tip: offer.tip, left_at };
        self.kept.insert(template.id, kept);
        if offer.number > self.shared.0 {
            self.shared = (offer.number, BTreeMap::new());
        }
        self.share(offer.number, room, &template);
        self.push_out();
        template
    }

    fn share(&mut self, number: u64, room: Option<Room>, template: &Template) {
        let (shared_number, rooms) = &mut self.shared;
        let is_room_left = rooms.contains_key(&room) || rooms.len() < SHARED_ROOMS_MAX;
        if number == *shared_number && is_room_left {
            let contents = &template.contents;
            let new = || Shared { contents: Arc::clone(contents), ids: BTreeSet::new() };
            rooms.entry(room).or_insert_with(new).ids.insert(template.id);
        }
    }

    /// Forgets the oldest that nobody holds, those of left tips first, until few enough are kept.
    /// Clients hold a bounded number each, so that what is held has a bound as well.
    fn push_out(&mut self) {
        while self.kept.len() > TEMPLATES_MAX {
            let free = self.kept.iter().filter(|(_, kept)| !kept.is_held());
            let oldest = free.min_by_key(|(id, kept)| (kept.left_at.is_none(), **id));
            let Some(id) = oldest.map(|(id, _)| *id) else { return };
            self.kept.remove(&id);
            for shared in self.shared.1.values_mut() {
                shared.ids.remove(&id);
            }
        }
    }

    fn forget(&mut self, now: Instant) {
        let is_over = |left_at: Instant| now.duration_since(left_at) >= KEPT_AFTER_TIP_MOVED;
        self.kept.retain(|_, kept| !kept.left_at.is_some_and(is_over));
    }
}

#[cfg(test)]
mod tests;
