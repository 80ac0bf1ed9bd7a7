//! The keys of a Python server's `.env` that are the provider's: the node, the chain's extra
//! outputs, and where they come from and go to.

use service::config::ConfigError;
use service::drop_in::{DropIn, NetworkKey, Remark, Table};

/// Where a node is if nothing is said of its host.
const HERE: (&str, Option<u16>) = ("127.0.0.1", None);
/// Notes of the Python server that its sidecar has not taken yet; beside its `.env`.
const QUEUE_FILE: &str = "pending_l2_submissions.json";

/// Makes settings of the keys.
pub(super) fn take_over(keys: &mut DropIn) -> Result<(), ConfigError> {
    node(keys)?;
    shielded(keys)?;
    sidechain(keys)
}

fn node(keys: &mut DropIn) -> Result<(), ConfigError> {
    if let Some(address) = keys.address(("RPC_HOST", "RPC_PORT"), HERE)? {
        keys.set("node.rpc_url", format!("http://{address}"));
    }
    if let Some((user, password)) = keys.login("RPC_USER", "RPC_PASSWORD")? {
        keys.remove("node.cookie_file");
        keys.remove("node.password_file");
        keys.set("node.user", user);
        keys.set("node.password", password);
    }
    if let Some(network) = keys.network()? {
        let name = match network {
            NetworkKey::Mainnet => "mainnet",
            NetworkKey::Testnet => "testnet",
            NetworkKey::Signet => "signet",
            NetworkKey::Regtest => "regtest",
        };
        keys.set("node.network", name);
    }
    // There, new jobs came so often; here too, and at once when there is a new tip.
    if let Some(seconds) = keys.number("JOB_REFRESH_INTERVAL", 1..=3600_i64)? {
        keys.set("node.template_refresh_seconds", seconds);
    }
    Ok(())
}

fn shielded(keys: &mut DropIn) -> Result<(), ConfigError> {
    let pubkey = keys.hex("SHIELDED_PUBKEY", 32, "the public key of the rewards' owner")?;
    let (notes_file, sidecar) = (keys.text("SHIELDED_NOTES_FILE"), keys.text("SIDECAR_URL"));
    let Some(pubkey) = pubkey else {
        let unused = [("SHIELDED_NOTES_FILE", notes_file), ("SIDECAR_URL", sidecar)];
        for (key, _) in unused.into_iter().filter(|(_, value)| value.is_some()) {
            warn(keys, &format!("{key} has no effect without SHIELDED_PUBKEY"));
        }
        // The Python server did not start then either.
        let remedy = "write the 64 hex characters of the public key of the rewards' owner";
        let is_blank = keys.has("SHIELDED_PUBKEY") && keys.setting("shielded.pubkey").is_none();
        return if is_blank { Err(keys.bad("SHIELDED_PUBKEY", remedy)) } else { Ok(()) };
    };
    keys.remove("shielded.pubkey_file");
    keys.set("shielded.pubkey", pubkey);
    match sidecar {
        Some(url) => keys.set("shielded.sidecar_url", url),
        None if keys.setting("shielded.sidecar_url").is_some() => {}
        None => {
            let remedy = "write http://HOST:PORT of the sidecar that takes the notes, here or as \
                          shielded.sidecar_url";
            return Err(keys.bad("SIDECAR_URL", remedy));
        }
    }
    if let Some(file) = notes_file {
        keys.set("shielded.notes_file", file);
    }
    let is_test = keys.setting("node.network").is_some_and(|name| name.as_str() != Some("mainnet"));
    if is_test && keys.setting("shielded.test_network").is_none() {
        keys.set("shielded.test_network", true);
    }
    let queue = keys.path().with_file_name(QUEUE_FILE);
    if queue.is_file() && keys.setting("outbox.import_file").is_none() {
        keys.set("outbox.import_file", queue.display().to_string());
    }
    Ok(())
}

/// Keys of `[[bmm]]` that belong to a source: those of another one would be in the way.
const SOURCE_KEYS: [&str; 6] = ["url", "user", "password", "password_file", "path", "command"];

fn sidechain(keys: &mut DropIn) -> Result<(), ConfigError> {
    let is_on = keys.is_on("ENABLE_SIDECHAIN")?;
    let address = keys.address(("SC_RPC_HOST", "SC_RPC_PORT"), HERE)?;
    let login = keys.login("SC_RPC_USER", "SC_RPC_PASSWORD")?;
    let slot = keys.number("SIDECHAIN_NUMBER", 0..=255_u8)?.unwrap_or(0);
    if !is_on {
        return Ok(());
    }
    let Some(address) = address else {
        return Err(
            keys.bad("SC_RPC_PORT", "write the sidechain's RPC port: ENABLE_SIDECHAIN is 1")
        );
    };
    let mut table = Table::new();
    table.insert("slot".to_owned(), i64::from(slot).into());
    table.insert("source".to_owned(), "sidechain_rpc".into());
    table.insert("url".to_owned(), format!("http://{address}").into());
    if let Some((user, password)) = login {
        table.insert("user".to_owned(), user.into());
        table.insert("password".to_owned(), password.into());
    }
    keys.put("bmm", "slot", table, &SOURCE_KEYS);
    Ok(())
}

fn warn(keys: &mut DropIn, text: &str) {
    let text = format!("{}: {text}", keys.path().display());
    keys.remark(Remark::Warning(text));
}

#[cfg(test)]
mod tests;
