//! Every way in which a node may fail to answer, against a stub that fails so.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::login::RpcConfig;
use testkit::stub::{Reply, Stub, error, result};

const DEADLINE: Duration = Duration::from_secs(5);

/// A connection to the stub, with more keys in TOML.
fn connection(stub: &Stub, toml: &str) -> Rpc {
    let (endpoint, login) = reach(stub, toml);
    Rpc::new(endpoint, login)
}

fn reach(stub: &Stub, toml: &str) -> (Endpoint, Arc<Login>) {
    let text = format!("rpc_url = \"{}\"\n{toml}", stub.url());
    let config: RpcConfig = toml::from_str(&text).unwrap();
    let credentials = Credentials::from_config("node", &config).unwrap();
    (config.endpoint("node").unwrap(), Login::with(credentials))
}

async fn block_count(rpc: &mut Rpc) -> Result<u32, RpcError> {
    rpc.ask("getblockcount", json!([]), DEADLINE).await
}

#[tokio::test]
async fn an_answer_is_read_and_the_connection_kept() {
    let stub = Stub::start([result(&json!(5))]).await;
    let mut rpc = connection(&stub, "");
    assert_eq!(block_count(&mut rpc).await.unwrap(), 5);
    assert_eq!(block_count(&mut rpc).await.unwrap(), 5);
    let requests = stub.requests();
    assert_eq!((requests[0].connection, requests[1].connection), (0, 0));
    assert_eq!((requests[0].method.as_str(), &requests[0].params), ("getblockcount", &json!([])));
    assert_eq!(requests[0].authorization, None);
}

#[tokio::test]
async fn a_kept_connection_that_the_node_closed_is_replaced() {
    let body = json!({ "result": 5, "error": null }).to_string();
    let stub = Stub::start([Reply::HttpAndClose(200, body), result(&json!(6))]).await;
    let mut rpc = connection(&stub, "");
    assert_eq!(block_count(&mut rpc).await.unwrap(), 5);
    assert_eq!(block_count(&mut rpc).await.unwrap(), 6);
}

#[tokio::test]
async fn a_kept_connection_that_dies_with_the_request_is_replaced_once() {
    let stub = Stub::start([result(&json!(5)), Reply::Drop, result(&json!(6))]).await;
    let mut rpc = connection(&stub, "");
    assert_eq!(block_count(&mut rpc).await.unwrap(), 5);
    assert_eq!(block_count(&mut rpc).await.unwrap(), 6);
    let connections: Vec<_> = stub.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
}

#[tokio::test]
async fn a_node_that_drops_every_request_is_asked_no_more_than_twice() {
    let stub = Stub::start([result(&json!(5)), Reply::Drop]).await;
    let mut rpc = connection(&stub, "");
    block_count(&mut rpc).await.unwrap();
    let failed = block_count(&mut rpc).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Transient);
    assert_eq!(stub.requests().len(), 3);
}

#[tokio::test]
async fn an_error_under_http_500_is_the_nodes_own() {
    let stub = Stub::start([error(-10, "Bitcoin is downloading blocks...")]).await;
    let failed = block_count(&mut connection(&stub, "")).await.unwrap_err();
    assert_eq!(failed.code(), Some(IN_INITIAL_DOWNLOAD));
    assert_eq!(failed.kind(), ErrorKind::Transient);
    assert!(failed.to_string().contains("downloading"), "{failed}");
}

#[tokio::test]
async fn only_some_errors_of_the_node_pass_by_themselves() {
    for (code, kind) in [
        (IN_WARMUP, ErrorKind::Transient),
        (NOT_CONNECTED, ErrorKind::Transient),
        (INVALID_PARAMETER, ErrorKind::Persistent),
        (-32601, ErrorKind::Persistent),
    ] {
        let stub = Stub::start([error(code, "x")]).await;
        let failed = block_count(&mut connection(&stub, "")).await.unwrap_err();
        assert_eq!(failed.kind(), kind, "{code}");
    }
}

#[tokio::test]
async fn a_full_work_queue_passes() {
    let reply = Reply::Http(503, "Work queue depth exceeded".into());
    let stub = Stub::start([reply]).await;
    let failed = block_count(&mut connection(&stub, "")).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Transient);
    assert!(failed.to_string().contains("Work queue"), "{failed}");
}

#[tokio::test]
async fn a_403_needs_a_person() {
    let stub = Stub::start([Reply::Http(403, String::new())]).await;
    let failed = block_count(&mut connection(&stub, "")).await.unwrap_err();
    assert!(matches!(failed, RpcError::Forbidden));
    assert_eq!(failed.kind(), ErrorKind::Persistent);
}

