//! A real bitcoind on regtest, in a folder of its own, on a port of its own.
//!
//! It talks JSON-RPC with it; what a block or a template means is not decided here.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Process, describe};
use crate::wait::until;

/// How long a node may take to answer after its start: a slow disk is given time.
const START_MAX: Duration = Duration::from_secs(60);
/// How long a node may take to end.
const STOP_MAX: Duration = Duration::from_secs(60);
/// How long one answer may take.
const RPC_MAX: Duration = Duration::from_secs(30);
/// Blocks after which the first coins can be spent, and one more.
const MATURE_BLOCKS: u32 = 101;
/// A wallet of the node, for payouts and payments.
const WALLET: &str = "testkit";

/// A node, running or stopped.
#[derive(Debug)]
pub struct Node {
    program: PathBuf,
    arguments: Vec<String>,
    directory: TempDir,
    rpc_port: u16,
    zmq_port: u16,
    process: Option<Process>,
}

impl Node {
    /// Starts a node with an empty chain.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// The same, with further arguments.
    pub fn start_with(arguments: &[&str]) -> Result<Self> {
        let mut node = Self {
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            program: program()?,
            directory: tempfile::Builder::new().prefix("adit-node-").tempdir()?,
            rpc_port: free_port()?,
            zmq_port: free_port()?,
            process: None,
        };
        node.launch()?;
        node.rpc("createwallet", &json!([WALLET, false, false, "", false, true, true]))
            .context("the node has no wallet")?;
        Ok(node)
    }

    /// Starts a node that owns coins that can be spent.
    pub fn start_funded() -> Result<Self> {
        let node = Self::start()?;
        node.generate(MATURE_BLOCKS)?;
        Ok(node)
    }

    /// Where programs reach it.
    pub fn rpc_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.rpc_port)
    }

    /// Where it publishes the hashes of new tips over ZMQ.
    pub fn zmq_hashblock(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.zmq_port)
    }

    /// The file with its user and password.
    pub fn cookie_file(&self) -> PathBuf {
        self.directory.path().join("regtest/.cookie")
    }

    /// Calls a method; the node's own error is in the failure.
    pub fn rpc(&self, method: &str, params: &Value) -> Result<Value> {
        let cookie = std::fs::read_to_string(self.cookie_file()).context("the node is not up")?;
        let body = json!({ "jsonrpc": "1.0", "id": 0, "method": method, "params": params });
        let answer = post(self.rpc_port, &cookie, &body.to_string())
            .with_context(|| format!("the node did not answer {method}"))?;
        let answer: Value = serde_json::from_str(&answer)
            .with_context(|| format!("the node answered {method} with: {answer}"))?;
        let field = |name| answer.get(name).cloned().unwrap_or_default();
        match field("error") {
            Value::Null => Ok(field("result")),
            error => Err(anyhow!("the node refused {method}: {error}")),
        }
    }

    /// Mines `blocks` to its own wallet, without any pool; gives their hashes.
    pub fn generate(&self, blocks: u32) -> Result<Vec<String>> {
        let hashes = self.rpc("generatetoaddress", &json!([blocks, self.new_address()?]))?;
        Ok(serde_json::from_value(hashes)?)
    }

    /// A new address of its wallet.
    pub fn new_address(&self) -> Result<String> {
        text(self.rpc("getnewaddress", &json!(["", "bech32"]))?)
    }

    /// Sends coins at `fee_rate` satoshis per virtual byte, to itself; gives the transaction's id.
    pub fn pay_itself(&self, fee_rate: u32) -> Result<String> {
        let to = self.new_address()?;
        let named = json!({ "address": to, "amount": 1, "fee_rate": fee_rate });
        text(self.rpc("sendtoaddress", &named)?)
    }

    /// Blocks in its chain, without the first.
    pub fn height(&self) -> Result<u64> {
        self.rpc("getblockcount", &json!([]))?.as_u64().context("getblockcount gave no number")
    }

    /// Hash of the tip, display order.
    pub fn tip(&self) -> Result<String> {
        text(self.rpc("getbestblockhash", &json!([]))?)
    }

    /// Hash of the block at `height`, display order.
    pub fn hash_at(&self, height: u64) -> Result<String> {
        text(self.rpc("getblockhash", &json!([height]))?)
    }

    /// Writes its chain to disk, as it does by itself only now and then: what a kill right after it
    /// leaves is what a node has that ran for a while.
    pub fn flush(&self) -> Result<()> {
        self.rpc("gettxoutsetinfo", &json!(["none"])).map(drop)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again on the same chain and the same port.
    pub fn restart(&mut self) -> Result<()> {
        self.process = None;
        self.launch()
    }

    /// Ends it as a person would.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.stop(STOP_MAX)?;
        }
        Ok(())
    }

    fn launch(&mut self) -> Result<()> {
        // The cookie of a killed node would be read as the new one's.
        let _ = std::fs::remove_file(self.cookie_file());
        let mut command = Command::new(&self.program);
        command
            .arg(format!("-datadir={}", self.directory.path().display()))
            .arg(format!("-rpcport={}", self.rpc_port))
            .arg(format!("-zmqpubhashblock={}", self.zmq_hashblock()))
            .args(["-regtest", "-server", "-listen=0", "-dnsseed=0", "-discover=0"])
            .args(["-natpmp=0", "-fallbackfee=0.0001", "-dbcache=16", "-par=1"])
            .args(["-printtoconsole=0", "-rpcbind=127.0.0.1", "-rpcallowip=127.0.0.1"])
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut process = Process::start(&mut command)?;
        let waited = until("the node to answer", START_MAX, || match process.ending()? {
            Some(status) => Err(anyhow!("the node {}", describe(status))),
            None => Ok(self.height().ok()),
        });
        waited.with_context(|| self.debug_log_tail())?;
        self.process = Some(process);
        Ok(())
    }

    fn debug_log_tail(&self) -> String {
        let path = self.directory.path().join("regtest/debug.log");
        let log = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(10).collect();
        format!("the node said last:\n{}", lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
    }
}

