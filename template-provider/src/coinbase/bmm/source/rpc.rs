//! JSON-RPC to a sidechain: one call, one answer or an error.
//!
//! The version is 2.0: Thunder answers no other, and Bitcoin-like chains do not look at it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{AskError, TEXT_BYTES_MAX};
use crate::coinbase::bmm::config::{Login, Password};
use ::rpc::http::{Endpoint, HttpConnection};

/// JSON-RPC's code for parameters that the server cannot read.
pub(super) const INVALID_PARAMS: i64 = -32602;

/// One connection to a sidechain, made when it is needed.
#[derive(Debug)]
pub(super) struct Rpc {
    http: HttpConnection,
    login: Option<Login>,
    deadline: Duration,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<ServerError>,
}

#[derive(Deserialize)]
struct ServerError {
    code: i64,
    #[serde(default)]
    message: String,
}

impl Rpc {
    /// Reaches for nothing yet; no answer may take longer than `deadline`.
    pub(super) fn new(endpoint: Endpoint, login: Option<Login>, deadline: Duration) -> Self {
        Self { http: HttpConnection::new(endpoint), login, deadline }
    }

    /// Calls `method`, which must be safe to repeat.
    pub(super) async fn call<T: DeserializeOwned>(
        &mut self,
        method: &'static str,
        params: Value,
    ) -> Result<T, AskError> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.post(method, body.to_string().into()).await
    }

    /// As `call`, with `params` as JSON.
    pub(super) async fn call_raw<T: DeserializeOwned>(
        &mut self,
        method: &'static str,
        params: &str,
    ) -> Result<T, AskError> {
        let start = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\",\"params\":");
        self.post(method, (start + params + "}").into()).await
    }

    async fn post<T: DeserializeOwned>(
        &mut self,
        method: &'static str,
        body: Bytes,
    ) -> Result<T, AskError> {
        let login = authorization(self.login.as_ref()).await?;
        let login = login.as_ref().map(ExposeSecret::expose_secret);
        let answer = self.http.post(login, body, self.deadline).await?;
        if matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(AskError::Status(answer.status.as_u16()));
        }
        let malformed = |error: serde_json::Error| {
            AskError::Malformed(format!("the answer to {method} makes no sense: {error}"))
        };
        match serde_json::from_slice::<Envelope<'_>>(&answer.body) {
            Ok(Envelope { error: Some(ServerError { code, message }), .. }) => {
                let message = message.chars().take(TEXT_BYTES_MAX).collect();
                Err(AskError::Server { code, message })
            }
            // Null is what a method without a result answers.
            Ok(Envelope { result, .. }) if answer.status.is_success() => {
                serde_json::from_str(result.map_or("null", RawValue::get)).map_err(malformed)
            }
            Err(error) if answer.status.is_success() => Err(malformed(error)),
            _ => Err(AskError::Status(answer.status.as_u16())),
        }
    }
}

/// The value of the `Authorization` header. A password in a file is read at each question.
pub(super) async fn authorization(login: Option<&Login>) -> Result<Option<SecretString>, AskError> {
    let Some(Login { user, password }) = login else { return Ok(None) };
    let password = match password {
        Password::Given(password) => password.clone(),
        Password::In(file) => {
            let text = tokio::fs::read_to_string(file).await?;
            text.trim_end_matches(['\r', '\n']).into()
        }
    };
    let both = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
    Ok(Some(format!("Basic {both}").into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_in_a_file_may_end_with_a_newline() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret\n").unwrap();
        let login = Login { user: "a".into(), password: Password::In(file.path().into()) };
        let header = authorization(Some(&login)).await.unwrap().unwrap();
        assert_eq!(header.expose_secret(), "Basic YTpzZWNyZXQ=");
        assert!(authorization(None).await.unwrap().is_none());
    }
}
