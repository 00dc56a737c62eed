//! What a session can do inside, and what it cannot reach.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod support;

use serde_json::json;
use support::*;

#[tokio::test(flavor = "multi_thread")]
async fn root_inside_is_nobody_outside() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    let map = shell(&sandbox, "cat /proc/self/uid_map").await;
    let fields: Vec<u32> = map
        .split_whitespace()
        .map(|field| field.parse().unwrap())
        .collect();
    assert_eq!((fields[0], fields[2]), (0, 65536));
    assert!(fields[1] >= 0x1000_0000, "{map}");
    assert_eq!(shell(&sandbox, "cat /proc/self/gid_map").await, map);
    assert_eq!(shell(&sandbox, "id -u").await, "0");
    // The host sees the guest as the shifted id.
    let pid = fs_err::read_to_string(server.state().join("one/pid")).unwrap();
    let owner = std::os::unix::fs::MetadataExt::uid(&fs_err::metadata(format!("/proc/{pid}")).unwrap());
    assert_eq!(owner, fields[1]);
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_is_writable_with_the_ids_of_the_image() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    assert_eq!(
        shell(&sandbox, "stat -c %u:%g / /etc/passwd /home/user").await,
        "0:0\n0:0\n1000:1000"
    );
    shell_as(&sandbox, 1000, "echo mine > /home/user/file && mkdir /tmp/dir").await;
    assert_eq!(
        shell(&sandbox, "stat -c %u:%g /home/user/file").await,
        "1000:1000"
    );
    shell(
        &sandbox,
        "chown 1000:1000 /etc/layer && rm /etc/base-only && mv /usr/bin /usr/moved",
    )
    .await;
    assert_eq!(
        shell(&sandbox, "stat -c %u /etc/layer; cat /etc/layer; ls /usr").await,
        "1000\ntop\nmoved"
    );
    let (code, _, _) = try_shell(&sandbox, 1000, "echo x >> /etc/passwd").await;
    assert_ne!(code, Some(0));
    // The image is untouched: the next sandbox sees it as it was.
    let next = server.create("two").await;
    assert_eq!(
        shell(&next, "stat -c %u /etc/layer; cat /etc/base-only; ls /usr").await,
        "0\nbase\nbin"
    );
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn set_uid_programs_work_as_sudo_needs() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    assert_eq!(
        shell_as(&sandbox, 1000, "as-root whoami; stand-in whoami").await,
        "0\n1000"
    );
    assert_eq!(
        shell(&sandbox, "grep NoNewPrivs /proc/self/status").await,
        "NoNewPrivs:\t0"
    );
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn capabilities_are_bounded() {
    /// CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, SYS_CHROOT, AUDIT_WRITE,
    /// SETFCAP.
    const EXPECTED: u64 = 0xa004_05fb;

    let server = Server::start().await;
    let sandbox = server.create("one").await;
    let status = shell(&sandbox, "grep -E '^Cap(Bnd|Eff)' /proc/1/status").await;
    for line in status.lines() {
        let (_, mask) = line.split_once(":\t").unwrap();
        assert_eq!(u64::from_str_radix(mask, 16).unwrap(), EXPECTED, "{line}");
    }
    for attempt in [
        "mount -t tmpfs none /tmp",
        "umount /proc",
        "mknod /tmp/disk b 7 0",
        "hostname other",
        "ip link set eth0 down",
        "date -s 2000-01-01 >/dev/null 2>/tmp/why; ! grep -q permitted /tmp/why",
        "chroot / /bin/busybox mount -t proc none /proc",
        "echo 1 > /proc/sys/kernel/panic",
        "echo b > /proc/sysrq-trigger",
        "echo x > /sys/kernel/uevent_helper",
        "mkdir $(dirname $(ls /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/memory/cgroup.procs 2>/dev/null))/new",
        "cat /proc/kcore",
    ] {
        let (code, stdout, _) = try_shell(&sandbox, 0, attempt).await;
        assert!(
            code != Some(0) || stdout.is_empty() && attempt.starts_with("cat"),
            "`{attempt}` worked"
        );
    }
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn system_calls_are_refused_as_the_profile_says() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    let refused: [(&str, i64, &[i64]); 22] = [
        ("keyctl", libc::SYS_keyctl, &[]),
        ("add_key", libc::SYS_add_key, &[]),
        ("request_key", libc::SYS_request_key, &[]),
        ("bpf", libc::SYS_bpf, &[]),
        ("perf_event_open", libc::SYS_perf_event_open, &[]),
        ("userfaultfd", libc::SYS_userfaultfd, &[]),
        ("io_uring_setup", libc::SYS_io_uring_setup, &[1]),
        ("ptrace", libc::SYS_ptrace, &[]),
        ("process_vm_readv", libc::SYS_process_vm_readv, &[1]),
        ("mount", libc::SYS_mount, &[]),
        ("umount2", libc::SYS_umount2, &[]),
        ("fsopen", libc::SYS_fsopen, &[]),
        ("open_tree", libc::SYS_open_tree, &[]),
        ("move_mount", libc::SYS_move_mount, &[]),
        ("pivot_root", libc::SYS_pivot_root, &[]),
        ("setns", libc::SYS_setns, &[]),
        ("kexec_load", libc::SYS_kexec_load, &[]),
        ("init_module", libc::SYS_init_module, &[]),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, &[]),
        ("syslog", libc::SYS_syslog, &[3]),
        ("reboot", libc::SYS_reboot, &[]),
        ("swapon", libc::SYS_swapon, &[]),
    ];
    for (name, number, args) in refused {
        let answer = ask(&sandbox, json!({ "syscall": number, "args": args })).await;
        assert_eq!(answer["errno"], libc::EPERM, "{name}: {answer}");
    }
    for (name, number, args) in [
        ("clone3", libc::SYS_clone3, &[] as &[i64]),
        ("an unknown call", 2000, &[]),
        (
            "an unknown execution domain",
            libc::SYS_personality,
            &[0x0040_0000],
        ),
    ] {
        let answer = ask(&sandbox, json!({ "syscall": number, "args": args })).await;
        assert_eq!(answer["errno"], libc::ENOSYS, "{name}: {answer}");
    }
    let raw = i64::from(libc::SOCK_RAW);
    for (name, args, errno) in [
        ("packets", [libc::AF_PACKET.into(), raw, 0], libc::EAFNOSUPPORT),
        (
            "virtual machine sockets",
            [libc::AF_VSOCK.into(), 1, 0],
            libc::EAFNOSUPPORT,
        ),
        (
            "kernel cryptography",
            [libc::AF_ALG.into(), 5, 0],
            libc::EAFNOSUPPORT,
        ),
        (
            "netfilter",
            [libc::AF_NETLINK.into(), raw, 12],
            libc::EPROTONOSUPPORT,
        ),
        ("audit", [libc::AF_NETLINK.into(), raw, 9], libc::EPROTONOSUPPORT),
        ("raw internet", [libc::AF_INET.into(), raw, 1], libc::EPERM),
    ] {
        let answer = ask(&sandbox, json!({ "syscall": libc::SYS_socket, "args": args })).await;
        assert_eq!(answer["errno"], errno, "{name}: {answer}");
    }
    // The last is how `ping` works without privileges.
    for args in [
        [1, 1, 0],
        [2, 1, 0],
        [2, 2, 0],
        [10, 1, 0],
        [16, raw, 0],
        [2, 2, 1],
    ] {
        let answer = ask(&sandbox, json!({ "syscall": libc::SYS_socket, "args": args })).await;
        assert!(answer["result"].is_i64(), "{args:?}: {answer}");
    }
    server.close().await;
}

