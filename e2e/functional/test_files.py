"""Every file tool, through the official SDK, and what names, kinds and sizes of files do to them."""

import json
import queue
import threading
import time
import uuid

import pytest


@pytest.fixture
def folder(shared):
    """A directory of its own for each test."""
    path = f"/home/user/{uuid.uuid4().hex}"
    assert shared.file.mkdir(path).success
    return path


def sh(session, command):
    done = session.command.execute(command, timeout_ms=60000)
    assert done.success, done.error_message or done.stderr
    return done.stdout


def tool(session, name, **arguments):
    done = session.call_mcp_tool(name, arguments)
    return done.data if done.success else f"error: {done.error_message}"


def test_an_edit_is_made_whole_or_not_at_all(shared, folder):
    path = f"{folder}/a.txt"
    shared.file.write(path, "one\ntwo\nthree\ntwo\n")
    assert shared.file.edit(path, [{"oldText": "two\nthree", "newText": "2\n3 é😀"}, {"oldText": "one", "newText": ""}]).success
    assert shared.file.read(path).content == "\n2\n3 é😀\ntwo\n"
    missing = shared.file.edit(path, [{"oldText": "two", "newText": "x"}, {"oldText": "nowhere", "newText": "y"}])
    assert not missing.success and path in missing.error_message and "nowhere" in missing.error_message
    assert shared.file.edit(path, [{"oldText": "two", "newText": "x"}], dry_run=True).success
    assert not shared.file.edit(path, [{"oldText": "gone", "newText": "x"}], dry_run=True).success
    assert shared.file.read(path).content == "\n2\n3 é😀\ntwo\n"
    whole = shared.file.read(path).content
    assert shared.file.edit(path, [{"oldText": whole, "newText": "all new"}]).success
    assert shared.file.read(path).content == "all new"
    assert "not found" in shared.file.edit(f"{folder}/none", [{"oldText": "a", "newText": "b"}]).error_message


def test_an_edit_keeps_mode_and_place(shared, folder):
    path = f"{folder}/run.sh"
    sh(shared, f"printf 'echo old' > {path}; chmod 751 {path}; ln -s run.sh {folder}/link; ln {path} {folder}/hard")
    assert shared.file.edit(f"{folder}/link", [{"oldText": "old", "newText": "much newer"}]).success
    assert sh(shared, f"stat -c '%a %F' {path} {folder}/link; cat {folder}/hard") \
        == "751 regular file\n777 symbolic link\necho much newer"


def test_a_move_never_overwrites(shared, folder):
    shared.file.write(f"{folder}/a", "a")
    shared.file.write(f"{folder}/b", "b")
    refused = shared.file.move(f"{folder}/a", f"{folder}/b")
    assert not refused.success and f"{folder}/b" in refused.error_message and "exists" in refused.error_message
    assert shared.file.move(f"{folder}/a", f"{folder}/new/deep/a").success
    assert sh(shared, f"cd {folder}; find . -type f | sort; cat new/deep/a") == "./b\n./new/deep/a\na"
    assert shared.file.move(f"{folder}/new", f"{folder}/moved/").success
    assert "not found" in shared.file.move(f"{folder}/none", f"{folder}/x").error_message
    # Between two file systems.
    sh(shared, f"mkdir {folder}/tree; echo deep > {folder}/tree/f; ln -s f {folder}/tree/l; chmod 640 {folder}/tree/f")
    there = f"/dev/shm/{uuid.uuid4().hex}"
    assert shared.file.move(f"{folder}/tree", there).success
    assert sh(shared, f"cat {there}/l; stat -c %a {there}/f; test -e {folder}/tree || echo gone") == "deep\n640\ngone\n"
    sh(shared, f"mkdir {folder}/tree")
    assert "exists" in shared.file.move(there, f"{folder}/tree").error_message


