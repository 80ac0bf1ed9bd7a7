//! Each service in the shape that it documents, against a fake of it that says what it was sent.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc;

use serde_json::{Value, json};
use testkit::answering::answering;
use testkit::http::Request;

use super::*;
use crate::accounting::alerts::config::{AlertsConfig, Wording};
use crate::accounting::alerts::fact::Fact;
use crate::accounting::alerts::workers::WorkerNews;
use crate::accounting::sign::signature;

const PATIENCE: Duration = Duration::from_secs(20);

/// Answers each request so; the receiver has what came.
fn http_fake(status: u16, body: &'static str) -> (String, mpsc::Receiver<Request>) {
    let (address, requests) = answering(move || Some((status, body))).unwrap();
    (format!("http://{address}"), requests)
}

/// Speaks SMTP to one client; gives the lines that it has heard, the mail's among them.
fn smtp_fake(mail_from: &'static str) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (heard, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        stream.write_all(b"220 fake ESMTP\r\n").unwrap();
        let mut is_mail = false;
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap_or(0) > 0 {
            let text = line.trim_end().to_owned();
            let answer = match text.split_once([' ', ':']).map_or(&*text, |(verb, _)| verb) {
                "." if is_mail => "250 queued as 42",
                _ if is_mail => "",
                "EHLO" => "250-fake\r\n250 AUTH PLAIN",
                "AUTH" => "235 welcome",
                "MAIL" => mail_from,
                "DATA" => "354 go on",
                "QUIT" => "221 bye",
                _ => "250 fine",
            };
            is_mail = answer.starts_with("354") || is_mail && answer.is_empty();
            if !answer.is_empty() {
                stream.write_all(format!("{answer}\r\n").as_bytes()).unwrap();
            }
            heard.send(text).unwrap();
            line.clear();
        }
    });
    (format!("smtp://{address}"), lines)
}

fn outlet(secret: &str, receiver: &str) -> Outlet {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, secret).unwrap();
    let text = format!("[[receiver]]\nname = \"x\"\n{receiver}");
    let text = text.replace("SECRET", &format!("secret_file = '{}'", file.display()));
    let config: AlertsConfig = toml::from_str(&text).unwrap();
    config.receivers().unwrap().remove(0).outlet
}

fn message() -> Message {
    let public_url = Some("https://pool.example".to_owned());
    let wording = Wording { chain: "Vanta".to_owned(), symbol: "VANTA".to_owned(), public_url };
    let fact = Fact::BlockFound {
        hash: [1; 32],
        height: Some(7),
        value: 5_000_000_000,
        finder: "ann.rig_1".to_owned(),
    };
    Message::of("5-0".to_owned(), &[fact], &WorkerNews::default(), &wording)
}

const TITLE: &str = "Block 7 found on Vanta";
const TEXT: &str =
    "Block 7: 50 VANTA, found by ann.rig_1.\nIt counts once the chain has built on it.";
const LINK: &str = "https://pool.example/";

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

#[test]
fn telegram_gets_what_send_message_takes() {
    let (url, requests) = http_fake(200, "{\"ok\":true}");
    let receiver = format!("by = \"telegram\"\nurl = \"{url}\"\nchat = \"-1001\"\nSECRET");
    let said = outlet("1:AB", &receiver).send(&message()).unwrap();
    assert_eq!(said, "HTTP 200 {\"ok\":true}");
    let request = requests.recv_timeout(PATIENCE).unwrap();
    assert!(request.head.starts_with("POST /bot1:AB/sendMessage "), "{}", request.head);
    assert_eq!(request.field("content-type"), Some("application/json"));
    let expected = json!({
        "chat_id": "-1001",
        "text": format!("{TITLE}\n{TEXT}\n{LINK}"),
        "link_preview_options": { "is_disabled": true },
    });
    assert_eq!(body(&request), expected);
}

#[test]
fn ntfy_gets_its_json_and_the_token_as_bearer() {
    let (url, requests) = http_fake(200, "{}");
    let receiver = format!("by = \"ntfy\"\nurl = \"{url}/base/mine\"\nSECRET");
    outlet("tk_1", &receiver).send(&message()).unwrap();
    let request = requests.recv_timeout(PATIENCE).unwrap();
    assert!(request.head.starts_with("POST /base/ "), "{}", request.head);
    assert_eq!(request.field("authorization"), Some("Bearer tk_1"));
    let expected = json!({
        "topic": "mine", "title": TITLE, "message": TEXT, "tags": ["pick"], "click": LINK,
    });
    assert_eq!(body(&request), expected);
}

#[test]
fn discord_gets_content_without_markup_and_mentions_nobody() {
    let (url, requests) = http_fake(204, "");
    let discord = outlet(&format!("{url}/api/webhooks/1/t0ken"), "by = \"discord\"\nSECRET");
    assert_eq!(discord.send(&message()).unwrap(), "HTTP 204");
    let request = requests.recv_timeout(PATIENCE).unwrap();
    assert!(request.head.starts_with("POST /api/webhooks/1/t0ken "), "{}", request.head);
    let content = format!("{TITLE}\n{TEXT}\n{LINK}").replace('_', "\\_");
    let expected = json!({ "content": content, "allowed_mentions": { "parse": [] } });
    assert_eq!(body(&request), expected);
}

