//! Orders of an operator to a running program: an address of their own, and nothing without the
//! token.
//!
//! Who obeys knows nothing of HTTP; nothing here knows what can be ordered. Who has not the token
//! learns nothing, not even which orders there are. The token is compared in a time that says
//! nothing of it, and never logged. Few are heard at a time, on connections of their own, which
//! end with an order that came without it: whatever they do, no miner waits for them.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, RETRY_AFTER,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use axum::serve::ListenerExt;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock;
use crate::config::{ConfigError, host_and_port};
use crate::listen;
use crate::program::{Failure, say};
use crate::questions::Reply;
use crate::visitors::{Crowd, Visitors};

/// Orders that are obeyed at a time; further ones are told to come again.
const AT_A_TIME_MAX: usize = 4;
/// A shorter token could be guessed.
const TOKEN_BYTES_MIN: usize = 32;
/// What is longer is no token, but some other file.
const TOKEN_BYTES_MAX: usize = 1_024;
/// Rights of a file by which others than its owner may read or write it.
const OTHERS: u32 = 0o077;
/// One person and a script or two.
const CROWD: Crowd =
    Crowd { connections: 32, connections_of_one: 16, silence: Duration::from_secs(10) };
/// How often it is said that somebody came without the token.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// `[admin]` of a program's config.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// `HOST:PORT` to take orders on; absent turns it off.
    pub listen: Option<String>,
    /// The file with the token that must come with each order.
    pub token_file: Option<PathBuf>,
}

/// What is ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// How it is said.
    pub verb: Verb,
    /// The path without its first slash.
    pub path: String,
    /// Behind the question mark, decoded.
    pub parameters: Vec<(String, String)>,
}

impl Order {
    /// The value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut named = self.parameters.iter().filter(|(known, _)| known == name);
        named.next().map(|(_, value)| value.as_str())
    }
}

/// The methods of HTTP that are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// To be told something.
    Get,
    /// To have something done.
    Post,
    /// To have something taken back.
    Delete,
}

/// Who obeys; it may block.
pub type Obey = dyn Fn(&Order) -> Reply + Send + Sync;

/// Where orders are taken, and with which token.
#[derive(Debug, Clone)]
pub struct Entry {
    address: String,
    token: SecretString,
}

impl AdminConfig {
    /// Checks what the types cannot, and reads the token; `None` if no orders are taken.
    pub fn entry(&self) -> Result<Option<Entry>, ConfigError> {
        let (address, file) = match (&self.listen, &self.token_file) {
            (None, None) => return Ok(None),
            (Some(address), Some(file)) => (address, file),
            (Some(_), None) => {
                let remedy = "name a file with a token: `openssl rand -hex 32` makes a good one";
                return Err(ConfigError::unusable("admin.token_file", remedy));
            }
            (None, Some(_)) => {
                let remedy = "write HOST:PORT beside token_file, 127.0.0.1:8083 for instance";
                return Err(ConfigError::unusable("admin.listen", remedy));
            }
        };
        host_and_port("admin.listen", address)?;
        let token =
            read_token(file).map_err(|remedy| ConfigError::unusable("admin.token_file", remedy))?;
        Ok(Some(Entry { address: address.clone(), token }))
    }
}

fn read_token(file: &Path) -> Result<SecretString, String> {
    let at = file.display();
    let rights = std::fs::metadata(file).map_err(|error| format!("{at}: {error}"))?;
    if rights.permissions().mode() & OTHERS != 0 {
        return Err(format!("{at} may be read by others than its owner: `chmod 600 {at}`"));
    }
    let text = std::fs::read_to_string(file).map_err(|error| format!("{at}: {error}"))?;
    let token = text.trim_end();
    let fits = (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token.len());
    if !fits || !token.bytes().all(|it| it.is_ascii_graphic()) {
        return Err(format!(
            "{at} must hold one word of {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} letters and digits; \
             `openssl rand -hex 32` makes a good one"
        ));
    }
    Ok(SecretString::from(token.to_owned()))
}

impl Entry {
    /// Takes orders in a task of its own until `shutdown`, and says where on standard output.
    pub async fn open(self, obey: Arc<Obey>, shutdown: &CancellationToken) -> Result<(), Failure> {
        let cannot =
            |error: io::Error| Failure::cannot_listen("admin.listen", &self.address, &error);
        let listener = listen::bind(&self.address).await.map_err(cannot)?;
        let local = listener.local_addr().map_err(cannot)?;
        if !local.ip().is_loopback() {
            warn!(
                address = %local,
                "admin orders and their token travel unencrypted: keep them on this machine, or in \
                 a tunnel"
            );
        }
        say(format_args!("admin at http://{local}/admin"));
        let room = Arc::new(Semaphore::new(AT_A_TIME_MAX));
        let hall = Hall { token: self.token, obey, room, refused: Mutex::default() };
        tokio::spawn(Arc::new(hall).serve(listener, shutdown.clone()));
        Ok(())
    }
}

