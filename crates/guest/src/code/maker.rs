//! Makes interpreters of one kind.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::RunError;
use super::interpreter::Interpreter;
use super::language::Kind;
use super::program::Program;
use super::zygote::Zygote;
use crate::job::Jobs;

/// How interpreters of one kind come to be.
#[derive(Debug)]
pub(super) enum Maker {
    /// Python: forks of a warm process. Another one is always kept waiting, as it costs little.
    Forks {
        jobs: Jobs,
        binary: Option<PathBuf>,
        driver: String,
        home: String,
        zygote: Mutex<Option<Arc<Zygote>>>,
    },
    /// A process of its own, started when it is needed.
    Program {
        jobs: Jobs,
        program: Program,
        home: String,
    },
}

impl Maker {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Forks { .. } => Kind::Python,
            Self::Program { program, .. } => program.kind,
        }
    }

    /// Whether a second interpreter waits all the time.
    pub(super) fn keeps_spare(&self) -> bool {
        matches!(self, Self::Forks { .. })
    }

    /// A new interpreter, ready for its first run.
    pub(super) async fn make(&self) -> Result<Interpreter, RunError> {
        let (jobs, binary, driver, home, zygote) = match self {
            Self::Program { jobs, program, home } => return program.start(jobs, home).await,
            Self::Forks {
                jobs,
                binary,
                driver,
                home,
                zygote,
            } => (jobs, binary, driver, home, zygote),
        };
        let mut warm = zygote.lock().await;
        if let Some(zygote) = warm.take().filter(|zygote| zygote.is_alive()) {
            match zygote.fork().await {
                Ok(interpreter) => {
                    *warm = Some(zygote);
                    return Ok(interpreter);
                }
                // The session may kill or stop it at any moment; a new one is worth one try.
                Err(error) => tracing::warn!(%error, "the warm python process is of no use any more"),
            }
        }
        let binary = binary.as_ref().ok_or(RunError::Absent(Kind::Python))?;
        let zygote = Arc::new(Zygote::start(jobs, &binary.display().to_string(), driver, home).await?);
        let interpreter = zygote.fork().await?;
        *warm = Some(zygote);
        Ok(interpreter)
    }
}
