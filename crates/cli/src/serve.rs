//! `berth serve`: reads the settings, starts the control plane and the edge, stops in order.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::process::ExitCode;

use berth_control::Control;
use berth_server::{Listener, Metrics};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::settings::{self, Flags, Settings};
use crate::telemetry::{self, Telemetry};
use crate::{Outcome, block_on};

/// Run the server.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: Flags,
}

pub(crate) fn run(args: Args) -> Outcome {
    let settings = settings::read(&args.flags, |name| std::env::var(name).ok())?;
    block_on(serve(settings))?
}

async fn serve(mut settings: Settings) -> Outcome {
    let telemetry = Telemetry::start(settings.log_format)?;
    // Signals are caught before anything is made that an abrupt end would leave behind.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // `berth key revoke` says with this one that a key is no longer good.
    let mut hangup = signal(SignalKind::hangup())?;
    // Bound first: a taken port is told before any sandbox is touched.
    let listener = Listener::bind(&settings.listen)
        .await
        .map_err(|error| format!("could not listen on `{}`: {error}", settings.listen))?;
    let address = listener.address();
    let audit = settings.start_audit()?;
    if let Some(record) = &settings.record {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&record.folder)
            .map_err(|error| {
                format!(
                    "could not make the folder for recordings `{}`: {error}",
                    record.folder.display()
                )
            })?;
    }
    let metrics = Metrics::install(settings.metrics)?;
    let data = settings.control.data.clone();
    let control = Control::start(settings.control).await?;
    let webhooks = settings
        .webhook
        .map(|webhook| webhook.sender(control.store()))
        .transpose()?;
    let tls = settings
        .certificate
        .map(|certificate| certificate.tls(&data, &settings.listen))
        .transpose()?;
    if let Some(tls) = &tls {
        info!(
            "speaking TLS with {}; SHA-256 {}",
            tls.certificate().display(),
            tls.fingerprint()
        );
    }
    announce(if tls.is_some() { "https" } else { "http" }, address);
    notify(sd_notify::NotifyState::Ready);

    let stop = CancellationToken::new();
    let config = berth_server::Config {
        public_url: settings.public_url,
        tls,
        links_url: settings.links_url,
        audit,
        metrics,
        record: settings.record,
        follow: Some(telemetry::follow),
    };
    let webhooks = webhooks.map(|sender| tokio::spawn(sender.run(stop.clone())));
    let serving = tokio::spawn(berth_server::serve(
        listener,
        control.clone(),
        config,
        stop.clone(),
    ));
    loop {
        tokio::select! {
            _ = terminate.recv() => info!("asked to stop by SIGTERM"),
            _ = interrupt.recv() => info!("asked to stop by SIGINT"),
            _ = hangup.recv() => {
                control.look_at_keys();
                continue;
            }
        }
        break;
    }
    notify(sd_notify::NotifyState::Stopping);
    stop.cancel();
    serving.await?;
    if let Some(webhooks) = webhooks {
        webhooks.await?;
    }
    control.shutdown().await;
    info!("stopped; sessions go on and are taken over by the next start");
    telemetry.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Tells the service manager, if one started this server and asked to be told.
fn notify(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "could not tell the service manager"
        );
    }
}

/// The one line on standard output: whoever started the server waits for it.
#[expect(
    clippy::print_stdout,
    reason = "the line that says the server accepts requests"
)]
fn announce(scheme: &str, address: std::net::SocketAddr) {
    println!("berth listening on {scheme}://{address}");
}
