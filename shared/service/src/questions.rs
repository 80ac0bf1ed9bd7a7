//! Questions of other programs: GET requests, answered with JSON at the address of `/health`.
//!
//! Who answers knows nothing of HTTP; nothing here knows what is asked. Answers carry an ETag, and
//! are sent only if they differ from the one that the asker has. Who asks too much is told when he
//! may go on.

pub(crate) mod allowance;

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_TYPE, ETAG,
    HeaderName, IF_NONE_MATCH, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::routing::get;
use serde::Serialize;
use tokio::sync::Semaphore;

use self::allowance::Allowances;
use crate::clock;

/// Questions that are answered at a time; further ones are told to come again.
const AT_A_TIME_MAX: usize = 8;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The path without its first slash, decoded.
    pub path: String,
    /// Behind the question mark, decoded.
    pub parameters: Vec<(String, String)>,
}

impl Question {
    /// Without parameters.
    pub fn about(path: impl Into<String>) -> Self {
        Self { path: path.into(), parameters: Vec::new() }
    }

    /// The value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut named = self.parameters.iter().filter(|(known, _)| known == name);
        named.next().map(|(_, value)| value.as_str())
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// JSON.
    Found(String),
    /// Lines of text.
    Text(String),
    /// There is no such thing: what is missing.
    NotFound(String),
    /// It cannot be answered like this: what is wrong with it.
    Wrong(String),
    /// Not now: why.
    Unavailable(String),
}

impl Reply {
    /// A value as JSON.
    pub fn of(value: &impl Serialize) -> Self {
        match serde_json::to_string(value) {
            Ok(text) => Self::Found(text),
            Err(error) => Self::Unavailable(error.to_string()),
        }
    }
}

/// Who answers; it may block.
pub type Answerer = dyn Fn(&Question) -> Reply + Send + Sync;

/// Who may ask how much, and whose pages may read the answers.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// With what paths begin.
    pub roots: &'static [&'static str],
    /// The site whose pages may read the answers in a browser, or `*` for all.
    pub origin: Option<&'a str>,
    /// Questions of one address; 0 for no limit.
    pub per_minute: u32,
}

/// What is answered, and by which rules.
#[derive(Clone)]
pub struct Questions {
    answer: Arc<Answerer>,
    roots: &'static [&'static str],
    /// A value of Access-Control-Allow-Origin.
    origin: Option<HeaderValue>,
    room: Arc<Semaphore>,
    allowances: Arc<Mutex<Allowances>>,
}

impl fmt::Debug for Questions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Questions")
    }
}

/// It is no value of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "write one origin as browsers send it, https://HOST or https://HOST:PORT in small letters and \
     with nothing behind it, or * for all"
)]
pub struct OriginError;

impl Questions {
    /// Answers by these rules.
    pub fn new(rules: Rules<'_>, answer: Arc<Answerer>) -> Result<Self, OriginError> {
        let Rules { roots, origin, per_minute } = rules;
        let origin = origin.map(check_origin).transpose()?;
        let allowances = Arc::new(Mutex::new(Allowances::new(per_minute, clock::now())));
        Ok(Self {
            answer,
            roots,
            origin,
            room: Arc::new(Semaphore::new(AT_A_TIME_MAX)),
            allowances,
        })
    }

    /// The routes; they must be served with the addresses of who connects.
    pub(crate) fn routes(self) -> Router {
        let mut routes = Router::new();
        for root in self.roots {
            let asked = async move |State(this): State<Self>,
                                    ConnectInfo(from): ConnectInfo<SocketAddr>,
                                    Path(rest): Path<String>,
                                    Query(parameters): Query<Vec<(String, String)>>,
                                    headers: HeaderMap| {
                let path = format!("{root}/{rest}");
                this.ask(from.ip(), Question { path, parameters }, &headers).await
            };
            routes = routes.route(&format!("/{root}/{{*rest}}"), get(asked));
        }
        routes.with_state(self)
    }

