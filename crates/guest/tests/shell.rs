//! `shell` through a real guest: output, directories, variables, time limits, processes that try to get away.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::time::Duration;

use serde_json::json;
use support::TestGuest;

#[tokio::test]
async fn output_and_exit_code_come_back() {
    let guest = TestGuest::start();
    let answer = guest
        .call("shell", json!({ "command": "echo out; echo err >&2" }))
        .await;
    assert!(!answer.is_error);
    let json = answer.json();
    assert_eq!(
        (&json["stdout"], &json["stderr"]),
        (&json!("out\n"), &json!("err\n"))
    );
    assert_eq!((&json["exit_code"], &json["traceId"]), (&json!(0), &json!("")));

    let answer = guest
        .call("shell", json!({ "command": "echo bad >&2; exit 7" }))
        .await;
    assert!(answer.is_error);
    assert_eq!(
        (&answer.json()["exit_code"], &answer.json()["stderr"]),
        (&json!(7), &json!("bad\n"))
    );

    // What is null is absent.
    let nothing = json!({ "command": "true", "timeout_ms": null, "cwd": null, "envs": null });
    assert!(!guest.call("shell", nothing).await.is_error);

    let answer = guest.call("shell", json!({ "command": "kill -9 $$" })).await;
    assert_eq!(answer.json()["exit_code"], 137);
}

#[tokio::test]
async fn a_directory_and_variables_are_taken_as_they_are() {
    let guest = TestGuest::start();
    let folder = guest.path("with space; $(touch x)");
    guest.call("create_directory", json!({ "path": folder })).await;
    let hostile = "a'b\"; rm -rf /; $(id)";
    let answer = guest
        .call(
            "shell",
            json!({ "command": "pwd; printf %s \"$V\"", "cwd": folder, "envs": { "V": hostile } }),
        )
        .await;
    assert_eq!(answer.json()["stdout"], format!("{folder}\n{hostile}"));
}

#[tokio::test]
async fn work_is_done_as_the_session_user_with_its_groups() {
    let guest = TestGuest::start();
    let seen = guest
        .shell("id -u; id -G; grep NoNewPrivs /proc/self/status; cat /proc/self/oom_score_adj")
        .await;
    let own = rustix::process::geteuid();
    if own.is_root() {
        assert!(!seen.starts_with("0\n"), "{seen}");
        assert!(
            !seen.lines().nth(1).unwrap().split(' ').any(|gid| gid == "0"),
            "{seen}"
        );
    } else {
        assert!(seen.starts_with(&format!("{}\n", own.as_raw())), "{seen}");
    }
    assert!(seen.ends_with("500\n"), "{seen}");
    let input = guest.shell("cat; ls -l /proc/self/fd | wc -l").await;
    // Standard input is at its end, and no descriptor of the guest is inherited: 0, 1, 2, the listing and the total.
    assert_eq!(input.trim(), "5");
}

#[tokio::test]
async fn bad_arguments_name_field_and_what_is_allowed() {
    let guest = TestGuest::start();
    for (arguments, wanted) in [
        (json!({}), "missing field `command`"),
        (json!({ "command": " " }), "`command` is empty"),
        (
            json!({ "command": "true", "timeout_ms": 0 }),
            "`timeout_ms` is 0; allowed: 1 to",
        ),
        (
            json!({ "command": "true", "timeout_ms": "soon" }),
            "`timeout_ms`: invalid type",
        ),
        (
            json!({ "command": "true", "cwd": "tmp" }),
            "`cwd` is `tmp`; allowed: an absolute path",
        ),
        (
            json!({ "command": "true", "cwd": "/nonexistent" }),
            "`/nonexistent` not found",
        ),
        (
            json!({ "command": "true", "cwd": "/etc/passwd" }),
            "`/etc/passwd` is a file, not a directory",
        ),
        (json!({ "command": "true", "envs": { "A=B": "x" } }), "`envs`"),
        (
            json!({ "command": "true", "envs": { "A": 1 } }),
            "`envs.A`: invalid type",
        ),
        (json!({ "command": "x".repeat(200_000) }), "200000 bytes long"),
    ] {
        let answer = guest.call("shell", arguments.clone()).await;
        assert!(answer.is_error, "{arguments}");
        assert!(answer.text.contains(wanted), "{} lacks {wanted}", answer.text);
    }
}

#[tokio::test]
async fn a_timeout_kills_and_keeps_what_was_written() {
    let guest = TestGuest::start();
    let answer = guest
        .call(
            "shell",
            json!({ "command": "echo before; echo bad >&2; sleep 1000; echo after", "timeout_ms": 300 }),
        )
        .await;
    assert!(answer.is_error);
    let json = answer.json();
    assert_eq!(
        (&json["stdout"], &json["exit_code"]),
        (&json!("before\n"), &json!(124))
    );
    let stderr = json["stderr"].as_str().unwrap();
    assert!(
        stderr.starts_with("bad\ncommand timed out after 300 ms and was killed"),
        "{stderr}"
    );
}