/// A browser's own sandbox is made of nested user namespaces.
#[tokio::test(flavor = "multi_thread")]
async fn nested_user_namespaces_can_be_made() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    let made = shell_as(&sandbox, 1000, "unshare -U -n -p -f -r id -u").await;
    assert_eq!(made, "0");
    // But not what they would open up.
    let (code, _, _) = try_shell(&sandbox, 1000, "unshare -U -r -m mount -t tmpfs none /tmp").await;
    assert_ne!(code, Some(0));
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_is_not_seen() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    assert!(shell(&sandbox, "ps | wc -l").await.parse::<u32>().unwrap() < 10);
    let interfaces = shell(&sandbox, "ls /sys/class/net").await;
    assert_eq!(interfaces.split_whitespace().collect::<Vec<_>>(), ["eth0", "lo"]);
    let mounts = shell(&sandbox, "cat /proc/self/mountinfo").await;
    assert!(!mounts.contains(server.state().to_str().unwrap()), "{mounts}");
    // No descriptor of the server or the runtime came along: no file or folder of the host but the guest's own output.
    let open = shell(&sandbox, "for fd in /proc/1/fd/*; do readlink $fd; done; true").await;
    let expected = |target: &str| {
        let own = ["/dev/null", "socket:", "pipe:"]
            .iter()
            .any(|own| target.starts_with(own));
        own || target.ends_with("/one/output")
    };
    assert!(open.lines().all(expected), "{open}");
    for (name, secret) in [
        ("kallsyms", "/proc/kallsyms"),
        ("keys", "/proc/keys"),
        ("firmware", "/sys/firmware"),
    ] {
        let (_, stdout, _) =
            try_shell(&sandbox, 0, &format!("cat {secret} 2>/dev/null || ls {secret}")).await;
        assert_eq!(stdout, "", "{name}");
    }
    // Its own limits, and not the host's.
    let limit = shell(
        &sandbox,
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max",
    )
    .await;
    assert_eq!(limit, (256 << 20).to_string());
    server.close().await;
}