    async fn ask(&self, from: IpAddr, question: Question, headers: &HeaderMap) -> Response<Body> {
        let allowed = {
            let mut allowances = self.allowances.lock().unwrap_or_else(PoisonError::into_inner);
            allowances.take(from, clock::now())
        };
        if let Err(wait) = allowed {
            let what = "too many questions from your address; ask again after Retry-After seconds";
            let seconds = wait.as_secs().saturating_add(1);
            return self.refuse(StatusCode::TOO_MANY_REQUESTS, what, seconds);
        }
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            let what = "too many questions at a time";
            return self.refuse(StatusCode::SERVICE_UNAVAILABLE, what, 1);
        };
        let answerer = Arc::clone(&self.answer);
        // Who hangs up does not make room for others before his answer is made.
        let reply = tokio::task::spawn_blocking(move || {
            let _room = room;
            answerer(&question)
        });
        let reply = reply.await;
        // What broke off in the answerer is in the log.
        let broken = |_| Reply::Unavailable("the answer broke off".to_owned());
        self.respond(reply.unwrap_or_else(broken), headers)
    }
}

/// The value of a header that names an origin.
pub fn check_origin(text: &str) -> Result<HeaderValue, OriginError> {
    // Compared letter by letter with what a browser sends: a slash too many, and nothing matches.
    let is_host = |host: &str| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']);
    let is_one = text.split_once("://").is_some_and(|(scheme, host)| {
        !scheme.is_empty() && is_host(host) && text == text.to_ascii_lowercase()
    });
    let value = HeaderValue::from_str(text).ok().filter(|_| text == "*" || is_one);
    value.ok_or(OriginError)
}

impl Questions {
    fn respond(&self, reply: Reply, headers: &HeaderMap) -> Response<Body> {
        let (status, body) = match reply {
            Reply::Found(text) => (StatusCode::OK, text),
            Reply::Text(text) => return self.found(text, TEXT, headers),
            Reply::NotFound(what) => (StatusCode::NOT_FOUND, error(&what)),
            Reply::Wrong(what) => (StatusCode::BAD_REQUEST, error(&what)),
            Reply::Unavailable(what) => {
                return self.refuse(StatusCode::SERVICE_UNAVAILABLE, &what, 1);
            }
        };
        match status {
            StatusCode::OK => self.found(body, JSON, headers),
            status => self.response(status, JSON, Body::from(body)),
        }
    }

