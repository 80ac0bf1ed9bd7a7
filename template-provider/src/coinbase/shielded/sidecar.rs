//! Brings sealed notes to the chain's sidecar, in whose inbox their owner's wallet finds them.
//!
//! One POST a call; whether to try again is its caller's. What the sidecar answers is nowhere
//! described, so the statuses are read as HTTP means them. Never called before a note's block is in
//! the chain: the sidecar would hold commitments that no block has.

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::Value;

use crate::extension::Delivery;
use rpc::http::{Endpoint, HttpAnswer, HttpConnection};

/// How long one POST may take. Past it another follows, which is harmless: a note is known by its
/// commitment.
const POST_MAX: Duration = Duration::from_secs(15);
/// How much of an answer is shown to people.
const SHOWN_CHARACTERS: usize = 120;
/// How an error says that the note is there.
const ALREADY: [&str; 10] = [
    "already exists",
    "already in ",
    "already known",
    "already present",
    "already received",
    "already stored",
    "already submitted",
    "already there",
    "duplicate commitment",
    "duplicate note",
];
/// With one of them it may say the contrary.
const NEGATIONS: [&str; 2] = ["not ", "n't "];

/// Where the sidecar is.
#[derive(Debug, Clone)]
pub struct Sidecar {
    submit: Endpoint,
    /// Statuses besides 2xx that say that the note is there.
    done_statuses: Vec<u16>,
    /// `POST_MAX`, but for tests.
    deadline: Duration,
}

/// Whether a status may mean that the sidecar has the note: of those that refuse something, not
/// those that ask to try again or to log in.
pub fn may_be_done(status: u16) -> bool {
    (400..500).contains(&status) && ![401, 403, 408, 425, 429].contains(&status)
}

impl Sidecar {
    /// A sidecar at the base URL `base`.
    pub fn new(base: &Endpoint, done_statuses: &[u16]) -> Self {
        Self {
            submit: base.below("/submit"),
            done_statuses: done_statuses.to_vec(),
            deadline: POST_MAX,
        }
    }

    /// Posts a sealed note.
    pub async fn submit(&self, note: &Value) -> Delivery {
        // A connection for each note, of which there is one a block.
        let mut connection = HttpConnection::new(self.submit.clone());
        match connection.post(None, Bytes::from(note.to_string()), self.deadline).await {
            Ok(answer) => self.judge(&answer),
            Err(error) => Delivery::Failed(error.to_string()),
        }
    }

    fn judge(&self, answer: &HttpAnswer) -> Delivery {
        let status = answer.status;
        let text = String::from_utf8_lossy(&answer.body);
        let reason = || format!("HTTP {}: {}", status.as_u16(), shown(&text));
        let try_again = matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
        if status.is_success() || self.done_statuses.contains(&status.as_u16()) {
            Delivery::Done
        } else if try_again || !status.is_client_error() {
            Delivery::Failed(reason())
        } else if says_already(status, &text) {
            Delivery::Done
        } else {
            Delivery::Refused(reason())
        }
    }
}

/// True if a refusal says that the note is there. A conflict need not say of what; another refusal
/// must be an error in JSON that names the note, for much else may be there already.
fn says_already(status: StatusCode, text: &str) -> bool {
    let says = |text: &str, words: &[&str]| words.iter().any(|word| text.contains(word));
    if status == StatusCode::CONFLICT {
        return says(&text.to_lowercase(), &["already", "duplicate"]);
    }
    let Some(error) = error_of(text) else { return false };
    let error = error.to_lowercase();
    says(&error, &["commitment", "note"]) && says(&error, &ALREADY) && !says(&error, &NEGATIONS)
}

/// The text of an error in JSON, as servers write them.
fn error_of(text: &str) -> Option<String> {
    let answer: Value = serde_json::from_str(text).ok()?;
    let fields = ["error", "message", "detail", "reason"];
    let field = |value: &Value| fields.iter().find_map(|name| value.get(*name).cloned());
    let error = field(&answer)?;
    let text = error.as_str().map(str::to_owned);
    text.or_else(|| Some(field(&error)?.as_str()?.to_owned()))
}

