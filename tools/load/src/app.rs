//! Where the parts meet: servers are started or found, measured one after the other, and shown.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Map, Value, json};
use service::program::{Failure, say};

use crate::arguments::{Arguments, Command, Software, V1Arguments, What};
use crate::figures::{Figures, times_better};
use crate::floor::{self, Sends};
use crate::plan::Plan;
use crate::process::Watched;
use crate::progress::Progress;
use crate::provider::Provider;
use crate::run::{Run, Subject};
use crate::started::{Launch, Started};
use crate::table::{Column, table};
use crate::{pools, translators};

/// Descriptors besides those of connections.
const DESCRIPTORS_BESIDES: u64 = 128;
/// Where templates are served to a pool that this program starts.
const ANY_PORT: &str = "127.0.0.1:0";

/// Measures what the arguments ask for.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Measure(what) => measure(what),
        Command::Floor(floor) => measure_floor(&floor.sends(processors())),
    }
}

fn measure_floor(sends: &Sends) -> Result<(), Failure> {
    // Both ends are here.
    make_room(sends.connections, 2)?;
    let column =
        Column { name: "plain send".to_owned(), figures: floor::measure(sends)?, ended: None };
    say(table(&[column]));
    Ok(())
}

fn measure(what: &What) -> Result<(), Failure> {
    let load = what.load();
    let plan = load.plan().map_err(Failure::Usage)?;
    make_room(plan.connections, 1)?;
    let columns = match load.resolved().map_err(Failure::Usage)? {
        Some(address) => vec![measure_running(what, &plan, address)?],
        None => measure_started(what, &plan)?,
    };
    say(table(&columns));
    if let Some(path) = &load.json {
        write_json(path, what, &plan, &columns)?;
    }
    match columns.iter().find(|column| column.name != Software::Sri.name()) {
        Some(Column { ended: Some(ended), name, .. }) => {
            Err(Failure::Internal(anyhow::anyhow!("{name} ended early: {ended}")))
        }
        _ => Ok(()),
    }
}

/// Raises the limit of open files as far as it goes, for connections with so many of their ends in
/// this program; the pools that are started inherit it.
fn make_room(connections: usize, ends: usize) -> Result<(), Failure> {
    let files = u64::try_from(connections.saturating_mul(ends)).unwrap_or(u64::MAX);
    let wanted = files.saturating_add(DESCRIPTORS_BESIDES);
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    setrlimit(Resource::Nofile, raised).context("the limit of open files cannot be raised")?;
    let Some(limit) = maximum.filter(|limit| *limit < wanted) else { return Ok(()) };
    Err(Failure::Usage(format!(
        "--connections: {connections} connections need {wanted} open files and this user may have \
         {limit}; raise the hard limit (ulimit -Hn) or open fewer"
    )))
}

fn measure_running(what: &What, plan: &Plan, address: SocketAddr) -> Result<Column> {
    let load = what.load();
    let mut provider = load.provider.as_deref().map(Provider::start).transpose()?;
    if let Some(provider) = &mut provider {
        say(format_args!("templates at {}/{}", provider.address(), provider.key()));
        provider.wait_for_pool()?;
    }
    let name = what.name();
    let progress = Progress::new(name);
    let (kinds, authority) = (what.kinds(), what.authority());
    let subject = Subject { name, address, authority, kinds, process: load.pid.map(Watched::new) };
    let (figures, ended) = Run::new(plan, subject, provider.as_mut(), &progress)?.measure();
    Ok(Column { name: name.to_owned(), figures, ended })
}

fn measure_started(what: &What, plan: &Plan) -> Result<Vec<Column>> {
    what.load().start.iter().map(|software| measure_one(what, plan, *software)).collect()
}

fn measure_one(what: &What, plan: &Plan, software: Software) -> Result<Column> {
    let mut provider = Provider::start(ANY_PORT)?;
    let progress = Progress::new(software.name());
    progress.begin("starting", 1);
    let mut server = start(what, plan, software, &mut provider)
        .with_context(|| format!("the {} of {} does not start", what.name(), software.name()))?;
    let subject = Subject {
        name: what.name(),
        address: server.address,
        authority: None,
        kinds: what.kinds(),
        process: Some(Watched::new(server.pid())),
    };
    let (figures, mut ended) = Run::new(plan, subject, Some(&mut provider), &progress)?.measure();
    if let Some(ended) = &mut ended
        && let Err(ending) = server.check()
    {
        *ended = format!("{ending}; {ended}\n{}", server.log_tail());
    }
    Ok(Column { name: software.name().to_owned(), figures, ended })
}

fn start(what: &What, plan: &Plan, software: Software, provider: &mut Provider) -> Result<Started> {
    let load = what.load();
    let path = match software {
        Software::Adit => &load.adit_path,
        Software::Sri => &load.sri_path,
    };
    let path = path.as_deref();
    let launch = Launch { software, path, log: &load.log, connections: plan.connections };
    match what {
        What::Pool(_) => pools::start(&launch, provider),
        What::V1(V1Arguments { pool_path, .. }) => {
            let path = pool_path.as_deref();
            let behind = Launch { software: Software::Adit, path, ..launch.clone() };
            translators::start(&launch, &behind, provider)
        }
    }
}

fn write_json(path: &Path, what: &What, plan: &Plan, columns: &[Column]) -> Result<()> {
    let pools: Vec<_> = columns
        .iter()
        .map(|Column { name, figures, ended }| {
            json!({ "name": name, "figures": figures, "ended_early": ended })
        })
        .collect();
    let load = what.load();
    let kinds = format!("{:?}", what.kinds()).to_lowercase();
    let report = json!({
        "machine": { "processors": processors(), "memory_gib": memory_gib() },
        "plan": {
            "scenario": format!("{:?}", load.scenario).to_lowercase(),
            "connections": plan.connections,
            "channels": kinds,
            "parallel": plan.parallel,
            "tips": plan.tips,
            "flows": plan.flows,
            "generator_threads": plan.threads,
            "log": load.log,
        },
        "pools": pools,
        "times_better": ratios(columns),
    });
    let text = serde_json::to_string_pretty(&report)?;
    fs::write(path, text + "\n").with_context(|| format!("--json: cannot write {}", path.display()))
}

fn ratios(columns: &[Column]) -> Map<String, Value> {
    let [ours, theirs] = columns else { return Map::new() };
    let Figures(figures) = &ours.figures;
    let compared = figures.iter().filter_map(|figure| {
        let other = theirs.figures.0.iter().find(|other| other.name == figure.name)?;
        Some((figure.name.clone(), times_better(figure, other)?.into()))
    });
    compared.collect()
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn memory_gib() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib.div_ceil(1 << 20))
}
