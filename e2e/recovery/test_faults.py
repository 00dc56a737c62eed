"""What may fail underneath: the caller gets a clear error in bounded time, no other session notices, and all works again.

Every test has a server of its own. `CALL_S` bounds each call: an answer that takes longer fails its test.
"""

import contextlib
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from conftest import IMAGE

CALL_S = 60

# Does what the file beside it says before an operation, and otherwise what runc does.
RUNTIME = """#!/bin/sh
fault=$(cat "$0.fault" 2>/dev/null)
for argument; do case $argument in create | start | delete) operation=${operation:-$argument} ;; esac; done
case "$fault" in "$operation: "*) eval "${fault#*: }" ;; esac
exec runc "$@"
"""


class Caller:
    """One key's raw calls on a server."""

    def __init__(self, server):
        self.server = server

    def post(self, path, **body):
        headers = {"Authorization": f"Bearer {self.server.key}"}
        return requests.post(self.server.endpoint + path, json=body, headers=headers, timeout=CALL_S).json()

    def create(self):
        return self.post(f"/mcp/createSession?imageId={IMAGE}")

    def created(self):
        answer = self.create()
        assert answer["success"], answer
        return answer["data"]["sessionId"]

    def shell(self, session, command, **arguments):
        arguments = json.dumps({"command": command, **arguments})
        answer = self.post("/mcp", sessionId=session, name="shell", args=arguments)
        if not answer["success"]:
            return answer
        return json.loads(answer["data"]["content"][0]["text"])

    def says(self, session, word):
        answer = self.shell(session, f"echo {word}")
        return answer.get("stdout") == word + "\n" or answer

    def release(self, session):
        return self.post("/mcp/releaseSessionAsync", sessionId=session)

    def state(self, session):
        return self.post("/mcp/getSessionInfo", sessionId=session)


@pytest.fixture
def start(new_server):
    """A server of this test alone, with its caller; it is stopped with the test."""
    servers = []

    def make(*flags, **options):
        server = new_server(*(flags or ("--pool", "0")), **options)
        servers.append(server)
        return server, Caller(server)

    yield make
    for server in servers:
        server.stop_for_good()


@contextlib.contextmanager
def going_on(caller, session):
    """Fails when the session does not answer while the block runs."""
    stop, answers = threading.Event(), []

    def ask():
        while not stop.is_set():
            try:
                answers.append(caller.says(session, "here"))
            except requests.RequestException as failure:
                answers.append(failure)
            stop.wait(0.1)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        stop.set()
        asking.join()
    assert answers and all(answer is True for answer in answers), [a for a in answers if a is not True][:3]


def eventually(look, deadline_s=60):
    """Waits for what the server does in the background; `look` returns what is still wrong."""
    deadline = time.monotonic() + deadline_s
    while wrong := look():
        assert time.monotonic() < deadline, wrong
        time.sleep(0.1)


def nothing_unfinished(server, live):
    """Waits until nothing is in a middle state: as many sandboxes, on the disk and in the database, as live sessions."""
    def look():
        folders = [path.name for path in (server.data / "sandboxes").iterdir() if not path.name.startswith(".")]
        with contextlib.closing(sqlite3.connect(f"file:{server.data}/berth.db?mode=ro", uri=True)) as database:
            sandboxes = database.execute("SELECT id, state FROM sandboxes").fetchall()
            sessions = database.execute("SELECT id, state FROM sessions WHERE state = 'ending'").fetchall()
        unfinished = [row for row in sandboxes if row[1] != "claimed"] + sessions
        if unfinished or len(folders) != live or len(sandboxes) != live:
            return f"{live} live sessions, but {folders}, {sandboxes}, {sessions}"

    eventually(look)


@pytest.fixture
def faulty(start, tmp_path):
    """A server whose runtime can be told to fail: `fault("create: exit 1")`."""
    runtime = tmp_path / "runtime"
    runtime.write_text(RUNTIME)
    runtime.chmod(0o755)
    server, caller = start("--pool", "0", "--runtime", str(runtime))

    def fault(text):
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").rename(tmp_path / "runtime.fault")

    return server, caller, fault


@pytest.mark.parametrize("fault", [
    "create: echo no more of these >&2; exit 1",
    "create: exec sleep 1000",
    "create: sh -c 'sleep 1000'; exit 1",
    "start: kill -9 $$",
    'create: runc "$@"; kill -9 $$',
    "create: exit 0",
])
def test_a_runtime_that_fails(faulty, fault):
    server, caller, set_fault = faulty
    other = caller.created()
    set_fault(fault)
    with going_on(caller, other):
        for _ in range(2):
            answer = caller.create()
            assert not answer["success"] and "sandbox could not be started" in answer["message"], answer
    if "no more of these" in fault:
        assert "no more of these" in server.log.read_text()
    nothing_unfinished(server, live=1)
    set_fault("")
    session = caller.created()
    assert caller.says(session, "works") is True
    nothing_unfinished(server, live=2)


