//! Where the parts meet: pools are started or found, measured one after the other, and shown.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Map, Value, json};
use service::program::{Failure, say};

use crate::arguments::{Arguments, PoolArguments, Software, What};
use crate::figures::{Figures, times_better};
use crate::plan::Plan;
use crate::pools::{Launch, Pool};
use crate::process::Watched;
use crate::progress::Progress;
use crate::provider::Provider;
use crate::run::{Run, Subject};
use crate::table::{Column, table};

/// Descriptors besides those of connections.
const DESCRIPTORS_BESIDES: u64 = 128;
/// Where templates are served to a pool that this program starts.
const ANY_PORT: &str = "127.0.0.1:0";

/// Measures what the arguments ask for.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let What::Pool(pool) = &arguments.what;
    let plan = pool.plan().map_err(Failure::Usage)?;
    make_room(&plan)?;
    let columns = match pool.resolved().map_err(Failure::Usage)? {
        Some(address) => vec![measure_running(pool, &plan, address)?],
        None => measure_started(pool, &plan)?,
    };
    say(table(&columns));
    if let Some(path) = &pool.json {
        write_json(path, pool, &plan, &columns)?;
    }
    match columns.iter().find(|column| column.name != Software::Sri.name()) {
        Some(Column { ended: Some(ended), name, .. }) => {
            Err(Failure::Internal(anyhow::anyhow!("{name} ended early: {ended}")))
        }
        _ => Ok(()),
    }
}

/// Raises the limit of open files as far as it goes; the pools that are started inherit it.
fn make_room(plan: &Plan) -> Result<(), Failure> {
    let wanted = u64::try_from(plan.connections).unwrap_or(u64::MAX) + DESCRIPTORS_BESIDES;
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    setrlimit(Resource::Nofile, raised).context("the limit of open files cannot be raised")?;
    let Some(limit) = maximum.filter(|limit| *limit < wanted) else { return Ok(()) };
    Err(Failure::Usage(format!(
        "--connections: {} connections need {wanted} open files and this user may have {limit}; \
         raise the hard limit (ulimit -Hn) or open fewer",
        plan.connections
    )))
}

fn measure_running(
    arguments: &PoolArguments,
    plan: &Plan,
    address: std::net::SocketAddr,
) -> Result<Column> {
    let mut provider = arguments.provider.as_deref().map(Provider::start).transpose()?;
    if let Some(provider) = &mut provider {
        say(format_args!("templates at {}/{}", provider.address(), provider.key()));
        provider.wait_for_pool()?;
    }
    let progress = Progress::new("pool");
    let process = arguments.pid.map(Watched::new);
    let subject = Subject { address, authority: arguments.authority, process };
    let (figures, ended) = Run::new(plan, subject, provider.as_mut(), &progress)?.measure();
    Ok(Column { name: "pool".to_owned(), figures, ended })
}

fn measure_started(arguments: &PoolArguments, plan: &Plan) -> Result<Vec<Column>> {
    arguments.start.iter().map(|software| measure_one(arguments, plan, *software)).collect()
}

fn measure_one(arguments: &PoolArguments, plan: &Plan, software: Software) -> Result<Column> {
    let mut provider = Provider::start(ANY_PORT)?;
    let progress = Progress::new(software.name());
    progress.begin("starting", 1);
    let path = match software {
        Software::Adit => &arguments.adit_path,
        Software::Sri => &arguments.sri_path,
    };
    let launch = Launch {
        software,
        path: path.as_deref(),
        log: &arguments.log,
        connections: plan.connections,
    };
    let mut pool = Pool::start(&launch, &mut provider)
        .with_context(|| format!("the pool of {} does not start", software.name()))?;
    let process = Some(Watched::new(pool.pid()));
    let subject = Subject { address: pool.address, authority: None, process };
    let (figures, mut ended) = Run::new(plan, subject, Some(&mut provider), &progress)?.measure();
    if let Some(ended) = &mut ended
        && let Err(ending) = pool.check()
    {
        *ended = format!("{ending}; {ended}\n{}", pool.log_tail());
    }
    Ok(Column { name: software.name().to_owned(), figures, ended })
}

fn write_json(
    path: &Path,
    arguments: &PoolArguments,
    plan: &Plan,
    columns: &[Column],
) -> Result<()> {
    let pools: Vec<_> = columns
        .iter()
        .map(|Column { name, figures, ended }| {
            json!({ "name": name, "figures": figures, "ended_early": ended })
        })
        .collect();
    let kinds = format!("{:?}", plan.kinds).to_lowercase();
    let report = json!({
        "machine": { "processors": processors(), "memory_gib": memory_gib() },
        "plan": {
            "scenario": format!("{:?}", arguments.scenario).to_lowercase(),
            "connections": plan.connections,
            "channels": kinds,
            "parallel": plan.parallel,
            "tips": plan.tips,
            "flows": plan.flows,
            "generator_threads": plan.threads,
            "log": arguments.log,
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
