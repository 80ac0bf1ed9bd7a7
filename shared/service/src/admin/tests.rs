//! Who is heard, and who is not.

use std::fs::Permissions;
use std::io::Write;

use super::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn hall() -> Hall {
    let obey = |order: &Order| match (order.verb, order.path.as_str()) {
        (Verb::Get, "admin/v1/x") => Reply::Found("{}".to_owned()),
        (Verb::Post, "admin/v1/x") => Reply::Text(order.parameter("a").unwrap().to_owned()),
        _ => Reply::NotFound("no such order".to_owned()),
    };
    let room = Arc::new(Semaphore::new(AT_A_TIME_MAX));
    Hall { token: TOKEN.to_owned().into(), obey: Arc::new(obey), room, refused: Mutex::default() }
}

async fn heard(hall: &Hall, method: Method, path: &str, authorization: Option<&str>) -> StatusCode {
    let mut headers = HeaderMap::new();
    if let Some(authorization) = authorization {
        headers.insert(AUTHORIZATION, HeaderValue::from_str(authorization).unwrap());
    }
    let from = ([127, 0, 0, 1], 1).into();
    hall.hear(from, &method, &path.parse().unwrap(), &headers).await.status()
}

#[tokio::test]
async fn without_the_token_every_path_and_every_method_is_refused_alike() {
    let hall = hall();
    let (short, long) = (format!("Bearer {}", &TOKEN[1..]), format!("Bearer {TOKEN}0"));
    let basic = format!("Basic {TOKEN}");
    let wrong = [None, Some(""), Some("Bearer "), Some(TOKEN), Some(&short), Some(&long)];
    for authorization in wrong.into_iter().chain([Some(&*basic), Some("Bearer \t")]) {
        for path in ["/admin/v1/x", "/admin/v1/nothing", "/"] {
            for method in [Method::GET, Method::POST, Method::PUT] {
                let status = heard(&hall, method, path, authorization).await;
                assert_eq!(status, StatusCode::UNAUTHORIZED, "{path} {authorization:?}");
            }
        }
    }
    let refused = refused();
    assert_eq!(refused.headers()[WWW_AUTHENTICATE], "Bearer");
    assert_eq!(refused.headers()[CONNECTION], "close", "it holds no place");
}

#[tokio::test]
async fn with_the_token_orders_are_obeyed() {
    let (hall, known) = (hall(), format!("Bearer {TOKEN}"));
    for (method, path, expected) in [
        (Method::GET, "/admin/v1/x", StatusCode::OK),
        (Method::POST, "/admin/v1/x?a=%20", StatusCode::OK),
        (Method::GET, "/admin/v1/nothing", StatusCode::NOT_FOUND),
        (Method::PUT, "/admin/v1/x", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        assert_eq!(heard(&hall, method, path, Some(&known)).await, expected, "{path}");
    }
    assert_eq!(heard(&hall, Method::GET, "/admin/v1/x", Some(&known)).await, StatusCode::OK);
    let taken = hall.room.clone().acquire_many_owned(4).await.unwrap();
    let full = heard(&hall, Method::GET, "/admin/v1/x", Some(&known)).await;
    assert_eq!(full, StatusCode::SERVICE_UNAVAILABLE);
    drop(taken);
}

/// A file with these rights that holds `text`, in a folder of its own.
fn file(rights: u32, text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.token");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.set_permissions(Permissions::from_mode(rights)).unwrap();
    (folder, path)
}

fn config(path: PathBuf) -> AdminConfig {
    AdminConfig { listen: Some("127.0.0.1:0".to_owned()), token_file: Some(path) }
}

#[test]
fn a_token_that_others_can_read_or_guess_is_refused_with_the_remedy_and_never_shown() {
    let complaint = |rights, text: &str| {
        let (_folder, path) = file(rights, text);
        config(path).entry().map(drop).unwrap_err().to_string()
    };
    let readable = complaint(0o640, TOKEN);
    assert!(readable.starts_with("admin.token_file: "), "{readable}");
    assert!(readable.contains("may be read by others") && readable.contains("chmod 600"));
    let short = complaint(0o600, "hunter2");
    assert!(short.contains("32 to 1024") && !short.contains("hunter2"), "{short}");
    assert!(complaint(0o600, &format!("{TOKEN} {TOKEN}")).contains("one word"));
    let (_folder, path) = file(0o600, &format!("{TOKEN}\n"));
    let entry = config(path).entry().unwrap().unwrap();
    assert_eq!(entry.token.expose_secret(), TOKEN);
    assert!(!format!("{entry:?}").contains(TOKEN));
}

#[test]
fn half_of_the_settings_is_refused_and_none_of_them_is_off() {
    assert!(AdminConfig::default().entry().unwrap().is_none());
    let complaint = |config: AdminConfig| config.entry().map(drop).unwrap_err().to_string();
    let listen = AdminConfig { token_file: None, ..config(PathBuf::new()) };
    assert!(complaint(listen).starts_with("admin.token_file: name a file with a token"));
    let file = AdminConfig { listen: None, ..config(PathBuf::new()) };
    assert!(complaint(file).starts_with("admin.listen: write HOST:PORT"));
    let gone = complaint(config("/no/file".into()));
    assert!(gone.starts_with("admin.token_file: /no/file"), "{gone}");
}
