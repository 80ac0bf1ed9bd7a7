//! `/health`: is this program doing its work, and which neighbour is missing?
//!
//! Answers 200 while all neighbours are there and 503 otherwise, with the same JSON. It never waits
//! for a neighbour. A program that has metrics shows them at the same address, under `/metrics`,
//! one that answers questions does so under `/api`, and one that has pages for people shows them at
//! every other path.

use std::collections::BTreeMap;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, io};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::map_request;
use axum::routing::get;
use axum::serve::ListenerExt;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::gate::Network;
use crate::listen;
use crate::metrics::{self, Gauge, Labelled, Metrics};
use crate::program::{Failure, say};
use crate::proxies::Proxies;
use crate::questions::Questions;
use crate::site::Site;
use crate::visitors::{Crowd, Visitors};

/// `[health]` of a program's config.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthConfig {
    /// `HOST:PORT` to answer on; absent turns it off.
    pub address: Option<String>,
    /// Proxies before it, which say for whom they ask (X-Forwarded-For).
    #[serde(default)]
    pub trusted_proxies: Vec<Network>,
}

/// What is known of the neighbours. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Health {
    neighbours: Arc<watch::Sender<BTreeMap<&'static str, Neighbour>>>,
    metrics: Option<(Metrics, Labelled<Gauge>)>,
    questions: Option<Questions>,
    site: Option<Site>,
    pages: Vec<Page>,
    proxies: Proxies,
    figures: Figures,
}

/// Numbers beside the neighbours, by name, each with what reads it.
#[derive(Clone, Default)]
struct Figures(Arc<Mutex<BTreeMap<&'static str, Box<Read>>>>);

type Read = dyn Fn() -> Option<i64> + Send;

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Figures")
    }
}

impl Figures {
    fn read(&self) -> BTreeMap<&'static str, i64> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(|(name, read)| Some((*name, read()?))).collect()
    }
}

/// A page beside /health.
#[derive(Clone)]
struct Page {
    path: &'static str,
    content_type: &'static str,
    text: Arc<dyn Fn() -> String + Send + Sync>,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)
    }
}

/// One neighbour's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Neighbour {
    up: bool,
    detail: String,
    /// Whether it is missed while it is gone.
    #[serde(skip)]
    is_needed: bool,
}

/// What is shown of a neighbour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its name.
    pub name: &'static str,
    /// Whether it is there.
    pub up: bool,
    /// Whether it is missed while it is gone.
    pub is_needed: bool,
    /// For people.
    pub detail: String,
}

#[derive(Serialize)]
struct Answer {
    status: &'static str,
    neighbours: BTreeMap<&'static str, Neighbour>,
    figures: BTreeMap<&'static str, i64>,
}

impl Health {
    /// Every neighbour starts as missing.
    pub fn new(neighbours: &[&'static str]) -> Self {
        let missing =
            Neighbour { up: false, detail: "not reached yet".to_owned(), is_needed: true };
        let all = neighbours.iter().map(|name| (*name, missing.clone())).collect();
        let neighbours = Arc::new(watch::Sender::new(all));
        Self {
            neighbours,
            metrics: None,
            questions: None,
            site: None,
            pages: Vec::new(),
            proxies: Proxies::default(),
            figures: Figures::default(),
        }
    }

    /// Shows `metrics` as well, under `/metrics`, and in them each neighbour.
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        let help = "1 while the neighbour is there, 0 while it is missing";
        let up = metrics.gauges("neighbour_up", help, "neighbour");
        for (name, neighbour) in &*self.neighbours.borrow() {
            up.with(name).set(neighbour.up.into());
        }
        Self { metrics: Some((metrics, up)), ..self }
    }

    /// Answers `questions` as well, under `/api`.
    pub fn with_questions(self, questions: Questions) -> Self {
        Self { questions: Some(questions), ..self }
    }

    /// Shows pages as well, wherever nothing else is.
    pub fn with_site(self, site: Site) -> Self {
        Self { site: Some(site), ..self }
    }

    /// Shows what `text` makes under `path` as well, each time it is asked for.
    #[must_use]
    pub fn with_page(
        mut self,
        path: &'static str,
        content_type: &'static str,
        text: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        self.pages.push(Page { path, content_type, text: Arc::new(text) });
        self
    }

    /// Shows a number beside the neighbours from now on, under a name that ends in its unit: what
    /// `read` gives at once whenever somebody asks, or none while it gives none. It judges nothing.
    pub fn shows(&self, name: &'static str, read: impl Fn() -> Option<i64> + Send + 'static) {
        let mut figures = self.figures.0.lock().unwrap_or_else(PoisonError::into_inner);
        figures.insert(name, Box::new(read));
    }

    /// Notes that `name` is there.
    pub fn found(&self, name: &'static str, detail: impl Into<String>) {
        self.set(name, Neighbour { up: true, detail: detail.into(), is_needed: true });
    }

    /// Notes that `name` is gone.
    pub fn lost(&self, name: &'static str, detail: impl Into<String>) {
        self.set(name, Neighbour { up: false, detail: detail.into(), is_needed: true });
    }

    /// Notes that `name` is gone, while another neighbour does its work: shown, and no reason to
    /// answer 503.
    pub fn lost_spare(&self, name: &'static str, detail: impl Into<String>) {
        self.set(name, Neighbour { up: false, detail: detail.into(), is_needed: false });
    }

