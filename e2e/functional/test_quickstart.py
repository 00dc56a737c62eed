"""The quickstart of the README, line by line, with the official SDK."""

import base64
import os
import pathlib
import subprocess
import sys
import time

from agb import CreateSessionParams
from conftest import IMAGE

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


def test_the_example_runs_as_it_stands(server):
    environment = os.environ | {"AGB_ENDPOINT": server.endpoint, "AGB_API_KEY": server.key}
    done = subprocess.run([sys.executable, EXAMPLES / "quickstart.py"], env=environment, cwd=server.data,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    live = next(line for line in done.stdout.splitlines() if line.startswith("live "))
    assert live.replace("' '", "").split("'")[1] == "0\\n1\\n2\\n", live
    assert "it was released by its owner" in done.stdout


def test_a_session_says_where_it_is_reached(agb, session):
    info = session.info()
    assert info.success and info.data["session_id"] == session.session_id
    assert "resourceId=" in info.data["resource_url"]
    assert session.link_url and session.get_link_url() == session.link_url
    assert session.token and session.get_token() == session.token
    assert session.ws_url.startswith("ws://")
    assert session.app_instance_id and session.resource_id


def test_code_returns_text_output_figures_and_tables(session):
    run = session.code.run("print('hello')\n6 * 7", "python")
    assert run.success, run.error_message
    assert run.result == "42" and run.logs.stdout == ["hello\n"] and run.logs.stderr == []
    assert run.execution_time >= 0 and run.execution_count

    run = session.code.run("import pandas as pd\npd.DataFrame({'a': [1, 2]})", "python")
    assert "<table" in run.results[0].html and run.results[0].is_main_result

    run = session.code.run("import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.show()", "python")
    pictures = [result.png for result in run.results if result.png]
    assert len(pictures) == 1 and base64.b64decode(pictures[0]).startswith(b"\x89PNG")


def test_a_second_run_sees_the_first_ones_variables(session):
    assert session.code.run("x = [1, 2]", "python").success
    assert session.code.run("sum(x)", "python").result == "3"


def test_output_arrives_while_the_code_runs(session):
    chunks = []
    run = session.code.run(
        "import time\nprint('one', flush=True)\ntime.sleep(1)\nprint('two', flush=True)\n40 + 2",
        "python", stream_beta=True, on_stdout=lambda chunk: chunks.append((chunk, time.monotonic())))
    assert run.success, run.error_message
    assert "".join(chunk for chunk, _ in chunks) == "one\ntwo\n"
    came = {word: next(at for chunk, at in chunks if word in chunk) for word in ("one", "two")}
    assert came["two"] - came["one"] > 0.8
    assert run.results[0].text == "42"


def test_shell_and_files(session):
    done = session.command.execute("echo out; echo err >&2; exit 3")
    assert not done.success and done.exit_code == 3
    assert done.stdout == "out\n" and done.stderr == "err\n"
    assert session.command.execute("pwd", cwd="/tmp").output.strip() == "/tmp"
    assert session.command.execute("whoami").output.strip() == "user"
    assert session.command.execute("sudo id -u", timeout_ms=10000).output.strip() == "0"

    text = "Grüße, 世界, 🙂\n" * 6000
    assert session.file.write("/home/user/a.txt", text).success
    assert session.file.read("/home/user/a.txt").content == text
    assert session.file.write("/home/user/a.txt", "end", mode="append").success
    assert session.file.read("/home/user/a.txt").content == text + "end"
    info = session.file.info("/home/user/a.txt").file_info
    assert info["size"] == len((text + "end").encode()) and info["owner"] == "user"
    assert session.file.mkdir("/home/user/folder").success
    names = {entry["name"] for entry in session.file.list("/home/user").entries}
    assert {"a.txt", "folder"} <= names
    missing = session.file.read("/home/user/none.txt")
    assert not missing.success and "/home/user/none.txt" in missing.error_message


def test_tools_by_name(session):
    listed = session.list_mcp_tools()
    assert listed.success
    tools = {tool.name: tool for tool in listed.tools}
    assert {"shell", "run_code", "read_file", "write_file", "get_file_info", "list_directory", "create_directory",
            "get_metrics"} <= set(tools)
    assert all(tool.description and tool.input_schema for tool in tools.values())
    assert session.call_mcp_tool("shell", {"command": "echo hi"}).success
    unknown = session.call_mcp_tool("no_such_tool", {})
    assert not unknown.success and "no_such_tool" in unknown.error_message
    metrics = session.get_metrics()
    assert metrics.success and metrics.metrics.mem_total > 0 and metrics.metrics.cpu_count >= 1


def test_a_session_is_recovered_by_its_id(agb, session):
    session.code.run("kept = 'here'", "python")
    again = agb.get(session.session_id)
    assert again.success, again.error_message
    assert (again.session.link_url, again.session.token, again.session.ws_url) == (
        session.link_url, session.token, session.ws_url)
    assert again.session.code.run("kept", "python").result == "'here'"


def test_lists_find_sessions_by_label(agb, new_session):
    mark = f"list-{time.time()}"
    mine = [new_session(labels={"mark": mark, "n": str(n)}).session_id for n in range(3)]
    assert set(agb.list({"mark": mark}).session_ids) == set(mine)
    assert agb.list({"mark": mark, "n": "1"}).session_ids == [mine[1]]
    assert agb.list({"mark": "other"}).session_ids == []
    pages = [agb.list({"mark": mark}, page=page, limit=2) for page in (1, 2)]
    assert [len(page.session_ids) for page in pages] == [2, 1]
    assert {page.total_count for page in pages} == {3}
    assert [*pages[0].session_ids, *pages[1].session_ids] == mine[::-1]


def test_a_deleted_session_is_over_on_every_route(agb, server):
    from websockets.sync.client import connect
    from websockets.exceptions import InvalidStatus
    import requests

    session = agb.create(CreateSessionParams(image_id=IMAGE)).session
    url = session.info().data["resource_url"]
    started = time.monotonic()
    assert agb.delete(session).success
    assert time.monotonic() - started < 1

    told = "it was released by its owner"
    assert told in agb.get(session.session_id).error_message
    assert told in session.info().error_message
    assert told in session.get_status().error_message
    assert told in session.get_labels().error_message
    assert told in session.keep_alive().error_message
    assert told in session.command.execute("true").error_message
    assert told in session.code.run("1", "python").error_message
    assert told in session.file.write("/tmp/x", "x").error_message
    session.tool_list, session.link_url = [], ""
    assert told in session.command.execute("true").error_message
    assert session.session_id not in agb.list().session_ids

    streamed = session.code.run("1", "python", stream_beta=True)
    assert not streamed.success and streamed.error_message
    try:
        connect(session.ws_url, additional_headers={"X-Access-Token": session.token})
        raise AssertionError("the stream of a dead session opened")
    except InvalidStatus as refused:
        assert refused.response.status_code == 400
        assert told in refused.response.body.decode()
    page = requests.get(url)
    assert page.status_code == 410 and told in page.text
    assert agb.delete(session).success
