//! Texts, and the sources that speak HTTP against a server that answers as it is told.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::Value;
use tokio::net::TcpListener;

use super::*;
use crate::coinbase::bmm::config::{ByteOrder, Password};

/// What a request was: method, path, login, body.
type Seen = (String, String, Option<String>, Value);

/// A server with the answers that it still gives, the last one first.
#[derive(Clone, Default)]
struct Server {
    answers: Arc<Mutex<Vec<(u16, String)>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    async fn start(answers: &[(u16, &str)]) -> (Self, Endpoint) {
        let server = Self::default();
        let given = answers.iter().rev().map(|(status, body)| (*status, (*body).to_owned()));
        server.answers.lock().unwrap().extend(given);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/path?slot=3", listener.local_addr().unwrap());
        let shared = server.clone();
        let answer = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
            shared.answer(&method, &uri, &headers, &body)
        };
        let router = axum::Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        (server, Endpoint::parse(&url).unwrap())
    }

    fn answer(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> (StatusCode, String) {
        let login = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let body = serde_json::from_slice(body).unwrap_or_default();
        self.seen.lock().unwrap().push((method.to_string(), uri.to_string(), login, body));
        let (status, text) = self.answers.lock().unwrap().pop().unwrap();
        (StatusCode::from_u16(status).unwrap(), text)
    }

    /// The methods that were called, with their parameters.
    fn calls(&self) -> Vec<(String, Value)> {
        let seen = self.seen.lock().unwrap();
        let call = |(_, _, _, body): &Seen| {
            assert_eq!(body["jsonrpc"], "2.0");
            (body["method"].as_str().unwrap().to_owned(), body["params"].clone())
        };
        seen.iter().map(call).collect()
    }
}

fn settings(ask: Ask) -> SourceSettings {
    let (poll, deadline) = (Duration::from_secs(1), Duration::from_secs(10));
    SourceSettings { ask, byte_order: ByteOrder::AsIs, poll, deadline }
}

async fn asked(ask: Ask) -> Result<Answer, AskError> {
    Source::new(3, &settings(ask)).ask([7; 32]).await
}

fn result(json: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{json}}}")
}

const REFUSAL: &str = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-28,"message":"loading"}}"#;

#[tokio::test]
async fn a_page_is_got_with_its_query_and_the_login() {
    let (server, endpoint) = Server::start(&[(200, &"ab".repeat(32)), (404, "none")]).await;
    let login = Login { user: "a".into(), password: Password::Given("secret".into()) };
    let mut source = Source::new(3, &settings(Ask::Http(endpoint, Some(login))));
    assert_eq!(source.ask([7; 32]).await.unwrap().h_star, [0xab; 32]);
    let error = source.ask([7; 32]).await.unwrap_err();
    assert!(matches!(error, AskError::Status(404)), "{error}");
    let seen = server.seen.lock().unwrap().remove(0);
    let basic = Some("Basic YTpzZWNyZXQ=".to_owned());
    assert_eq!(seen, ("GET".into(), "/path?slot=3".into(), basic, Value::Null));
}

#[tokio::test]
async fn a_sidechain_is_asked_for_its_best_block() {
    let best = result(&format!("\"{}\"", "cd".repeat(32)));
    let (server, endpoint) = Server::start(&[(200, &best), (500, REFUSAL), (401, "")]).await;
    let mut source = Source::new(3, &settings(Ask::SidechainRpc(endpoint, None)));
    let answer = source.ask([7; 32]).await.unwrap();
    assert_eq!(answer, Answer { h_star: [0xcd; 32], prev_hash: None, block: None });
    let error = source.ask([7; 32]).await.unwrap_err().to_string();
    assert!(error.contains("loading"), "{error}");
    assert!(matches!(source.ask([7; 32]).await, Err(AskError::Status(401))));
    assert_eq!(server.calls()[0], ("getbestblockhash".to_owned(), json!([])));
}

fn thunder_template(prev_main_hash: &str) -> String {
    let (h_star, root) = ("ef".repeat(32), "11".repeat(32));
    result(&format!(
        r#"{{"critical_hash":"{h_star}","block":{{"header":{{"merkle_root":"{root}",
        "prev_side_hash":null,"prev_main_hash":"{prev_main_hash}"}},"body":{{"n":1.50}}}},
        "fees_sats":3}}"#
    ))
}