#[tokio::test]
async fn a_timeout_reaches_daemons_that_left_their_family() {
    let guest = TestGuest::start();
    // A daemon by the book: a session of its own, forked twice, its parents gone, signals ignored; and one stopped.
    let command = format!(
        "(setsid bash -c 'trap \"\" TERM HUP INT; (sleep 987 & echo $! > {a}; wait) & disown; exit' & ) ; \
         setsid nohup bash -c 'echo $$ > {b}; while :; do sleep 988; done' >/dev/null 2>&1 & \
         bash -c 'echo $$ > {c}; kill -STOP $$' & \
         until [ -s {a} ] && [ -s {b} ] && [ -s {c} ]; do sleep 0.01; done; echo ready; sleep 1000",
        a = guest.path("a"),
        b = guest.path("b"),
        c = guest.path("c"),
    );
    let answer = guest
        .call("shell", json!({ "command": command, "timeout_ms": 3000 }))
        .await;
    assert_eq!(answer.json()["stdout"], "ready\n", "{}", answer.text);
    for file in ["a", "b", "c"] {
        let pid = fs_err::read_to_string(guest.folder().join(file)).unwrap();
        assert!(
            !std::path::Path::new(&format!("/proc/{}", pid.trim())).exists(),
            "{file} lives"
        );
    }
}

#[tokio::test]
async fn a_timeout_ends_a_fork_bomb() {
    let guest = TestGuest::start();
    let marker = guest.path("bomb");
    // Grows without end, slowly enough for a machine that others use as well.
    fs_err::write(&marker, "#!/bin/bash\nsleep 0.02\n\"$0\" & \"$0\" & sleep 100\n").unwrap();
    guest.shell(&format!("chmod +x {marker} 2>/dev/null; true")).await;
    let command = format!("ulimit -u 400; bash {marker} & sleep 1000");
    let answer = guest
        .call("shell", json!({ "command": command, "timeout_ms": 400 }))
        .await;
    assert!(answer.text.contains("timed out"), "{}", answer.text);
    let left = guest
        .shell(&format!("pgrep -fc '^/?[^ ]*bash {marker}' || true"))
        .await;
    assert_eq!(left.trim(), "0");
}

#[tokio::test]
async fn background_work_holds_no_call_open_and_goes_on() {
    let guest = TestGuest::start();
    let file = guest.path("proof");
    // Holds both outputs of the call, and writes to them after the call has ended.
    let command =
        format!("nohup bash -c 'sleep 0.3; echo late; echo late >&2; echo done > {file}' & echo $!");
    let call = guest.call("shell", json!({ "command": command, "timeout_ms": 60_000 }));
    let answer = tokio::time::timeout(Duration::from_secs(20), call).await.unwrap();
    let pid: u32 = answer.json()["stdout"].as_str().unwrap().trim().parse().unwrap();
    assert!(
        std::path::Path::new(&format!("/proc/{pid}")).exists(),
        "it was killed with the call"
    );
    guest
        .shell(&format!("until [ -s {file} ]; do sleep 0.02; done"))
        .await;
}

#[tokio::test]
async fn the_supervisor_cannot_be_signalled_by_its_program() {
    let guest = TestGuest::start();
    let seen = guest.shell("kill -9 $PPID && echo killed || echo refused").await;
    if rustix::process::geteuid().is_root() {
        assert_eq!(seen, "refused\n");
    }
}

#[tokio::test]
async fn long_output_loses_its_middle_and_says_so() {
    let guest = TestGuest::start();
    let answer = guest
        .call(
            "shell",
            json!({ "command": "echo first; yes 0123456789 | head -c 30000000; echo last" }),
        )
        .await;
    let json = answer.json();
    let stdout = json["stdout"].as_str().unwrap();
    assert!(stdout.len() < 5 << 20, "{}", stdout.len());
    assert!(stdout.starts_with("first\n") && stdout.ends_with("last\n"));
    assert!(stdout.contains("bytes left out here"));
}

#[tokio::test]
async fn bytes_that_are_no_text_become_replacement_characters() {
    let guest = TestGuest::start();
    assert_eq!(
        guest.shell("printf 'a\\377b\\xe2\\x82\\xac'").await,
        "a\u{FFFD}b€"
    );
}

#[tokio::test]
async fn many_calls_at_once_all_come_back() {
    let guest = TestGuest::start();
    let calls = (0..20).map(|number| {
        let guest = &guest;
        async move { guest.shell(&format!("echo {number}; sleep 0.05")).await }
    });
    let all = futures_util::future::join_all(calls).await;
    for (number, output) in all.into_iter().enumerate() {
        assert_eq!(output, format!("{number}\n"));
    }
}
