//! HTTP/1.1 to one endpoint over one kept-alive connection, for every room that speaks it.
//!
//! hyper does the protocol; here are the connection's life, the deadlines and the limits. Knows
//! neither JSON nor credentials. (Not bitreq: it reads a body byte by byte, which for a template
//! of 8 MB of hex would cost more than the rest of the way from tip to miner, and it keeps no
//! connection to a server that leaves `Connection: keep-alive` out, as bitcoind does.)

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Most bytes of an answer: the largest template as hex, twice over.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Where a server is: the parts of `http://HOST:PORT/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    authority: String,
    path: String,
}

impl Endpoint {
    /// Reads a URL; the error is a sentence that names the remedy.
    pub fn parse(url: &str) -> Result<Self, String> {
        let form = "write it as http://HOST:PORT";
        // First, for the other complaints show the URL.
        if url.contains('@') {
            return Err(format!(
                "leave user and password out of it; they have settings of their own; {form}"
            ));
        }
        let uri: hyper::Uri = url.parse().map_err(|error| format!("{error}; {form}"))?;
        if uri.scheme_str() == Some("https") {
            return Err("TLS is not spoken here; use http over loopback or a tunnel".into());
        }
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http"));
        let authority =
            authority.ok_or_else(|| format!("{url} is not a server's address; {form}"))?;
        if authority.port_u16().is_none() {
            return Err(format!("the port is missing (a node's is 8332 on mainnet); {form}"));
        }
        let authority = authority.as_str().to_owned();
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { authority, path })
    }

    /// The same server at `path` below this one's; `path` begins with a slash.
    pub fn below(&self, path: &str) -> Self {
        let base = self.path.trim_end_matches('/');
        Self { authority: self.authority.clone(), path: format!("{base}{path}") }
    }

    /// `HOST:PORT`.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

/// Why there is no answer. None of them says that the request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The connection could not be made.
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    /// The connection broke, or what came over it was no HTTP.
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The answer could not be read whole.
    #[error("the answer cannot be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// The request could not be made of its parts.
    #[error("the request cannot be made: {0}")]
    Request(#[from] hyper::http::Error),
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct HttpAnswer {
    /// The status code.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
}

/// One connection, made when it is needed and kept.
#[derive(Debug)]
pub struct HttpConnection {
    endpoint: Endpoint,
    /// Invariant: idle. A request takes it out, and only an answer that was read whole puts it
    /// back, so that a dropped future or an error always closes it.
    idle: Option<SendRequest<Full<Bytes>>>,
}

impl HttpConnection {
    /// Connects at the first request.
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, idle: None }
    }

    /// Sends `body` and waits for the answer. A kept connection that turns out to be dead is
    /// replaced once: requests must be safe to repeat.
    pub async fn post(
        &mut self,
        authorization: Option<&str>,
        body: Bytes,
        deadline: Duration,
    ) -> Result<HttpAnswer, HttpError> {
        let headers: Vec<_> =
            authorization.map(|it| (AUTHORIZATION.as_str(), it)).into_iter().collect();
        self.request(Method::POST, &headers, body, deadline).await
    }

    /// The same with headers of any names.
    pub async fn post_with(
        &mut self,
        headers: &[(&str, &str)],
        body: Bytes,
        deadline: Duration,
    ) -> Result<HttpAnswer, HttpError> {
        self.request(Method::POST, headers, body, deadline).await
    }

    /// Gets what is there. As for `post`, a dead connection is replaced.
    pub async fn get(
        &mut self,
        authorization: Option<&str>,
        deadline: Duration,
    ) -> Result<HttpAnswer, HttpError> {
        let headers: Vec<_> =
            authorization.map(|it| (AUTHORIZATION.as_str(), it)).into_iter().collect();
        self.request(Method::GET, &headers, Bytes::new(), deadline).await
    }

    async fn request(
        &mut self,
        method: Method,
        headers: &[(&str, &str)],
        body: Bytes,
        deadline: Duration,
    ) -> Result<HttpAnswer, HttpError> {
        let exchange = async {
            if let Some(sender) = self.take_idle().await {
                match self.exchange(sender, &method, headers, body.clone()).await {
                    Err(HttpError::Broken(_)) => {}
                    other => return other,
                }
            }
            let sender = self.connect().await?;
            self.exchange(sender, &method, headers, body).await
        };
        timeout(deadline, exchange).await.map_err(|_| HttpError::TimedOut(deadline))?
    }

    async fn take_idle(&mut self) -> Option<SendRequest<Full<Bytes>>> {
        let mut sender = self.idle.take()?;
        sender.ready().await.ok()?;
        Some(sender)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, HttpError> {
        let connecting = TcpStream::connect(self.endpoint.authority());
        let stream = timeout(CONNECT_MAX, connecting)
            .await
            .map_err(|_| HttpError::TimedOut(CONNECT_MAX))?
            .map_err(HttpError::Connect)?;
        stream.set_nodelay(true).map_err(HttpError::Connect)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Ends with the sender; an error reaches the request that it hurts.
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn exchange(
        &mut self,
        mut sender: SendRequest<Full<Bytes>>,
        method: &Method,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<HttpAnswer, HttpError> {
        let request = Request::builder().method(method).uri(&self.endpoint.path);
        let mut request = request.header(HOST, &self.endpoint.authority);
        if method == Method::POST {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = sender.send_request(request.body(Full::new(body))?).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await;
        let body = body.map_err(HttpError::Body)?.to_bytes();
        self.idle = Some(sender);
        Ok(HttpAnswer { status, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_address_and_path() {
        let endpoint = Endpoint::parse("http://127.0.0.1:8332").unwrap();
        assert_eq!((endpoint.authority.as_str(), endpoint.path.as_str()), ("127.0.0.1:8332", "/"));
        let endpoint = Endpoint::parse("http://[::1]:18443/wallet/a").unwrap();
        assert_eq!(endpoint.authority(), "[::1]:18443");
        assert_eq!(endpoint.path, "/wallet/a");
    }

    #[test]
    fn a_path_is_added_below_the_urls_own() {
        for (url, path) in [
            ("http://127.0.0.1:1", "/submit"),
            ("http://127.0.0.1:1/", "/submit"),
            ("http://127.0.0.1:1/api/v1", "/api/v1/submit"),
        ] {
            assert_eq!(Endpoint::parse(url).unwrap().below("/submit").path, path, "{url}");
        }
    }

    #[test]
    fn a_url_that_cannot_work_is_refused_with_the_remedy() {
        for (url, word) in [
            ("https://127.0.0.1:8332", "tunnel"),
            ("127.0.0.1:8332", "http://HOST:PORT"),
            ("http://127.0.0.1", "port"),
            ("http://user:secret@127.0.0.1:8332", "settings of their own"),
            ("user:secret@127.0.0.1:8332", "settings of their own"),
            ("ftp://user:secret@127.0.0.1:8332", "settings of their own"),
        ] {
            let error = Endpoint::parse(url).unwrap_err();
            assert!(error.contains(word), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
