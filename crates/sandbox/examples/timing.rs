//! Measures sandboxes on this machine: `timing COUNT GUEST_BINARY LAYER...` makes and ends COUNT of them one after another.
//!
//! "first byte" is from before the call of `create` to the first byte that the guest sends on its socket; the guest must
//! answer a line of JSON, as the stand-in of the tests does. Keep the machine quiet and compare within one run.

#![allow(clippy::print_stdout, reason = "its result is its output")]

use std::{
    error::Error,
    path::PathBuf,
    time::{Duration, Instant},
};

use berth_sandbox::{Config, GuestAddress, Limits, Local, SandboxId, Sandboxes as _, Spec};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let count: usize = args.next().ok_or("give a count")?.parse()?;
    let guest_binary: PathBuf = args.next().ok_or("give the guest's binary")?.into();
    let layers: Vec<PathBuf> = args.map(PathBuf::from).collect();
    let folder = tempfile::tempdir()?;
    let local = Local::start(Config::new(folder.path().join("sandboxes"))).await?;
    let spec = Spec {
        layers,
        guest_binary,
        hostname: "box".into(),
        limits: Limits::default(),
        priority: berth_sandbox::Priority::Normal,
        environment: vec![],
    };

    let (mut created, mut first, mut destroyed) = (Vec::new(), Vec::new(), Vec::new());
    // One more than counted: the first one formats the disk and mounts the layers.
    for number in 0..=count {
        let id: SandboxId = format!("timing-{number}").parse()?;
        let begin = Instant::now();
        let sandbox = local.create(&id, &spec).await?;
        let at_create = begin.elapsed();
        let GuestAddress::Unix(socket) = sandbox.guest();
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(b"{}\n").await?;
        stream.read_u8().await?;
        let at_first = begin.elapsed();
        let begin = Instant::now();
        local.destroy(&id).await?;
        if number > 0 {
            created.push(at_create);
            first.push(at_first);
            destroyed.push(begin.elapsed());
        }
    }
    for (name, times) in [("create", created), ("first byte", first), ("destroy", destroyed)] {
        println!("{name:>10}: {}", summary(times));
    }
    local.stop().await?;
    Ok(())
}

fn summary(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1000.0;
    format!(
        "p50 {:.1} ms, p95 {:.1} ms, fastest {:.1} ms",
        at(50),
        at(95),
        at(0)
    )
}
