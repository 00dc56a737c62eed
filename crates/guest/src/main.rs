//! `berth-guest`: see the library for what it does. Here: which of its programs to run.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use berth_guest::{init, job, listen, log, serve, settings, tools};

const USAGE: &str = "usage: berth-guest init | serve [--listen PATH] | jobs | tools

  init    process 1 of a session: starts `serve`, reaps processes, ends with it
  serve   the daemon; listens on file descriptor 3, or on PATH
  jobs    forks the supervisors of programs; started by `serve`
  tools   prints the table of tools as JSON";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["init"] => init::run().map_err(Into::into),
        ["serve"] => serve_on(None),
        ["serve", "--listen", path] => serve_on(Some(Path::new(path))),
        ["jobs"] => job::forks::run().map_err(Into::into),
        ["tools"] => print_tools(),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(next) = cause {
                text += &format!(": {next}");
                cause = next.source();
            }
            let _ = writeln!(std::io::stderr(), "berth-guest: {text}");
            ExitCode::FAILURE
        }
    }
}

type Done = Result<ExitCode, Box<dyn Error>>;

fn serve_on(path: Option<&Path>) -> Done {
    let listener = match path {
        Some(path) => listen::at(path)?,
        None => listen::inherited()?,
    };
    listen::keep_private()?;
    log::start(std::env::var(settings::LOG).ok().as_deref());
    serve::run(listener)?;
    Ok(ExitCode::SUCCESS)
}

fn print_tools() -> Done {
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut stdout, &tools::specs())?;
    writeln!(stdout)?;
    Ok(ExitCode::SUCCESS)
}