    fn found(&self, body: String, kind: &'static str, headers: &HeaderMap) -> Response<Body> {
        let tag = tag_of(&body);
        let is_known = headers.get_all(IF_NONE_MATCH).iter().any(|known| known == tag.as_str());
        let mut response = match is_known {
            true => self.response(StatusCode::NOT_MODIFIED, kind, Body::empty()),
            false => self.response(StatusCode::OK, kind, Body::from(body)),
        };
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            response.headers_mut().insert(ETAG, tag);
        }
        response
    }

    fn refuse(&self, status: StatusCode, what: &str, after_seconds: u64) -> Response<Body> {
        let mut response = self.response(status, JSON, Body::from(error(what)));
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after_seconds));
        response
    }

    fn response(&self, status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let to = response.headers_mut();
        let fixed = |name: HeaderName, value| (name, HeaderValue::from_static(value));
        to.extend([
            fixed(CONTENT_TYPE, kind),
            fixed(CACHE_CONTROL, "no-cache"),
            fixed(X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ]);
        if let Some(origin) = &self.origin {
            to.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            to.extend([fixed(ACCESS_CONTROL_EXPOSE_HEADERS, "ETag"), fixed(VARY, "Origin")]);
        }
        response
    }
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

fn error(what: &str) -> String {
    serde_json::json!({ "error": what }).to_string()
}

fn tag_of(body: &str) -> String {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn questions(origin: Option<&str>, per_minute: u32) -> Questions {
        let answer = |question: &Question| match question.path.as_str() {
            "api/v1/pool" => Reply::Found("{}".to_owned()),
            "pool/pool.status" => Reply::Text("{}\n{}\n".to_owned()),
            path => Reply::NotFound(path.to_owned()),
        };
        let rules = Rules { roots: &["api", "pool"], origin, per_minute };
        Questions::new(rules, Arc::new(answer)).unwrap()
    }

    async fn asked(path: &str, known: Option<&HeaderValue>) -> Response<Body> {
        let mut headers = HeaderMap::new();
        if let Some(known) = known {
            headers.insert(IF_NONE_MATCH, known.clone());
        }
        questions(Some("*"), 0).ask(HOME, Question::about(path), &headers).await
    }

    #[tokio::test]
    async fn an_answer_that_the_asker_has_is_not_sent_again() {
        let first = asked("api/v1/pool", None).await;
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()[ETAG].clone();
        let again = asked("api/v1/pool", Some(&tag)).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        let other = asked("api/v1/pool", Some(&HeaderValue::from_static("\"0\""))).await;
        assert_eq!(other.status(), StatusCode::OK);
        let text = asked("pool/pool.status", None).await;
        assert_eq!(text.headers()[CONTENT_TYPE], TEXT);
        assert!(text.headers().contains_key(ETAG));
    }

    #[tokio::test]
    async fn only_pages_of_the_origin_that_is_set_may_read_an_answer() {
        let question = || Question::about("api/v1/pool");
        let headers = HeaderMap::new();
        let none = questions(None, 0).ask(HOME, question(), &headers).await;
        assert!(!none.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
        let one = "https://pool.example";
        let only = questions(Some(one), 0).ask(HOME, question(), &headers).await;
        assert_eq!(only.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], one);
        assert_eq!(only.headers()[VARY], "Origin");
        // A page of that site sees why it was refused, too.
        let missing = questions(Some(one), 0).ask(HOME, Question::about("api/x"), &headers).await;
        assert_eq!(missing.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], one);
    }

    #[tokio::test]
    async fn what_is_not_there_is_said_and_too_many_at_a_time_are_told_to_come_again() {
        assert_eq!(asked("api/v1/nothing", None).await.status(), StatusCode::NOT_FOUND);
        let questions = questions(None, 0);
        let _taken = questions.room.clone().acquire_many_owned(8).await.unwrap();
        let full = questions.ask(HOME, Question::about("api/v1/pool"), &HeaderMap::new()).await;
        assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(full.headers()[RETRY_AFTER], "1");
    }

    #[tokio::test]
    async fn who_asks_too_often_is_told_when_to_go_on() {
        let (questions, headers) = (questions(None, 2), HeaderMap::new());
        let ask = || questions.ask(HOME, Question::about("api/v1/pool"), &headers);
        assert_eq!(ask().await.status(), StatusCode::OK);
        let refused = ask().await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        let seconds: u64 = refused.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!((29..=31).contains(&seconds), "{seconds}");
        let neighbour = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
        let other = questions.ask(neighbour, Question::about("api/v1/pool"), &headers).await;
        assert_eq!(other.status(), StatusCode::OK);
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        let answer = Arc::new(|_: &Question| Reply::Found(String::new()));
        let rules = Rules { roots: &["api"], origin: Some("a\nb"), per_minute: 0 };
        assert!(Questions::new(rules, answer).is_err());
        for text in [
            "",
            "example.org",
            "https://",
            "https://a https://b",
            "https://example.org/",
            "https://example.org/pool",
            "https://Example.org",
        ] {
            assert!(check_origin(text).is_err(), "{text}");
        }
        for text in ["*", "https://example.org", "http://localhost:8080", "https://[::1]:1"] {
            assert!(check_origin(text).is_ok(), "{text}");
        }
    }
}
