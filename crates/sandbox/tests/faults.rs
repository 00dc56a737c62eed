//! What may fail underneath: a runtime that fails, hangs, dies or lies harms no other sandbox, and leaves nothing.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod support;

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use berth_sandbox::Sandboxes as _;
use rustix::fs::{FlockOperation, flock};
use support::*;

/// Does what the file beside it says before an operation, and otherwise what runc does.
const RUNTIME: &str = r#"#!/bin/sh
said=$(cat "$0.fault" 2>/dev/null)
pid_file= before=
for argument; do
    case $argument in create | start | delete) operation=${operation:-$argument} ;; esac
    if [ "$before" = --pid-file ]; then pid_file=$argument; fi
    before=$argument
done
case "$said" in "$operation: "*) eval "${said#*: }" ;; esac
exec runc "$@"
"#;

/// A server with a runtime that can be told to fail.
struct Faulty {
    server: Server,
    runtime: PathBuf,
    _folder: tempfile::TempDir,
}

impl Faulty {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = folder.path().join("runtime");
        fs_err::write(&runtime, RUNTIME).unwrap();
        fs_err::set_permissions(&runtime, PermissionsExt::from_mode(0o755)).unwrap();
        let server = Server::start_with(|config| config.runtime = runtime.display().to_string()).await;
        Self {
            server,
            runtime,
            _folder: folder,
        }
    }

    /// From now on the runtime runs this shell code first, in this operation.
    fn set_fault(&self, fault: &str) {
        let file = self.runtime.with_extension("fault");
        // Whole or not at all: the script may read it at any moment.
        fs_err::write(file.with_extension("new"), fault).unwrap();
        fs_err::rename(file.with_extension("new"), file).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_cannot_make_a_sandbox_is_told_with_its_words_and_leaves_nothing() {
    let faulty = Faulty::start().await;
    let server = &faulty.server;
    let other = server.create("other").await;
    for (fault, words) in [
        (
            "create: echo no more of these >&2; exit 3",
            "`runtime create` failed (exit status: 3): no more of these",
        ),
        (
            "start: echo not now; exit 4",
            "`runtime start` failed (exit status: 4): not now",
        ),
        ("create: exit 5", "failed (exit status: 5): it said nothing"),
        (
            "create: kill -9 $$",
            "`runtime create` failed (signal: 9 (SIGKILL)): it said nothing",
        ),
        // It has made all of it by then.
        (
            "create: runc \"$@\"; kill -9 $$",
            "`runtime create` failed (signal: 9",
        ),
        (
            "create: exit 0",
            "the process number that the runtime wrote is missing",
        ),
        (
            "create: head -c 300000 /dev/urandom; head -c 9000 /dev/urandom > $pid_file; exit 0",
            "could not read the process number",
        ),
        (
            "create: echo half a number > $pid_file; exit 0",
            "the process number that the runtime wrote is \"half a number\\n\"",
        ),
        // Whose network would be set up if that were believed.
        (
            "create: echo 1 > $pid_file; exit 0",
            "the process number that the runtime wrote is 1;",
        ),
        (
            "create: echo -5 > $pid_file; exit 0",
            "the process number that the runtime wrote is -5;",
        ),
    ] {
        faulty.set_fault(fault);
        let error = server.local().create(&id("one"), &spec()).await.unwrap_err();
        assert!(chain(&error).contains(words), "{fault}: {}", chain(&error));
        assert_eq!(server.local().list().await.unwrap(), [id("other")], "{fault}");
        assert_eq!(shell(&other, "echo unharmed").await, "unharmed");
    }
    faulty.set_fault("");
    assert_eq!(shell(&server.create("one").await, "echo works").await, "works");
    faulty.server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_hangs_while_it_makes_a_sandbox_is_ended_with_all_it_started() {
    let faulty = Faulty::start().await;
    let server = &faulty.server;
    let other = server.create("other").await;
    // Once before anything is made, once after all of it, and each time with a child.
    let mark = faulty.runtime.display().to_string();
    let before = format!("create: echo looking >&2; sh -c 'sleep 1000; : {mark}'; true");
    let after = format!("create: runc \"$@\"; sh -c 'sleep 1000; : {mark}'; true");
    for (fault, words) in [
        (
            &before,
            "`runtime create` did not end within 10 s and was killed: looking",
        ),
        (&after, "`runtime create` did not end within 10 s and was killed"),
    ] {
        faulty.set_fault(fault);
        let (one, spec) = (id("one"), spec());
        let creation = server.local().create(&one, &spec);
        let (made, said) = tokio::join!(creation, shell(&other, "echo goes on"));
        assert_eq!(said, "goes on");
        let error = chain(&made.unwrap_err());
        assert!(error.contains(words), "{error}");
        assert_eq!(server.local().list().await.unwrap(), [id("other")]);
        eventually("its child is gone", || match running_with(&mark) {
            None => Ok(()),
            Some(found) => Err(found),
        })
        .await;
    }
    faulty.set_fault("");
    assert_eq!(shell(&server.create("one").await, "echo works").await, "works");
    faulty.server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_is_removed_also_when_the_runtime_does_not() {
    let faulty = Faulty::start().await;
    let server = &faulty.server;
    for fault in [
        "delete: exec sleep 1000",
        "delete: echo no >&2; exit 1",
        "delete: exit 0",
    ] {
        faulty.set_fault("");
        let sandbox = server.create("one").await;
        faulty.set_fault(fault);
        // Others come and go meanwhile.
        let removal = server.local().destroy(sandbox.id());
        let (removed, other) = tokio::join!(removal, server.create("other"));
        removed.unwrap_or_else(|error| panic!("{fault}: {}", chain(&error)));
        assert_eq!(server.local().list().await.unwrap(), [id("other")], "{fault}");
        assert_eq!(shell(&other, "echo unharmed").await, "unharmed");
        faulty.set_fault("");
        server.local().destroy(other.id()).await.unwrap();
    }
    // And of one that could be neither made nor deleted nothing is left.
    faulty.set_fault("delete: exit 1");
    let mut impossible = spec();
    impossible.guest_binary = layers()[0].clone();
    server.local().create(&id("one"), &impossible).await.unwrap_err();
    assert!(server.local().list().await.unwrap().is_empty());
    faulty.server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_that_stands_still_is_not_waited_for_for_ever() {
    let mut server = Server::start_with(|config| config.run_dir = config.state_dir.with_file_name("r")).await;
    let lock = fs_err::File::open(server.folder.path().join("r/lock")).unwrap();
    flock(lock.file(), FlockOperation::LockExclusive).unwrap();
    let error = server.local().create(&id("one"), &spec()).await.unwrap_err();
    assert!(
        chain(&error).contains("another server of this machine holds it"),
        "{}",
        chain(&error)
    );
    drop(lock);
    // Its number could not be given back, so it is still listed, and removed now.
    let left = server.local().list().await.unwrap();
    for id in left {
        server.local().destroy(&id).await.unwrap();
    }
    assert_eq!(shell(&server.create("one").await, "echo works").await, "works");
    server.restart().await;
    server.close().await;
}

/// A process of the machine with this text on its command line.
fn running_with(mark: &str) -> Option<String> {
    let processes = fs_err::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .map(|entry| fs_err::read_to_string(Path::new(&entry.path()).join("cmdline")).unwrap_or_default())
        .find(|line| line.contains(mark))
}
