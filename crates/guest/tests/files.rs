//! The file tools through a real guest.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use serde_json::json;
use support::TestGuest;

#[tokio::test]
async fn what_is_written_is_read() {
    let guest = TestGuest::start();
    let path = guest.path("deep/er/file.txt");
    let text = "ünï 😀\n";
    assert_eq!(
        guest
            .call("write_file", json!({ "path": path, "content": text }))
            .await
            .text,
        "true"
    );
    assert_eq!(guest.call("read_file", json!({ "path": path })).await.text, text);
    guest
        .call(
            "write_file",
            json!({ "path": path, "content": "more", "mode": "append" }),
        )
        .await;
    assert_eq!(
        guest.call("read_file", json!({ "path": path })).await.text,
        format!("{text}more")
    );
    guest
        .call(
            "write_file",
            json!({ "path": path, "content": "new", "mode": "overwrite" }),
        )
        .await;
    assert_eq!(guest.call("read_file", json!({ "path": path })).await.text, "new");
    let again = guest
        .call(
            "write_file",
            json!({ "path": path, "content": "", "mode": "create_new" }),
        )
        .await;
    assert!(
        again.is_error && again.text.contains("exists already"),
        "{}",
        again.text
    );
    let mode = guest
        .call("write_file", json!({ "path": path, "content": "", "mode": "x" }))
        .await;
    assert!(
        mode.text
            .contains("`mode` is `x`; allowed: `overwrite`, `append`, `create_new`"),
        "{}",
        mode.text
    );
}

#[tokio::test]
async fn windows_join_to_the_file() {
    let guest = TestGuest::start();
    let path = guest.path("long.txt");
    let text = "aß€😀".repeat(3000);
    guest
        .call("write_file", json!({ "path": path, "content": text }))
        .await;
    let (mut joined, mut bytes) = (String::new(), Vec::new());
    for offset in (0..text.len()).step_by(1001) {
        let window = json!({ "path": path, "offset": offset, "length": 1001 });
        joined += &guest.call("read_file", window).await.text;
        let window = json!({ "path": path, "offset": offset, "length": 1001, "format": "binary" });
        let piece = guest.call("read_file", window).await.text;
        bytes.extend(base64::engine::general_purpose::STANDARD.decode(piece).unwrap());
    }
    assert_eq!(joined, text);
    assert_eq!(bytes, text.as_bytes());
    let beyond = guest
        .call("read_file", json!({ "path": path, "offset": 1 << 30 }))
        .await;
    assert_eq!((beyond.is_error, beyond.text.as_str()), (false, ""));
}