def test_only_files_are_deleted(shared, folder):
    sh(shared, f"cd {folder}; echo x > f; ln -s f link; ln -s /nowhere dangling; mkdir d; mkfifo pipe")
    for name in ("link", "dangling", "pipe"):
        assert shared.file.remove(f"{folder}/{name}").success
    refused = shared.file.remove(f"{folder}/d")
    assert not refused.success and f"{folder}/d" in refused.error_message and "directory" in refused.error_message
    missing = shared.file.remove(f"{folder}/none")
    assert not missing.success and "not found" in missing.error_message and missing.request_id
    assert sh(shared, f"ls {folder}") == "d\nf\n"


def test_a_search_takes_globs_and_words(shared, folder):
    sh(shared, f"cd {folder}; mkdir -p src/deep node_modules/x; "
               "touch a.txt src/b.txt src/deep/Test.TXT src/deep/c.rs node_modules/x/d.txt 'src/with space.txt'")
    found = lambda *args, **kwargs: sorted(path.removeprefix(folder + "/") for path in shared.file.search(folder, *args, **kwargs).matches)
    assert found("*.txt") == ["a.txt", "node_modules/x/d.txt", "src/b.txt", "src/with space.txt"]
    assert found("*.txt", exclude_patterns=["node_modules"]) == ["a.txt", "src/b.txt", "src/with space.txt"]
    assert found("test") == ["src/deep/Test.TXT"]
    assert found("src/**/*.rs") == ["src/deep/c.rs"]
    assert found("deep") == ["src/deep"]
    assert tool(shared, "search_files", path=folder, pattern="zebra") == "No matches found"
    assert "`pattern`" in tool(shared, "search_files", path=folder, pattern="a[")
    assert "not found" in tool(shared, "search_files", path=f"{folder}/none", pattern="a")


def test_many_files_are_read_at_once(shared, folder):
    shared.file.write(f"{folder}/a", "one\ntwo")
    shared.file.write(f"{folder}/b", "é😀")
    contents = shared.file.read_batch([f"{folder}/a", f"{folder}/none", f"{folder}/b", folder]).contents
    assert contents[f"{folder}/a"] == "one\ntwo" and contents[f"{folder}/b"] == "é😀"
    assert "not found" in contents[f"{folder}/none"] and "directory" in contents[folder]


