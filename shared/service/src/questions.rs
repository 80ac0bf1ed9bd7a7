//! Questions of other programs: GET requests below `/api`, answered with JSON at the address of
//! `/health`.
//!
//! Who answers knows nothing of HTTP; nothing here knows what is asked. Answers carry an ETag, and
//! are sent only if they differ from the one that the asker has.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER,
};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::routing::get;
use serde::Serialize;
use tokio::sync::Semaphore;

/// Questions that are answered at a time; further ones are told to come again.
const AT_A_TIME_MAX: usize = 8;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What stands behind `/api/`, decoded.
    pub path: String,
    /// Behind the question mark, decoded.
    pub parameters: Vec<(String, String)>,
}

impl Question {
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

/// What is answered, and whose pages may read it.
#[derive(Clone)]
pub struct Questions {
    answer: Arc<Answerer>,
    /// A value of Access-Control-Allow-Origin.
    origin: Option<HeaderValue>,
    room: Arc<Semaphore>,
}

impl fmt::Debug for Questions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Questions")
    }
}

/// It is no value of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write one origin, https://HOST, or * for all")]
pub struct OriginError;

impl Questions {
    /// `origin` names the site whose pages may read the answers in a browser, or `*` for all.
    pub fn new(origin: Option<&str>, answer: Arc<Answerer>) -> Result<Self, OriginError> {
        let origin = origin.map(check_origin).transpose()?;
        Ok(Self { answer, origin, room: Arc::new(Semaphore::new(AT_A_TIME_MAX)) })
    }

    /// The routes.
    pub(crate) fn routes(self) -> Router {
        Router::new().route("/api/{*path}", get(answer)).with_state(self)
    }
}

/// The value of a header that names an origin.
pub fn check_origin(text: &str) -> Result<HeaderValue, OriginError> {
    let is_one = text == "*" || text.split_once("://").is_some_and(|(_, host)| !host.is_empty());
    let value = HeaderValue::from_str(text).ok().filter(|_| is_one && !text.contains(' '));
    value.ok_or(OriginError)
}

async fn answer(
    State(questions): State<Questions>,
    Path(path): Path<String>,
    Query(parameters): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response<Body> {
    let Ok(_room) = questions.room.try_acquire() else {
        let reply = Reply::Unavailable("too many questions at a time".to_owned());
        return questions.respond(reply, &headers);
    };
    let (answerer, question) = (Arc::clone(&questions.answer), Question { path, parameters });
    let reply = tokio::task::spawn_blocking(move || answerer(&question)).await;
    let reply = reply.unwrap_or_else(|error| Reply::Unavailable(error.to_string()));
    questions.respond(reply, &headers)
}

impl Questions {
    fn respond(&self, reply: Reply, headers: &HeaderMap) -> Response<Body> {
        let error = |what: String| serde_json::json!({ "error": what }).to_string();
        let (mut status, body) = match reply {
            Reply::Found(text) => (StatusCode::OK, text),
            Reply::NotFound(what) => (StatusCode::NOT_FOUND, error(what)),
            Reply::Wrong(what) => (StatusCode::BAD_REQUEST, error(what)),
            Reply::Unavailable(what) => (StatusCode::SERVICE_UNAVAILABLE, error(what)),
        };
        let tag = tag_of(&body);
        let is_known = headers.get_all(IF_NONE_MATCH).iter().any(|known| known == tag.as_str());
        let mut response = Response::new(Body::empty());
        if status == StatusCode::OK && is_known {
            status = StatusCode::NOT_MODIFIED;
        } else {
            *response.body_mut() = Body::from(body);
        }
        let to = response.headers_mut();
        to.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        to.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            to.insert(ETAG, tag);
        }
        if let Some(origin) = &self.origin {
            to.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            to.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        *response.status_mut() = status;
        response
    }
}

fn tag_of(body: &str) -> String {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn questions() -> Questions {
        let answer = |question: &Question| match question.path.as_str() {
            "v1/pool" => Reply::Found("{}".to_owned()),
            path => Reply::NotFound(path.to_owned()),
        };
        Questions::new(Some("*"), Arc::new(answer)).unwrap()
    }

    async fn asked(path: &str, known: Option<&HeaderValue>) -> Response<Body> {
        let mut headers = HeaderMap::new();
        if let Some(known) = known {
            headers.insert(IF_NONE_MATCH, known.clone());
        }
        let (path, parameters) = (Path(path.to_owned()), Query(Vec::new()));
        answer(State(questions()), path, parameters, headers).await
    }

    #[tokio::test]
    async fn an_answer_that_the_asker_has_is_not_sent_again() {
        let first = asked("v1/pool", None).await;
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(first.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        let tag = first.headers()[ETAG].clone();
        let again = asked("v1/pool", Some(&tag)).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        let other = asked("v1/pool", Some(&HeaderValue::from_static("\"0\""))).await;
        assert_eq!(other.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn what_is_not_there_is_said_and_too_many_at_a_time_are_told_to_come_again() {
        assert_eq!(asked("v1/nothing", None).await.status(), StatusCode::NOT_FOUND);
        let questions = questions();
        let _taken = questions.room.clone().acquire_many_owned(8).await.unwrap();
        let (path, parameters) = (Path("v1/pool".to_owned()), Query(Vec::new()));
        let full = answer(State(questions), path, parameters, HeaderMap::new()).await;
        assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(full.headers()[RETRY_AFTER], "1");
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        let answer = Arc::new(|_: &Question| Reply::Found(String::new()));
        assert!(Questions::new(Some("a\nb"), answer).is_err());
        for text in ["", "example.org", "https://", "https://a https://b"] {
            assert!(check_origin(text).is_err(), "{text}");
        }
        assert!(check_origin("https://example.org").is_ok());
    }
}