@pytest.mark.parametrize("fault", ["delete: exec sleep 1000", "delete: echo no >&2; exit 1"])
def test_a_runtime_that_does_not_delete(faulty, fault):
    server, caller, set_fault = faulty
    other, going = caller.created(), [caller.created() for _ in range(3)]
    set_fault(fault)
    with going_on(caller, other):
        for session in going:
            assert caller.release(session)["success"]
            assert "released" in caller.state(session)["message"]
        # Others come and go meanwhile.
        assert caller.says(caller.created(), "new") is True
        nothing_unfinished(server, live=2)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, 600 MiB large."""
    disk, mount = tmp_path / "disk", tmp_path / "mount"
    with open(disk, "wb") as file:
        file.truncate(600 << 20)
    mount.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", disk], check=True)
    subprocess.run(["mount", "-o", "loop", disk, mount], check=True)
    yield mount
    subprocess.run(["umount", mount], check=True)
    disk.unlink()


def fill(folder):
    with contextlib.suppress(OSError), open(folder / "ballast", "wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(1 << 20))
    with contextlib.suppress(OSError), open(folder / "ballast", "ab", buffering=0) as ballast:
        while True:
            ballast.write(bytes(512))


def test_a_full_disk(small_disk, start):
    data = small_disk / "data"
    data.mkdir()
    server, caller = start("--pool", "0", data=data)
    idle, going, writing = caller.created(), caller.created(), caller.created()
    assert caller.shell(writing, "echo kept > ~/small; sync")["exit_code"] == 0
    fill(small_disk)
    answer = caller.create()
    assert not answer["success"] and "disk space are free" in answer["message"], answer
    # A session that needs no disk does not notice.
    with going_on(caller, idle):
        # Told as failed, or done: never told as done and then forgotten.
        answer = caller.release(going)
        assert answer["success"] or "database" in answer["message"], answer
        if answer["success"]:
            assert "released" in caller.state(going)["message"]
        else:
            assert caller.says(going, "still there") is True
        # A session that writes is told what its host told it, and its other files are left alone.
        written = caller.shell(writing, "head -c 50M /dev/urandom > ~/large; sync ~/large; echo $?; cat ~/small")
        assert written["stdout"] == "1\nkept\n" and "No space left on device" in written["stderr"], written
    assert server.healthy()
    (small_disk / "ballast").unlink()
    # Without a restart, of the server or of a session.
    again = caller.shell(writing, "head -c 50M /dev/urandom > ~/again; sync; sha256sum < ~/again; cat ~/again | sha256sum")
    assert len(set(again["stdout"].split())) == 2 and again["stderr"] == "", again
    assert caller.release(going)["success"] and "released" in caller.state(going)["message"]
    nothing_unfinished(server, live=2)
    new = caller.created()
    assert caller.shell(new, "echo kept > ~/file; sync; cat ~/file")["stdout"] == "kept\n"
    assert caller.says(idle, "after") is True
    nothing_unfinished(server, live=3)


@contextlib.contextmanager
def locked(server):
    """Holds the database as another process would."""
    with contextlib.closing(sqlite3.connect(server.data / "berth.db", isolation_level=None)) as database:
        database.execute("PRAGMA busy_timeout = 10000")
        database.execute("BEGIN EXCLUSIVE")
        yield
        database.execute("ROLLBACK")


def test_a_database_that_is_locked_for_a_moment_is_waited_for(start):
    server, caller = start()
    session = caller.created()
    with ThreadPoolExecutor(2) as pool:
        with locked(server):
            creating = pool.submit(caller.create)
            releasing = pool.submit(caller.release, session)
            time.sleep(1.5)
            assert not creating.done() and not releasing.done()
        assert creating.result()["success"] and releasing.result()["success"]
    nothing_unfinished(server, live=1)


def test_a_database_that_stays_locked_is_told(start):
    server, caller = start()
    session, going = caller.created(), caller.created()
    with locked(server), going_on(caller, session):
        creation, release = caller.create(), caller.release(going)
        for answer in (creation, release):
            assert not answer["success"] and "database" in answer["message"], answer
        # What was refused has not happened.
        assert caller.says(going, "here") is True
    assert caller.release(going)["success"]
    assert caller.says(caller.created(), "works") is True
    nothing_unfinished(server, live=2)


def guest_processes(server, session, caller):
    """Numbers of the processes of a session on the host, first process first."""
    sandbox = caller.post("/mcp/getSession", sessionId=session)["data"]["appInstanceId"]
    lists = list(pathlib.Path("/sys/fs/cgroup").glob(f"**/{sandbox}/cgroup.procs"))
    return max(([int(line) for line in path.read_text().split()] for path in lists), key=len)


def test_a_guest_that_stands_still(start):
    server, caller = start()
    other, session = caller.created(), caller.created()
    stopped = guest_processes(server, session, caller)
    with going_on(caller, other):
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        answer = caller.shell(session, "true")
        assert "did not answer within" in answer["message"], answer
        # And can be ended.
        assert caller.release(session)["success"]
        nothing_unfinished(server, live=1)


def test_a_process_that_uses_up_the_memory_ends_alone(start):
    server, caller = start()
    session = caller.created()
    caller.shell(session, "echo kept > /tmp/file; (sleep 1000 &) > /dev/null 2>&1")
    answer = caller.shell(session, "python3 -c 'x = bytearray(1 << 35)' ; "
                                   "python3 -c 'import os\nwhile True: x = globals().get(\"x\", b\"\") + os.urandom(1 << 26)'; "
                                   "echo $?", timeout_ms=50000)
    assert answer.get("stdout", "").endswith("137\n"), answer
    assert caller.shell(session, "cat /tmp/file")["stdout"] == "kept\n"
    assert caller.shell(session, "pgrep -c sleep")["stdout"] == "1\n"


@pytest.mark.expect_log("ended by itself")
def test_a_guest_that_is_killed_for_want_of_memory_is_told_so(start):
    server, caller = start()
    other, session = caller.created(), caller.created()
    with going_on(caller, other):
        # The kernel takes the fattest; so all are made unattractive but the guest.
        with contextlib.suppress(KeyError):
            caller.shell(session, "sudo sh -c 'for p in $(pgrep berth-guest); do echo 1000 > /proc/$p/oom_score_adj; done'; "
                                  "head -c 4G /dev/zero | sudo choom -n 0 -- tail", timeout_ms=50000)
        eventually(lambda: caller.state(session)["success"] and "it still runs")
    assert "memory" in caller.state(session)["message"], caller.state(session)
    nothing_unfinished(server, live=1)


BOMBS = {
    "processes": "bomb() { bomb | bomb & }; bomb; sleep 20",
    "disk": "cat /dev/zero > /home/user/big; sync; sleep 5",
    "memory": "head -c 1900M /dev/zero | tail | sleep 20",
}


def test_bombs_in_one_session(start):
    server, caller = start()
    other, bombed = caller.created(), caller.created()
    with going_on(caller, other), ThreadPoolExecutor(len(BOMBS)) as pool:
        bombs = [pool.submit(caller.shell, bombed, bomb, timeout_ms=20000) for bomb in BOMBS.values()]
        new = caller.created()
        assert caller.says(new, "new") is True
        for bomb in bombs:
            bomb.result()
    assert caller.release(bombed)["success"]
    nothing_unfinished(server, live=2)


def test_fifty_at_once(start):
    server, caller = start("--pool", "2")
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: caller.create(), range(50)))
        refused = [answer for answer in answers if not answer["success"]]
        sessions = [answer["data"]["sessionId"] for answer in answers if answer["success"]]
        assert refused == [] and len(set(sessions)) == 50
        assert all(answer is True for answer in pool.map(lambda session: caller.says(session, "here"), sessions))
        assert all(answer["success"] for answer in pool.map(caller.release, sessions))
    eventually(lambda: server.healthy()["sessions"])


def test_a_stop_lets_calls_finish(start):
    from websockets.sync.client import connect

    server, caller = start()
    session = caller.created()
    agb_session = server.agb().get(session).session
    view = agb_session.info().data["resource_url"]
    assert requests.get(view, timeout=CALL_S).status_code == 200
    socket_url = view.split("?")[0].replace("http", "ws", 1) + "ws"

    def upload():
        def body():
            text = json.dumps({"sessionId": session, "name": "shell", "args": json.dumps({"command": "echo up"})})
            for part in (text[:10], text[10:40], text[40:]):
                yield part.encode()
                began.set()
                time.sleep(1)

        headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
        return requests.post(server.endpoint + "/mcp", data=body(), headers=headers, timeout=CALL_S).json()

    began = threading.Event()
    with connect(socket_url), ThreadPoolExecutor(4) as pool:
        slow = pool.submit(caller.shell, session, "touch /tmp/slow; sleep 3; echo slept")
        stream = pool.submit(agb_session.code.run,
                             "import time\nopen('/tmp/stream', 'w')\ntime.sleep(3)\nprint('streamed')", "python",
                             stream_beta=True)
        uploading = pool.submit(upload)
        began.wait()
        eventually(lambda: "not yet" if caller.shell(session, "ls /tmp/slow /tmp/stream")["exit_code"] else None)
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: "stopping" not in server.log.read_text() and "not stopping yet")
        with pytest.raises(requests.ConnectionError):
            caller.says(session, "late")
        assert slow.result()["stdout"] == "slept\n"
        assert "up\n" in json.loads(uploading.result()["data"]["content"][0]["text"])["stdout"]
        streamed = stream.result()
        assert streamed.success and "streamed" in "".join(streamed.logs.stdout), streamed
    assert server.process.wait(timeout=CALL_S) == 0
    assert "they are cut off" not in server.log.read_text()
    server.start()
    assert caller.says(session, "again") is True
