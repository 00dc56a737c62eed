"""The commands that use a server, as a person or a script runs them."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest
from conftest import IMAGE

ENDED = "it was released by its owner"


class CommandLine:
    """Runs `berth` against a server, in a folder without `.env`."""

    def __init__(self, server, folder):
        self.server, self.folder = server, folder
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith("AGB_") and name not in ("DISPLAY", "WAYLAND_DISPLAY")}
        self.environment |= {"AGB_ENDPOINT": server.endpoint, "AGB_API_KEY": server.key}

    def __call__(self, *arguments, code=0, environment=None, **options):
        done = subprocess.run([self.server.berth, *arguments], env=self.environment | (environment or {}),
                              cwd=self.folder, capture_output=True, text=True, timeout=120, **options)
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments, **options):
        done = self(*arguments, "--json", **options)
        assert done.stderr == ""
        return json.loads(done.stdout)

    def error(self, *arguments, code, **options):
        """The failure of a command, as a program reads it."""
        done = self(*arguments, "--json", code=code, **options)
        assert done.stdout == ""
        return json.loads(done.stderr)["error"]

    def start(self, *arguments, **options):
        return subprocess.Popen([self.server.berth, *arguments], env=self.environment, cwd=self.folder,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.fixture
def berth(server, tmp_path):
    return CommandLine(server, tmp_path)


def test_a_session_is_made_found_and_ended(berth, agb):
    mark = f"cli-{time.time()}"
    made = berth("session", "create", "--label", f"mark={mark}", "--label", "n=1", "--idle-timeout", "120")
    id = made.stdout.strip()
    assert id.startswith("s-") and made.stdout.count("\n") == 1
    assert made.stderr.startswith("live view: http://") and "resourceId=" in made.stderr
    assert agb.get(id).success

    document = berth.json("session", "create", "--image", IMAGE, "--label", f"mark={mark}")
    assert document["image"] == IMAGE and document["token"] and document["wsUrl"].startswith("ws://")

    ended = berth("session", "rm", id, document["sessionId"])
    assert ended.stdout.split() == [id, document["sessionId"]]
    assert berth.json("session", "rm", id)["removed"] == [id]
    assert ENDED in agb.get(id).error_message


def test_lists_show_a_keys_sessions(server, tmp_path, new_session):
    mark = f"list-{time.time()}"
    ids = [new_session(labels={"mark": mark, "n": str(n)}).session_id for n in range(2)]
    berth = CommandLine(server, tmp_path)
    head, *rows = berth("session", "list", "--label", f"mark={mark}").stdout.splitlines()
    assert head.split() == ["ID", "IMAGE", "STATUS", "AGE", "LABELS"]
    assert [row.split()[0] for row in rows] == ids[::-1]
    assert all(IMAGE in row and "RUNNING" in row and mark in row for row in rows)
    assert len({head.index("STATUS"), *(row.index("RUNNING") for row in rows)}) == 1
    listed = berth.json("session", "list", "--all", "--label", f"mark={mark}", "--label", "n=1")
    assert [session["sessionId"] for session in listed["sessions"]] == [ids[1]]
    assert listed["total"] == 1 and listed["sessions"][0]["labels"]["n"] == "1"


def test_info_shows_a_live_session_and_why_an_ended_one_ended(berth, agb, new_session):
    session = new_session(labels={"a": "b"})
    shown = berth("session", "info", session.session_id).stdout
    for part in (session.session_id, IMAGE, "RUNNING", "a=b", session.resource_id, "memory limit"):
        assert part in shown
    assert "end" not in berth.json("session", "info", session.session_id)

    assert agb.delete(session).success
    detail = berth.json("session", "info", session.session_id)
    assert detail["status"] == "FINISH" and detail["end"]["reason"] == "released"
    assert isinstance(detail["log"], list)
    shown = berth("session", "info", session.session_id).stdout
    assert "FINISH" in shown and ENDED in shown


def test_a_live_view_is_opened(berth, session):
    url = berth("session", "open", session.session_id, "--print").stdout.strip()
    assert url.startswith("http://") and "resourceId=" in url
    # A program with the name that desktops use; what it is given is what a browser would open.
    opener = pathlib.Path(berth.folder) / "xdg-open"
    opener.write_text('#!/bin/sh\nprintf "%s" "$1" > opened\n')
    opener.chmod(0o755)
    path = f"{berth.folder}:{os.environ['PATH']}"
    shown = berth("session", "open", session.session_id, environment={"DISPLAY": ":99", "PATH": path}).stdout
    assert (berth.folder / "opened").read_text() == shown.strip() != url


def test_keepalive_counts_as_use(berth, session):
    assert berth("session", "keepalive", session.session_id).stdout == ""
    assert berth.json("session", "keepalive", session.session_id) == {"sessionId": session.session_id}


def test_a_session_is_paused_and_resumed(berth, session):
    id = session.session_id
    assert session.code.run("kept = 1", "python").success
    assert berth("session", "pause", id).stdout == "PAUSED\n"
    assert berth.json("session", "pause", id)["status"] == "PAUSED"
    listed = berth.json("session", "list", "--all")["sessions"]
    assert {row["status"] for row in listed if row["sessionId"] == id} == {"PAUSED"}
    assert berth("session", "resume", id).stdout == "RUNNING\n"
    assert berth.json("session", "info", id)["status"] == "RUNNING"
    assert berth("session", "pause", id).stdout == "PAUSED\n"
    # The next call thaws it by itself.
    assert berth("run", "--session", id, "kept").stdout == "1\n"
    assert berth.json("session", "info", id)["status"] == "RUNNING"


def test_exec_passes_output_and_exit_code_on(berth, session):
    done = berth("exec", session.session_id, "--", "echo out; echo err >&2; exit 3", code=3)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    # Several words are a program and its arguments, which no shell reads.
    done = berth("exec", "--cwd", "/tmp", session.session_id, "--", "printf", "%s|", "a b", "$HOME", "'")
    assert done.stdout == "a b|$HOME|'|"
    assert berth("exec", "--cwd", "/tmp", session.session_id, "--", "pwd").stdout == "/tmp\n"
    document = berth("exec", "--json", session.session_id, "--", "echo out; exit 4", code=4)
    assert json.loads(document.stdout) == {"exitCode": 4, "stdout": "out\n", "stderr": ""}
    late = berth("exec", "--timeout", "1", session.session_id, "--", "echo begun; sleep 60", code=124)
    assert late.stdout == "begun\n" and "timed out" in late.stderr
    refused = berth("exec", "--cwd", "tmp", "--json", session.session_id, "--", "true", code=1)
    assert "`cwd` is `tmp`" in json.loads(refused.stderr)["error"]["message"]


def test_run_shows_results_and_both_outputs(berth, agb):
    before = set(agb.list().session_ids)
    done = berth("run", "import sys\nprint('out')\nprint('err', file=sys.stderr)\n6 * 7")
    assert (done.stdout, done.stderr) == ("out\n42\n", "err\n")
    assert set(agb.list().session_ids) <= before


def test_run_shows_output_while_the_code_runs(berth, session):
    gate = "/tmp/gate"
    run = berth.start("run", "--session", session.session_id,
                      f"import os, time\nprint('waiting', flush=True)\nwhile not os.path.exists({gate!r}): "
                      "time.sleep(0.01)\nprint('done')")
    # The line is here before the code can go on.
    assert run.stdout.readline() == "waiting\n"
    assert session.file.write(gate, "").success
    rest, errors = run.communicate(timeout=60)
    assert (rest, errors, run.returncode) == ("done\n", "", 0)


def test_run_takes_code_from_a_file_and_from_standard_input(berth, session):
    (berth.folder / "code.py").write_text("x = 'from a file'\nx")
    assert berth("run", "--session", session.session_id, "--file", "code.py").stdout == "'from a file'\n"
    assert berth("run", "--session", session.session_id, "-", input="x + '!'").stdout == "'from a file!'\n"
    assert "none.py" in berth("run", "--file", "none.py", code=1).stderr


def test_an_error_in_the_code_is_exit_code_1(berth, session):
    done = berth("run", "--session", session.session_id, "print('before')\nundefined", code=1)
    assert done.stdout == "before\n"
    assert done.stderr.count("NameError: name 'undefined'") == 1 and "line 2" in done.stderr
    taken = berth("run", "--session", session.session_id,
                  "import sys\nkept, sys.stderr = sys.stderr, open('/dev/null', 'w')\n1 / 0", code=1)
    assert taken.stderr.count("ZeroDivisionError: division by zero") == 1
    berth("run", "--session", session.session_id, "sys.stderr = kept")
    refused = berth("run", "--session", session.session_id, "-l", "cobol", "1", code=1)
    assert refused.stderr.startswith("InvalidParameter: `language` is `cobol`; allowed: ")
    document = json.loads(berth("run", "--json", "--session", session.session_id, "1 / 0", code=1).stdout)
    assert document["error"]["name"] == "ZeroDivisionError" and document["sessionId"] == session.session_id


def test_run_answers_as_one_document_and_saves_pictures(berth, session):
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nprint('p')\n'last'"
    told = berth("run", "--session", session.session_id, code)
    assert "[image/png, " in told.stderr and "--save" in told.stderr
    document = berth.json("run", "--session", session.session_id, "--save", "pictures", code)
    assert document["stdout"] == "p\n" and document["error"] is None and document["executionCount"]
    assert document["results"][-1] == {"isMainResult": True, "mime": {"text/plain": "'last'"}}
    assert document["saved"] == ["pictures/result-1.png"]
    assert (berth.folder / "pictures/result-1.png").read_bytes().startswith(b"\x89PNG")
    told = berth("run", "--session", session.session_id, "--save", "pictures", code)
    assert "[saved pictures/result-2.png]" in told.stderr


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_ends_its_fresh_session(berth, agb, number, code):
    before = set(agb.list(limit=100).session_ids)
    run = berth.start("run", "import time\nprint('running', flush=True)\ntime.sleep(600)")
    assert run.stdout.readline() == "running\n"
    (id,) = set(agb.list(limit=100).session_ids) - before
    run.send_signal(number)
    run.communicate(timeout=60)
    assert run.returncode == code
    assert ENDED in agb.get(id).error_message


def test_the_end_of_a_session_ends_its_run_with_the_reason(berth, agb, new_session):
    session = new_session()
    run = berth.start("run", "--session", session.session_id, "import time\nprint('running', flush=True)\n"
                      "time.sleep(600)")
    assert run.stdout.readline() == "running\n"
    assert agb.delete(session).success
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 3 and ENDED in errors


def test_logs_are_there_after_the_end(berth, agb, new_session):
    session = new_session()
    berth("logs", session.session_id)
    assert agb.delete(session).success
    lines = berth.json("logs", session.session_id)["lines"]
    assert berth("logs", session.session_id).stdout.count("\n") == len(lines)


def test_failures_have_exit_codes_and_reasons(berth, server, agb, new_session):
    unknown = "s-" + "a" * 20
    for command in (["session", "info", unknown], ["session", "open", unknown], ["session", "pause", unknown],
                    ["session", "resume", unknown], ["session", "keepalive", unknown], ["logs", unknown],
                    ["run", "--session", unknown, "1"]):
        error = berth.error(*command, code=3)
        assert error["kind"] == "SessionEnded" and unknown in error["message"], command
    assert f"session `{unknown}` not found" in berth("exec", unknown, "--", "true", code=3).stderr
    assert json.loads(berth("session", "rm", unknown, "--json", code=3).stdout) == {"removed": []}

    ended = new_session()
    assert agb.delete(ended).success
    assert ENDED in berth("exec", ended.session_id, "--", "true", code=3).stderr

    assert "API key is unknown" in berth("session", "list", "--api-key", "akm-no", code=4).stderr
    assert "AGB_API_KEY" in berth("session", "list", environment={"AGB_API_KEY": ""}, code=4).stderr
    assert "`imageId` is `none`" in berth("session", "create", "--image", "none", code=2).stderr
    assert "`endpoint` is" in berth("session", "list", "--endpoint", "ftp://h", code=2).stderr
    assert berth("session", "create", "--label", "x", code=2).stderr

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        error = berth.error("session", "list", "--endpoint", dead, code=5)
    assert error["kind"] == "Unreachable" and dead in error["message"] and error["causes"]


def test_another_keys_session_is_as_unknown(berth, server, session):
    other = {"AGB_API_KEY": server.new_key("stranger at the command line")}
    for command in (["session", "info"], ["session", "pause"], ["logs"], ["session", "rm"]):
        done = berth(*command, session.session_id, environment=other, code=3)
        assert "not found" in done.stderr, command
    assert berth("exec", session.session_id, "--", "true").stdout == ""


def test_a_file_in_the_folder_says_where_the_server_is(berth, server):
    (berth.folder / ".env").write_text(f"AGB_ENDPOINT={server.endpoint}\nAGB_API_KEY={server.key}\n")
    berth("session", "list", environment={"AGB_ENDPOINT": "", "AGB_API_KEY": ""})


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_are_a_script_of_the_shell(berth, shell):
    script = berth("completions", shell).stdout
    assert "keepalive" in script and "idle-timeout" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_help_says_what_exit_codes_mean(berth):
    for command in (["session", "list"], ["exec"], ["run"], ["logs"]):
        assert "could not be reached" in berth(*command, "--help").stdout


def test_a_reader_that_goes_away_is_no_error(berth, session):
    run = berth.start("run", "--session", session.session_id, "for n in range(200000): print(n)")
    assert run.stdout.readline() == "0\n"
    run.stdout.close()
    assert run.wait(timeout=60) == 141
    assert run.stderr.read() == ""
    run.stderr.close()
