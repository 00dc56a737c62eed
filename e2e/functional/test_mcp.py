"""A session's tools for clients of the Model Context Protocol, through the official Python client: both transports, both
generations of the protocol, a session's own endpoint and those that make a session for the client."""

import asyncio
import base64
import contextlib
import json
import time

import httpx2
import pytest
import requests
from agb import CreateSessionParams
from conftest import IMAGE
from mcp import Client, ClientSession, MCPError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

PLOT = """
import matplotlib.pyplot as plt
plt.plot([1, 2])
plt.show()
"""

HELLO = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
    "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@contextlib.asynccontextmanager
async def streamable(url, headers=None, mode="legacy"):
    """A client on Streamable HTTP. `legacy` introduces itself; `auto` asks first what the server can."""
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:
            yield client


@contextlib.asynccontextmanager
async def by_events(url, headers=None):
    """A client on HTTP with Server-Sent Events."""
    async with sse_client(url, headers=headers) as streams, ClientSession(*streams) as client:
        await client.initialize()
        yield client


def text(result):
    return "".join(block.text for block in result.content if block.type == "text")


def link(session):
    return session.link_url + "/mcp"


def reason(work):
    """What a client is told that cannot be served, out of the groups that it wraps its errors in."""
    with pytest.raises(Exception) as refusal:
        asyncio.run(work)
    error = refusal.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)


def ids(server, key=None):
    answer = requests.get(server.endpoint + "/sdk/ListSession?maxResults=100", headers=bearer(key or server.key))
    return {one["sessionId"] for one in answer.json()["data"]}


def ends(server, id, key=None, within_s=15):
    """Waits until a session is over; why it is."""
    deadline = time.monotonic() + within_s
    while True:
        detail = requests.get(f"{server.endpoint}/api/v1/sessions/{id}", headers=bearer(key or server.key)).json()["data"]
        if "end" in detail and detail["end"]:
            return detail["end"]["reason"]
        assert time.monotonic() < deadline, detail
        time.sleep(0.05)


