//! What the server tells of its work: log lines on standard error, and traces over OTLP when a collector is named.
//!
//! A collector is named by the variables that OpenTelemetry has for it, `OTEL_EXPORTER_OTLP_ENDPOINT` or
//! `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`; its others (headers, sampler, service name, resource) work as well. Traces and the
//! log are made of different spans, told apart by [`TRACE_TARGET`], so that neither grows with the other. A collector that
//! does not answer costs nothing but its own traces: they wait in a bounded queue, then are dropped.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use berth_control::TRACE_TARGET;
use http::{HeaderMap, Request, Response};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, Tracer};
use tokio::runtime::Handle;
use tracing::{Span, warn};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::settings::LogFormat;

/// What is logged unless somebody chooses. `rmcp` tells each message at `info`, and a client that leaves at `error`; the server
/// says itself what of that an operator should know.
const DEFAULT_FILTER: &str = "info,sqlx=warn,rmcp=off";

/// The variables that name a collector; the first one wins.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

/// How long a collector may take to accept a batch.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a stop waits for the last batch.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// The pause between two warnings that the collector fails.
const WARN_EVERY: Duration = Duration::from_secs(300);

/// Why telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TelemetryError {
    /// The collector's settings cannot be used.
    #[error("the collector that {} or {} names cannot be used", ENDPOINTS[0], ENDPOINTS[1])]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The client that speaks to it could not be made.
    #[error("could not make the client for the collector of traces")]
    Client(#[from] reqwest::Error),
}

/// The log and, if there is a collector, the traces of this process.
pub(crate) struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Starts both. Log lines go to standard error; `BERTH_LOG` chooses them as `RUST_LOG` does elsewhere.
    pub(crate) fn start(format: LogFormat) -> Result<Self, TelemetryError> {
        let traces = collector_is_named().then(provider).transpose()?;
        let chosen = EnvFilter::try_from_env("BERTH_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let log = match format {
            LogFormat::Text => log.with_ansi(false).boxed(),
            LogFormat::Json => log.json().boxed(),
        };
        let is_log = filter_fn(|metadata| metadata.target() != TRACE_TARGET);
        tracing_subscriber::registry()
            .with(
                traces
                    .as_ref()
                    .map(|provider| layer(provider).with_filter(filter_fn(|it| it.target() == TRACE_TARGET))),
            )
            .with(log.with_filter(chosen.and(is_log)))
            .init();
        Ok(Self { traces })
    }

    /// Sends what has not been sent, for a moment at most.
    pub(crate) async fn stop(self) {
        let Some(traces) = self.traces else { return };
        // It blocks; and a failure has been told by the courier.
        let flushed = tokio::task::spawn_blocking(move || traces.shutdown_with_timeout(FLUSH_TIMEOUT));
        let _ = flushed.await;
    }
}

/// Makes `span` a child of the span that a client names in `traceparent`.
pub(crate) fn follow(headers: &HeaderMap, span: &Span) {
    if headers.contains_key("traceparent") {
        let parent = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        // Fails only for a span that nobody collects.
        let _ = span.set_parent(parent);
    }
}

fn collector_is_named() -> bool {
    ENDPOINTS
        .iter()
        .any(|name| std::env::var(name).is_ok_and(|value| !value.trim().is_empty()))
}

fn provider() -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_http_client(Courier::new()?)
        .build()?;
    let resource = Resource::builder();
    let resource = match std::env::var("OTEL_SERVICE_NAME") {
        Ok(name) if !name.is_empty() => resource,
        _ => resource.with_service_name("berth"),
    };
    let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.with_attribute(version).build())
        .build())
}

fn layer(provider: &SdkTracerProvider) -> OpenTelemetryLayer<Registry, Tracer> {
    // Threads and code lines say nothing to an operator, and cost bytes in every span.
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("berth"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
}

/// Carries batches to the collector. The exporter calls it from a thread of its own, where there is no runtime.
#[derive(Debug)]
struct Courier {
    client: reqwest::Client,
    runtime: Handle,
    warned: Mutex<Option<Instant>>,
}

impl Courier {
    fn new() -> Result<Self, reqwest::Error> {
        // Fails when there is one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            client: reqwest::Client::builder().timeout(EXPORT_TIMEOUT).build()?,
            runtime: Handle::current(),
            warned: Mutex::default(),
        })
    }

    /// Says that traces are lost, but not again and again.
    fn warn(&self, why: &str) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|at| at.elapsed() > WARN_EVERY) {
            *warned = Some(Instant::now());
            warn!("the collector of traces fails ({why}); traces are lost until it works");
        }
    }
}

#[async_trait]
impl HttpClient for Courier {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self
            .runtime
            .spawn(async move { client.send_bytes(request).await });
        let answer = sent.await?;
        match &answer {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => self.warn(&format!("it answered {}", answer.status())),
            Err(error) => self.warn(&error.to_string()),
        }
        answer
    }
}
