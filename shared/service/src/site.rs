//! Pages for people, at the address of `/health`: what is shown, and what of it changes while
//! somebody looks, as server-sent events.
//!
//! Who shows them knows nothing of HTTP. The policy that goes with every page lets a browser load
//! nothing from elsewhere, and run no script but the site's own files.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HOST,
    HeaderName, IF_NONE_MATCH, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::gate::places::{Place, Places};
use crate::questions::allowance::Allowances;

/// Pages that are made at a time; further visitors are told to come again.
const AT_A_TIME_MAX: usize = 8;
/// Visitors who are told of changes; further ones see what was there when they came.
const WATCHED_MAX: usize = 64;
/// The same of one address: several tabs of several people.
const WATCHED_BY_ADDRESS_MAX: usize = 16;
/// Pages and files that one address may ask for in a minute.
const PER_MINUTE: u32 = 600;
/// How often is looked for changes.
const LOOK: Duration = Duration::from_secs(1);

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";
const HTML: &str = "text/html; charset=utf-8";

/// What somebody wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// The path as it was sent, with its percent signs.
    pub path: String,
    /// Behind the question mark, decoded.
    pub parameters: Vec<(String, String)>,
    /// By which name he came, without the port.
    pub host: Option<String>,
}

impl Visit {
    /// The value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut named = self.parameters.iter().filter(|(known, _)| known == name);
        named.next().map(|(_, value)| value.as_str())
    }
}

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// A page.
    Page(String),
    /// The page that says what is missing.
    Missing(String),
    /// A file that pages name.
    File {
        /// Its media type.
        kind: &'static str,
        /// What is in it.
        bytes: &'static [u8],
    },
    /// A file to keep.
    Download {
        /// What it is called.
        name: String,
        /// JSON.
        text: String,
    },
    /// Not now; a page that says why.
    Unavailable(String),
}

/// The parts of a page that change, by the id of their element, as HTML.
pub type Parts = Vec<(&'static str, String)>;

/// Who shows pages; he may block.
pub trait Show: Send + Sync {
    /// What there is at a place.
    fn show(&self, visit: &Visit) -> View;
    /// The parts of the page there as they are now; none of a place where nothing changes.
    fn parts(&self, visit: &Visit) -> Parts;
}

/// A site. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Site {
    show: Arc<dyn Show>,
    room: Arc<Semaphore>,
    watched: Places,
    allowances: Arc<Mutex<Allowances>>,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Site")
    }
}

/// `/live?page=…`.
#[derive(Debug, Deserialize)]
struct Watched {
    /// Path and parameters of the page.
    page: String,
}

impl Site {
    /// Shown by `show`.
    pub fn new(show: Arc<dyn Show>) -> Self {
        Self {
            show,
            room: Arc::new(Semaphore::new(AT_A_TIME_MAX)),
            watched: Places::new(WATCHED_MAX, WATCHED_BY_ADDRESS_MAX),
            allowances: Arc::new(Mutex::new(Allowances::new(PER_MINUTE, clock::now()))),
        }
    }

    /// Everything that no other route is for; changes are told until `shutdown`.
    pub(crate) fn routes(self, shutdown: CancellationToken) -> Router {
        let page =
            async |State(site): State<Self>,
                   ConnectInfo(from): ConnectInfo<SocketAddr>,
                   uri: Uri,
                   headers: HeaderMap| site.page(from, &uri, &headers).await;
        let live = async move |State(site): State<Self>,
                               ConnectInfo(from): ConnectInfo<SocketAddr>,
                               Query(Watched { page }): Query<Watched>,
                               headers: HeaderMap| {
            site.live(from, &page, &headers, shutdown.clone())
        };
        Router::new().route("/live", get(live)).fallback(get(page)).with_state(self)
    }

