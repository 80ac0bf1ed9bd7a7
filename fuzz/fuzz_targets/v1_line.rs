//! Lines of Stratum V1: how they are cut does not depend on how they arrive, and what is read is
//! written so that it is read the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::sv1::line::LineBuffer;
use wire::sv1::login::{Authorize, Configure, Subscribe, Subscribed};
use wire::sv1::notify::{Notify, read_difficulty, read_extranonce};
use wire::sv1::request::{Line, Params};
use wire::sv1::response::{error_line, result_line};
use wire::sv1::submit::Submit;

const LINE_BYTES_MAX: usize = 1_024;

fuzz_target!(|data: &[u8]| {
    let whole = cut(&[data]);
    let single: Vec<_> = data.chunks(1).collect();
    let pieces = cut(&single);
    // An end that comes late is one all the same: the lines before it are there either way.
    assert_eq!(whole, pieces);
    for line in whole.0 {
        read(&String::from_utf8_lossy(&line));
    }
});

/// The lines, and if the connection was ended.
fn cut(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
    let mut buffer = LineBuffer::new(LINE_BYTES_MAX);
    let mut lines = Vec::new();
    for piece in pieces {
        buffer.receive(piece);
        loop {
            match buffer.next_line() {
                Ok(Some(line)) => lines.push(line.to_vec()),
                Ok(None) => break,
                Err(_) => return (lines, true),
            }
        }
        assert!(buffer.len() <= LINE_BYTES_MAX + 1, "{} bytes are kept", buffer.len());
    }
    (lines, false)
}

fn read(line: &str) {
    match Line::parse(line) {
        Err(_) => {}
        Ok(Line::Request(request)) => {
            is_json(&result_line(&request.id, "true"));
            is_json(&error_line(&request.id, 20, &request.method));
            read_params(&request.params);
        }
        Ok(Line::Response(response)) => {
            let (outcome, is_true) = (response.outcome(), response.is_true());
            assert!(outcome.is_ok() || !is_true);
            if let Ok(result) = outcome {
                let _ = Configure::granted_mask(result);
                read_subscribed(Subscribed::read(result).ok());
            }
        }
    }
}

fn read_params(params: &Params<'_>) {
    if let Ok(submit) = Submit::read(params) {
        with_params(&submit.line(1), |params| assert_eq!(Submit::read(params), Ok(submit.clone())));
    }
    if let Ok(notify) = Notify::read(params) {
        let line = String::from_utf8(notify.line().to_vec()).unwrap();
        with_params(&line, |params| assert_eq!(Notify::read(params), Ok(notify.clone())));
    }
    if let Ok(authorize) = Authorize::read(params) {
        let line = Authorize::line(1, &authorize.worker, &authorize.password);
        with_params(&line, |params| assert_eq!(Authorize::read(params), Ok(authorize.clone())));
    }
    if let Ok(configure) = Configure::read(params) {
        is_json(&configure.result(0x1fff_e000, &["minimum-difficulty"]));
    }
    drop(Subscribe::read(params));
    if let Ok(difficulty) = read_difficulty(params) {
        assert!(difficulty.is_finite() && difficulty > 0.0, "{difficulty}");
    }
    drop(read_extranonce(params));
}

fn read_subscribed(subscribed: Option<Subscribed>) {
    let Some(subscribed) = subscribed else { return };
    let line = format!(r#"{{"id":1,"result":{},"error":null}}"#, subscribed.result());
    let Ok(Line::Response(response)) = Line::parse(&line) else { panic!("{line}") };
    assert_eq!(Subscribed::read(response.outcome().unwrap()), Ok(subscribed));
}

fn with_params(line: &str, check: impl FnOnce(&Params<'_>)) {
    let Ok(Line::Request(request)) = Line::parse(line.trim_end()) else { panic!("{line}") };
    check(&request.params);
}

fn is_json(line: &str) {
    let read: Result<serde_json::Value, _> = serde_json::from_str(line);
    assert!(read.is_ok() && line.trim_end().lines().count() == 1, "{line}");
}
