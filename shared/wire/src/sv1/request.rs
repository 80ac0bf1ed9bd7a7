//! A line from either side: a request, a notification (a request without an id) or a response.
//!
//! Ids are kept as they were written, because a client that sent a number does not know a string.
//! What a method means is not decided here.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::response::Response;
use crate::session::PeerError;

/// Longest id that is echoed, in bytes of JSON.
const ID_BYTES_MAX: usize = 128;

/// The id of a request, as the JSON text that the client wrote: a number, a string or null.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Id(Box<str>);

impl Id {
    /// The id `null`: no answer is wanted.
    pub fn null() -> Self {
        Self("null".into())
    }

    /// True if no answer is wanted.
    pub fn is_null(&self) -> bool {
        &*self.0 == "null"
    }

    /// The id as a whole number, if it is one.
    pub fn number(&self) -> Option<u64> {
        self.0.parse().ok()
    }

    fn from_raw(raw: Option<&RawValue>) -> Result<Self, PeerError> {
        let Some(raw) = raw else {
            return Ok(Self::null());
        };
        let text = raw.get();
        if text.len() > ID_BYTES_MAX || text.starts_with(['[', '{']) {
            return Err(PeerError::Misbehaved("an id that is no number or string"));
        }
        Ok(Self(text.into()))
    }
}

impl From<u64> for Id {
    fn from(number: u64) -> Self {
        Self(number.to_string().into())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A line that was read.
#[derive(Debug)]
pub enum Line<'a> {
    /// A request, or a notification if its id is null.
    Request(Request<'a>),
    /// The answer to a request.
    Response(Response<'a>),
}

/// A request.
#[derive(Debug)]
pub struct Request<'a> {
    /// To be echoed.
    pub id: Id,
    /// What is asked, `mining.submit` for instance.
    pub method: Cow<'a, str>,
    /// The arguments.
    pub params: Params<'a>,
}

/// All fields that any line may have.
#[derive(Deserialize)]
struct AnyLine<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Text<'a>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// A string, borrowed where it holds no escape.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Line<'a> {
    /// Reads a line. Whoever has bytes replaces what is no UTF-8 first: old clients put names in
    /// any encoding into their requests.
    pub fn parse(text: &'a str) -> Result<Self, PeerError> {
        const NOT_STRATUM: PeerError = PeerError::Misbehaved("a line that is no JSON object");
        // Serde would read an array as an object without names.
        if !text.trim_start().starts_with('{') {
            return Err(NOT_STRATUM);
        }
        // Old firmware writes names as they were typed, quotation marks and backslashes too: such a
        // line cannot be read, but is no fault (rule 31).
        let unreadable = |_| PeerError::Incompatible("a line whose JSON cannot be read".into());
        let any: AnyLine<'a> = serde_json::from_str(text).map_err(unreadable)?;
        let id = Id::from_raw(any.id)?;
        Ok(match any.method {
            Some(Text(method)) => Self::Request(Request { id, method, params: Params(any.params) }),
            None => Self::Response(Response { id, result: any.result, error: any.error }),
        })
    }
}

/// The arguments of a request, not yet read.
#[derive(Debug, Clone, Copy)]
pub struct Params<'a>(Option<&'a RawValue>);

/// Arguments that are not what the method takes: which, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidParams(pub &'static str);

impl<'a> Params<'a> {
    /// The arguments as a list; missing and null are an empty one.
    pub fn elements(&self) -> Result<Elements<'a>, InvalidParams> {
        let Some(raw) = self.0 else {
            return Ok(Elements::default());
        };
        Elements::from_raw(raw).ok_or(InvalidParams("params must be an array"))
    }
}

/// The elements of a JSON array, each read when it is asked for.
#[derive(Debug, Clone, Default)]
pub struct Elements<'a>(Vec<&'a RawValue>);

impl<'a> Elements<'a> {
    /// Splits an array; `None` if `raw` is none.
    pub fn from_raw(raw: &'a RawValue) -> Option<Self> {
        serde_json::from_str(raw.get()).ok().map(Self)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The element at `index` as JSON.
    pub fn raw(&self, index: usize) -> Option<&'a RawValue> {
        self.0.get(index).copied()
    }

