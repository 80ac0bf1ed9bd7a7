//! Settings that work, and what is said of those that do not.

use super::super::config::Wording;
use super::*;
use crate::coin::Coin;

const TOKEN: &str = "123456:ABC-secret";

fn read(folder: &tempfile::TempDir, receiver: &str) -> AlertsConfig {
    let secret = folder.path().join("secret");
    std::fs::write(&secret, format!("{TOKEN}\n")).unwrap();
    let long = folder.path().join("long");
    std::fs::write(&long, "0123456789abcdef\n").unwrap();
    let discord = folder.path().join("discord");
    std::fs::write(&discord, "https://discord.com/api/webhooks/1/hidden\n").unwrap();
    let text = receiver
        .replace("SECRET", &format!("secret_file = '{}'", secret.display()))
        .replace("LONG", &format!("secret_file = '{}'", long.display()))
        .replace("DISCORD", &format!("secret_file = '{}'", discord.display()));
    toml::from_str(&format!("[[receiver]]\nname = \"phone\"\n{text}")).unwrap()
}

fn complaint(receiver: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    read(&folder, receiver).receivers().err().map_or(String::new(), |error| error.to_string())
}

const NTFY: &str = "by = \"ntfy\"\nurl = \"https://ntfy.example/topic\"\n";
const MAIL: &str =
    "by = \"mail\"\nurl = \"smtps://mail.example:465\"\nfrom = \"Pool <a@b.example>\"\n";

#[test]
fn each_service_is_read_and_no_secret_is_shown() {
    for receiver in [
        NTFY.to_owned(),
        format!("{NTFY}SECRET"),
        "by = \"telegram\"\nchat = \"-1001\"\nSECRET".to_owned(),
        "by = \"discord\"\nDISCORD".to_owned(),
        "by = \"webhook\"\nurl = \"https://a.example/x\"\nLONG".to_owned(),
        format!("{MAIL}to = [\"me@b.example\"]\nuser = \"me\"\nSECRET"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let receivers = read(&folder, &receiver).receivers().unwrap();
        let shown = format!("{receivers:?}");
        for secret in [TOKEN, "hidden", "0123456789abcdef"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn what_cannot_work_is_refused_with_the_remedy() {
    let at = "alerts.receiver[0]";
    for (receiver, expected) in [
        ("by = \"ntfy\"".to_owned(), "url: name the topic, as https://ntfy.sh/TOPIC"),
        ("by = \"ntfy\"\nurl = \"https://ntfy.sh/\"".to_owned(), "url: name the topic"),
        ("by = \"ntfy\"\nurl = \"ftp://a/b\"".to_owned(), "url: write it as https://HOST/PATH"),
        (format!("{NTFY}chat = \"1\""), "chat: ntfy does not use it; leave it out"),
        ("by = \"telegram\"\nchat = \"1\"".to_owned(), "secret_file: name a file with the bot's"),
        ("by = \"telegram\"\nSECRET".to_owned(), "chat: name the chat"),
        ("by = \"discord\"\nSECRET".to_owned(), "secret_file: name a file with the channel's"),
        ("by = \"webhook\"\nurl = \"https://a/b\"".to_owned(), "secret_file: messages are signed"),
        (MAIL.to_owned(), "to: name from 1 to 20 addresses"),
        (format!("{MAIL}to = [\"me\"]"), "to: me is no mail address"),
        (format!("{MAIL}to = [\"a@b.c\"]\nuser = \"x\""), "user: set both user and secret_file"),
        (
            format!("{MAIL}to = [\"a@b.c\"]").replace("smtps://", "mail://"),
            "url: name the server, as smtps://HOST:465",
        ),
        (format!("{NTFY}ca_file = \"/no/file\""), "ca_file: /no/file"),
        (format!("{NTFY}secret_file = \"/no/file\""), "secret_file: /no/file: "),
        (format!("{NTFY}offline_minutes = 1"), "offline_minutes: must be from 2 to 720"),
        (format!("{NTFY}interval_seconds = 0"), "interval_seconds: must be from 1 to 86400"),
        (format!("{NTFY}events = []"), "events: name at least one"),
    ] {
        let complaint = complaint(&receiver);
        assert!(complaint.starts_with(&format!("{at}.{expected}")), "{receiver}: {complaint}");
        assert!(!complaint.contains(TOKEN), "{complaint}");
    }
}

#[test]
fn names_are_plain_and_each_is_anothers() {
    let named = |name: &str| {
        let text = format!("[[receiver]]\nname = \"{name}\"\n{NTFY}");
        let config: AlertsConfig = toml::from_str(&format!("{text}{text}")).unwrap();
        config.receivers().err().unwrap().to_string()
    };
    assert!(named("../x").starts_with("alerts.receiver[0].name: from 1 to 32 of a to z"));
    assert!(named("phone").starts_with("alerts.receiver[1].name: phone is called so too"));
    let config: AlertsConfig = toml::from_str("public_url = \"pool.example\"").unwrap();
    assert!(config.receivers().err().unwrap().to_string().contains("alerts.public_url: write it"));
}

#[test]
fn chain_and_amounts_are_called_as_the_coin_is() {
    let said = |coin: &Coin, network: &str| {
        let Wording { chain, symbol, .. } = AlertsConfig::default().wording(coin, network);
        format!("{chain}, {symbol}")
    };
    let vanta = Coin { name: "Vanta".to_owned(), symbol: "VANTA".to_owned() };
    assert_eq!(said(&Coin::default(), "mainnet"), "Bitcoin, BTC");
    assert_eq!(said(&Coin::default(), "regtest"), "Bitcoin regtest, BTC");
    assert_eq!(said(&vanta, "mainnet"), "Vanta, VANTA");
    assert_eq!(said(&vanta, "regtest"), "Vanta regtest, VANTA");
}
