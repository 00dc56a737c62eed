//! What a build tells while it runs, and one way to show it.

use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Something that happened in a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Another build or removal works on the store; this one waits for it.
    Waiting,
    /// A layer is in the store already.
    LayerFound {
        /// The layer's recipe.
        recipe: String,
        /// The size of its file.
        size_bytes: u64,
    },
    /// Work on something began.
    Step {
        /// The recipe.
        recipe: String,
        /// What is being done now.
        step: String,
    },
    /// How far the current step of a recipe has come.
    Percent {
        /// The recipe.
        recipe: String,
        /// What is being done now.
        step: String,
        /// 0 to 100.
        percent: u8,
    },
    /// A layer is in the store now.
    LayerDone {
        /// The layer's recipe.
        recipe: String,
        /// The size of its file.
        size_bytes: u64,
    },
    /// An image can be used now.
    ImageDone {
        /// The image.
        name: String,
        /// The size of all its layers.
        size_bytes: u64,
    },
}

/// Is told what happens in a build, from several threads.
pub trait Progress: Sync {
    /// `event` happened just now.
    fn report(&self, event: Event);
}

/// Tells nobody.
impl Progress for () {
    fn report(&self, _event: Event) {}
}

/// Writes one line for each event, with the time since the start. Steps that take long get a line now and then.
#[derive(Debug)]
pub struct ProgressLines<W> {
    start: Instant,
    state: Mutex<State<W>>,
}

#[derive(Debug)]
struct State<W> {
    output: W,
    /// When the last line about a percentage was written, and what it said.
    last: Option<(Instant, u8)>,
}

/// At most one line about a percentage in this time.
const PERCENT_INTERVAL: Duration = Duration::from_secs(5);

impl<W: Write + Send> ProgressLines<W> {
    /// Lines to `output`, timed from now.
    pub fn new(output: W) -> Self {
        Self {
            start: Instant::now(),
            state: Mutex::new(State { output, last: None }),
        }
    }

    fn line(&self, now: Instant, state: &mut State<W>, text: &str) {
        let elapsed = now.duration_since(self.start).as_secs();
        // A build is not worth failing because nobody reads about it.
        let _ = writeln!(state.output, "[{:>2}:{:02}] {text}", elapsed / 60, elapsed % 60);
    }
}

impl<W: Write + Send> Progress for ProgressLines<W> {
    fn report(&self, event: Event) {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let text = match event {
            Event::Waiting => "another build or removal works on this store; waiting for it".to_owned(),
            Event::LayerFound { recipe, size_bytes } => {
                format!("{recipe}: is there already, {}", Size(size_bytes))
            }
            Event::Step { recipe, step } => {
                state.last = Some((now, 0));
                format!("{recipe}: {step}")
            }
            Event::Percent {
                recipe,
                step,
                percent,
            } => {
                let due = state.last.is_none_or(|(time, said)| {
                    now.duration_since(time) >= PERCENT_INTERVAL && said != percent
                });
                if !due {
                    return;
                }
                state.last = Some((now, percent));
                format!("{recipe}: {step}, {percent} %")
            }
            Event::LayerDone { recipe, size_bytes } => format!("{recipe}: layer made, {}", Size(size_bytes)),
            Event::ImageDone { name, size_bytes } => format!("image `{name}` is ready, {}", Size(size_bytes)),
        };
        self.line(now, &mut state, &text);
    }
}

/// A number of bytes for people to read.
#[derive(Debug, Clone, Copy)]
pub struct Size(pub u64);

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            bytes if bytes < 1 << 20 => write!(f, "{} KiB", bytes.div_ceil(1 << 10)),
            bytes if bytes < 1 << 30 => write!(f, "{} MiB", bytes.div_ceil(1 << 20)),
            bytes => write!(
                f,
                "{}.{} GiB",
                bytes >> 30,
                ((bytes & ((1 << 30) - 1)) * 10) >> 30
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        let shown =
            [0, 1, 1 << 20, (1 << 30) - 1, 1 << 30, (5 << 30) / 2].map(|bytes| Size(bytes).to_string());
        assert_eq!(
            shown,
            ["0 KiB", "1 KiB", "1 MiB", "1024 MiB", "1.0 GiB", "2.5 GiB"]
        );
    }

    #[test]
    fn a_flood_of_percentages_becomes_few_lines() {
        let mut output = Vec::new();
        let progress = ProgressLines::new(&mut output);
        progress.report(Event::Step {
            recipe: "base".to_owned(),
            step: "installing packages".to_owned(),
        });
        for percent in 0..=100 {
            let step = "installing packages".to_owned();
            progress.report(Event::Percent {
                recipe: "base".to_owned(),
                step,
                percent,
            });
        }
        progress.report(Event::LayerDone {
            recipe: "base".to_owned(),
            size_bytes: 3 << 20,
        });
        let text = String::from_utf8(output).unwrap();
        assert!(text.starts_with("[ 0:00] base: installing packages\n"), "{text}");
        assert!(text.lines().count() < 50, "{text}");
        assert!(text.ends_with("base: layer made, 3 MiB\n"), "{text}");
    }
}