/// A port that nobody has. Another program may take it before it is used; that shows as a node
/// that does not start.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// $BITCOIND, or what scripts/node of this checkout finds or brings.
fn program() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("BITCOIND") {
        return Ok(given.into());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/node");
    let output =
        Command::new(&script).arg("--print").stderr(Stdio::inherit()).output().with_context(
            || format!("no bitcoind: set BITCOIND, for {} fails", script.display()),
        )?;
    let printed = String::from_utf8_lossy(&output.stdout);
    match printed.lines().last() {
        Some(path) if output.status.success() => Ok(path.into()),
        _ => {
            bail!("no bitcoind: set BITCOIND to one, or run scripts/node, which says what it lacks")
        }
    }
}

fn text(value: Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(anyhow!("the node gave {other} where a text was expected")),
    }
}

/// One HTTP/1.0 request: the server closes after its answer, so that reading to the end is enough.
fn post(port: u16, user_and_password: &str, body: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(RPC_MAX))?;
    let credentials = STANDARD.encode(user_and_password.trim());
    write!(
        stream,
        "POST / HTTP/1.0\r\nAuthorization: Basic {credentials}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    if body.is_empty() {
        let status = head.lines().next().unwrap_or_default();
        bail!("an empty answer: {status}");
    }
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_mines_pays_and_keeps_its_chain_over_a_kill() {
        let mut node = Node::start_funded().unwrap();
        let transaction = node.pay_itself(20).unwrap();
        let pool = node.rpc("getrawmempool", &json!([])).unwrap();
        assert_eq!(pool, json!([transaction]));
        let refused = node.rpc("getblockhash", &json!([1_000_000])).unwrap_err().to_string();
        assert!(refused.contains("out of range"), "{refused}");
        node.flush().unwrap();
        let tip = node.tip().unwrap();
        node.kill();
        assert!(node.height().is_err());
        node.restart().unwrap();
        assert_eq!((node.height().unwrap(), node.tip().unwrap()), (101, tip));
    }
}
