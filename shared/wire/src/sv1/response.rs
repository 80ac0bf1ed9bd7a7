//! Answers: always with all three keys, because miners read `result` and `error` without asking
//! whether they are there.

use serde_json::Value;
use serde_json::value::RawValue;

use super::request::{Elements, Id, json_string};

/// An answer that was read.
#[derive(Debug)]
pub struct Response<'a> {
    /// The id of the request.
    pub id: Id,
    /// What was asked for; absent or null after an error.
    pub(super) result: Option<&'a RawValue>,
    pub(super) error: Option<&'a RawValue>,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text} ({code})")]
pub struct Refusal {
    /// 20 to 25, or what the server made up; 0 if it gave none.
    pub code: i64,
    /// The reason in words.
    pub text: String,
}

impl<'a> Response<'a> {
    /// The result, or why there is none. `result: null` without an error counts as `null`.
    pub fn outcome(&self) -> Result<&'a RawValue, Refusal> {
        match self.error {
            Some(error) => Err(Refusal::read(error)),
            None => Ok(self.result.unwrap_or(RawValue::NULL)),
        }
    }

    /// True if the answer is the boolean `true`.
    pub fn is_true(&self) -> bool {
        self.outcome().is_ok_and(|result| result.get() == "true")
    }
}

impl Refusal {
    /// Pools send `[code, "text", trace]`, a string, or an object with `code` and `message`.
    fn read(error: &RawValue) -> Self {
        if let Some(elements) = Elements::from_raw(error) {
            return Self {
                code: elements.raw(0).and_then(|raw| raw.get().parse().ok()).unwrap_or_default(),
                text: elements.text(1).unwrap_or_default().into_owned(),
            };
        }
        match serde_json::from_str(error.get()) {
            Ok(Value::String(text)) => Self { code: 0, text },
            Ok(Value::Object(fields)) => Self {
                code: fields.get("code").and_then(Value::as_i64).unwrap_or_default(),
                text: fields.get("message").and_then(Value::as_str).unwrap_or_default().to_owned(),
            },
            _ => Self { code: 0, text: error.get().to_owned() },
        }
    }
}

/// A success; `result` is JSON.
pub fn result_line(id: &Id, result: &str) -> String {
    format!("{{\"id\":{id},\"result\":{result},\"error\":null}}\n")
}

/// A refusal, as the array that every client reads: text at index 1, no trace.
pub fn error_line(id: &Id, code: i64, text: &str) -> String {
    let text = json_string(text);
    format!("{{\"id\":{id},\"result\":null,\"error\":[{code},{text},null]}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sv1::request::Line;

    fn response(text: &str) -> Response<'_> {
        match Line::parse(text).unwrap() {
            Line::Response(response) => response,
            Line::Request(_) => panic!("a request: {text}"),
        }
    }

    fn refusal(text: &str) -> (i64, String) {
        let refusal = response(text).outcome().unwrap_err();
        (refusal.code, refusal.text)
    }

    #[test]
    fn answers_have_all_three_keys() {
        assert_eq!(
            result_line(&Id::from(0), "true"),
            "{\"id\":0,\"result\":true,\"error\":null}\n"
        );
        assert_eq!(
            error_line(&Id::from(7), 21, "Job \"x\" not found"),
            "{\"id\":7,\"result\":null,\"error\":[21,\"Job \\\"x\\\" not found\",null]}\n"
        );
    }

    #[test]
    fn errors_are_read_in_every_shape_that_pools_send() {
        let array = r#"{"id":4,"result":null,"error":[23,"Low difficulty share",null]}"#;
        assert_eq!(refusal(array), (23, "Low difficulty share".into()));
        let object = r#"{"id":4,"error":{"code":20,"message":"Other"}}"#;
        assert_eq!(refusal(object), (20, "Other".into()));
        let string = r#"{"id":4,"result":false,"error":"no"}"#;
        assert_eq!(refusal(string), (0, "no".into()));
    }

    #[test]
    fn only_the_boolean_true_is_an_acceptance() {
        assert!(response(r#"{"id":4,"result":true,"error":null}"#).is_true());
        assert!(!response(r#"{"id":4,"result":"true","error":null}"#).is_true());
        assert!(!response(r#"{"id":4,"result":null,"error":null}"#).is_true());
        assert!(!response(r#"{"id":4,"result":true,"error":[20,"x",null]}"#).is_true());
    }

    #[test]
    fn a_pong_is_a_response() {
        let pong = response(r#"{"id":9,"result":"pong"}"#);
        assert_eq!(pong.outcome().unwrap().get(), "\"pong\"");
    }
}
