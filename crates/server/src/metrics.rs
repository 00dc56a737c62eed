//! What Prometheus is told.
//!
//! Counters and histograms are kept where things happen, through the `metrics` facade; what there is at a moment
//! (sessions, the pool) is counted when somebody asks. Labels have few values: a tool's name is one of the tool table or
//! `unknown`, a route is its pattern.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use berth_control::Census;
use berth_guest_api::ToolSpec;
use http::StatusCode;
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of the duration buckets, in seconds: a no-op takes about a millisecond, a tool at most 15 minutes.
const DURATION_BUCKETS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// How often what the histograms have collected is summed up when nobody asks, so that it does not grow.
pub(crate) const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Stands for a tool that no session has.
const UNKNOWN_TOOL: &str = "unknown";

/// Who may read `GET /metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetricsAccess {
    /// Anybody.
    #[default]
    Open,
    /// Callers with an API key.
    Key,
    /// Nobody: nothing is counted, and there is no such route.
    Off,
}

/// The series of one server process.
#[derive(Debug)]
pub struct Metrics {
    access: MetricsAccess,
    /// Nothing when they are off.
    series: Option<Series>,
}

#[derive(Debug)]
struct Series {
    handle: PrometheusHandle,
    process: metrics_process::Collector,
    /// The gauges that a census set before: one whose things are gone must become 0.
    counted: Mutex<BTreeMap<[String; 3], Gauge>>,
}

impl Metrics {
    /// Installs the recorder of this process. Once, before anything is counted.
    pub fn install(access: MetricsAccess) -> Result<Self, BuildError> {
        if access == MetricsAccess::Off {
            return Ok(Self { access, series: None });
        }
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(
                Matcher::Full("berth_tool_call_duration_seconds".to_owned()),
                &DURATION_BUCKETS,
            )?
            .install_recorder()?;
        describe();
        let process = metrics_process::Collector::default();
        process.describe();
        gauge!("berth_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let series = Series {
            handle,
            process,
            counted: Mutex::default(),
        };
        Ok(Self {
            access,
            series: Some(series),
        })
    }

    pub(crate) fn access(&self) -> MetricsAccess {
        self.access
    }

    /// The text that Prometheus reads; nothing when metrics are off.
    pub(crate) fn render(&self, census: &Census) -> Option<String> {
        let series = self.series.as_ref()?;
        series.process.collect();
        series.note(census);
        Some(series.handle.render())
    }

    /// Sums up what the histograms have collected.
    pub(crate) fn keep_small(&self) {
        if let Some(series) = &self.series {
            series.handle.run_upkeep();
        }
    }
}

impl Series {
    /// Sets the gauges of what was counted.
    fn note(&self, census: &Census) {
        gauge!("berth_views_open").set(f64::from(census.viewers));
        let key =
            |name: &str, image: &str, state: &str| [name.to_owned(), image.to_owned(), state.to_owned()];
        let mut values: BTreeMap<[String; 3], usize> = BTreeMap::new();
        for ((image, state), sessions) in &census.sessions {
            values.insert(key("berth_sessions", image, state), *sessions);
        }
        for depth in &census.pool {
            values.insert(key("berth_pool_ready", &depth.image, ""), depth.ready);
            values.insert(key("berth_pool_wanted", &depth.image, ""), depth.wanted);
        }
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        for key in values.keys() {
            counted.entry(key.clone()).or_insert_with(|| {
                let [name, image, state] = key.clone();
                match state.as_str() {
                    "" => gauge!(name, "image" => image),
                    _ => gauge!(name, "state" => state, "image" => image),
                }
            });
        }
        for (key, gauge) in counted.iter() {
            gauge.set(values.get(key).copied().unwrap_or_default() as f64);
        }
    }
}

/// How a tool call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// The tool did it.
    Ok,
    /// The tool refused or failed, or there is no such tool.
    Error,
    /// The guest did not answer in time.
    Timeout,
    /// The session ended first.
    Ended,
    /// The guest could not be reached, or answered what the contract does not know.
    Failed,
}

impl Outcome {
    const ALL: [Outcome; 5] = [
        Outcome::Ok,
        Outcome::Error,
        Outcome::Timeout,
        Outcome::Ended,
        Outcome::Failed,
    ];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Error => "error",
            Outcome::Timeout => "timeout",
            Outcome::Ended => "ended",
            Outcome::Failed => "failed",
        }
    }
}

/// The series of tool calls, registered once: a call takes about a millisecond, and looking a series up by its labels
/// is not free.
#[derive(Debug, Clone)]
pub(crate) struct ToolMetrics {
    tools: Arc<HashMap<String, OneTool>>,
    unknown: Arc<OneTool>,
}

#[derive(Debug)]
struct OneTool {
    outcomes: Vec<(Outcome, Counter)>,
    duration: Histogram,
}

impl ToolMetrics {
    pub(crate) fn new(tools: &[ToolSpec]) -> Self {
        let tools = tools
            .iter()
            .map(|tool| (tool.name.clone(), OneTool::new(&tool.name)));
        Self {
            tools: Arc::new(tools.collect()),
            unknown: Arc::new(OneTool::new(UNKNOWN_TOOL)),
        }
    }

