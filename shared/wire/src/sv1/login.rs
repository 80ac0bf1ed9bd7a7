//! What a miner says first, and what it is answered: `mining.configure` (BIP310),
//! `mining.subscribe`, `mining.authorize`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bitcoin::hex::{DisplayHex, FromHex};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::request::{Elements, InvalidParams, Params, json_string, request_line};
use super::submit::hex_u32;

/// BIP310's extension that lets a miner change bits of the header version.
pub const VERSION_ROLLING: &str = "version-rolling";
/// BIP310's extension with which a miner names the least difficulty that it can do.
pub const MINIMUM_DIFFICULTY: &str = "minimum-difficulty";
/// BIP310's extension that stands for `mining.extranonce.subscribe`.
pub const SUBSCRIBE_EXTRANONCE: &str = "subscribe-extranonce";

/// BIP310's extension with which a miner says what it is.
pub const INFO: &str = "info";

const MASK: &str = "version-rolling.mask";
const MINIMUM_VALUE: &str = "minimum-difficulty.value";
const INFO_HARDWARE: &str = "info.hw-version";
const INFO_SOFTWARE: &str = "info.sw-version";

/// `mining.configure`.
#[derive(Debug, Clone, PartialEq)]
pub struct Configure {
    /// The extensions asked for, in the client's order.
    pub extensions: Vec<String>,
    /// Bits of the version that the miner would change; all if it does not say.
    pub version_mask: u32,
    /// The least difficulty that the miner can do.
    pub minimum_difficulty: Option<f64>,
    /// Hardware and software, as far as the miner names them.
    pub info: Vec<String>,
}

impl Configure {
    /// Reads `[[EXTENSION...], {PARAMETERS}]`.
    pub fn read(params: &Params<'_>) -> Result<Self, InvalidParams> {
        let elements = params.elements()?;
        let names = elements.array(0).ok_or(InvalidParams("extensions must be an array"))?;
        let extensions = (0..names.len())
            .map(|index| names.text(index).map(Cow::into_owned))
            .collect::<Option<_>>()
            .ok_or(InvalidParams("extension names must be strings"))?;
        let values: BTreeMap<String, Value> = elements
            .raw(1)
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default();
        let mask = values.get(MASK).and_then(Value::as_str);
        Ok(Self {
            extensions,
            version_mask: mask.and_then(hex_u32).unwrap_or(u32::MAX),
            minimum_difficulty: values.get(MINIMUM_VALUE).and_then(Value::as_f64),
            info: [INFO_HARDWARE, INFO_SOFTWARE]
                .iter()
                .filter_map(|key| values.get(*key)?.as_str().map(str::to_owned))
                .collect(),
        })
    }

    /// True if `extension` is asked for.
    pub fn asks_for(&self, extension: &str) -> bool {
        self.extensions.iter().any(|name| name == extension)
    }

    /// The answer as JSON, with the keys that were asked for and no other: `granted_mask` for
    /// version rolling, true for what is `supported`, false for the rest.
    pub fn result(&self, granted_mask: u32, supported: &[&str]) -> String {
        let mut keys = Vec::new();
        for name in &self.extensions {
            let granted = name == VERSION_ROLLING || supported.contains(&name.as_str());
            keys.push(format!("{}:{granted}", json_string(name)));
            if name == VERSION_ROLLING {
                keys.push(format!("\"{MASK}\":\"{granted_mask:08x}\""));
            }
        }
        format!("{{{}}}", keys.join(","))
    }

    /// The miner's request for version rolling alone.
    pub fn version_rolling_line(id: u64, mask: u32) -> String {
        let parameters = json!({ MASK: format!("{mask:08x}") });
        request_line(id, "mining.configure", &json!([[VERSION_ROLLING], parameters]))
    }

    /// The mask that the server granted, from the result of `mining.configure`.
    pub fn granted_mask(result: &RawValue) -> Option<u32> {
        let keys: BTreeMap<String, Value> = serde_json::from_str(result.get()).ok()?;
        let granted = keys.get(VERSION_ROLLING)?.as_bool()?;
        granted.then(|| hex_u32(keys.get(MASK)?.as_str()?))?
    }
}

