//! Sound of the desktop: what its programs play, for the viewers who want to hear it.
//!
//! Programs play to a sound server that they start themselves; a recorder of its output runs only while somebody
//! listens, and what it records is encoded here.

use std::path::Path;
use std::time::Duration;

use berth_codec::{FRAME_SAMPLES, Opus};
use berth_screen::Screen;
use tokio::sync::watch;

use crate::guest::Guest;
use crate::job::wire::{End, Input};
use crate::job::{Jobs, Output};
use crate::output::{discard, read_some};

/// Writes down what the sound server plays.
const RECORDER: &str = "/usr/bin/parec";

/// One that ends at once is not started again more often than this.
const RESTART_PAUSE: Duration = Duration::from_secs(2);

/// Bytes of 20 ms.
const FRAME_BYTES: usize = FRAME_SAMPLES * size_of::<i16>();

/// Lets viewers of `screen` hear its sound, if the image has any.
pub fn offer(screen: &Screen, guest: &Guest) {
    if !Path::new(RECORDER).exists() {
        return;
    }
    let wanted = screen.offer_sound();
    // The handle keeps the screen's threads alive, so it is held only while somebody listens.
    let (screen, jobs, home) = (screen.downgrade(), guest.jobs.clone(), guest.home());
    tokio::spawn(async move {
        let mut wanted = wanted;
        let mut seq = 0;
        while wanted.wait_for(|wanted| *wanted).await.is_ok() {
            let Some(screen) = screen.upgrade() else { return };
            match record(&screen, &jobs, &home, &mut wanted, &mut seq).await {
                Ok(()) => {}
                Err(error) => tracing::warn!(%error, "no sound"),
            }
            drop(screen);
            let stopped = wanted.wait_for(|wanted| !*wanted);
            let _ = tokio::time::timeout(RESTART_PAUSE, stopped).await;
        }
    });
}

/// Why there is no sound.
#[derive(Debug, thiserror::Error)]
enum SoundError {
    #[error("could not record the desktop's sound: {0}")]
    Job(#[from] crate::job::JobError),
    #[error(transparent)]
    Codec(#[from] berth_codec::CodecError),
}

/// Sends sound until nobody wants it or the recorder ends.
async fn record(
    screen: &Screen,
    jobs: &Jobs,
    home: &str,
    wanted: &mut watch::Receiver<bool>,
    seq: &mut u32,
) -> Result<(), SoundError> {
    let mut opus = Opus::new()?;
    let command = [
        RECORDER,
        "--raw",
        "--device=@DEFAULT_MONITOR@",
        "--format=s16le",
        "--rate=48000",
        "--channels=2",
        "--latency-msec=20",
        "--client-name=Live view",
    ];
    let command = command.map(str::to_owned).to_vec();
    let (job, Output { mut stdout, stderr }) =
        jobs.start(command, home, &[], Input::Nothing, Vec::new()).await?;
    discard(stderr);
    let mut pending = Vec::with_capacity(2 * FRAME_BYTES);
    let recorded = async {
        while let Some(bytes) = read_some(&mut stdout).await {
            pending.extend_from_slice(&bytes);
            let whole = pending.len() / FRAME_BYTES * FRAME_BYTES;
            for frame in pending[..whole].chunks_exact(FRAME_BYTES) {
                *seq = seq.wrapping_add(1);
                let samples = std::array::from_fn(|n| i16::from_le_bytes([frame[2 * n], frame[2 * n + 1]]));
                if let Some(packet) = opus.encode(&samples)? {
                    screen.send_sound(*seq, packet);
                }
            }
            pending.drain(..whole);
        }
        Ok(())
    };
    let ended = tokio::select! {
        ended = recorded => ended,
        _ = wanted.wait_for(|wanted| !*wanted) => Ok(()),
        () = screen.closed() => Ok(()),
    };
    job.end(End::default()).await;
    ended
}