/// Where orders arrive.
struct Hall {
    token: SecretString,
    obey: Arc<Obey>,
    room: Arc<Semaphore>,
    refused: Mutex<Refused>,
}

/// Who came without the token.
#[derive(Debug, Default)]
struct Refused {
    /// Since it was said last.
    count: u64,
    at: Option<Instant>,
}

impl fmt::Debug for Hall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hall")
    }
}

impl Hall {
    async fn serve(self: Arc<Self>, listener: TcpListener, shutdown: CancellationToken) {
        let heard =
            async |State(this): State<Arc<Self>>,
                   ConnectInfo(from): ConnectInfo<SocketAddr>,
                   method: Method,
                   uri: Uri,
                   headers: HeaderMap| this.hear(from, &method, &uri, &headers).await;
        let routes = Router::new().fallback(heard).with_state(self);
        let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
        // Tapped for nothing but the visitors' addresses, which are told of tapped ones alone.
        let visitors = Visitors::new(listener, CROWD).tap_io(|_| {});
        let serving = axum::serve(visitors, routes);
        if let Err(error) = serving.with_graceful_shutdown(shutdown.cancelled_owned()).await {
            warn!(%error, "no more admin orders are taken");
        }
    }

    async fn hear(
        &self,
        from: SocketAddr,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Response<Body> {
        if !self.is_known(headers) {
            self.tell_refused(from);
            return refused();
        }
        let Some(order) = read(method, uri) else {
            let what = error("ask with GET, order with POST, take back with DELETE");
            return respond(StatusCode::METHOD_NOT_ALLOWED, JSON, what);
        };
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            return later(&error("too many orders at a time"));
        };
        if order.verb != Verb::Get {
            info!(%from, verb = ?order.verb, path = order.path, "admin order taken");
        }
        let obey = Arc::clone(&self.obey);
        let reply = tokio::task::spawn_blocking(move || {
            let _room = room;
            obey(&order)
        });
        // What broke off is in the log.
        let broken = |_| Reply::Unavailable("the answer broke off".to_owned());
        match reply.await.unwrap_or_else(broken) {
            Reply::Found(text) => respond(StatusCode::OK, JSON, text),
            Reply::Text(text) => respond(StatusCode::OK, TEXT, text),
            Reply::NotFound(what) => respond(StatusCode::NOT_FOUND, JSON, error(&what)),
            Reply::Wrong(what) => respond(StatusCode::BAD_REQUEST, JSON, error(&what)),
            Reply::Unavailable(what) => later(&error(&what)),
        }
    }

    /// Once a second: whoever asks on and on must not fill the log.
    fn tell_refused(&self, from: SocketAddr) {
        let now = clock::now();
        let mut told = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        told.count = told.count.saturating_add(1);
        if told.at.is_none_or(|at| now.saturating_duration_since(at) >= TOLD_EVERY) {
            warn!(%from, count = told.count, "admin order refused: it came without the token");
            *told = Refused { count: 0, at: Some(now) };
        }
    }

    /// True of who has the token.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        let Some((scheme, token)) = given.split_at_checked(BEARER.len()) else {
            return false;
        };
        let is_right = token.ct_eq(self.token.expose_secret().as_bytes());
        scheme.eq_ignore_ascii_case(BEARER) && bool::from(is_right)
    }
}

const BEARER: &[u8] = b"Bearer ";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// `None` for a method that nobody knows here.
fn read(method: &Method, uri: &Uri) -> Option<Order> {
    let verb = match *method {
        Method::GET => Verb::Get,
        Method::POST => Verb::Post,
        Method::DELETE => Verb::Delete,
        _ => return None,
    };
    let parameters = Query::<Vec<(String, String)>>::try_from_uri(uri);
    let parameters = parameters.map(|Query(all)| all).unwrap_or_default();
    Some(Order { verb, path: uri.path().trim_start_matches('/').to_owned(), parameters })
}

fn error(what: &str) -> String {
    json!({ "error": what }).to_string()
}

/// His connection ends with it: places are for those who have the token.
fn refused() -> Response<Body> {
    let what = error("the token is missing or wrong");
    let mut response = respond(StatusCode::UNAUTHORIZED, JSON, what);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn later(what: &str) -> Response<Body> {
    let mut response = respond(StatusCode::SERVICE_UNAVAILABLE, JSON, what.to_owned());
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let fixed = |name: HeaderName, value| (name, HeaderValue::from_static(value));
    response.headers_mut().extend([
        fixed(CONTENT_TYPE, kind),
        fixed(CACHE_CONTROL, "no-store"),
        fixed(X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ]);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

#[cfg(test)]
mod tests;