    async fn page(&self, from: SocketAddr, uri: &Uri, headers: &HeaderMap) -> Response<Body> {
        let Some(room) = self.admit(from) else {
            return busy();
        };
        let (show, visit) = (Arc::clone(&self.show), visit(uri, headers));
        let shown = tokio::task::spawn_blocking(move || {
            let _room = room;
            show.show(&visit)
        });
        match shown.await {
            Ok(view) => respond(view, headers),
            Err(_) => busy(),
        }
    }

    /// A place among those who are served now.
    fn admit(&self, from: SocketAddr) -> Option<OwnedSemaphorePermit> {
        let allowed = {
            let mut allowances = self.allowances.lock().unwrap_or_else(PoisonError::into_inner);
            allowances.take(from.ip(), clock::now())
        };
        allowed.ok()?;
        Arc::clone(&self.room).try_acquire_owned().ok()
    }

    fn live(
        &self,
        from: SocketAddr,
        page: &str,
        headers: &HeaderMap,
        shutdown: CancellationToken,
    ) -> Response<Body> {
        let place = self.watched.take(from.ip());
        let (Some(_), Some(place), Ok(uri)) = (self.admit(from), place, page.parse::<Uri>()) else {
            return busy();
        };
        let watcher = Watcher {
            site: self.clone(),
            visit: visit(&uri, headers),
            known: HashMap::new(),
            shutdown,
            _place: place,
        };
        Sse::new(watcher.changes()).keep_alive(KeepAlive::default()).into_response()
    }
}

/// Somebody who looks at a page.
struct Watcher {
    site: Site,
    visit: Visit,
    /// What he sees, by part.
    known: HashMap<&'static str, u64>,
    shutdown: CancellationToken,
    _place: Place,
}

impl Watcher {
    fn changes(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut this| async move {
            let changed = this.next().await?;
            let event = Event::default().json_data(&changed).unwrap_or_default();
            Some((Ok(event), this))
        })
    }

    /// Waits for parts that he does not see yet; none at the end.
    async fn next(&mut self) -> Option<HashMap<&'static str, String>> {
        loop {
            // However much changes, nobody has it looked at more often.
            if !self.known.is_empty() {
                tokio::select! {
                    () = self.shutdown.cancelled() => return None,
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
            let (show, visit) = (Arc::clone(&self.site.show), self.visit.clone());
            let parts = tokio::task::spawn_blocking(move || show.parts(&visit)).await.ok()?;
            let changed: HashMap<_, _> =
                parts.into_iter().filter(|(id, html)| self.is_new(id, html)).collect();
            if self.known.is_empty() {
                // A place where nothing ever changes.
                return None;
            }
            if !changed.is_empty() {
                return Some(changed);
            }
        }
    }

    fn is_new(&mut self, id: &'static str, html: &str) -> bool {
        let hash = hash_of(html.as_bytes());
        self.known.insert(id, hash) != Some(hash)
    }
}

fn visit(uri: &Uri, headers: &HeaderMap) -> Visit {
    let parameters = Query::<Vec<(String, String)>>::try_from_uri(uri);
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    // An address of IPv6 stands in brackets and has colons of its own.
    let name = host.map(|host| match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name.to_owned(),
        _ => host.to_owned(),
    });
    Visit {
        path: uri.path().to_owned(),
        parameters: parameters.map(|Query(all)| all).unwrap_or_default(),
        host: name,
    }
}

fn respond(view: View, headers: &HeaderMap) -> Response<Body> {
    match view {
        View::Page(html) => response(StatusCode::OK, HTML, html.into()),
        View::Missing(html) => response(StatusCode::NOT_FOUND, HTML, html.into()),
        View::Unavailable(html) => response(StatusCode::SERVICE_UNAVAILABLE, HTML, html.into()),
        View::File { kind, bytes } => file(kind, bytes, headers),
        View::Download { name, text } => {
            let mut response = response(StatusCode::OK, "application/json", text.into());
            let shown = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""));
            let plain = HeaderValue::from_static("attachment");
            response.headers_mut().insert(CONTENT_DISPOSITION, shown.unwrap_or(plain));
            response
        }
    }
}

