//! What an interpreter's process hangs on: whoever kills it and everything below it, and knows how it ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::zygote::Zygote;
use crate::job::Job;
use crate::job::wire::{End, Exit};

/// How long the news of an interpreter's end may take after the end itself.
const NEWS_TIME_MAX: Duration = Duration::from_millis(500);

/// Who keeps one interpreter.
#[derive(Debug, Clone)]
pub(super) enum Keeper {
    /// The warm process that it is a fork of.
    Zygote(Arc<Zygote>),
    /// Its own supervisor.
    Supervisor(Arc<Job>),
}

impl Keeper {
    /// A process beside the interpreter that has to live on when what a run started is killed.
    pub(super) fn pid(&self) -> Option<i32> {
        match self {
            Self::Zygote(zygote) => Some(zygote.pid),
            Self::Supervisor(_) => None,
        }
    }

    /// Kills what `end` names, and returns when it is dead.
    pub(super) async fn end(&self, end: End) {
        match self {
            Self::Zygote(zygote) => zygote.end(end).await,
            Self::Supervisor(job) => job.end(end).await,
        }
    }

    /// How the interpreter `pid` ended, if that is told in time.
    pub(super) async fn exit_of(&self, pid: i32) -> Option<Exit> {
        match self {
            Self::Zygote(zygote) => zygote.exit_of(pid).await,
            Self::Supervisor(job) => {
                let ended = timeout(NEWS_TIME_MAX, job.ended()).await.ok()?;
                ended.ok().map(|ended| ended.exit)
            }
        }
    }
}
