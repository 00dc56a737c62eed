//! Sandboxes are made, adopted and ended, and nothing of them is left.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod support;

use std::process::Command;

use berth_sandbox::{Ending, SandboxError, Sandboxes as _};
use serde_json::json;
use support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_runs_and_leaves_nothing() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    let said = shell(
        &sandbox,
        "cat /etc/layer /etc/base-only; hostname; echo $BERTH_TEST",
    )
    .await;
    assert_eq!(said, "top\nbase\nbox\nyes");
    server.local().destroy(sandbox.id()).await.unwrap();
    assert_eq!(sandbox.ended().await, Ending::Destroyed);
    server.local().destroy(sandbox.id()).await.unwrap();
    assert!(server.local().list().await.unwrap().is_empty());
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_mounted_on_the_host_while_a_sandbox_runs() {
    let server = Server::start().await;
    server.create("one").await;
    let mounts = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(
        !mounts.contains("/run/berth") && !mounts.contains(server.state().to_str().unwrap()),
        "{mounts}"
    );
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_sandbox_are_its_own() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    assert_eq!(shell(&sandbox, "cat /etc/hostname").await, "box");
    assert!(shell(&sandbox, "cat /etc/hosts").await.contains("127.0.1.1 box"));
    // The image has a symbolic link there.
    assert!(
        shell(&sandbox, "cat /etc/resolv.conf")
            .await
            .starts_with("nameserver 10.")
    );
    // And they can be changed by renaming, as editors and package managers do.
    shell(
        &sandbox,
        "echo '127.0.0.1 mine' > /etc/new && mv /etc/new /etc/hosts && grep mine /etc/hosts",
    )
    .await;
    let (code, _, stderr) = try_shell(&sandbox, 0, "echo x > /opt/berth/berth-guest").await;
    assert_ne!(code, Some(0), "{stderr}");
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_first_process_is_told_to_all_who_wait() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let sandbox = sandbox.clone();
            tokio::spawn(async move { sandbox.ended().await })
        })
        .collect();
    try_ask(&sandbox, json!({ "exit": 7 })).await.unwrap_err();
    for task in waiting {
        assert!(matches!(task.await.unwrap(), Ending::Exited(7) | Ending::Unknown));
    }
    assert!(server.local().adopt(sandbox.id()).await.unwrap().is_none());
    assert_eq!(server.local().list().await.unwrap(), [sandbox.id().clone()]);
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_server_adopts_what_runs() {
    let mut server = Server::start().await;
    let sandbox = server.create("one").await;
    shell(
        &sandbox,
        "echo kept > /home/user/file; sleep 1000 >/dev/null 2>&1 &",
    )
    .await;
    let id = sandbox.id().clone();
    drop(sandbox);
    server.restart().await;
    assert_eq!(server.local().list().await.unwrap(), std::slice::from_ref(&id));
    let adopted = server.local().adopt(&id).await.unwrap().unwrap();
    assert_eq!(shell(&adopted, "cat /home/user/file").await, "kept");
    assert!(shell(&adopted, "ps").await.contains("sleep 1000"));
    // It prints to the new server, and its network still works with the new server's firewall.
    ask(&adopted, json!({ "print": "after the restart" })).await;
    eventually("the line arrives", || {
        let tail = adopted.log_tail();
        if tail.iter().any(|line| line == "after the restart") {
            Ok(())
        } else {
            Err(format!("{tail:?}"))
        }
    })
    .await;
    // A second sandbox beside it has another number.
    let second = server.create("two").await;
    assert_ne!(
        shell(&adopted, "ip -4 addr show eth0").await,
        shell(&second, "ip -4 addr show eth0").await
    );
    server.local().destroy(&id).await.unwrap();
    assert_eq!(adopted.ended().await, Ending::Destroyed);
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_sandbox_is_not_adopted() {
    let server = Server::start().await;
    assert!(server.local().adopt(&id("nobody")).await.unwrap().is_none());
    server.local().destroy(&id("nobody")).await.unwrap();
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_used_once_at_a_time() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    let again = server.local().create(sandbox.id(), &spec()).await;
    assert!(matches!(again, Err(SandboxError::Exists(_))), "{again:?}");
    assert_eq!(shell(&sandbox, "echo still here").await, "still here");
    server.local().destroy(sandbox.id()).await.unwrap();
    let again = server.create("one").await;
    assert_eq!(shell(&again, "ls /home/user").await, "");
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_share_a_machine() {
    let (one, two) = (Server::start().await, Server::start().await);
    let (a, b) = tokio::join!(one.create("same"), two.create("same"));
    assert_ne!(one.tag(), two.tag());
    assert_ne!(
        shell(&a, "cat /proc/self/uid_map").await,
        shell(&b, "cat /proc/self/uid_map").await
    );
    one.local().destroy(a.id()).await.unwrap();
    one.close().await;
    assert_eq!(shell(&b, "echo untouched").await, "untouched");
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_has_one_server() {
    let server = Server::start().await;
    let second = berth_sandbox::Local::start(berth_sandbox::Config::new(server.state())).await;
    let error = second.err().unwrap();
    assert!(
        chain(&error).contains("in use by another running server"),
        "{}",
        chain(&error)
    );
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_leaves_nothing_and_says_why() {
    let server = Server::start().await;
    let mut broken = spec();
    broken.layers.push("/nonexistent.erofs".into());
    let error = server.local().create(&id("one"), &broken).await.unwrap_err();
    assert!(
        chain(&error).contains("could not find the layer `/nonexistent.erofs`"),
        "{}",
        chain(&error)
    );
    let mut broken = spec();
    broken.guest_binary = support::layers()[0].clone();
    let error = server.local().create(&id("two"), &broken).await.unwrap_err();
    assert!(chain(&error).contains("runc"), "{}", chain(&error));
    assert!(server.local().list().await.unwrap().is_empty());
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_is_missing_is_named() {
    let server = Server::start_with(|config| config.runtime = "no-such-runtime".into()).await;
    let error = server.local().create(&id("one"), &spec()).await.unwrap_err();
    assert!(
        chain(&error).contains("could not run `no-such-runtime create`"),
        "{}",
        chain(&error)
    );
    // Removal does without it.
    assert!(server.local().list().await.unwrap().is_empty());
    server.close().await;
}

/// What a server that was killed at some step leaves: every later step undone.
#[tokio::test(flavor = "multi_thread")]
async fn half_made_sandboxes_are_listed_and_removed() {
    let server = Server::start().await;
    let state = server.state();
    // Only the folder.
    fs_err::create_dir(state.join("folder")).unwrap();
    // A number without a record.
    fs_err::create_dir(state.join("claimed")).unwrap();
    let free = (0..)
        .find(|n| !std::path::Path::new(&format!("/run/berth/slots/{n}")).exists())
        .unwrap();
    let owner = fs_err::canonicalize(&state).unwrap();
    let claim = json!({ "owner": owner, "sandbox": "claimed" }).to_string();
    fs_err::write(format!("/run/berth/slots/{free}"), claim).unwrap();
    // Everything, but killed before the record was written: it runs, and is not taken for whole.
    let whole = server.create("whole").await;
    fs_err::remove_file(state.join("whole/record.json")).unwrap();
    // A cgroup whose folder somebody removed.
    let orphan = server.create("orphan").await;
    fs_err::remove_dir_all(state.join("orphan")).unwrap();

    let mut server = server;
    server.restart().await;
    let mut listed: Vec<String> = server
        .local()
        .list()
        .await
        .unwrap()
        .iter()
        .map(|id| id.to_string())
        .collect();
    listed.sort();
    assert_eq!(listed, ["claimed", "folder", "orphan", "whole"]);
    for name in &listed {
        assert!(server.local().adopt(&id(name)).await.unwrap().is_none(), "{name}");
    }
    drop((whole, orphan));
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_sandbox_stands_still_and_goes_on() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    shell(
        &sandbox,
        "(while :; do n=$((n+1)); echo $n > /tmp/n; done) >/dev/null 2>&1 &",
    )
    .await;
    sandbox.freeze().await.unwrap();
    let pids = processes(&server, "one");
    let file = format!("/sys/fs/cgroup/unified/berth-{}/one/cgroup.events", server.tag());
    if let Ok(events) = fs_err::read_to_string(&file) {
        eventually("the kernel says so", || {
            let events = fs_err::read_to_string(&file).unwrap_or_else(|_| events.clone());
            if events.contains("frozen 1") {
                Ok(())
            } else {
                Err(events)
            }
        })
        .await;
    }
    // Nothing runs any more, or the kernel would count its time.
    let before: Vec<u64> = pids.iter().map(|pid| cpu_time(pid)).collect();
    tokio::task::yield_now().await;
    assert_eq!(before, pids.iter().map(|pid| cpu_time(pid)).collect::<Vec<u64>>());
    sandbox.thaw().await.unwrap();
    let before: Vec<u64> = pids.iter().map(|pid| cpu_time(pid)).collect();
    eventually("it goes on", || {
        let now: Vec<u64> = pids.iter().map(|pid| cpu_time(pid)).collect();
        if now == before {
            Err("standing still".into())
        } else {
            Ok(())
        }
    })
    .await;
    // A frozen sandbox can be ended.
    sandbox.freeze().await.unwrap();
    server.local().destroy(sandbox.id()).await.unwrap();
    server.close().await;
}

/// Numbers of the processes of a sandbox.
fn processes(server: &Server, name: &str) -> Vec<String> {
    let path = format!("berth-{}/{name}/cgroup.procs", server.tag());
    let read = |tree: &str| fs_err::read_to_string(format!("/sys/fs/cgroup/{tree}{path}"));
    let text = read("unified/")
        .or_else(|_| read(""))
        .or_else(|_| read("freezer/"))
        .unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Time that a process has used, in ticks.
fn cpu_time(pid: &str) -> u64 {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_guest_prints_is_kept() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    ask(&sandbox, json!({ "print": "hello \u{1b}[31mred" })).await;
    eventually("the lines arrive", || {
        let tail = sandbox.log_tail();
        let expected = ["stand-in is up", "hello \u{fffd}[31mred"];
        if tail == expected {
            Ok(())
        } else {
            Err(format!("{tail:?}"))
        }
    })
    .await;
    server.close().await;
}

/// What people look at when a session has died: the last words, and whether its memory was full.
#[tokio::test(flavor = "multi_thread")]
async fn an_ended_sandbox_tells_its_last_words_and_memory_until_it_is_destroyed() {
    let mut server = Server::start().await;
    let first = server.create("one").await;
    ask(&first, json!({ "print": "of the first server" })).await;
    let lived = first.memory_peak().await.unwrap();
    assert!(lived > 0);
    drop(first);
    server.restart().await;
    let sandbox = server.local().adopt(&id("one")).await.unwrap().unwrap();
    assert!(sandbox.memory_peak().await.unwrap() >= lived);
    ask(&sandbox, json!({ "print": "last words \u{1b}[2J" })).await;
    try_ask(&sandbox, json!({ "exit": 7 })).await.unwrap_err();
    sandbox.ended().await;
    // At once: what the guest printed before its end is there when its end is.
    let tail = sandbox.log_tail();
    assert_eq!(tail.last().unwrap(), "last words \u{fffd}[2J", "{tail:?}");
    assert!(sandbox.memory_peak().await.unwrap() >= lived);
    server.local().destroy(sandbox.id()).await.unwrap();
    assert_eq!(sandbox.log_tail(), tail);
    let error = sandbox.memory_peak().await.unwrap_err();
    assert!(chain(&error).contains("could not read"), "{}", chain(&error));
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_prints_while_no_server_reads_is_not_stopped() {
    let mut server = Server::start().await;
    let sandbox = server.create("one").await;
    // Its own output, whatever the runtime did with it before.
    let flags = shell(&sandbox, "grep flags: /proc/1/fdinfo/1").await;
    let flags = i32::from_str_radix(flags.trim_start_matches("flags:").trim(), 8).unwrap();
    assert_ne!(flags & libc::O_NONBLOCK, 0, "{flags:o}");
    server.restart().await;
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_made_and_ended_side_by_side() {
    let server = Server::start().await;
    let names: Vec<String> = (0..12).map(|number| format!("n{number}")).collect();
    let made = futures_util::future::join_all(names.iter().map(|name| server.create(name))).await;
    let mut maps = Vec::new();
    for sandbox in &made {
        maps.push(shell(sandbox, "cat /proc/self/uid_map; ip -4 addr show eth0").await);
    }
    maps.sort();
    maps.dedup();
    assert_eq!(maps.len(), made.len());
    let ended = made.iter().map(|sandbox| server.local().destroy(sandbox.id()));
    for result in futures_util::future::join_all(ended).await {
        result.unwrap();
    }
    server.close().await;
}

/// All layers share one page cache, and each layer is mounted once.
#[tokio::test(flavor = "multi_thread")]
async fn sandboxes_of_one_image_share_its_page_cache() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("big");
    fs_err::create_dir(&root).unwrap();
    let made = Command::new("head")
        .args(["-c", "64M", "/dev/urandom"])
        .output()
        .unwrap();
    fs_err::write(root.join("blob"), made.stdout).unwrap();
    let mut spec = spec();
    spec.layers.push(make_layer(&root));
    let server = Server::start().await;
    let mut devices = Vec::new();
    for name in ["one", "two", "three"] {
        let sandbox = server.create_from(name, &spec).await;
        // Charged to the first who reads it; the others find it there.
        shell(&sandbox, "cat /blob > /dev/null").await;
        devices.push(sandbox.memory_peak().await.unwrap());
    }
    assert!(devices[0] > 64 << 20, "{devices:?}");
    assert!(devices[1] < 48 << 20 && devices[2] < 48 << 20, "{devices:?}");
    server.close().await;
}