/// The start of a text, without what would break a line of a log.
fn shown(text: &str) -> String {
    text.trim().chars().take(SHOWN_CHARACTERS).filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> Delivery {
        let base = Endpoint::parse("http://127.0.0.1:1").unwrap();
        let body = Bytes::from(body.to_owned());
        let status = StatusCode::from_u16(status).unwrap();
        Sidecar::new(&base, &[409]).judge(&HttpAnswer { status, body })
    }

    #[test]
    fn a_note_that_arrived_or_was_there_is_done() {
        for (status, body) in [
            (200, ""),
            (201, "{}"),
            (204, ""),
            (409, "conflict"),
            (400, r#"{"error": "commitment Already in the tree"}"#),
            (422, r#"{"error": {"code": 3, "message": "duplicate note"}}"#),
            (400, r#"{"detail": "this note is already known"}"#),
        ] {
            assert_eq!(judged(status, body), Delivery::Done, "{status} {body}");
        }
    }

    #[test]
    fn a_conflict_is_read_where_its_status_alone_says_nothing() {
        let base = Endpoint::parse("http://127.0.0.1:1").unwrap();
        let judged = |body: &'static str| {
            let answer = HttpAnswer { status: StatusCode::CONFLICT, body: Bytes::from(body) };
            Sidecar::new(&base, &[]).judge(&answer)
        };
        assert_eq!(judged("Already there"), Delivery::Done);
        assert!(matches!(judged("the chain forked"), Delivery::Refused(_)));
    }

    #[test]
    fn what_is_there_already_need_not_be_the_note() {
        for body in [
            "commitment already in the tree",
            r#"{"error": "epoch already closed"}"#,
            r#"{"error": "note cannot be decrypted: key already expired"}"#,
            r#"{"error": "commitment not already in the tree"}"#,
            r#"{"note": "already known"}"#,
            r#"["note already known"]"#,
        ] {
            assert!(matches!(judged(400, body), Delivery::Refused(_)), "{body}");
        }
    }

    #[test]
    fn a_note_that_is_refused_is_for_a_person() {
        for status in [400, 401, 403, 404, 413, 422] {
            let Delivery::Refused(reason) = judged(status, "bad\nnote") else {
                panic!("{status}");
            };
            assert_eq!(reason, format!("HTTP {status}: badnote"));
        }
    }

    #[test]
    fn a_sidecar_in_trouble_is_asked_again() {
        for (status, body) in [
            (500, ""),
            (502, ""),
            (503, "already stopping"),
            (408, ""),
            (425, ""),
            (429, "already"),
        ] {
            assert!(matches!(judged(status, body), Delivery::Failed(_)), "{status}");
        }
        assert!(matches!(judged(301, ""), Delivery::Failed(_)), "an address to be mended");
    }

    #[test]
    fn a_long_answer_is_cut() {
        let Delivery::Refused(reason) = judged(400, &"x".repeat(10_000)) else { panic!() };
        assert!(reason.len() < 140, "{}", reason.len());
    }

    #[tokio::test]
    async fn a_sidecar_that_is_not_there_is_asked_again() {
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let base = Endpoint::parse(&format!("http://127.0.0.1:{port}")).unwrap();
        let delivery = Sidecar::new(&base, &[]).submit(&serde_json::json!({})).await;
        assert!(matches!(delivery, Delivery::Failed(_)), "{delivery:?}");
    }

    #[tokio::test]
    async fn a_sidecar_that_never_answers_is_left_after_the_deadline() {
        let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let base = Endpoint::parse(&format!("http://127.0.0.1:{port}")).unwrap();
        let sidecar = Sidecar { deadline: Duration::from_millis(50), ..Sidecar::new(&base, &[]) };
        let delivery = sidecar.submit(&serde_json::json!({})).await;
        assert_eq!(delivery, Delivery::Failed("no answer within 50ms".to_owned()));
    }
}