fn file(kind: &'static str, bytes: &'static [u8], headers: &HeaderMap) -> Response<Body> {
    let tag = format!("\"{:016x}\"", hash_of(bytes));
    let is_known = headers.get_all(IF_NONE_MATCH).iter().any(|known| known == tag.as_str());
    let mut response = match is_known {
        true => response(StatusCode::NOT_MODIFIED, kind, Body::empty()),
        false => response(StatusCode::OK, kind, Body::from(bytes)),
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

fn busy() -> Response<Body> {
    let body = Body::from("Too many visitors; come again in a moment.\n");
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let mut response = response(status, "text/plain; charset=utf-8", body);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

fn response(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let fixed = |name: HeaderName, value| (name, HeaderValue::from_static(value));
    response.headers_mut().extend([
        fixed(CONTENT_TYPE, kind),
        fixed(CACHE_CONTROL, "no-cache"),
        fixed(CONTENT_SECURITY_POLICY, POLICY),
        fixed(REFERRER_POLICY, "no-referrer"),
        fixed(X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ]);
    response
}

fn hash_of(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Show for Counter {
        fn show(&self, visit: &Visit) -> View {
            match visit.path.as_str() {
                "/" => View::Page("<p>".to_owned()),
                "/file" => View::File { kind: "text/css", bytes: b"p{}" },
                _ => View::Missing(String::new()),
            }
        }

        /// One part stays, the other is another one each third time.
        fn parts(&self, _: &Visit) -> Parts {
            let count = self.0.fetch_add(1, Ordering::SeqCst) / 3;
            vec![("still", "<p>".to_owned()), ("moving", count.to_string())]
        }
    }

    fn site() -> Site {
        Site::new(Arc::new(Counter::default()))
    }

    fn home() -> SocketAddr {
        ([127, 0, 0, 1], 1).into()
    }

    #[tokio::test]
    async fn every_answer_forbids_what_comes_from_elsewhere() {
        for path in ["/", "/file", "/nothing"] {
            let uri = path.parse().unwrap();
            let answer = site().page(home(), &uri, &HeaderMap::new()).await;
            let policy = answer.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
            assert_eq!(answer.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        }
    }

    #[tokio::test]
    async fn a_file_that_the_browser_has_is_not_sent_again() {
        let (site, uri) = (site(), "/file".parse().unwrap());
        let first = site.page(home(), &uri, &HeaderMap::new()).await;
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, first.headers()[ETAG].clone());
        let again = site.page(home(), &uri, &headers).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_is_sent_what_has_changed_and_nothing_else() {
        let site = site();
        let place = site.watched.take(home().ip()).unwrap();
        let visit = visit(&"/".parse().unwrap(), &HeaderMap::new());
        let shutdown = CancellationToken::new();
        let (known, token) = (HashMap::new(), shutdown.clone());
        let mut watcher = Watcher { site, visit, known, shutdown: token, _place: place };
        let (first, began) = (watcher.next().await.unwrap(), tokio::time::Instant::now());
        assert_eq!(first.len(), 2);
        let second = watcher.next().await.unwrap();
        assert_eq!(second, HashMap::from([("moving", "1".to_owned())]));
        // Each third look shows something else.
        assert_eq!(began.elapsed(), 3 * LOOK);
        watcher.next().await.unwrap();
        assert_eq!(began.elapsed(), 6 * LOOK);
        shutdown.cancel();
        assert_eq!(watcher.next().await.map(|it| it.len()), None);
    }

    #[test]
    fn the_name_by_which_a_visitor_came_has_no_port() {
        let name = |host: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            visit(&"/".parse().unwrap(), &headers).host.unwrap()
        };
        assert_eq!(name("pool.example:8082"), "pool.example");
        assert_eq!(
            (name("pool.example"), name("[::1]:80")),
            ("pool.example".into(), "[::1]".into())
        );
        assert_eq!(name("[::1]"), "[::1]");
    }
}
