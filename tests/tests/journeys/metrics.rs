//! What the three programs show at /metrics, started with a newcomer's settings; who asks for it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use testkit::node::Node;
use testkit::program::{Launch, Program, Programs};
use testkit::wait::until;
use testkit::world::address_of;

use super::{SOON, alone};

const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
const DOCUMENT: &str = "docs/metrics.md";
const BEGIN: &str = "<!-- begin -->\n";
const END: &str = "<!-- end -->";

/// One program, and where it shows its numbers.
struct Shown {
    _program: Program,
    health: String,
}

impl Shown {
    /// Starts `name` with the settings in `folder`, its `ports` replaced, and gives what it
    /// says behind `said` too.
    fn start(
        programs: &Programs,
        folder: &Path,
        name: &str,
        ports: &[(&str, &str)],
        said: &str,
    ) -> Result<(Self, String)> {
        let file = folder.join(format!("{name}.toml"));
        let mut text = fs::read_to_string(&file)?;
        for (port, other) in ports {
            ensure!(text.contains(port), "{name} has no {port} in its settings");
            text = text.replace(port, other);
        }
        fs::write(&file, text)?;
        let mut program = Program::start(Launch::server(name, programs.path(name)?, file, "info"))?;
        // In whatever order it says the two.
        let listens = program.wait_said(said)?;
        let health = program.wait_said("health at http://")?;
        let health = health.trim_end_matches("/health").to_owned();
        Ok((Self { _program: program, health }, listens))
    }

    fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.health)?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn wait_until_well(&self) -> Result<()> {
        until("a good /health", SOON, || {
            Ok(self.get("/health")?.starts_with("HTTP/1.0 200").then_some(()))
        })
    }
}

/// The three programs, each of them well.
fn stack(programs: &Programs, node: &Node, folder: &Path) -> Result<[Shown; 3]> {
    let made = Command::new(programs.path("pool-sv2")?)
        .args(["init", "--rpc-url", &node.rpc_url(), "--address", ADDRESS, "--cookie-file"])
        .arg(node.cookie_file())
        .arg("--dir")
        .arg(folder)
        .output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let any = "127.0.0.1:0";
    let ports = [("127.0.0.1:8442", any), ("127.0.0.1:9101", any)];
    let start = |name, ports: &[_], said| Shown::start(programs, folder, name, ports, said);
    let (provider, url) = start("template-provider", &ports, "templates at ")?;
    let templates = address_of(&url);
    let ports = [("0.0.0.0:34254", any), ("127.0.0.1:8442", templates), ("127.0.0.1:8082", any)];
    let (pool, url) = start("pool-sv2", &ports, "mining at ")?;
    let ports =
        [("0.0.0.0:3333", any), ("127.0.0.1:34254", address_of(&url)), ("127.0.0.1:9103", any)];
    let (translator, _) = start("translator-v1", &ports, "mining at ")?;
    let stack = [provider, pool, translator];
    stack.iter().try_for_each(Shown::wait_until_well)?;
    Ok(stack)
}

/// Name, kind and help of each metric, as a table's rows.
fn rows(metrics: &str) -> Vec<String> {
    let of = |mark: &'static str| {
        metrics.lines().filter_map(move |line| line.strip_prefix(mark)?.split_once(' '))
    };
    let mut rows: Vec<_> = of("# HELP ")
        .map(|(name, help)| {
            let kind = of("# TYPE ").find(|(typed, _)| *typed == name).map_or("", |(_, kind)| kind);
            let total = if kind == "counter" { "_total" } else { "" };
            format!("| `{name}{total}` | {kind} | {} |", help.trim_end_matches('.'))
        })
        .collect();
    rows.sort();
    rows
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `document` with `table` between its marks.
fn with_table(document: &str, table: &str) -> Result<String> {
    let (head, rest) = document.split_once(BEGIN).context("the table has no beginning")?;
    let (_, tail) = rest.split_once(END).context("the table has no end")?;
    Ok(format!("{head}{BEGIN}{table}{END}{tail}"))
}

#[test]
fn every_metric_of_a_stack_that_init_made_stands_in_the_document() {
    let _alone = alone();
    let (programs, node) = (Programs::built().unwrap(), Node::start().unwrap());
    let folder = tempfile::tempdir().unwrap();
    // A node whose last block is old offers no templates.
    node.generate(1).unwrap();
    let stack = stack(&programs, &node, &folder.path().join("adit")).unwrap();
    let mut table = String::new();
    for (name, shown) in ["template-provider", "pool-sv2", "translator-v1"].iter().zip(&stack) {
        let metrics = shown.get("/metrics").unwrap();
        let rows = rows(&metrics).join("\n");
        write!(table, "\n### {name}\n\n| metric | kind | what it is |\n|---|---|---|\n{rows}\n")
            .unwrap();
        assert!(!metrics.contains("_neighbour_up{neighbour=\"node\"} 0"), "{metrics}");
    }
    table.push('\n');
    let pool = stack[1].get("/metrics").unwrap();
    assert!(!pool.contains("pool_sv2_template_timestamp_seconds 0"), "{pool}");
    let health: Vec<_> = stack.iter().map(|shown| shown.get("/health").unwrap()).collect();
    for (health, figure) in [
        (&health[0], "\"outbox_pending\":0"),
        (&health[1], "\"connections\":1"),
        (&health[1], "\"store_lag_records\":0"),
        (&health[1], "\"template_age_seconds\":"),
        (&health[1], "\"tip_age_seconds\":"),
    ] {
        assert!(health.contains(figure), "{figure} is not in {health}");
    }
    let file = root().join(DOCUMENT);
    let document = fs::read_to_string(&file).unwrap();
    let wanted = with_table(&document, &table).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, wanted).unwrap();
    } else {
        assert_eq!(document, wanted, "run this with UPDATE_DOCS=1 and look at what changed");
    }
}

/// All words in `text` that begin like a metric of ours.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
    let of_ours = ["pool_sv2_", "translator_", "template_provider_"];
    words.filter(|word| of_ours.iter().any(|start| word.starts_with(start))).collect()
}

#[test]
fn alarms_and_dashboards_ask_for_metrics_that_there_are() {
    let document = fs::read_to_string(root().join(DOCUMENT)).unwrap();
    let known = metrics_in(&document);
    let folder = root().join("config/monitoring");
    let dashboards = fs::read_dir(folder.join("grafana/dashboards")).unwrap();
    let mut files: Vec<_> = dashboards.map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty());
    files.push(folder.join("alerts.yml"));
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for name in metrics_in(&text) {
            // A histogram is asked for by its parts.
            let name = name.trim_end_matches("_bucket");
            assert!(known.contains(name), "{}: there is no {name}", file.display());
        }
        if file.extension().is_some_and(|it| it == "json") {
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
    }
}