async def works(client):
    """Uses a client as an agent would."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert {"shell", "run_code", "read_file", "write_file"} <= set(tools)
    shell = tools["shell"]
    assert shell.input_schema["required"] == ["command"] and "command" in shell.input_schema["properties"]
    assert all(tool.description for tool in tools.values())
    assert shell.annotations.destructive_hint and not shell.annotations.read_only_hint
    assert tools["read_file"].annotations.read_only_hint

    ran = await client.call_tool("shell", {"command": "echo 'grüße' | tee /tmp/hello"})
    assert not ran.is_error and json.loads(text(ran))["stdout"] == "grüße\n"
    read = await client.call_tool("read_file", {"path": "/tmp/hello"})
    assert text(read) == "grüße\n"
    await client.call_tool("run_code", {"code": "x = 6 * 7", "language": "python"})
    kept = await client.call_tool("run_code", {"code": "x", "language": "python"})
    assert json.loads(text(kept))["result"][0]["text/plain"] == "42"

    plot = await client.call_tool("run_code", {"code": PLOT, "language": "python"})
    pictures = [block for block in plot.content if block.type == "image"]
    assert [picture.mime_type for picture in pictures] == ["image/png"], plot
    assert base64.b64decode(pictures[0].data).startswith(b"\x89PNG")
    # It is there once: a model need not read it as text.
    assert pictures[0].data not in text(plot)
    assert json.loads(text(plot))["result"][0]["image/png"] == "[picture 1 of this answer]"

    for name, arguments, says in [("shell", {"command": "exit 3"}, "3"), ("read_file", {"path": "/nowhere"}, "not found"),
                                  ("no_such_tool", {}, "no_such_tool"), ("shell", {"commando": "x"}, "command")]:
        failed = await client.call_tool(name, arguments)
        assert failed.is_error and says in text(failed), (name, failed)


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
def test_a_session_has_an_endpoint_of_its_own(server, session, mode):
    async def use(headers):
        async with streamable(link(session), headers, mode) as client:
            await works(client)

    asyncio.run(use(bearer(server.key)))
    # It is the session that the SDK has, and it stays when the client goes.
    assert session.command.execute("cat /tmp/hello").output == "grüße\n"


def test_a_token_opens_its_session(session):
    async def one_call(headers):
        async with streamable(link(session), headers) as client:
            assert not (await client.call_tool("shell", {"command": "true"})).is_error

    asyncio.run(one_call(bearer(session.token)))
    asyncio.run(one_call({"X-Access-Token": session.token}))


def test_a_session_is_made_and_released(server):
    before = ids(server)
    seen = []

    async def use(url, headers, mode):
        async with streamable(url, headers, mode) as client:
            await works(client)
            made = ids(server) - before
            assert len(made) == 1
            seen.extend(made)

    url = f"{server.endpoint}/v2/mcp?IMAGEID={IMAGE}"
    asyncio.run(use(url + f"&APIKEY={server.key}", None, "legacy"))
    assert ends(server, seen[-1]) == "released"
    # A client of the newest protocol falls back to the one that has sessions.
    asyncio.run(use(url, bearer(server.key), "auto"))
    assert ends(server, seen[-1]) == "released"
    assert len(set(seen)) == 2


def test_an_event_stream_makes_a_session_and_releases_it(server):
    before = ids(server)
    seen = []

    async def use(url, headers=None):
        async with by_events(url, headers) as client:
            await works(client)
            seen.extend(ids(server) - before)

    url = f"{server.endpoint}/v2/sse?IMAGEID={IMAGE}"
    asyncio.run(use(url + f"&APIKEY={server.key}"))
    assert len(seen) == 1 and ends(server, seen[0]) == "released"
    asyncio.run(use(url, bearer(server.key)))
    assert ends(server, seen[1]) == "released"

    # One that never introduces itself costs nothing.
    with requests.get(url, headers=bearer(server.key), stream=True, timeout=10) as events:
        assert next(events.iter_lines()) == b"event: endpoint"
        assert ids(server) == before
    # Nor does one that breaks off leave anything: its URL is gone with it.
    with requests.get(url, headers=bearer(server.key), stream=True, timeout=10) as events:
        lines = events.iter_lines()
        path = next(line for line in lines if line.startswith(b"data: ")).decode()[6:]
        assert requests.post(server.endpoint + path, json=HELLO).status_code == 202
        assert b'"protocolVersion":"2025-06-18"' in next(line for line in lines if line.startswith(b"data: {"))
        made = (ids(server) - before).pop()
        call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call",
                "params": {"name": "shell", "arguments": {"command": "sleep 30"}}}
        assert requests.post(server.endpoint + path, json=call).status_code == 202
    assert ends(server, made) == "released"
    assert requests.post(server.endpoint + path, json=HELLO).status_code == 404


def test_refusals_say_why(server, session):
    async def used(client):
        async with client as client:
            await client.list_tools()

    def refused(url, headers=None):
        return reason(used(streamable(url, headers)))

    def refused_by_events(url):
        return reason(used(by_events(url)))

    endpoint = server.endpoint
    assert "berth key create" in refused(link(session))
    assert "unknown" in refused(link(session), bearer("bk_wrong"))
    assert "unknown" in refused(f"{endpoint}/v2/mcp?IMAGEID={IMAGE}&APIKEY=bk_wrong")
    assert IMAGE in refused(f"{endpoint}/v2/mcp?IMAGEID=nothing&APIKEY={server.key}")
    assert "`IMAGEID` is missing" in refused(f"{endpoint}/v2/mcp?APIKEY={server.key}")
    assert "allowed" in refused(f"{endpoint}/v2/mcp?IMAGEID={IMAGE}&APIKEY={server.key}&TIMEOUT=-1")
    assert "401" in refused_by_events(f"{endpoint}/v2/sse?IMAGEID={IMAGE}&APIKEY=bk_wrong")
    assert IMAGE in refused_by_events(f"{endpoint}/v2/sse?IMAGEID=nothing&APIKEY={server.key}")

    limited = server.new_key("mcp-limited", "--max-sessions", "1")
    agb = server.agb(limited)
    only = agb.create(CreateSessionParams(image_id=IMAGE)).session
    assert "mcp-limited" in refused(f"{endpoint}/v2/mcp?IMAGEID={IMAGE}", bearer(limited))
    assert agb.delete(only).success


def test_an_ended_session_says_why(server, agb):
    session = agb.create(CreateSessionParams(image_id=IMAGE)).session

    async def use():
        async with streamable(link(session), bearer(server.key)) as client:
            running = asyncio.create_task(client.call_tool("shell", {"command": "sleep 60"}))
            await asyncio.sleep(0.5)
            assert (await asyncio.to_thread(agb.delete, session)).success
            cut = await running
            assert cut.is_error and "released" in text(cut)
            with pytest.raises(MCPError, match="released"):
                await client.call_tool("shell", {"command": "true"})

    asyncio.run(use())
    for headers in (bearer(server.key), {"X-Access-Token": session.token}):
        answer = requests.post(link(session), headers=headers, json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
        assert answer.status_code == 404 and answer.json()["code"] == "InvalidMcpSession.NotFound"
        assert "released" in answer.json()["message"] and "released" in answer.json()["error"]["message"]


def test_a_client_comes_back_to_its_own_session_only(server):
    call = {"jsonrpc": "2.0", "id": "two", "method": "tools/call",
            "params": {"name": "shell", "arguments": {"command": "echo here"}}}
    url = f"{server.endpoint}/v2/mcp?IMAGEID={IMAGE}&TIMEOUT=60"
    first = requests.post(url, headers=bearer(server.key), json=HELLO)
    assert first.status_code == 200 and first.json()["result"]["serverInfo"]["name"] == "berth", first.text
    id = first.headers["mcp-session-id"]
    mine = {**bearer(server.key), "Mcp-Session-Id": id}
    detail = requests.get(f"{server.endpoint}/api/v1/sessions/{id}", headers=bearer(server.key)).json()["data"]
    assert detail["image"] == IMAGE and detail["idleTimeoutSeconds"] == 60
    told = requests.post(url, headers=mine, json={"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert (told.status_code, told.content) == (202, b"")
    assert "here" in requests.post(url, headers=mine, json=call).json()["result"]["content"][0]["text"]

    stranger = bearer(server.new_key("mcp-stranger"))
    unknown = requests.post(url, headers={**stranger, "Mcp-Session-Id": id[:-8] + "aaaaaaaa"}, json=call)
    for ask in (requests.post, requests.delete):
        tried = ask(url, headers={**stranger, "Mcp-Session-Id": id}, json=call)
        assert tried.status_code == 404 and tried.json()["code"] == unknown.json()["code"]
        assert tried.json()["message"].replace(id, "") == unknown.json()["message"].replace(id[:-8] + "aaaaaaaa", "")
    # Without the header there is no session to call anything in, and none is made.
    before = ids(server)
    assert "initialize" in requests.post(url, headers=bearer(server.key), json=call).json()["error"]["message"]
    assert ids(server) == before

    assert requests.delete(url, headers=mine).status_code == 204
    assert ends(server, id) == "released"
    gone = requests.post(url, headers=mine, json=call)
    assert gone.status_code == 404 and "released" in gone.json()["error"]["message"]
    assert requests.delete(url, headers=mine).status_code == 204
    assert requests.delete(url, headers=bearer(server.key)).status_code == 400
    assert requests.get(url, headers=mine).status_code == 405


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
def test_a_call_that_is_cancelled_ends(server, session, mode):
    async def use():
        async with streamable(link(session), bearer(server.key), mode) as client:
            with pytest.raises(MCPError):
                await client.call_tool("shell", {"command": "sleep 30"}, read_timeout_seconds=1)
            # The client goes on, and the next call is a call like any other.
            assert not (await client.call_tool("shell", {"command": "true"})).is_error

    asyncio.run(use())
    deadline = time.monotonic() + 10
    # For the server it was over long before the command would have been.
    while len(calls := told(server, session)) < 2:
        assert time.monotonic() < deadline, calls
        time.sleep(0.05)
    assert all(call["durationMs"] < 10_000 for call in calls), calls


def told(server, session):
    """The audit log's lines of a session's calls."""
    lines = [json.loads(line) for line in (server.data / "audit.jsonl").read_bytes().splitlines()]
    return [line for line in lines if line["event"] == "session.tools" and line.get("sessionId") == session.session_id]


def test_calls_are_in_the_audit_log_and_in_the_metrics(server, session):
    def counted():
        lines = requests.get(server.endpoint + "/metrics").text.splitlines()
        count = [line for line in lines if line.startswith('berth_tool_calls_total{tool="read_file",outcome="ok"}')]
        return int(count[0].split()[-1]) if count else 0

    before, audit = counted(), server.data / "audit.jsonl"
    start = audit.stat().st_size

    async def use(headers):
        async with streamable(link(session), headers) as client:
            await client.list_tools()
            await client.call_tool("read_file", {"path": "/etc/hostname"})

    asyncio.run(use(bearer(server.key)))
    asyncio.run(use(bearer(session.token)))
    asyncio.run(come_and_go(server))
    assert counted() == before + 2
    lines = [json.loads(line) for line in audit.read_bytes()[start:].splitlines()]
    calls = told(server, session)
    assert [(line["tool"], line["outcome"], line["credential"]) for line in calls] == [
        ("read_file", "ok", "key"), ("read_file", "ok", "token")]
    assert all(line["keyId"] == server.key.split("_")[1] and line["durationMs"] >= 0 and line["peer"] for line in calls)
    made = [line for line in lines if line["event"] == "session.create"]
    assert len(made) == 1 and made[0]["image"] == IMAGE and made[0]["credential"] == "key"
    asked = [line for line in lines if line["event"] == "session.release"]
    assert [line["sessionId"] for line in asked] == [made[0]["sessionId"]]
    assert server.key not in audit.read_text() and session.token not in audit.read_text()


async def come_and_go(server):
    async with streamable(f"{server.endpoint}/v2/mcp?IMAGEID={IMAGE}&APIKEY={server.key}"):
        pass


def test_what_is_no_message_is_refused_with_an_envelope(server, session):
    for body in (b"", b"{", b"[]", b"null", b'{"jsonrpc":"1.0","id":1,"method":"ping"}', b'{"jsonrpc":"2.0","id":null,"method":"ping"}'):
        answer = requests.post(link(session), headers=bearer(server.key), data=body)
        assert answer.status_code == 400 and answer.json()["code"] == "MalformedBody", (body, answer.text)
        assert answer.json()["error"]["message"] == answer.json()["message"]
    unknown = requests.post(link(session), headers=bearer(server.key), json={"jsonrpc": "2.0", "id": 1, "method": "x/y"})
    assert unknown.status_code == 200 and unknown.json()["error"]["code"] == -32601
    odd = {**bearer(server.key), "MCP-Protocol-Version": "1999-01-01"}
    answer = requests.post(link(session), headers=odd, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert answer.status_code == 400 and "1999-01-01" in answer.json()["message"]


def test_a_long_call_is_kept_alive(server, session):
    call = {"jsonrpc": "2.0", "id": 5, "method": "tools/call",
            "params": {"name": "shell", "arguments": {"command": "sleep 23; echo late"}}}
    with requests.post(link(session), headers=bearer(server.key), json=call, stream=True, timeout=60) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line.startswith(b"data: ")]
    message = json.loads(lines[-1][6:])
    assert message["id"] == 5 and "late" in message["result"]["content"][0]["text"]


def test_a_client_survives_a_restart_and_an_open_stream_delays_none(new_server):
    server = new_server("--pool", "0")
    url = f"{server.endpoint}/v2/mcp?IMAGEID={IMAGE}&APIKEY={server.key}"
    id = requests.post(url, json=HELLO).headers["mcp-session-id"]

    def run(code):
        call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call",
                "params": {"name": "run_code", "arguments": {"code": code, "language": "python"}}}
        return json.loads(requests.post(url, json=call, headers={"Mcp-Session-Id": id}).json()["result"]["content"][0]["text"])

    run("kept = 41")
    with requests.get(f"{server.endpoint}/v2/sse?APIKEY={server.key}&IMAGEID={IMAGE}", stream=True, timeout=30) as events:
        lines = events.iter_lines()
        path = next(line for line in lines if line.startswith(b"data: ")).decode()[6:]
        requests.post(server.endpoint + path, json=HELLO)
        assert b'"result"' in next(line for line in lines if line.startswith(b"data: {"))
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 8
        assert [line for line in lines if line.startswith(b"data: ")] == []
    server.start()
    assert run("kept + 1")["result"][0]["text/plain"] == "42"
    # A stop of the server ended no session, so that of the stream is there until it has been idle.
    assert len(ids(server)) == 2