#[test]
fn a_webhook_gets_a_signed_message_that_a_program_can_read() {
    let (url, requests) = http_fake(200, "");
    let secret = "0123456789abcdef";
    let receiver = format!("by = \"webhook\"\nurl = \"{url}/x\"\nSECRET");
    outlet(secret, &receiver).send(&message()).unwrap();
    let request = requests.recv_timeout(PATIENCE).unwrap();
    let timestamp = request.field("adit-timestamp").unwrap();
    let expected = signature(secret.as_bytes(), timestamp, &request.body);
    assert_eq!(request.field("adit-signature"), Some(&*expected));
    assert_eq!(request.field("adit-delivery"), Some("5-0"));
    let expected = json!({
        "kinds": ["block_found"], "title": TITLE, "text": TEXT, "link": LINK,
    });
    assert_eq!((&body(&request)["event"], &body(&request)["data"]), (&json!("alert"), &expected));
}

#[test]
fn mail_is_sent_by_who_logs_in_and_what_the_server_says_is_told() {
    let (url, lines) = smtp_fake("250 fine");
    let receiver = format!(
        "by = \"mail\"\nurl = \"{url}\"\nfrom = \"Pool <pool@a.example>\"\n\
         to = [\"me@b.example\", \"you@c.example\"]\nuser = \"ann\"\nSECRET"
    );
    let said = outlet("pass", &receiver).send(&message()).unwrap();
    assert_eq!(said, "SMTP 250 queued as 42");
    let mut heard = Vec::new();
    while let Ok(line) = lines.recv_timeout(PATIENCE) {
        let is_last = line == ".";
        heard.push(line);
        if is_last {
            break;
        }
    }
    // \0ann\0pass
    for expected in [
        "AUTH PLAIN AGFubgBwYXNz",
        "MAIL FROM:<pool@a.example>",
        "RCPT TO:<me@b.example>",
        "RCPT TO:<you@c.example>",
        "Subject: Block 7 found on Vanta",
        LINK,
    ] {
        assert!(heard.iter().any(|line| line == expected), "{expected}: {heard:#?}");
    }
}

#[test]
fn a_mail_that_is_refused_is_told_in_the_servers_words() {
    let (url, _lines) = smtp_fake("550 not you");
    let receiver = format!(
        "by = \"mail\"\nurl = \"{url}\"\nfrom = \"pool@a.example\"\nto = [\"me@b.example\"]"
    );
    let refused = outlet("", &receiver).send(&message()).unwrap_err();
    assert!(refused.reason.contains("not you"), "{refused:?}");
}

#[test]
fn a_refusal_says_what_came_back_and_when_to_come_again_but_never_the_secret() {
    let body = "{\"ok\":false,\"description\":\"bot1:AB is unknown\",\
                \"parameters\":{\"retry_after\":7}}";
    let (url, _requests) = http_fake(429, body);
    let receiver = format!("by = \"telegram\"\nurl = \"{url}\"\nchat = \"1\"\nSECRET");
    let refused = outlet("1:AB", &receiver).send(&message()).unwrap_err();
    assert!(refused.reason.starts_with("HTTP 429 {\"ok\":false"), "{refused:?}");
    assert!(refused.reason.contains("bot(secret)"), "{refused:?}");
    assert_eq!(refused.retry_after, Some(Duration::from_secs(7)));
    let (url, _requests) = http_fake(429, "{\"retry_after\":0.5}");
    let refused = outlet(&format!("{url}/1/x"), "by = \"discord\"\nSECRET").send(&message());
    assert_eq!(refused.unwrap_err().retry_after, Some(Duration::from_millis(500)));
    // Nobody listens there.
    let dead = outlet("http://127.0.0.1:9/1/x", "by = \"discord\"\nSECRET").send(&message());
    let reason = dead.unwrap_err().reason;
    assert!(reason.starts_with("no answer: ") && !reason.contains("/1/x"), "{reason}");
}

#[test]
fn a_redirect_is_not_followed() {
    let (url, requests) = http_fake(307, "");
    let refused = outlet(&format!("{url}/1/x"), "by = \"discord\"\nSECRET").send(&message());
    assert_eq!(refused.unwrap_err().reason, "HTTP 307");
    assert!(requests.recv_timeout(PATIENCE).is_ok() && requests.try_recv().is_err());
}

/// The fake says nothing that TLS is: what it hears begins as TLS begins.
#[test]
fn https_and_smtps_speak_tls() {
    for (scheme, receiver) in [
        ("https", "by = \"ntfy\"\nurl = \"https://ADDRESS/t\""),
        (
            "smtps",
            "by = \"mail\"\nurl = \"smtps://ADDRESS\"\nfrom = \"a@b.example\"\n\
             to = [\"a@b.example\"]",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let hearing = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut start = [0; 2];
            std::io::Read::read_exact(&mut stream, &mut start).unwrap();
            start
        });
        assert!(outlet("", &receiver.replace("ADDRESS", &address)).send(&message()).is_err());
        assert_eq!(hearing.join().unwrap(), [0x16, 0x03], "{scheme}");
    }
}
