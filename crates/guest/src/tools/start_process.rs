//! `start_process`: a program that goes on when the call has ended, with pipes or at a terminal.

use std::collections::BTreeMap;

use berth_guest_api::ToolResult;
use schemars::JsonSchema;
use serde::Deserialize;

use super::shell::{bash, directory, variables};
use super::text::Text;
use super::{Spec, Tool, ToolError};
use crate::guest::Guest;
use crate::process::{Request, Size};

/// A person's shell, for a call that names no command.
const LOGIN_SHELL: [&str; 2] = ["/bin/bash", "--login"];

pub(super) struct StartProcess;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Args {
    /// The command line, run by bash; a login shell if absent, which makes sense at a terminal.
    command: Option<Text>,
    /// Working directory, an absolute path; the home directory if absent.
    cwd: Option<Text>,
    /// Additional environment variables.
    envs: Option<BTreeMap<String, Text>>,
    /// Gives the program a terminal of this size, `columns` and `rows` from 1 to 1000; pipes if absent.
    terminal: Option<Size>,
}

impl Tool for StartProcess {
    const SPEC: Spec = Spec {
        name: "start_process",
        server: "wuying_shell",
        description: "Starts a program that goes on running, and returns its process_id. Read what it writes with \
                      read_process, write to it with write_process, end it with signal_process. For a command that ends \
                      by itself, use shell.",
    };
    type Args = Args;

    async fn run(args: Args, guest: Guest) -> Result<ToolResult, ToolError> {
        if let Some(size) = args.terminal
            && !size.is_sane()
        {
            return Err(ToolError::Field {
                field: "terminal",
                got: format!("{} columns, {} rows", size.columns, size.rows),
                allowed: "`columns` and `rows` from 1 to 1000",
            });
        }
        let command = match &args.command {
            Some(command) => bash(&command.0)?,
            None => LOGIN_SHELL.map(str::to_owned).to_vec(),
        };
        let directory = directory(args.cwd.as_ref(), &guest).await?;
        let variables = variables(args.envs)?;
        let request = Request {
            name: args
                .command
                .map_or_else(|| LOGIN_SHELL.join(" "), |command| command.0),
            command,
            directory,
            variables,
            terminal: args.terminal,
        };
        let process = guest.processes.start(&guest.jobs, request).await?;
        Ok(ToolResult::text(serde_json::to_string(&process.about())?))
    }
}