#[tokio::test]
async fn a_character_that_a_client_cut_in_two_is_whole_in_the_file() {
    let guest = TestGuest::start();
    let path = guest.path("pair.txt");
    let first = format!(r#"{{"path":"{path}","content":"a\ud83d","mode":"overwrite"}}"#);
    assert_eq!(guest.call_raw("write_file", first).await.text, "true");
    assert_eq!(
        guest.call("read_file", json!({ "path": path })).await.text,
        "a\u{FFFD}"
    );
    let second = format!(r#"{{"path":"{path}","content":"\ude00b","mode":"append"}}"#);
    assert_eq!(guest.call_raw("write_file", second).await.text, "true");
    assert_eq!(
        guest.call("read_file", json!({ "path": path })).await.text,
        "a😀b"
    );
}

#[tokio::test]
async fn what_is_missing_is_not_found_and_named() {
    let guest = TestGuest::start();
    let path = guest.path("missing");
    for tool in ["read_file", "get_file_info", "list_directory"] {
        let answer = guest.call(tool, json!({ "path": path })).await;
        assert!(
            answer.is_error && answer.text.contains("not found") && answer.text.contains(&path),
            "{}",
            answer.text
        );
    }
    let relative = guest.call("read_file", json!({ "path": "notes.txt" })).await;
    assert!(
        relative
            .text
            .contains("`path` is `notes.txt`; allowed: an absolute path"),
        "{}",
        relative.text
    );
}

#[tokio::test]
async fn only_plain_files_are_read_and_written() {
    let guest = TestGuest::start();
    let (fifo, socket) = (guest.path("fifo"), guest.path("socket"));
    guest.shell(&format!("mkfifo {fifo}")).await;
    for (path, kind) in [
        ("/tmp", "a directory"),
        ("/dev/zero", "a device"),
        (fifo.as_str(), "a named pipe"),
        (socket.as_str(), "a socket"),
    ] {
        for answer in [
            guest.call("read_file", json!({ "path": path })).await,
            guest
                .call("write_file", json!({ "path": path, "content": "x" }))
                .await,
        ] {
            assert!(answer.is_error, "{path}");
            // A socket of another account is refused before it can be looked at.
            let told = answer.text.contains(kind) || answer.text.contains("denied");
            assert!(told && answer.text.contains(path), "{}", answer.text);
        }
    }
    let file = guest.path("file");
    guest
        .call("write_file", json!({ "path": file, "content": "" }))
        .await;
    let answer = guest.call("list_directory", json!({ "path": file })).await;
    assert!(
        answer.text.contains("is a file, not a directory"),
        "{}",
        answer.text
    );
    let answer = guest.call("create_directory", json!({ "path": file })).await;
    assert!(
        answer.is_error && answer.text.contains("is a file"),
        "{}",
        answer.text
    );
    let below = guest
        .call(
            "write_file",
            json!({ "path": format!("{file}/x"), "content": "" }),
        )
        .await;
    assert!(below.is_error, "{}", below.text);
}

#[tokio::test]
async fn the_rights_are_those_of_the_user() {
    let guest = TestGuest::start();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let secret = guest.folder().join("secret");
    fs_err::write(&secret, "x").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    for answer in [
        guest.call("read_file", json!({ "path": secret })).await,
        guest
            .call("write_file", json!({ "path": secret, "content": "y" }))
            .await,
        guest
            .call("write_file", json!({ "path": "/etc/berth-test", "content": "y" }))
            .await,
        guest
            .call("create_directory", json!({ "path": "/etc/berth-test" }))
            .await,
        guest.call("list_directory", json!({ "path": "/root" })).await,
    ] {
        assert!(
            answer.is_error && answer.text.contains("Permission denied"),
            "{}",
            answer.text
        );
    }
    let own = guest.path("own");
    guest
        .call("write_file", json!({ "path": own, "content": "" }))
        .await;
    assert_ne!(
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(own).unwrap()),
        0
    );
}

#[tokio::test]
async fn information_has_the_lines_that_clients_read() {
    let guest = TestGuest::start();
    let path = guest.path("a.txt");
    guest
        .call("write_file", json!({ "path": path, "content": "hello" }))
        .await;
    let text = guest.call("get_file_info", json!({ "path": path })).await.text;
    for line in [
        "name: a.txt",
        &format!("path: {path}"),
        "size: 5",
        "isDirectory: false",
    ] {
        assert!(text.lines().any(|found| found == line), "{text}");
    }
    assert!(text.contains("\nmode: -rw-"), "{text}");
    // Clients cut a value at its second colon.
    assert!(text.lines().all(|line| line.matches(':').count() == 1), "{text}");
    let folder = format!("{}/", guest.folder().display());
    assert!(
        guest
            .call("get_file_info", json!({ "path": folder }))
            .await
            .text
            .contains("isDirectory: true")
    );
}

#[tokio::test]
async fn a_directory_is_listed_by_name_and_kind() {
    let guest = TestGuest::start();
    let folder = guest.path("list");
    assert_eq!(
        guest
            .call("create_directory", json!({ "path": format!("{folder}/sub/") }))
            .await
            .text,
        "true"
    );
    assert_eq!(
        guest
            .call("create_directory", json!({ "path": folder }))
            .await
            .text,
        "true"
    );
    guest
        .call(
            "write_file",
            json!({ "path": format!("{folder}/b file"), "content": "" }),
        )
        .await;
    guest
        .shell(&format!(
            "ln -s sub {folder}/link; ln -s nowhere {folder}/broken; touch $'{folder}/two\\nlines'"
        ))
        .await;
    let text = guest.call("list_directory", json!({ "path": folder })).await.text;
    assert_eq!(
        text,
        "[FILE] b file\n[FILE] broken\n[DIR] link\n[DIR] sub\n[FILE] two\\nlines"
    );
    let empty = guest
        .call("list_directory", json!({ "path": format!("{folder}/sub") }))
        .await;
    assert_eq!((empty.is_error, empty.text.as_str()), (false, ""));
}

#[tokio::test]
async fn a_read_is_bounded_and_files_of_the_kernel_are_read() {
    let guest = TestGuest::start();
    let path = guest.path("big");
    guest.shell(&format!("truncate -s 1G {path}")).await;
    for window in [
        json!({ "path": path }),
        json!({ "path": path, "length": 100 << 20 }),
    ] {
        let answer = guest.call("read_file", window).await;
        assert!(
            answer.is_error && answer.text.contains("`offset` and `length`"),
            "{}",
            answer.text
        );
    }
    let part = guest
        .call(
            "read_file",
            json!({ "path": path, "offset": 1000, "length": 10, "format": "binary" }),
        )
        .await;
    assert_eq!(part.text, "AAAAAAAAAAAAAA==");
    assert!(
        guest
            .call("read_file", json!({ "path": "/proc/self/status" }))
            .await
            .text
            .contains("Name:")
    );
}
