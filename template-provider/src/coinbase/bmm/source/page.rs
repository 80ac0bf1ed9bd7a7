//! h* from a page of an HTTP server.

use std::time::Duration;

use hyper::StatusCode;
use secrecy::ExposeSecret;

use super::rpc::authorization;
use super::{Answer, AskError, read_text};
use crate::coinbase::bmm::config::Login;
use ::rpc::http::HttpConnection;

/// Gets it now.
pub(super) async fn ask(
    http: &mut HttpConnection,
    login: Option<&Login>,
    deadline: Duration,
) -> Result<Answer, AskError> {
    let login = authorization(login).await?;
    let login = login.as_ref().map(ExposeSecret::expose_secret);
    let answer = http.get(login, deadline).await?;
    match answer.status {
        StatusCode::OK => read_text(&answer.body),
        status => Err(AskError::Status(status.as_u16())),
    }
}
