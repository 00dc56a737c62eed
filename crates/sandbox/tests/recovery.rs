//! A server that is killed at any moment leaves running sandboxes running, and nothing that the next one cannot remove.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod support;

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use berth_sandbox::Sandboxes as _;
use support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_be_killed_at_any_moment() {
    /// Each is killed a little later in its work than the one before. A whole round takes about 150 ms.
    const KILLS: u64 = 16;

    let mut server = Server::start().await;
    // The test's own server only lends its folder, so that what is left is found and removed in the end.
    server.local = None;
    let mut kept = Vec::new();
    for round in 0..KILLS {
        kept.extend(run_and_kill(&server, Duration::from_millis(round * 13)));
    }
    server.restart().await;
    let listed = server.local().list().await.unwrap();
    let mut adopted = 0;
    for id in &listed {
        let Some(sandbox) = server.local().adopt(id).await.unwrap() else {
            continue;
        };
        assert_eq!(shell(&sandbox, "cat /etc/layer").await, "top");
        adopted += 1;
    }
    // Whatever was said to run and was not to be ended runs.
    for name in &kept {
        assert!(listed.iter().any(|id| id.as_str() == name), "{name} is gone");
    }
    assert!(adopted >= kept.len(), "{adopted} of {}", kept.len());
    server.close().await;
}

/// Runs the restless server, kills it some time after its first sandbox runs, and returns the names of those that were
/// running and to be kept.
fn run_and_kill(server: &Server, after: Duration) -> Vec<String> {
    let mut process = Command::new(stand_in().with_file_name("restless"))
        .arg(server.state())
        .arg(stand_in())
        .args(layers())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let first = lines
        .by_ref()
        .find(|line| line.starts_with("running "))
        .expect("the server ended early");
    // Not to wait for anything: the moment of the kill is what is varied.
    std::thread::sleep(after);
    process.kill().unwrap();
    process.wait().unwrap();
    let running = std::iter::once(first).chain(lines.filter(|line| line.starts_with("running ")));
    running
        .map(|line| line.trim_start_matches("running ").to_owned())
        .filter(|name| {
            name.rsplit('-')
                .next()
                .and_then(|number| number.parse::<u64>().ok())
                .unwrap()
                % 3
                == 0
        })
        .collect()
}