    /// The name under which a tool is counted.
    pub(crate) fn known<'a>(&self, tool: &'a str) -> &'a str {
        match self.tools.contains_key(tool) {
            true => tool,
            false => UNKNOWN_TOOL,
        }
    }

    pub(crate) fn count(&self, tool: &str, outcome: Outcome, started: Instant) {
        let one = self.tools.get(tool).unwrap_or(&self.unknown);
        one.duration.record(started.elapsed());
        for (of, counter) in &one.outcomes {
            if *of == outcome {
                counter.increment(1);
            }
        }
    }
}

impl OneTool {
    fn new(tool: &str) -> Self {
        let counter = |outcome: Outcome| {
            let labels = [("tool", tool.to_owned()), ("outcome", outcome.word().to_owned())];
            (outcome, counter!("berth_tool_calls_total", &labels))
        };
        Self {
            outcomes: Outcome::ALL.into_iter().map(counter).collect(),
            duration: histogram!("berth_tool_call_duration_seconds", "tool" => tool.to_owned()),
        }
    }
}

/// Counts an answered request; `route` is a pattern. A server inside a session may answer with any number.
pub(crate) fn count_request(route: &str, status: StatusCode) {
    let status = match status.canonical_reason() {
        Some(_) => status.as_str(),
        None => "other",
    };
    let labels = [("route", route.to_owned()), ("status", status.to_owned())];
    counter!("berth_http_requests_total", &labels).increment(1);
}

fn describe() {
    describe_gauge!("berth_build_info", "1, with the version of this server");
    describe_gauge!("berth_sessions", Unit::Count, "Live sessions by state and image");
    describe_counter!(
        "berth_sessions_created_total",
        Unit::Count,
        "Sessions made, by image and by whether a ready sandbox was waiting (warm)"
    );
    describe_counter!(
        "berth_sessions_ended_total",
        Unit::Count,
        "Sessions ended, by reason"
    );
    describe_counter!(
        "berth_tool_calls_total",
        Unit::Count,
        "Tool calls by tool and outcome: ok, error (the tool refused or failed), timeout, ended (the session did), \
         failed (the guest did)"
    );
    describe_histogram!(
        "berth_tool_call_duration_seconds",
        Unit::Seconds,
        "How long tool calls took, by tool, as the server saw it"
    );
    describe_gauge!(
        "berth_pool_ready",
        Unit::Count,
        "Sandboxes that wait for a session, by image"
    );
    describe_gauge!(
        "berth_pool_wanted",
        Unit::Count,
        "How many sandboxes should wait for a session, by image"
    );
    describe_gauge!("berth_views_open", Unit::Count, "Live views that are open");
    describe_counter!(
        "berth_http_requests_total",
        Unit::Count,
        "Answered requests by route pattern and status"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `work` with a recorder of its own, and returns the text of it.
    fn recorded(work: impl FnOnce(&Series)) -> String {
        let recorder = PrometheusBuilder::new().build_recorder();
        let series = Series {
            handle: recorder.handle(),
            process: metrics_process::Collector::default(),
            counted: Mutex::default(),
        };
        metrics::with_local_recorder(&recorder, || work(&series));
        series.handle.render()
    }

    #[test]
    fn a_state_that_nobody_is_in_any_more_counts_zero() {
        let census = |sessions: &[(&str, usize)]| Census {
            sessions: sessions
                .iter()
                .map(|(image, count)| (((*image).to_owned(), "running"), *count))
                .collect(),
            ..Census::default()
        };
        let text = recorded(|series| {
            series.note(&census(&[("a", 2), ("b", 1)]));
            series.note(&census(&[("b", 3)]));
        });
        assert!(
            text.contains(r#"berth_sessions{state="running",image="a"} 0"#),
            "{text}"
        );
        assert!(
            text.contains(r#"berth_sessions{state="running",image="b"} 3"#),
            "{text}"
        );
    }

    #[test]
    fn a_status_that_does_not_exist_is_counted_with_the_others() {
        let text = recorded(|_| {
            for status in [200, 299, 777] {
                count_request("/port/{link}/", StatusCode::from_u16(status).unwrap());
            }
        });
        assert!(
            text.contains(r#"{route="/port/{link}/",status="200"} 1"#),
            "{text}"
        );
        assert!(
            text.contains(r#"{route="/port/{link}/",status="other"} 2"#),
            "{text}"
        );
    }

    #[test]
    fn a_tool_that_no_session_has_is_unknown() {
        let text = recorded(|_| {
            let metrics = ToolMetrics::new(&[]);
            for tool in ["made_up_1", "made_up_2"] {
                metrics.count(tool, Outcome::Error, Instant::now());
            }
        });
        assert!(
            text.contains(r#"berth_tool_calls_total{tool="unknown",outcome="error"} 2"#),
            "{text}"
        );
        assert!(!text.contains("made_up"), "{text}");
    }
}