#[tokio::test]
async fn thunder_gives_hash_tip_and_block() {
    let main = format!("{}01", "00".repeat(31));
    let (_, endpoint) = Server::start(&[(200, &thunder_template(&main))]).await;
    let answer = asked(Ask::Thunder(endpoint, None)).await.unwrap();
    assert_eq!(answer.h_star, [0xef; 32]);
    assert_eq!(answer.prev_hash.unwrap()[0], 1, "internal byte order");
    let block = answer.block.unwrap();
    assert!(block.starts_with('{') && block.contains("1.50"), "as it came: {block}");
}

#[tokio::test]
async fn a_thunder_without_a_usable_template_is_no_answer() {
    let large = format!("\"{}\"", "x".repeat(1024 * 1024));
    let large = thunder_template(&"01".repeat(32)).replace("1.50", &large);
    for (status, answer) in [
        (200, result("null")),
        (200, result("{}")),
        (200, thunder_template("01")),
        (200, large),
        (200, "no JSON".to_owned()),
        (503, "busy".to_owned()),
    ] {
        let (_, endpoint) = Server::start(&[(status, &answer)]).await;
        assert!(asked(Ask::Thunder(endpoint, None)).await.is_err());
    }
}

async fn connected(answers: &[(u16, &str)]) -> (Delivery, Vec<(String, Value)>) {
    let (server, endpoint) = Server::start(answers).await;
    let back = Return::of(&settings(Ask::Thunder(endpoint, None))).unwrap();
    let delivery = back.connect(r#"{"n":1.50}"#, &"ef".repeat(32), &"aa".repeat(32)).await;
    (delivery, server.calls())
}

#[tokio::test]
async fn a_side_block_goes_back_as_it_came() {
    let (delivery, calls) = connected(&[(200, &result("true"))]).await;
    assert_eq!(delivery, Delivery::Done);
    let params: Value = serde_json::from_str(r#"[{"n":1.50}]"#).unwrap();
    assert_eq!(calls, [("connect_block".to_owned(), json!([params[0], "aa".repeat(32)]))]);
}

#[tokio::test]
async fn a_side_block_that_thunder_has_already_is_done() {
    let best = result(&format!("\"{}\"", "ef".repeat(32)));
    for first in [result("false"), REFUSAL.to_owned()] {
        let (delivery, calls) = connected(&[(200, &first), (200, &best)]).await;
        assert_eq!((delivery, calls.len()), (Delivery::Done, 2));
    }
}

#[tokio::test]
async fn what_may_go_better_later_is_tried_again_and_nonsense_is_not() {
    for best in ["null".to_owned(), format!("\"{}\"", "00".repeat(32))] {
        let (delivery, _) = connected(&[(200, &result("false")), (200, &result(&best))]).await;
        assert!(matches!(delivery, Delivery::Declined(_)), "{delivery:?}");
    }
    let (delivery, _) = connected(&[(503, "busy")]).await;
    assert!(matches!(delivery, Delivery::Failed(_)), "{delivery:?}");
    let unreadable = REFUSAL.replace("-28", "-32602");
    let (delivery, _) = connected(&[(200, &unreadable)]).await;
    assert!(matches!(delivery, Delivery::Refused(_)), "{delivery:?}");
}

#[test]
fn a_text_is_one_hash_or_two() {
    let (h_star, prev) = ("ab".repeat(32), format!("{}01", "00".repeat(31)));
    let answer = read_text(format!("  {h_star}\n").as_bytes()).unwrap();
    assert_eq!((answer.h_star, answer.prev_hash), ([0xab; 32], None));
    let answer = read_text(format!("{h_star} {prev}\n").as_bytes()).unwrap();
    assert_eq!(answer.prev_hash.unwrap()[0], 1, "internal byte order");
}

#[test]
fn a_text_that_is_something_else_is_refused() {
    let hash = "ab".repeat(32);
    let long = " ".repeat(TEXT_BYTES_MAX) + &hash;
    for text in
        ["", "ab", &hash[1..], &format!("{hash}00"), &format!("{hash} {hash} {hash}"), &long]
    {
        assert!(read_text(text.as_bytes()).is_err(), "{text}");
    }
    assert!(read_text(&[0xff; 64]).is_err());
}