    /// True while no neighbour is missed: what the status code says.
    pub fn is_well(&self) -> bool {
        self.neighbours.borrow().values().all(|neighbour| neighbour.up || !neighbour.is_needed)
    }

    /// What is shown of a neighbour: whether it is there, and the detail.
    pub fn shown(&self, name: &str) -> Option<(bool, String)> {
        let neighbours = self.neighbours.borrow();
        neighbours.get(name).map(|neighbour| (neighbour.up, neighbour.detail.clone()))
    }

    /// The same of all of them, by name.
    pub fn all(&self) -> Vec<Shown> {
        let neighbours = self.neighbours.borrow();
        let all = neighbours.iter().map(|(name, it)| Shown {
            name,
            up: it.up,
            is_needed: it.is_needed,
            detail: it.detail.clone(),
        });
        all.collect()
    }

    fn set(&self, name: &'static str, new: Neighbour) {
        if let Some((_, up)) = &self.metrics {
            up.with(name).set(new.up.into());
        }
        self.neighbours.send_if_modified(|all| all.insert(name, new.clone()) != Some(new));
    }

    fn answer(&self) -> (StatusCode, Json<Answer>) {
        let neighbours = self.neighbours.borrow().clone();
        let (code, status) = match self.is_well() {
            true => (StatusCode::OK, "ok"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "neighbour missing"),
        };
        (code, Json(Answer { status, neighbours, figures: self.figures.read() }))
    }

    /// Answers where `config` wants it, in a task of its own until `shutdown`, and says where on
    /// standard output. `field` names the setting.
    pub async fn start(
        self,
        field: &str,
        config: &HealthConfig,
        shutdown: &CancellationToken,
    ) -> Result<(), Failure> {
        let Some(address) = &config.address else {
            return Ok(());
        };
        let cannot = |error: io::Error| Failure::cannot_listen(field, address, &error);
        let listener = listen::bind(address).await.map_err(cannot)?;
        let local = listener.local_addr().map_err(cannot)?;
        say(format_args!("health at http://{local}/health"));
        if self.site.is_some() {
            say(format_args!("dashboard at http://{local}/"));
        }
        let proxies = Proxies::new(&config.trusted_proxies);
        tokio::spawn(Self { proxies, ..self }.serve(listener, shutdown.clone()));
        Ok(())
    }

    /// Answers on `listener` until `shutdown`.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
        let (metrics, questions) = (self.metrics.clone(), self.questions.clone());
        let (pages, site) = (self.pages.clone(), self.site.clone());
        let proxies = self.proxies.clone();
        let mut routes = Router::new()
            .route("/health", get(|State(health): State<Self>| async move { health.answer() }))
            .with_state(self);
        if let Some((metrics, _)) = metrics {
            let answer =
                move || async move { ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.text()) };
            routes = routes.route("/metrics", get(answer));
        }
        if let Some(questions) = questions {
            routes = routes.merge(questions.routes());
        }
        for Page { path, content_type, text } in pages {
            let answer = move || async move { ([(CONTENT_TYPE, content_type)], text()) };
            routes = routes.route(path, get(answer));
        }
        if let Some(site) = site {
            routes = routes.merge(site.routes(shutdown.clone()));
        }
        // Proxies' connections have many owners.
        let visitors = Visitors::new(listener, Crowd::PUBLIC).through(proxies.clone());
        let unveiled = map_request(move |request: Request| ready(proxies.unveil(request)));
        let routes = routes.layer(unveiled);
        let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
        // Tapped for nothing but the visitors' addresses, which are told of tapped ones alone.
        axum::serve(visitors.tap_io(|_| {}), routes)
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_say_of_each_neighbour_whether_it_is_there() {
        let metrics = Metrics::new("x");
        let health = Health::new(&["node"]).with_metrics(metrics.clone());
        assert!(metrics.text().contains("x_neighbour_up{neighbour=\"node\"} 0"));
        health.found("node", "here");
        assert!(metrics.text().contains("x_neighbour_up{neighbour=\"node\"} 1"));
        health.lost_spare("node", "gone");
        assert!(metrics.text().contains("x_neighbour_up{neighbour=\"node\"} 0"));
    }

    #[test]
    fn numbers_are_read_when_they_are_asked_for_and_left_out_while_there_are_none() {
        let (health, lag) = (Health::new(&[]), Arc::new(Mutex::new(None)));
        let read = Arc::clone(&lag);
        health.shows("lag_records", move || *read.lock().unwrap());
        let shown = || serde_json::to_value(health.answer().1.0).unwrap()["figures"].to_string();
        assert_eq!(shown(), "{}");
        *lag.lock().unwrap() = Some(7);
        assert_eq!(shown(), "{\"lag_records\":7}");
    }

    #[test]
    fn a_spare_neighbour_may_be_missing() {
        let health = Health::new(&["node"]);
        assert_eq!(health.answer().0, StatusCode::SERVICE_UNAVAILABLE, "nothing is known yet");
        health.found("node", "here");
        health.lost_spare("node 2", "gone");
        let (code, Json(answer)) = health.answer();
        assert_eq!(code, StatusCode::OK);
        let shown = serde_json::to_value(answer).unwrap();
        assert_eq!(shown["neighbours"]["node 2"]["up"], false);
        assert_eq!(shown["neighbours"]["node 2"]["detail"], "gone");
        // It became the one that matters.
        health.lost("node 2", "gone");
        assert_eq!(health.answer().0, StatusCode::SERVICE_UNAVAILABLE);
    }
}
