//! `berth doctor`: one line for each thing that a machine needs, and the command that fixes what is missing.

use std::net::TcpListener;
use std::process::ExitCode;

use berth_sandbox::probe::{Check, probe};

use crate::Outcome;
use crate::settings::{self, Flags, Settings};

/// Say what this machine has and lacks, with the command that fixes it. Takes the settings of `berth serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: Flags,
}

#[expect(clippy::print_stdout, reason = "the command's output")]
pub(crate) fn run(args: Args) -> Outcome {
    let settings = settings::read(&args.flags, |name| std::env::var(name).ok())?;
    let sandboxes = berth_sandbox::Config {
        runtime: settings.control.runtime.clone(),
        ..berth_sandbox::Config::new(settings.control.data.join("sandboxes"))
    };
    let mut checks = probe(&sandboxes);
    checks.extend([
        image_builder(),
        images(&settings),
        port(&settings),
        guest(&settings),
    ]);

    for check in &checks {
        let mark = if check.ok { "ok     " } else { "MISSING" };
        let fix = check
            .fix
            .as_ref()
            .map(|fix| format!("  ->  {fix}"))
            .unwrap_or_default();
        println!("{mark}  {:<16} {}{fix}", check.name, check.detail);
    }
    let missing = checks.iter().filter(|check| !check.ok).count();
    if missing > 0 {
        println!("\n{missing} of {} are missing", checks.len());
        return Ok(ExitCode::FAILURE);
    }
    println!("\nthis machine can run Berth");
    Ok(ExitCode::SUCCESS)
}

/// What `berth image build` runs.
fn image_builder() -> Check {
    let missing = berth_images::missing_programs();
    let programs: Vec<_> = missing
        .iter()
        .map(|it| format!("`{}` ({})", it.program, it.purpose))
        .collect();
    let mut packages: Vec<_> = missing.iter().map(|it| it.package).collect();
    packages.sort_unstable();
    packages.dedup();
    Check {
        name: "image builder",
        ok: missing.is_empty(),
        detail: if missing.is_empty() {
            "complete".to_owned()
        } else {
            format!("lacks {}", programs.join(", "))
        },
        fix: (!missing.is_empty())
            .then(|| format!("apt-get install --no-install-recommends {}", packages.join(" "))),
    }
}

/// The images there are.
fn images(settings: &Settings) -> Check {
    let folder = settings.control.images.display();
    let found = berth_images::Store::open(&settings.control.images).and_then(|store| store.list());
    let (ok, detail) = match found {
        Ok(images) if images.is_empty() => (false, format!("none in {folder}")),
        Ok(images) => {
            let names: Vec<_> = images.into_iter().map(|image| image.name).collect();
            (true, format!("{} in {folder}", names.join(", ")))
        }
        Err(error) => (false, error.to_string()),
    };
    Check {
        name: "images",
        ok,
        detail,
        fix: (!ok).then(|| format!("berth image build --images {folder}")),
    }
}

/// The port of the server: free, or taken by a server that answers as one.
fn port(settings: &Settings) -> Check {
    let address = &settings.listen;
    let (ok, detail) = match TcpListener::bind(address) {
        Ok(_) => (true, format!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => match berth_answers(address) {
            true => (true, format!("{address} is taken by a running Berth")),
            false => (false, format!("{address} is taken by another program")),
        },
        Err(error) => (false, format!("{address}: {error}")),
    };
    let fix = (!ok).then(|| {
        format!(
            "ss -ltnp 'sport = :{}'  # or choose another with --listen",
            port_of(address)
        )
    });
    Check {
        name: "port",
        ok,
        detail,
        fix,
    }
}

fn port_of(address: &str) -> &str {
    address.rsplit(':').next().unwrap_or(address)
}

/// Does what listens there call itself Berth?
fn berth_answers(address: &str) -> bool {
    use std::io::{Read, Write};
    use std::time::Duration;
    let answer = || -> std::io::Result<String> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.take(4096).read_to_string(&mut text)?;
        Ok(text)
    };
    answer().is_ok_and(|text| text.contains("Berth "))
}

/// The guest's binary.
fn guest(settings: &Settings) -> Check {
    let path = &settings.control.guest_binary;
    let ok = path.is_file();
    Check {
        name: "guest",
        ok,
        detail: format!("{}{}", path.display(), if ok { "" } else { " does not exist" }),
        fix: (!ok).then(|| "cargo build --release -p berth-guest".to_owned()),
    }
}
