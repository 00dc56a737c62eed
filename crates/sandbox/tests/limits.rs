//! What a sandbox may use of the machine is what its spec says.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod support;

use berth_sandbox::{Ending, Priority, Sandboxes as _};
use serde_json::json;
use support::*;

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_limited() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    // A process that eats too much is killed, and the others live.
    assert_eq!(shell_as(&sandbox, 1000, "stand-in eat; echo $?").await, "137");
    assert_eq!(shell(&sandbox, "echo alive").await, "alive");
    let peak = sandbox.memory_peak().await.unwrap();
    assert!((200 << 20..=256 << 20).contains(&peak), "{peak}");
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_uses_up_the_memory_ends_with_that_reason() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    assert!(try_ask(&sandbox, json!({ "eat": true })).await.is_err());
    assert_eq!(sandbox.ended().await, Ending::OutOfMemory);
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_are_limited() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    let script = "i=0; while [ $i -lt 200 ]; do sleep 100 >/dev/null 2>&1 & i=$((i+1)); done; true";
    let (_, _, stderr) = try_shell(&sandbox, 1000, script).await;
    assert!(stderr.contains("fork"), "{stderr}");
    let running = fs_err::read_to_string(pids_file(&server)).unwrap();
    assert!(running.trim().parse::<u32>().unwrap() <= 64, "{running}");
    server.close().await;
}

fn pids_file(server: &Server) -> String {
    let v1 = format!("/sys/fs/cgroup/pids/berth-{}/one/pids.current", server.tag());
    let v2 = format!("/sys/fs/cgroup/berth-{}/one/pids.current", server.tag());
    if std::path::Path::new(&v1).exists() {
        v1
    } else {
        v2
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processor_time_is_limited() {
    let server = Server::start().await;
    let mut spec = spec();
    spec.limits.cpus = 0.25;
    let sandbox = server.create_from("one", &spec).await;
    let v1 = format!("/sys/fs/cgroup/cpu/berth-{}/one/cpu.cfs_quota_us", server.tag());
    let v2 = format!("/sys/fs/cgroup/berth-{}/one/cpu.max", server.tag());
    let limit = fs_err::read_to_string(v1)
        .or_else(|_| fs_err::read_to_string(v2))
        .unwrap();
    assert!(limit.starts_with("25000"), "{limit}");
    assert_eq!(shell(&sandbox, "echo alive").await, "alive");
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_low_priority_can_be_raised() {
    let server = Server::start().await;
    let mut spec = spec();
    spec.priority = Priority::Low;
    let low = server.create_from("low", &spec).await;
    let normal = server.create("normal").await;
    let weight = |name: &str| {
        let v1 = format!("/sys/fs/cgroup/cpu/berth-{}/{name}/cpu.shares", server.tag());
        let v2 = format!("/sys/fs/cgroup/berth-{}/{name}/cpu.weight", server.tag());
        let weight = fs_err::read_to_string(v1).or_else(|_| fs_err::read_to_string(v2));
        weight.unwrap().trim().parse::<u64>().unwrap()
    };
    assert_eq!(weight("low"), weight("normal") / 10);
    low.set_priority(Priority::Normal).await.unwrap();
    assert_eq!(weight("low"), weight("normal"));
    normal.set_priority(Priority::Low).await.unwrap();
    assert_eq!(weight("normal"), weight("low") / 10);
    assert_eq!(shell(&normal, "echo alive").await, "alive");
    server.local().destroy(low.id()).await.unwrap();
    assert!(low.set_priority(Priority::Normal).await.is_err());
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disk_bytes_are_limited() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    let (code, _, stderr) = try_shell(
        &sandbox,
        1000,
        "dd if=/dev/zero of=/home/user/big bs=1M count=500",
    )
    .await;
    assert_ne!(code, Some(0));
    assert!(stderr.contains("No space left"), "{stderr}");
    // Root inside gets no more.
    let (code, _, stderr) = try_shell(&sandbox, 0, "dd if=/dev/zero of=/root/big bs=1M count=50").await;
    assert_ne!(code, Some(0), "{stderr}");
    // And what is deleted can be used again.
    shell(
        &sandbox,
        "rm /home/user/big /root/big && dd if=/dev/zero of=/home/user/big bs=1M count=50",
    )
    .await;
    let used = fs_err::metadata(server.state().join("one/disk.ext4")).unwrap();
    assert_eq!(used.len(), 128 << 20);
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_space_goes_back_to_the_host() {
    use std::os::unix::fs::MetadataExt as _;

    let server = Server::start().await;
    let sandbox = server.create("one").await;
    let blocks = || {
        fs_err::metadata(server.state().join("one/disk.ext4"))
            .unwrap()
            .blocks()
            * 512
    };
    shell(
        &sandbox,
        "dd if=/dev/zero of=/home/user/big bs=1M count=60 && sync",
    )
    .await;
    eventually("it is on the host's disk", || {
        if blocks() > 50 << 20 {
            Ok(())
        } else {
            Err(blocks().to_string())
        }
    })
    .await;
    shell(&sandbox, "rm /home/user/big && sync").await;
    eventually("it is given back", || {
        if blocks() < 30 << 20 {
            Ok(())
        } else {
            Err(blocks().to_string())
        }
    })
    .await;
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_limited() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    let script = "cd /home/user; i=0; while [ $i -lt 6000 ]; do : > f$i || exit 1; i=$((i+1)); done";
    let (code, _, stderr) = try_shell(&sandbox, 1000, script).await;
    assert_ne!(code, Some(0));
    assert!(stderr.contains("No space left"), "{stderr}");
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_backed_files_count_as_memory() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    // Half of the memory at most.
    let (code, _, stderr) =
        try_shell(&sandbox, 1000, "dd if=/dev/zero of=/dev/shm/big bs=1M count=200").await;
    assert_ne!(code, Some(0));
    assert!(stderr.contains("No space left"), "{stderr}");
    let peak = sandbox.memory_peak().await.unwrap();
    assert!(peak > 100 << 20, "{peak}");
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_files_and_core_dumps_are_limited() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    let files: u64 = shell(&sandbox, "ulimit -Hn").await.parse().unwrap();
    assert!((1024..=65536).contains(&files), "{files}");
    // In units of 512 bytes: one byte is none.
    assert_eq!(shell(&sandbox, "ulimit -Hc").await, "0");
    server.close().await;
}
