"""Programs that outlive the call which started them, and terminals: through tools, over the WebSocket, with `berth shell`."""

import json
import os
import pty
import select
import signal
import subprocess
import termios
import time

import pytest
from websockets.sync.client import connect


@pytest.fixture
def tools(session):
    class Tools:
        def __getattr__(self, name):
            def call(**arguments):
                done = session.call_mcp_tool(name, arguments)
                if not done.success:
                    return f"error: {done.error_message}"
                return json.loads(done.data) if done.data != "true" else True
            return call

    return Tools()


def read_until(tools, process, text, position=0):
    """Reads until `text` has come; gives all that was read and where to go on."""
    read = ""
    deadline = time.monotonic() + 20
    while text not in read:
        assert time.monotonic() < deadline, read
        answer = tools.read_process(process_id=process, position=position, wait_ms=1000)
        read += answer["stdout"]
        position = answer["position"]
    return read, position


def attach(session, process, position=None):
    query = "" if position is None else f"?position={position}"
    return connect(f"{session.ws_url}/processes/{process}{query}", additional_headers={"X-Access-Token": session.token})


def hear(socket, wanted):
    """Listens until `wanted` (bytes of output, or a member of a JSON message) has come; gives the output and that message."""
    output = b""
    deadline = time.monotonic() + 20
    while True:
        message = socket.recv(timeout=max(0.0, deadline - time.monotonic()))
        if isinstance(message, bytes):
            output += message[1:]
            if isinstance(wanted, bytes) and wanted in output:
                return output, None
        elif isinstance(wanted, str) and wanted in (told := json.loads(message)):
            return output, told[wanted]


def test_a_process_goes_on_and_is_read_later(tools):
    started = tools.start_process(command="echo out; echo err >&2; read line; echo \"got $line\"; exit 3")
    id = started["process_id"]
    assert started["running"] and started["pid"] > 0
    read, position = read_until(tools, id, "out\n")
    assert tools.list_processes()[0]["running"]
    assert tools.write_process(process_id=id, text="a line é😀\n") is True
    read, position = read_until(tools, id, "got a line é😀\n", position)
    assert "out" not in read
    answer = tools.read_process(process_id=id, position=position, wait_ms=5000)
    deadline = time.monotonic() + 10
    while answer["running"]:
        assert time.monotonic() < deadline
        answer = tools.read_process(process_id=id, position=position, wait_ms=100)
    assert answer["exit_code"] == 3
    whole = tools.read_process(process_id=id)
    assert whole["stdout"] == "out\ngot a line é😀\n" and whole["stderr"] == "err\n" and whole["missing_bytes"] == 0
    assert "has ended" in tools.write_process(process_id=id, text="more")
    assert "not found" in tools.read_process(process_id="p99")


def test_input_is_closed_and_signals_arrive(tools):
    id = tools.start_process(command="wc -c")["process_id"]
    assert tools.write_process(process_id=id, text="12345", close=True) is True
    read_until(tools, id, "5\n")
    id = tools.start_process(command="trap 'echo told; exit 7' TERM; echo ready; while :; do sleep 0.05; done")["process_id"]
    _, position = read_until(tools, id, "ready\n")
    assert tools.signal_process(process_id=id) is True
    read_until(tools, id, "told\n", position)
    id = tools.start_process(command="trap '' TERM; (setsid sleep 1000 &) ; echo ready; sleep 1000")["process_id"]
    read_until(tools, id, "ready\n")
    assert tools.signal_process(process_id=id, signal="SIGKILL") is True
    assert tools.read_process(process_id=id, wait_ms=5000)["exit_code"] == 137
    assert "`signal`" in tools.signal_process(process_id=id, signal="NOSUCH")


def test_much_output_is_kept_within_bounds(tools):
    id = tools.start_process(command="head -c 5000000 /dev/zero | tr '\\0' x; echo; echo end")["process_id"]
    deadline = time.monotonic() + 20
    while tools.read_process(process_id=id, position=1 << 40, wait_ms=200)["running"]:
        assert time.monotonic() < deadline
    answer = tools.read_process(process_id=id)
    assert answer["stdout"].endswith("x\nend\n") and answer["missing_bytes"] > 3_900_000
    assert len(answer["stdout"]) + answer["missing_bytes"] == 5_000_005


