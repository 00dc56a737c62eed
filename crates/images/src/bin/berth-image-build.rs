//! Makes images without the rest of Berth, so that `make up` can build them beside the server.

use std::error::Error as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use berth_images::{BuildArgs, DEFAULT_STORE, Store};
use clap::Parser;

/// Make Berth's images
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Folder of the image store
    #[arg(long, value_name = "DIR", env = "BERTH_IMAGES", default_value = DEFAULT_STORE)]
    images: PathBuf,

    #[command(flatten)]
    build: BuildArgs,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let Err(error) = Store::open(args.images).and_then(|store| args.build.run(&store)) else {
        return ExitCode::SUCCESS;
    };
    let mut message = format!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(&format!("\n  because: {error}"));
        cause = error.source();
    }
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::FAILURE
}
