"""Thousands of mixed calls in one session: every answer is right, and neither the session nor the guest grows."""

import json
import pathlib
import time

CALLS = 5000

# What the first calls make that later ones use again: interpreters, pages of their programs, caches.
SETTLED = 1000

GROWTH_MIB_MAX = 24


def memory_mib(session):
    """What the session's processes hold that is in no file."""
    command = "cat /proc/[0-9]*/status 2>/dev/null | awk '/^RssAnon/{s+=$2} END{print s/1024}'"
    return float(json.loads(session.call_mcp_tool("shell", {"command": command}).data)["stdout"])


def descriptors(session):
    """Open descriptors of the guest, and zombies that nobody took."""
    command = "sudo sh -c 'for p in /proc/[0-9]*; do grep -qa berth-guest $p/cmdline 2>/dev/null && ls $p/fd; done | wc -l'; " \
              "ps -eo stat | grep -c ^Z || true"
    fds, zombies = json.loads(session.call_mcp_tool("shell", {"command": command}).data)["stdout"].split()
    return int(fds), int(zombies)


def test_five_thousand_mixed_calls_leave_the_session_as_it_was(session, api):
    text = "line é😀\n" * 500

    # On one kept connection: the SDK makes one for each call, which takes it ten times as long as the call.
    def call(name, **arguments):
        done = api.post(session.link_url + "/callTool", headers={"X-Access-Token": session.token},
                        json={"tool": name, "args": arguments, "requestId": "soak"}).json()["data"]["result"]
        assert not done["isError"], (name, done)
        return done["content"][0]["text"]

    def shell(n):
        assert json.loads(call("shell", command=f"echo {n}"))["stdout"] == f"{n}\n"

    def background(n):
        assert json.loads(call("shell", command="sleep 0.05 & echo started"))["stdout"] == "started\n"

    def python(n):
        assert json.loads(call("run_code", language="python", code=f"{n} + 1"))["result"][0]["text/plain"] == str(n + 1)

    def javascript(n):
        assert json.loads(call("run_code", language="javascript", code=f"{n} + 1"))["result"][0]["text/plain"] == str(n + 1)

    def bash(n):
        assert json.loads(call("run_code", language="bash", code=f"echo {n}"))["stdout"] == [f"{n}\n"]

    def failing(n):
        assert "ZeroDivisionError" in json.loads(call("run_code", language="python", code="1 / 0"))["executionError"]

    def files(n):
        path = f"/home/user/soak/{n % 7}.txt"
        call("write_file", path=path, content=text)
        call("edit_file", path=path, edits=[{"oldText": "line", "newText": "edited"}])
        assert call("read_file", path=path) == text.replace("line", "edited", 1)
        call("delete_file", path=path)

    def listing(n):
        call("list_directory", path="/usr/bin")
        call("search_files", path="/etc", pattern="*.conf")

    def changes(n):
        json.loads(call("get_file_change", path="/home/user"))

    def process(n):
        id = json.loads(call("start_process", command=f"echo {n}"))["process_id"]
        assert f"{n}\n" in json.loads(call("read_process", process_id=id, wait_ms=5000))["stdout"]

    mix = [shell, python, files, javascript, shell, bash, python, background, failing, shell, python, listing, changes, process]
    figures, made, turn = [], 0, 0
    began = time.monotonic()
    while made < CALLS:
        step = mix[turn % len(mix)]
        step(turn)
        made += {files: 4, listing: 2, process: 2}.get(step, 1)
        turn += 1
        if made // SETTLED > len(figures):
            figures.append((made, round(memory_mib(session), 1), *descriptors(session)))
    artifacts = pathlib.Path(__file__).parents[1] / "artifacts"
    artifacts.mkdir(exist_ok=True)
    (artifacts / "soak.json").write_text(json.dumps({"seconds": time.monotonic() - began, "figures": figures}))
    (_, first_mib, first_fds, _), (_, last_mib, last_fds, zombies) = figures[0], figures[-1]
    assert last_mib - first_mib < GROWTH_MIB_MAX, figures
    assert last_fds - first_fds < 50, figures
    assert zombies <= 2, figures
