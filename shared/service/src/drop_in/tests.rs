//! Each kind of key, well and badly written.

use super::*;

fn drop_in(text: &str) -> DropIn {
    let settings = toml::from_str(
        "[node]\nold = 1\n[[bmm]]\nslot = 3\nold = 1\nkept = 1\n[[bmm]]\nslot = 4\n",
    );
    DropIn::new(EnvFile::parse(Path::new(".env"), text), settings.unwrap())
}

fn complaint<T: std::fmt::Debug>(result: Result<T, ConfigError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn host_and_port_make_an_address() {
    let with_default = |text: &str, port| {
        drop_in(text).address(("RPC_HOST", "RPC_PORT"), ("127.0.0.1", port)).unwrap()
    };
    let address = |text: &str| with_default(text, None);
    assert_eq!(with_default("RPC_HOST=h", Some(7)).as_deref(), Some("h:7"));
    assert_eq!(with_default("", Some(7)), None);
    assert_eq!(address(""), None);
    assert_eq!(address("RPC_HOST=h\nRPC_PORT=1").as_deref(), Some("h:1"));
    assert_eq!(address("RPC_PORT=18443").as_deref(), Some("127.0.0.1:18443"));
    assert_eq!(address("RPC_HOST=::1\nRPC_PORT=1").as_deref(), Some("[::1]:1"));
}

#[test]
fn half_an_address_and_half_a_login_are_refused_by_the_key_that_lacks() {
    let address = |text: &str| drop_in(text).address(("RPC_HOST", "RPC_PORT"), ("127.0.0.1", None));
    for (text, key) in [
        ("RPC_HOST=h", "RPC_PORT"),
        ("RPC_PORT=0", "RPC_PORT"),
        ("RPC_PORT=65536", "RPC_PORT"),
        ("RPC_HOST=http://h\nRPC_PORT=1", "RPC_HOST"),
    ] {
        assert!(complaint(address(text)).starts_with(&format!("{key} in .env: write")), "{text}");
    }
    let login = |text: &str| drop_in(text).login("RPC_USER", "RPC_PASSWORD");
    assert!(complaint(login("RPC_USER=u")).starts_with("RPC_PASSWORD in .env: write"));
    let error = complaint(login("RPC_PASSWORD=hunter2"));
    assert!(error.starts_with("RPC_USER in .env: write"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    assert_eq!(login("RPC_USER=u\nRPC_PASSWORD=p").unwrap(), Some(("u".into(), "p".into())));
}

#[test]
fn a_number_out_of_range_is_refused_with_the_range() {
    let number = |text: &str| drop_in(text).number("SIDECHAIN_NUMBER", 0..=255_u8);
    assert_eq!(number("SIDECHAIN_NUMBER=255").unwrap(), Some(255));
    assert_eq!(number("SIDECHAIN_NUMBER=").unwrap(), None);
    for bad in ["256", "-1", "one", "1.0"] {
        let error = complaint(number(&format!("SIDECHAIN_NUMBER={bad}")));
        assert_eq!(error, "SIDECHAIN_NUMBER in .env: write a number from 0 to 255");
    }
}

#[test]
fn hex_of_another_length_or_with_other_signs_is_refused_unseen() {
    let hex = |value: &str| drop_in(&format!("PKH={value}")).hex("PKH", 2, "a short hash");
    assert_eq!(hex("BEEF").unwrap().as_deref(), Some("beef"));
    for bad in ["bee", "beeff", "beex", "béé"] {
        let error = complaint(hex(bad));
        assert_eq!(error, "PKH in .env: write the 4 hex characters of a short hash");
    }
}

#[test]
fn a_number_that_is_not_above_zero_is_refused() {
    let positive = |value: &str| drop_in(&format!("D={value}")).positive("D");
    assert_eq!(positive("0.5").unwrap(), Some(0.5));
    for bad in ["0", "-1", "inf", "NaN", "much"] {
        assert!(complaint(positive(bad)).contains("above 0"), "{bad}");
    }
}

#[test]
fn yes_and_no_have_several_names_and_others_are_refused() {
    let is_on =
        |value: &str| drop_in(&format!("ENABLE_SIDECHAIN={value}")).is_on("ENABLE_SIDECHAIN");
    for (value, expected) in [("1", true), ("True", true), ("0", false), ("", false), ("no", false)]
    {
        assert_eq!(is_on(value).unwrap(), expected, "{value}");
    }
    assert!(complaint(is_on("2")).contains("write 1 or 0"));
}

#[test]
fn a_network_of_another_name_is_refused() {
    let network = |value: &str| drop_in(&format!("NETWORK={value}")).network();
    assert_eq!(network("testnet").unwrap(), Some(NetworkKey::Testnet));
    assert_eq!(network("").unwrap(), None);
    assert!(complaint(network("bitcoin")).starts_with("NETWORK in .env: write mainnet"));
}

#[test]
fn settings_are_set_removed_and_put_in_place_of_their_like() {
    let mut keys = drop_in("");
    keys.set("node.new", 2);
    keys.set("fresh.key", "x");
    keys.remove("node.old");
    keys.put("bmm", "slot", toml::from_str("slot = 3\nnew = true").unwrap(), &["old"]);
    keys.put("bmm", "slot", toml::from_str("slot = 5").unwrap(), &[]);
    assert_eq!(keys.setting("fresh.key"), Some(&Value::String("x".to_owned())));
    let expected = "[node]\nnew = 2\n[[bmm]]\nslot = 3\nkept = 1\nnew = true\n\
                    [[bmm]]\nslot = 4\n[[bmm]]\nslot = 5\n[fresh]\nkey = 'x'\n";
    let settings = keys.finish("template-provider", "TEMPLATE_PROVIDER").settings;
    assert_eq!(settings, toml::from_str(expected).unwrap());
}

#[test]
fn every_key_that_the_program_does_not_read_is_named_and_no_value_is() {
    let mut keys = drop_in(
        "STRATUM_PORT=3333\nRPC_HOST=h\nMINER_PKH_HEX=beef\nCOLOUR=red\nVANTA_L2_URL=http://x\n\
         nonsense\nPOOL_SV2__LISTEN__ADDRESS=h:1\nTEMPLATE_PROVIDER__NODE__RPC_URL=http://h:1\n",
    );
    keys.text("RPC_HOST");
    let taken = keys.finish("template-provider", "TEMPLATE_PROVIDER");
    let variable = ("TEMPLATE_PROVIDER__NODE__RPC_URL".to_owned(), "http://h:1".to_owned());
    assert_eq!(taken.variables, [variable]);
    let expected = [
        Remark::Warning(".env: line 6 is no KEY=VALUE and was left out".to_owned()),
        Remark::Warning(".env: COLOUR is not supported and has no effect".to_owned()),
        Remark::Warning(
            ".env: VANTA_L2_URL is not supported and has no effect; if it is where the sidecar \
             takes notes, call it SIDECAR_URL"
                .to_owned(),
        ),
        Remark::Note(
            ".env: for other programs: MINER_PKH_HEX (pool-sv2); STRATUM_PORT (translator-v1)"
                .to_owned(),
        ),
    ];
    assert_eq!(taken.remarks, expected);
}