#[tokio::test]
async fn the_cookie_is_read_again_when_the_node_refuses_it() {
    let cookie = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(cookie.path(), "__cookie__:old").unwrap();
    let refused = Reply::Http(401, String::new());
    let replies = [result(&json!(1)), refused, result(&json!(2))];
    let stub = Stub::start(replies).await;
    let toml = format!("cookie_file = \"{}\"", cookie.path().display());
    let mut rpc = connection(&stub, &toml);
    assert_eq!(block_count(&mut rpc).await.unwrap(), 1);
    std::fs::write(cookie.path(), "__cookie__:new").unwrap();
    assert_eq!(block_count(&mut rpc).await.unwrap(), 2);
    let used: Vec<_> =
        stub.requests().into_iter().map(|request| request.authorization.unwrap()).collect();
    // base64 of __cookie__:old and __cookie__:new.
    let (old, new) = ("Basic X19jb29raWVfXzpvbGQ=", "Basic X19jb29raWVfXzpuZXc=");
    assert_eq!(used, [old, old, new]);
}

#[tokio::test]
async fn a_new_connection_needs_no_file_while_the_node_takes_what_it_said() {
    let cookie = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(cookie.path(), "__cookie__:old").unwrap();
    let refused = Reply::Http(401, String::new());
    let stub = Stub::start([result(&json!(1)), result(&json!(2)), refused]).await;
    let toml = format!("cookie_file = \"{}\"", cookie.path().display());
    let (endpoint, login) = reach(&stub, &toml);
    let connect = || Rpc::new(endpoint.clone(), Arc::clone(&login));
    assert_eq!(block_count(&mut connect()).await.unwrap(), 1);
    cookie.close().unwrap();
    assert_eq!(block_count(&mut connect()).await.unwrap(), 2, "a found block, say");
    // Refused, it is of no use to anybody.
    for _ in 0..2 {
        let failed = block_count(&mut connect()).await.unwrap_err();
        assert!(matches!(failed, RpcError::Credentials(_)), "{failed}");
    }
    assert_eq!(stub.requests().len(), 3);
}

#[tokio::test]
async fn credentials_that_are_wrong_for_good_are_refused_after_one_more_reading() {
    let stub = Stub::start([Reply::Http(401, String::new())]).await;
    let mut rpc = connection(&stub, "user = \"a\"\npassword = \"b\"");
    assert!(matches!(block_count(&mut rpc).await, Err(RpcError::Unauthorized)));
    assert_eq!(stub.requests().len(), 1, "they were read just now");
}

#[tokio::test]
async fn a_cookie_that_is_not_there_yet_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let cookie = directory.path().join(".cookie");
    let stub = Stub::start([result(&json!(1))]).await;
    let mut rpc = connection(&stub, &format!("cookie_file = \"{}\"", cookie.display()));
    let failed = block_count(&mut rpc).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Transient);
    assert!(failed.to_string().contains(".cookie"), "{failed}");
    std::fs::write(&cookie, "__cookie__:x").unwrap();
    assert_eq!(block_count(&mut rpc).await.unwrap(), 1);
}

#[tokio::test]
async fn null_is_an_answer_to_a_call_and_none_to_a_question() {
    let stub = Stub::start([result(&Value::Null)]).await;
    let mut rpc = connection(&stub, "");
    let called = rpc.call::<String>("submitblock", json!(["00"]), DEADLINE).await;
    assert_eq!(called.unwrap(), None);
    assert!(matches!(block_count(&mut rpc).await, Err(RpcError::Malformed { .. })));
}

#[tokio::test]
async fn what_is_no_answer_is_told_so() {
    for body in ["", "<html>", "[]", "{\"result\": \"five\"}"] {
        let stub = Stub::start([Reply::Http(200, body.into())]).await;
        let failed = block_count(&mut connection(&stub, "")).await.unwrap_err();
        assert!(matches!(failed, RpcError::Malformed { .. }), "{body}: {failed}");
    }
}

#[tokio::test]
async fn a_node_that_hangs_is_left_at_the_deadline() {
    let stub = Stub::start([Reply::Hang, result(&json!(1))]).await;
    let mut rpc = connection(&stub, "");
    let short = Duration::from_millis(50);
    let failed = rpc.ask::<u32>("getblockcount", json!([]), short).await.unwrap_err();
    assert!(matches!(failed, RpcError::Unreachable(HttpError::TimedOut(_))), "{failed}");
    assert_eq!(block_count(&mut rpc).await.unwrap(), 1, "over a new connection");
}

#[tokio::test]
async fn a_node_that_is_not_there_may_come() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let endpoint = Endpoint::parse(&format!("http://{address}")).unwrap();
    let mut rpc = Rpc::new(endpoint, Login::with(Credentials::None));
    let failed = block_count(&mut rpc).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Transient);
    assert!(failed.to_string().contains("cannot connect"), "{failed}");
}