    /// The element at `index`, if it is a string.
    pub fn text(&self, index: usize) -> Option<Cow<'a, str>> {
        read_text(self.raw(index)?)
    }

    /// The element at `index`, if it is a number or a string that holds one.
    pub fn number(&self, index: usize) -> Option<f64> {
        // Every JSON number is one to Rust too, and Rust rounds it rightly.
        let number = self.raw(index).and_then(|raw| raw.get().parse().ok());
        number
            .or_else(|| self.text(index)?.trim().parse().ok())
            .filter(|number: &f64| number.is_finite())
    }

    /// The element at `index`, if it is a boolean.
    pub fn boolean(&self, index: usize) -> Option<bool> {
        self.read(index)
    }

    /// The element at `index`, if it is an array.
    pub fn array(&self, index: usize) -> Option<Self> {
        self.raw(index).and_then(Self::from_raw)
    }

    fn read<T: Deserialize<'a>>(&self, index: usize) -> Option<T> {
        serde_json::from_str(self.raw(index)?.get()).ok()
    }
}

/// The string that `raw` is, if it is one.
pub fn read_text(raw: &RawValue) -> Option<Cow<'_, str>> {
    // It was read as JSON before: without an escape it stands between its quotes as it is.
    let unquoted = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if !unquoted.contains('\\') {
        return Some(unquoted.into());
    }
    serde_json::from_str::<Text<'_>>(raw.get()).ok().map(|Text(text)| text)
}

/// `text` as a JSON string, quotes included.
pub fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A request as a line, for the miner's side.
pub fn request_line(id: u64, method: &str, params: &impl Serialize) -> String {
    let params = serde_json::to_value(params).unwrap_or_default();
    let method = json_string(method);
    format!("{{\"id\":{id},\"method\":{method},\"params\":{params}}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Request<'_> {
        match Line::parse(text).unwrap() {
            Line::Request(request) => request,
            Line::Response(_) => panic!("a response: {text}"),
        }
    }

    #[test]
    fn an_id_is_kept_as_it_was_written() {
        for id in ["0", "4", "-1", "\"auth\"", "\"txlist1f\"", "\"\\u0041\"", "1.50"] {
            let text = format!("{{\"id\": {id}, \"method\":\"x\",\"params\":[]}}");
            assert_eq!(request(&text).id.to_string(), id);
        }
    }

    #[test]
    fn a_null_id_and_a_missing_one_want_no_answer() {
        assert!(request(r#"{"id":null,"method":"x"}"#).id.is_null());
        assert!(request(r#"{"method":"x","params":[]}"#).id.is_null());
    }

    #[test]
    fn an_id_that_could_be_used_to_reflect_bytes_is_refused() {
        let long = format!("{{\"id\":\"{}\",\"method\":\"x\"}}", "a".repeat(200));
        assert!(Line::parse(&long).is_err());
        assert!(Line::parse(r#"{"id":[1],"method":"x"}"#).is_err());
    }

    #[test]
    fn keys_may_come_in_any_order_and_unknown_ones_are_ignored() {
        let text = r#"{"params": ["a", 2.5], "jsonrpc":"2.0", "id": 7, "method": "mining.x"}"#;
        let request = request(text);
        assert_eq!(request.method, "mining.x");
        let elements = request.params.elements().unwrap();
        assert_eq!(elements.text(0).unwrap(), "a");
        assert_eq!(elements.number(1), Some(2.5));
        assert_eq!((elements.text(1), elements.text(2)), (None, None));
    }

    #[test]
    fn null_params_are_an_empty_list_and_an_object_is_none() {
        let empty = request(r#"{"id":1,"method":"x","params":null}"#);
        assert!(empty.params.elements().unwrap().is_empty());
        let named = request(r#"{"id":1,"method":"x","params":{"a":1}}"#);
        assert!(named.params.elements().is_err());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "[]", "1", "GET / HTTP/1.1", r#"{"id":1"#] {
            assert!(Line::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rule_31_a_name_without_its_escapes_makes_a_line_that_is_no_fault() {
        for name in [r"DOM\worker", "pass\"word"] {
            let text = format!(r#"{{"id":2,"method":"mining.authorize","params":["{name}","x"]}}"#);
            let refused = Line::parse(&text).unwrap_err();
            assert!(matches!(refused, PeerError::Incompatible(_)), "{name}: {refused}");
        }
        for garbage in ["GET / HTTP/1.1", "[]", ""] {
            assert!(matches!(Line::parse(garbage), Err(PeerError::Misbehaved(_))), "{garbage}");
        }
    }

    #[test]
    fn a_request_that_was_built_is_read_back() {
        let line = request_line(3, "mining.authorize", &["a \"quoted\" name", "x"]);
        assert!(line.ends_with('\n'));
        let request = request(line.trim_end());
        assert_eq!(request.id.number(), Some(3));
        let elements = request.params.elements().unwrap();
        assert_eq!(elements.text(0).unwrap(), "a \"quoted\" name");
    }
}
