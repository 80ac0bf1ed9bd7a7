//! What the file, the `.env` file and the environment come to.

use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Settings {
    node: Node,
    #[serde(default)]
    peer: Vec<Node>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Node {
    url: String,
    poll_ms: u32,
}

fn read(text: &str, variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    parse(Path::new("x.toml"), text, "PROGRAM", variables)
}

#[test]
fn an_unknown_key_is_refused_by_name_and_line() {
    let error = read("[node]\nurl = \"a\"\npol_ms = 1\n", &[]).unwrap_err().to_string();
    assert!(error.contains("pol_ms"), "{error}");
    assert!(error.contains("line 3"), "{error}");
}

#[test]
fn what_stands_at_the_wrong_place_is_not_shown() {
    let wrong = |text: &str, variables: &[(&str, &str)]| {
        let error = read(text, variables).unwrap_err().to_string();
        assert!(!error.contains("hunter") && !error.contains("987654"), "{error}");
        error
    };
    let error = wrong("[node]\npoll_ms = 1\nurl = hunter2secret\n", &[]);
    assert!(error.contains("line 3, column 7, node.url"), "{error}");
    let error = wrong("[node]\npoll_ms = 1\nurl = 987654321\n", &[]);
    assert!(error.contains("node.url: invalid type, expected a string"), "{error}");
    let error = wrong("[node]\nurl = \"hunter\npoll_ms = 1\n", &[]);
    assert!(error.contains("line 2"), "{error}");
    let variables = [("PROGRAM__NODE__POLL_MS", "hunter")];
    let error = wrong("[node]\nurl = \"a\"\n", &variables);
    assert!(error.contains("node.poll_ms") && error.contains("expected u32"), "{error}");
}

#[test]
fn an_unknown_key_keeps_its_line_when_a_variable_is_set() {
    let text = "[node]\nurl = \"a\"\npoll_ms = 1\nother = 1\n";
    let error = read(text, &[("PROGRAM__NODE__URL", "b")]).unwrap_err().to_string();
    assert!(error.contains("line 4"), "{error}");
}

#[test]
fn a_variable_overrides_and_completes_the_file() {
    let settings = read(
        "[node]\nurl = \"a\"\n",
        &[
            ("PROGRAM__NODE__URL", "http://b:1"),
            ("PROGRAM__NODE__POLL_MS", "7"),
            ("OTHER__NODE__URL", "c"),
        ],
    );
    let node = Node { url: "http://b:1".into(), poll_ms: 7 };
    assert_eq!(settings.unwrap(), Settings { node, peer: vec![] });
}

#[test]
fn an_address_is_host_and_port_and_no_url() {
    let split = |address| host_and_port("upstream.address", address).ok();
    assert_eq!(split("pool.example:34254"), Some(("pool.example".to_owned(), 34_254)));
    assert_eq!(split("[::1]:34254"), Some(("[::1]".to_owned(), 34_254)));
    assert_eq!(split("stratum2+tcp://pool.example:34254"), None);
    assert_eq!(split("stratum2+tcp://pool.example:34254/KEY"), None);
    assert_eq!(split("pool.example"), None);
}

#[test]
fn a_text_of_digits_is_still_a_text() {
    let settings = read(
        "[node]\nurl = \"a\"\n",
        &[("PROGRAM__NODE__URL", "123"), ("PROGRAM__NODE__POLL_MS", "7")],
    );
    assert_eq!(settings.unwrap().node, Node { url: "123".into(), poll_ms: 7 });
}

#[test]
fn a_variable_reaches_into_a_repeated_section() {
    let text = "[node]\nurl = \"a\"\npoll_ms = 1\n[[peer]]\nurl = \"a\"\npoll_ms = 1\n";
    let settings = read(text, &[("PROGRAM__PEER__0__URL", "b")]).unwrap();
    assert_eq!(settings.peer[0].url, "b");
}

#[test]
fn a_variable_for_an_unknown_key_is_refused_by_name() {
    let text = "[node]\nurl = \"a\"\npoll_ms = 1\n";
    let error = read(text, &[("PROGRAM__NODE__PORT", "1")]).unwrap_err().to_string();
    assert!(error.contains("port"), "{error}");
}

fn read_with_env_file(env_file: &str, variable: Option<&str>) -> Result<Settings, ConfigError> {
    let text = "[node]\nurl = \"file\"\npoll_ms = 1\n";
    let source = Source { path: Path::new("x.toml"), text, program: "program", prefix: "PROGRAM" };
    let env_file = EnvFile::parse(Path::new(".env"), env_file);
    let take_over: TakeOver = |keys| {
        if let Some(url) = keys.text("URL") {
            keys.set("node.url", url);
        }
        Ok(())
    };
    let variable = variable.map(|value| ("PROGRAM__NODE__URL".to_owned(), value.to_owned()));
    parse_with_env_file(source, env_file, take_over, variable).map(|(settings, _)| settings)
}

#[test]
fn the_env_file_stands_over_the_file_and_the_environment_over_both() {
    let url = |env_file, variable| read_with_env_file(env_file, variable).unwrap().node.url;
    assert_eq!(url("", None), "file");
    assert_eq!(url("URL=env-file", None), "env-file");
    assert_eq!(url("URL=env-file", Some("environment")), "environment");
    assert_eq!(url("", Some("environment")), "environment");
}

#[test]
fn a_text_of_the_env_file_stays_a_text() {
    assert_eq!(read_with_env_file("URL=123", None).unwrap().node.url, "123");
}
