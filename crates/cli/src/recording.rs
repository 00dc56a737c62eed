//! `berth recording`: plays a recording in a browser, or turns it into a video. Needs no server.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use berth_recording::{Export, Reader, export};
use berth_server::Player;

use crate::remote::print;
use crate::{Outcome, block_on};

/// Play recordings of sessions, or turn them into videos.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Serve a page that plays a recording, for this machine only, until Ctrl-C; its URL is printed.
    Play {
        /// The recording.
        file: PathBuf,
        /// The port; 0 takes a free one.
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
    /// Turn a recording into a WebM video, without the tool calls.
    Export {
        /// The recording.
        file: PathBuf,
        /// The video [default: as the recording, with `.webm`].
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Pictures a second.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=60))]
        fps: u32,
    },
    /// Remove recordings. What is none is left alone.
    Rm {
        /// The recordings.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

pub(crate) fn run(command: Command) -> Outcome {
    match command {
        Command::Play { file, port } => block_on(play(&file, port))?,
        Command::Export { file, output, fps } => {
            let output = output.unwrap_or_else(|| file.with_extension("webm"));
            write(&file, &output, fps)
        }
        Command::Rm { files } => remove(&files),
    }
}

async fn play(file: &Path, port: u16) -> Outcome {
    let player = Player::open(file, port).await?;
    print(&format!("{}\n", player.url()))?;
    tokio::select! {
        served = player.serve() => served?,
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Removes files, none of them unless all are recordings.
fn remove(files: &[PathBuf]) -> Outcome {
    for file in files {
        Reader::open(fs_err::File::open(file)?).map_err(|error| format!("`{}`: {error}", file.display()))?;
    }
    for file in files {
        fs_err::remove_file(file)?;
        print(&format!("{}\n", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write(file: &Path, output: &Path, fps: u32) -> Outcome {
    let mut reader = Reader::open(fs_err::File::open(file)?)?;
    let contents = reader.contents()?;
    // What is there is not replaced; a video shows what the recording shows, so only its owner may read it.
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create_new(true);
    fs_err::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let video = BufWriter::new(options.open(output)?);
    let shown = io::stderr().is_terminal();
    let tell = |time: u64| {
        if shown {
            let percent = time * 100 / contents.duration.max(1);
            // Whether anybody sees it decides nothing.
            let _ = write!(io::stderr(), "\r\x1b[K{percent} %");
        }
    };
    let done = export(&mut reader, &contents, video, Export { fps }, tell);
    if shown {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    if let Err(error) = done {
        // Half a video is none.
        let _ = fs_err::remove_file(output);
        return Err(error.into());
    }
    print(&format!("{}\n", output.display()))?;
    Ok(ExitCode::SUCCESS)
}