/// `mining.subscribe`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Name and version of the miner's software; some send none.
    pub agent: Option<Cow<'a, str>>,
    /// The session that the miner would like back.
    pub session: Option<Cow<'a, str>>,
}

impl<'a> Subscribe<'a> {
    /// Reads `[AGENT?, SESSION?, ...]`; what is no string counts as missing.
    pub fn read(params: &Params<'a>) -> Result<Self, InvalidParams> {
        let elements = params.elements()?;
        Ok(Self { agent: elements.text(0), session: elements.text(1) })
    }

    /// The miner's request.
    pub fn line(id: u64, agent: &str) -> String {
        request_line(id, "mining.subscribe", &[agent])
    }
}

/// The result of `mining.subscribe`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribed {
    /// The server's name for this session.
    pub session: String,
    /// The fixed first part of the extranonce.
    pub extranonce_1: Vec<u8>,
    /// Bytes of the part that the miner rolls.
    pub extranonce_2_bytes: usize,
}

impl Subscribed {
    /// The result as JSON, in the one form that every client reads.
    pub fn result(&self) -> String {
        let session = json_string(&self.session);
        format!(
            "[[[\"mining.set_difficulty\",{session}],[\"mining.notify\",{session}]],\"{}\",{}]",
            self.extranonce_1.to_lower_hex_string(),
            self.extranonce_2_bytes
        )
    }

    /// Reads a server's result; the session is empty where the server names none.
    pub fn read(result: &RawValue) -> Result<Self, InvalidParams> {
        const SHAPE: InvalidParams =
            InvalidParams("a subscribe result must be [SUBSCRIPTIONS, EXTRANONCE1, SIZE]");
        let elements = Elements::from_raw(result).ok_or(SHAPE)?;
        let extranonce_1 = elements.text(1).ok_or(SHAPE)?;
        let size: usize = elements.raw(2).and_then(|raw| raw.get().parse().ok()).ok_or(SHAPE)?;
        let first = elements.array(0).and_then(|subscriptions| {
            let inner = subscriptions.array(0)?;
            inner.text(1)
        });
        Ok(Self {
            session: first.unwrap_or_default().into_owned(),
            extranonce_1: Vec::from_hex(&extranonce_1).map_err(|_| SHAPE)?,
            extranonce_2_bytes: size,
        })
    }
}

/// The target that `mining.capabilities` asks for in its object, as it was written.
pub fn suggested_target(params: &Params<'_>) -> Result<Option<String>, InvalidParams> {
    let elements = params.elements()?;
    let read = |raw: &RawValue| serde_json::from_str::<BTreeMap<String, Value>>(raw.get()).ok();
    let capabilities = elements.raw(0).and_then(read);
    let capabilities = capabilities.ok_or(InvalidParams("capabilities must be an object"))?;
    Ok(capabilities.get("suggested_target").and_then(Value::as_str).map(str::to_owned))
}

/// `mining.authorize`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorize<'a> {
    /// Who mines; may be empty.
    pub worker: Cow<'a, str>,
    /// Rarely a secret: miners put options into it.
    pub password: Cow<'a, str>,
}

impl<'a> Authorize<'a> {
    /// Reads `[WORKER, PASSWORD?]`.
    pub fn read(params: &Params<'a>) -> Result<Self, InvalidParams> {
        let elements = params.elements()?;
        Ok(Self {
            worker: elements.text(0).ok_or(InvalidParams("the worker name must be a string"))?,
            password: elements.text(1).unwrap_or_default(),
        })
    }