def test_a_terminal_is_one(tools, session):
    id = tools.start_process(terminal={"columns": 100, "rows": 30})["process_id"]
    with attach(session, id) as socket:
        _, attached = hear(socket, "attached")
        assert attached["process"]["terminal"] == {"columns": 100, "rows": 30}
        socket.send(b"\0tty; stty size; echo $TERM; test -t 0 && echo yes-$((40 + 2))\n")
        output, _ = hear(socket, b"yes-42")
        assert b"/dev/pts/" in output and b"30 100" in output and b"xterm-256color" in output
        socket.send(json.dumps({"resize": {"columns": 77, "rows": 22}}))
        socket.send(b"\0stty size\n")
        hear(socket, b"22 77")
        # Ctrl-C ends the command in front and leaves the shell.
        socket.send(b"\0sleep 1000\n")
        deadline = time.monotonic() + 10
        while "sleep 1000" not in tools.shell(command="ps -eo stat,args | grep '^S.*+' || true")["stdout"]:
            assert time.monotonic() < deadline
        socket.send(b"\0\x03")
        socket.send(b"\0echo still-$((40 + 2))\n")
        hear(socket, b"still-42")
        socket.send(json.dumps({"resize": {"columns": 0, "rows": 22}}))
        assert "1 to 1000" in hear(socket, "error")[1]
        socket.send("nonsense")
        assert "allowed" in hear(socket, "error")[1]
    # The watcher has gone; the terminal has not.
    with attach(session, id) as first, attach(session, id, position=0) as second:
        for socket in (first, second):
            hear(socket, b"still-42")
        first.send(b"\0exit 5\n")
        for socket in (first, second):
            assert hear(socket, "exited")[1] == {"exit_code": 5}


def test_a_terminal_survives_the_server(new_server):
    from agb import CreateSessionParams

    server = new_server("--pool", "0")
    agb = server.agb()
    session = agb.create(CreateSessionParams(image_id="agb-code-space-1")).session
    start = session.call_mcp_tool("start_process", {"terminal": {"columns": 80, "rows": 24}})
    id = json.loads(start.data)["process_id"]
    with attach(session, id) as socket:
        socket.send(b"\0kept=before; echo $((40 + 2))\n")
        output, _ = hear(socket, b"42")
        position = len(output)
        server.kill()
        server.start()
    with attach(session, id, position) as socket:
        socket.send(b"\0echo $kept-and-after\n")
        output, _ = hear(socket, b"before-and-after")
    assert agb.delete(session).success


@pytest.mark.parametrize("id, status", [("p9", 400), ("..", 404), ("p1%2f..", 400), ("x" * 50, 400)])
def test_what_is_no_process_is_refused(session, api, id, status):
    url = f"{session.ws_url}/processes/{id}".replace("ws://", "http://")
    headers = {"X-Access-Token": session.token, "Connection": "Upgrade", "Upgrade": "websocket",
               "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    answer = api.get(url, headers=headers)
    assert answer.status_code == status and answer.json()["message"]
    headers["X-Access-Token"] = "wrong"
    assert api.get(url, headers=headers).status_code in (401, 404)


class Terminal:
    """A person at a terminal that runs `berth shell`."""

    def __init__(self, server, *arguments):
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (33, 99))
        environment = os.environ | {"AGB_ENDPOINT": server.endpoint, "AGB_API_KEY": server.key}
        self.process = subprocess.Popen([server.berth, "shell", *arguments], stdin=slave, stdout=slave, stderr=slave,
                                        env=environment, start_new_session=True)
        os.close(slave)
        self.shown = b""

    def type(self, keys):
        os.write(self.master, keys)

    def until(self, text):
        deadline = time.monotonic() + 20
        while text not in self.shown:
            ready, _, _ = select.select([self.master], [], [], deadline - time.monotonic())
            assert ready, self.shown
            try:
                self.shown += os.read(self.master, 4096)
            except OSError:
                raise AssertionError(self.shown)
        before, self.shown = self.shown.split(text, 1)
        return before


def test_berth_shell_is_a_terminal_in_the_session(server, session):
    terminal = Terminal(server, session.session_id)
    terminal.type(b"stty size; whoami\n")
    terminal.until(b"33 99")
    terminal.until(b"user\r\n")
    termios.tcsetwinsize(terminal.master, (20, 50))
    os.kill(terminal.process.pid, signal.SIGWINCH)
    terminal.type(b"sleep 0.2; stty size\n")
    terminal.until(b"20 50")
    terminal.type(b"mark=here\n\x1d")
    left = terminal.until(b"left running; berth shell ")
    process = terminal.until(b"\n").decode().split()[-1]
    assert terminal.process.wait(10) == 0, left
    again = Terminal(server, session.session_id, "--attach", process)
    again.type(b"echo $mark-again; exit 6\n")
    again.until(b"here-again")
    assert again.process.wait(10) == 6


def test_berth_shell_needs_a_terminal_and_a_session(server, session):
    environment = os.environ | {"AGB_ENDPOINT": server.endpoint, "AGB_API_KEY": server.key}
    done = subprocess.run([server.berth, "shell", session.session_id], env=environment, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    assert done.returncode != 0 and "berth exec" in done.stderr
    terminal = Terminal(server, "s-nothing")
    terminal.until(b"not found")
    assert terminal.process.wait(10) != 0