# What POSIX allows in a name. A client can only send text, so a name that is none is seen but not asked for.
NAMES = ["with space", "  around  ", "line\nend", "quote'\"", "-rf", "ünï 😀", "back\\slash", "a" * 255, "*[x]?", "$HOME"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_may_be_anything(shared, folder, name):
    path = f"{folder}/{name}"
    assert shared.file.write(path, "content").success
    assert shared.file.read(path).content == "content"
    assert shared.file.edit(path, [{"oldText": "content", "newText": "more"}]).success
    assert shared.file.info(path).success
    assert shared.file.move(path, f"{folder}/x").success and shared.file.move(f"{folder}/x", path).success
    assert len(shared.file.list(folder).entries) == 1
    assert shared.file.remove(path).success
    assert shared.file.list(folder).entries == []


def test_a_name_that_is_no_text_is_listed_and_found(shared, folder):
    sh(shared, f"cd {folder}; touch \"$(printf 'bad\\377name')\"")
    assert [entry["name"] for entry in shared.file.list(folder).entries] == ["bad\ufffdname"]
    assert shared.file.search(folder, "bad*").matches == [f"{folder}/bad\ufffdname"]


def test_a_file_of_four_gigabytes_is_read_where_it_is_asked_for(shared, folder):
    sh(shared, f"cd {folder}; truncate -s 4G big; printf 'the end' | dd of=big bs=1 seek=4294967296 conv=notrunc status=none")
    assert shared.file.info(f"{folder}/big").file_info["size"] == 2**32 + 7
    assert tool(shared, "read_file", path=f"{folder}/big", offset=2**32 - 1) == "\0the end"
    refused = tool(shared, "read_file", path=f"{folder}/big")
    assert refused.startswith("error: ") and f"{folder}/big" in refused and "`offset`" in refused
    assert f"{folder}/big" in tool(shared, "edit_file", path=f"{folder}/big", edits=[])


def test_a_large_directory_is_listed_and_searched(shared, folder):
    sh(shared, f"cd {folder}; seq -f 'file-%g.txt' 1 15000 | xargs touch")
    assert len(shared.file.list(folder).entries) == 15000
    assert shared.file.search(folder, "file-14999*").matches == [f"{folder}/file-14999.txt"]
    assert len(tool(shared, "search_files", path=folder, pattern="*.txt").splitlines()) == 10001


@pytest.mark.parametrize("name, arguments", [
    ("edit_file", {"edits": [{"oldText": "a", "newText": "b"}]}), ("delete_file", {}), ("read_file", {}),
    ("write_file", {"content": "x"}), ("list_directory", {}), ("get_file_change", {}), ("create_directory", {}),
])
def test_every_refusal_names_the_path(shared, name, arguments):
    for path in ("/root/secret", "relative/path"):
        answer = tool(shared, name, path=path, **arguments)
        assert answer.startswith("error: ") and path in answer, answer


def test_changes_are_told_once_by_polling(shared, folder):
    poll = lambda: json.loads(tool(shared, "get_file_change", path=folder))
    changed = lambda: [(change["eventType"], change["path"].removeprefix(folder + "/"), change["pathType"]) for change in poll()]
    sh(shared, f"echo old > {folder}/old.txt")
    assert poll() == []
    assert poll() == []
    shared.file.write(f"{folder}/new.txt", "1")
    assert changed() == [("create", "new.txt", "file"), ("modify", "new.txt", "file")]
    for text in ("2", "3"):  # of the same size, within one tick of the clock
        shared.file.write(f"{folder}/new.txt", text)
    assert changed() == [("modify", "new.txt", "file")]
    sh(shared, f"cd {folder}; mkdir -p sub/deep; echo x > sub/deep/f; mv old.txt sub/; rm new.txt")
    told = changed()
    assert {("create", "sub", "directory"), ("create", "sub/deep", "directory"), ("create", "sub/deep/f", "file"),
            ("delete", "old.txt", "file"), ("create", "sub/old.txt", "file"), ("delete", "new.txt", "file")} <= set(told)
    assert len(told) == len(set(told))
    sh(shared, f"echo y >> {folder}/sub/deep/f; mv {folder}/sub {folder}-away; echo z >> {folder}-away/deep/f")
    assert changed() == [("modify", "sub/deep/f", "file"), ("delete", "sub", "directory")]
    sh(shared, f"rm -r {folder}")
    told = tool(shared, "get_file_change", path=folder)
    assert told == "[]" or "not found" in told
    assert "not found" in tool(shared, "get_file_change", path=folder)


def test_the_sdk_watches_a_directory(shared, folder):
    seen, stop = [], threading.Event()
    thread = shared.file.watch_dir(path=folder, callback=seen.extend, interval=0.1, stop_event=stop)
    thread.start()
    assert thread.ready_event.wait(10)
    shared.file.write(f"{folder}/a.txt", "1")
    deadline = time.monotonic() + 10
    while not any(event.event_type == "modify" and event.path == f"{folder}/a.txt" for event in seen):
        assert time.monotonic() < deadline, seen
        time.sleep(0.02)
    stop.set()
    thread.join(10)


def test_changes_are_pushed_over_the_websocket(shared, folder):
    told = queue.Queue()
    client = shared._get_ws_client()
    ended = []
    handle = client.call_stream(target="wuying_codespace",
                                data={"method": "watch_directory", "mode": "stream", "params": {"path": folder}},
                                on_event=lambda _id, data: told.put(data), on_end=lambda _id, data: ended.append(data),
                                on_error=lambda _id, error: told.put(error))
    assert told.get(timeout=10)["eventType"] == "ready"
    shared.file.write(f"{folder}/pushed", "x")
    event = told.get(timeout=10)
    assert event["eventType"] == "file_change"
    assert {"eventType": "create", "path": f"{folder}/pushed", "pathType": "file"} in event["changes"]
    handle.write({"method": "stop"})
    handle.wait_end()
    missing = client.call_stream(target="wuying_codespace",
                                 data={"method": "watch_directory", "mode": "stream", "params": {"path": "/nowhere"}},
                                 on_event=lambda _id, data: told.put(data), on_end=None, on_error=None)
    assert missing.wait_end()["status"] == "failed"


# Whole files over plain HTTP.


@pytest.fixture
def files(shared, api):
    def ask(method, path, **options):
        headers = {"X-Access-Token": shared.token} | options.pop("headers", {})
        return api.request(method, f"{shared.link_url}/files", params={"path": path}, headers=headers, **options)

    return ask


def test_a_file_is_uploaded_and_downloaded_as_it_is(shared, folder, files):
    content = bytes(range(256)) * 20_000
    path = f"{folder}/new/a file é😀.bin"
    assert files("PUT", path, data=content).status_code == 204
    answer = files("GET", path)
    assert answer.content == content and answer.headers["Content-Type"] == "application/octet-stream"
    part = files("GET", path, headers={"Range": "bytes=1000-1999"})
    assert part.status_code == 206 and part.content == content[1000:2000]
    assert part.headers["Content-Range"] == f"bytes 1000-1999/{len(content)}"
    assert files("GET", path, headers={"Range": "bytes=-5"}).content == content[-5:]
    assert sh(shared, f"stat -c '%U %a' '{path}'") == "user 644\n"
    sh(shared, f"chmod 750 '{path}'; ln -s '{path}' {folder}/link")
    assert files("PUT", f"{folder}/link", data=b"").status_code == 204
    assert sh(shared, f"stat -c '%a %s %F' '{path}' {folder}/link") == f"750 0 regular empty file\n777 {len(path.encode())} symbolic link\n"
    assert files("GET", path).content == b""
    assert files("GET", "/proc/version").text.startswith("Linux")


def test_a_refused_transfer_says_why(shared, folder, files, api):
    sh(shared, f"mkfifo {folder}/pipe; mkdir {folder}/d; printf 12345 > {folder}/small")
    for method, path, wanted in [
        ("GET", f"{folder}/none", "not found"), ("GET", folder, "directory"), ("GET", f"{folder}/pipe", "pipe"),
        ("GET", "relative", "absolute"), ("PUT", f"{folder}/d", "directory"), ("PUT", f"{folder}/pipe", "pipe"),
        ("PUT", "/etc/berth-test", "Permission denied"), ("GET", "/root/.bashrc", "Permission denied"),
    ]:
        answer = files(method, path, data=b"x" if method == "PUT" else None)
        assert answer.status_code == 400 and wanted in answer.json()["message"], answer.text
        assert path in answer.json()["message"]
    assert "bytes=FIRST-LAST" in files("GET", f"{folder}/small", headers={"Range": "bytes=9-"}).json()["message"]
    assert "`path`" in api.get(f"{shared.link_url}/files", headers={"X-Access-Token": shared.token}).json()["message"]
    assert sh(shared, f"ls -A {folder}; ls /tmp /etc | grep berth-upload || true") == "d\npipe\nsmall\n"


def test_an_upload_that_breaks_off_changes_nothing(shared, folder):
    import http.client
    import urllib.parse

    path = f"{folder}/kept"
    shared.file.write(path, "before")
    url = urllib.parse.urlsplit(shared.link_url)
    connection = http.client.HTTPConnection(url.netloc)
    connection.putrequest("PUT", f"{url.path}/files?path={path}")
    connection.putheader("X-Access-Token", shared.token)
    connection.putheader("Content-Length", "9000000")
    connection.endheaders()
    connection.send(b"x" * 4_000_000)
    connection.close()
    deadline = time.monotonic() + 10
    while sh(shared, f"ls -A {folder}") != "kept\n":
        assert time.monotonic() < deadline, sh(shared, f"ls -A {folder}")
        time.sleep(0.05)
    assert shared.file.read(path).content == "before"