    /// The miner's request.
    pub fn line(id: u64, worker: &str, password: &str) -> String {
        request_line(id, "mining.authorize", &[worker, password])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sv1::request::{Line, Request};
    use crate::sv1::response::result_line;

    fn request(text: &str) -> Request<'_> {
        match Line::parse(text).unwrap() {
            Line::Request(request) => request,
            Line::Response(_) => panic!("a response: {text}"),
        }
    }

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn configure_answers_the_keys_that_were_asked_for_and_no_other() {
        let line = concat!(
            r#"{"id":1,"method":"mining.configure","params":[["version-rolling"],"#,
            r#"{"version-rolling.mask":"ffffffff","version-rolling.min-bit-count":16}]}"#,
        );
        let configure = Configure::read(&request(line).params).unwrap();
        assert_eq!(configure.version_mask, u32::MAX);
        let result = configure.result(0x1fff_e000, &[MINIMUM_DIFFICULTY]);
        assert_eq!(result, r#"{"version-rolling":true,"version-rolling.mask":"1fffe000"}"#);
        assert_eq!(Configure::granted_mask(&raw(&result)), Some(0x1fff_e000));
    }

    #[test]
    fn configure_of_luxos_is_read_whole() {
        let line = concat!(
            r#"{"id":1,"method":"mining.configure","params":[["version-rolling","#,
            r#""minimum-difficulty","subscribe-extranonce"],{"version-rolling.mask":"1fffe000","#,
            r#""version-rolling.min-bit-count":16,"minimum-difficulty.value":512}]}"#,
        );
        let configure = Configure::read(&request(line).params).unwrap();
        assert_eq!(configure.minimum_difficulty, Some(512.0));
        assert!(configure.asks_for(SUBSCRIBE_EXTRANONCE));
        let supported = [MINIMUM_DIFFICULTY, SUBSCRIBE_EXTRANONCE];
        assert_eq!(
            configure.result(0x1fff_e000, &supported),
            concat!(
                r#"{"version-rolling":true,"version-rolling.mask":"1fffe000","#,
                r#""minimum-difficulty":true,"subscribe-extranonce":true}"#,
            )
        );
    }

    #[test]
    fn an_unknown_extension_is_answered_false() {
        let line = r#"{"id":1,"method":"mining.configure","params":[["x\"y"],{}]}"#;
        let configure = Configure::read(&request(line).params).unwrap();
        assert_eq!(configure.result(0, &[]), r#"{"x\"y":false}"#);
    }

    #[test]
    fn a_refused_mask_is_none() {
        assert_eq!(Configure::granted_mask(&raw(r#"{"version-rolling":false}"#)), None);
    }

    #[test]
    fn a_subscribe_result_names_mining_notify_and_is_read_back() {
        let subscribed = Subscribed {
            session: "1a".into(),
            extranonce_1: vec![0xab, 0xcd, 0x00, 0x01],
            extranonce_2_bytes: 8,
        };
        let json = subscribed.result();
        assert_eq!(
            json,
            r#"[[["mining.set_difficulty","1a"],["mining.notify","1a"]],"abcd0001",8]"#
        );
        assert_eq!(Subscribed::read(&raw(&json)), Ok(subscribed));
    }

    #[test]
    fn subscribe_results_of_other_pools_are_read() {
        let flat = raw(r#"[["mining.notify","ae"],"08000002",4]"#);
        assert_eq!(Subscribed::read(&flat).unwrap().extranonce_2_bytes, 4);
        let line = result_line(&1.into(), r#"[null,"",4]"#);
        let Line::Response(response) = Line::parse(line.trim_end()).unwrap() else {
            panic!("no response");
        };
        assert!(Subscribed::read(response.outcome().unwrap()).is_ok());
        for refused in [r#"["a","xy",4]"#, r#"["a","00",-1]"#, "true"] {
            assert!(Subscribed::read(&raw(refused)).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_subscribe_without_params_is_one() {
        let bare = request(r#"{"id":1,"method":"mining.subscribe","params":[]}"#);
        let subscribe = Subscribe::read(&bare.params).unwrap();
        assert_eq!(subscribe, Subscribe::default());
        let line = Subscribe::line(1, "adit");
        let subscribe = Subscribe::read(&request(line.trim_end()).params).unwrap();
        assert_eq!(subscribe.agent.unwrap(), "adit");
    }

    #[test]
    fn an_empty_worker_is_one_and_a_missing_one_is_not() {
        let line = Authorize::line(2, "", "");
        assert!(Authorize::read(&request(line.trim_end()).params).is_ok());
        let none = request(r#"{"id":2,"method":"mining.authorize","params":[]}"#);
        assert!(Authorize::read(&none.params).is_err());
    }
}
