"""The audit log: who created, used, watched and ended what, in a file that survives the server."""

import json
import stat

import pytest
import requests
import websockets.sync.client
from agb import CreateSessionParams
from conftest import IMAGE, until


class Audit:
    """Reads the audit file of a server."""

    def __init__(self, server):
        self.path = server.data / "audit.jsonl"

    def text(self):
        return self.path.read_text()

    def lines(self, **wanted):
        lines = [json.loads(line) for line in self.text().splitlines()]
        return [line for line in lines if all(line.get(name) == value for name, value in wanted.items())]

    def one(self, **wanted):
        found = self.lines(**wanted)
        assert len(found) == 1, (wanted, found)
        return found[0]


@pytest.fixture(scope="module")
def own(new_server):
    return new_server("--pool", "1")


@pytest.fixture
def audit(own):
    return Audit(own)


def create(server, key=None, **params):
    created = server.agb(key).create(CreateSessionParams(image_id=IMAGE, **params))
    assert created.success, created.error_message
    return created.session


def key_id(key):
    return key.split("_")[1]


def test_a_session_is_told_from_its_creation_to_its_end(own, audit):
    first, second = own.key, own.new_key("second")
    session = create(own, second, labels={"team": "label-value-canary"})
    about = {"sessionId": session.session_id}
    made = audit.one(event="session.create", **about)
    assert made["outcome"] == "ok" and made["keyId"] == key_id(second) and made["credential"] == "key"
    assert made["image"] == IMAGE and made["labels"] == ["team"] and made["peer"].startswith("127.0.0.1:")

    session.command.execute("echo argument-canary")
    session.code.run("'code-canary'", "python")
    calls = audit.lines(event="session.tools", **about)
    assert [(call["tool"], call["outcome"]) for call in calls] == [("shell", "ok"), ("run_code", "ok")]
    assert all(call["keyId"] == key_id(second) and call["durationMs"] >= 0 for call in calls)
    api = requests.post(own.endpoint + "/mcp", headers={"Authorization": f"Bearer {second}",
                                                        "X-Forwarded-For": "198.51.100.7, 203.0.113.9"},
                        json={"sessionId": session.session_id, "name": "shell", "args": "{\"command\": \"true\"}"})
    line = audit.one(requestId=api.headers["x-request-id"])
    assert line["event"] == "session.tools" and line["credential"] == "key" and line["forwardedFor"] == "203.0.113.9"

    session.set_labels({"a": "label-value-canary", "b": "2"})
    assert audit.one(event="session.labels", **about)["outcome"] == "ok"

    # The other key: refused, and written down as what it tried.
    stranger = own.agb(first).get(session.session_id)
    assert not stranger.success
    tried = audit.one(event="view.issue", keyId=key_id(first), **about)
    assert tried["outcome"] == "InvalidMcpSession.NotFound"

    assert own.agb(second).delete(session).success
    assert audit.lines(event="session.release", **about)[0]["keyId"] == key_id(second)
    assert audit.one(event="session.ended", **about)["reason"] == "released"
    assert not requests.post(session.link_url + "/callTool", headers={"X-Access-Token": session.token},
                             json={"tool": "shell", "args": {}}).json().get("success")
    assert audit.lines(event="session.tools", **about)[-1]["outcome"] == "InvalidMcpSession.NotFound"


def test_views_and_streams_open_and_close(own, audit):
    session = create(own)
    about = {"sessionId": session.session_id, "keyId": key_id(own.key)}
    url = session.info().data["resource_url"]
    assert audit.one(event="view.issue", **about)["outcome"] == "ok"
    socket = url.split("?")[0].replace("http", "ws", 1) + "ws"
    for event, address, headers in [("view", socket, {}),
                                    ("stream", session.ws_url, {"X-Access-Token": session.token})]:
        with websockets.sync.client.connect(address, additional_headers=headers, proxy=None):
            opened = audit.one(event=f"{event}.open", **about)
            assert opened["outcome"] == "ok" and audit.lines(event=f"{event}.close", **about) == []
        own.agb().get(session.session_id)  # the next answer may be earlier than the end of the tunnel, so look again
        while not audit.lines(event=f"{event}.close", **about):
            own.healthy()
        closed = audit.one(event=f"{event}.close", **about)
        assert closed["requestId"] == opened["requestId"] and closed["durationMs"] >= 0
    assert own.agb().delete(session).success


def test_a_caller_that_leaves_before_the_answer_is_told_of(own, audit):
    session = create(own)
    about = {"sessionId": session.session_id}
    with pytest.raises(requests.Timeout):
        requests.post(session.link_url + "/callTool", headers={"X-Access-Token": session.token}, timeout=(5, 0.3),
                      json={"tool": "shell", "args": {"command": "sleep 3; touch /tmp/done"}})
    assert not audit.lines(event="session.tools", **about)
    told = until(lambda: audit.lines(event="session.tools", **about), "the call is told of")
    assert (told[0]["tool"], told[0]["outcome"]) == ("shell", "ok")
    assert session.command.execute("ls /tmp/done").success


def test_pauses_and_port_links_are_told(own, audit):
    session = create(own)
    about = {"sessionId": session.session_id, "keyId": key_id(own.key)}
    headers = {"Authorization": f"Bearer {own.key}"}
    for move in ("pause", "resume"):
        assert requests.post(f"{own.endpoint}/api/v1/sessions/{session.session_id}/{move}", headers=headers).ok
        assert audit.one(event=f"session.{move}", **about)["credential"] == "key"
        assert "requestId" not in audit.one(event=f"session.{move}d", **about)

    link = session.get_link("http", 30100)
    assert link.success, link.error_message
    assert audit.one(event="link.issue", **about)["outcome"] == "ok"
    assert requests.get(link.data).status_code == 502  # nothing listens
    opened = audit.one(event="port.open", **about)
    assert opened["credential"] == "link" and opened["outcome"] != "ok"
    assert link.data.split("/port/")[1].strip("/") not in audit.text()
    assert own.agb().delete(session).success


def test_refused_credentials_are_told_and_cannot_fill_the_disk(own, audit):
    answer = requests.post(own.endpoint + "/mcp/getSession", headers={"Authorization": "Bearer bk_wrong_canary"})
    assert answer.status_code == 401
    refused = audit.one(requestId=answer.headers["x-request-id"])
    assert refused["event"] == "auth.refused" and refused["route"] == "/mcp/getSession"
    assert refused["outcome"] == "InvalidApiKey" and refused["peer"].startswith("127.0.0.1:")
    assert "keyId" not in refused

    before = len(audit.lines())
    with requests.Session() as many:
        ids = [many.post(own.endpoint + "/mcp/getSession").headers["x-request-id"] for _ in range(400)]
    assert len(ids) == 400
    written = audit.lines(event="auth.refused")[-(len(audit.lines()) - before):]
    assert len(written) + sum(line.get("skipped", 0) for line in written) <= 400
    assert any("skipped" in line for line in written) or len(written) < 400


def test_what_the_server_decides_and_what_a_killed_one_had_told(own, audit):
    idle = create(own, idle_release_timeout=1)
    while not audit.lines(event="session.ended", sessionId=idle.session_id):
        own.healthy()
    assert audit.one(event="session.ended", sessionId=idle.session_id)["reason"] == "idle"

    sessions = [create(own) for _ in range(3)]
    own.kill()
    told = audit.lines(event="session.create", outcome="ok")
    assert {session.session_id for session in sessions} <= {line["sessionId"] for line in told}
    before = audit.text()
    own.start()
    for session in sessions:
        assert own.agb().delete(session).success
    assert audit.text().startswith(before)


def test_keys_are_told_by_the_command_and_no_secret_is_in_the_file(own, audit):
    import subprocess

    key = own.new_key("short-lived")
    doomed = create(own, key)
    subprocess.run([own.berth, "key", "revoke", "--data", own.data, "short-lived"], check=True)
    for event in ("key.create", "key.revoke"):
        line = audit.one(event=event, keyId=key_id(key))
        assert line["keyName"] == "short-lived" and line["credential"] == "command"
    while not audit.lines(event="session.ended", sessionId=doomed.session_id):
        own.healthy()
    assert audit.one(event="session.ended", sessionId=doomed.session_id)["reason"] == "key-revoked"

    session = create(own)
    url = session.info().data["resource_url"]
    session.command.execute("echo argument-canary")
    ticket = url.split("/view/")[1].split("/")[0]
    secrets = [own.key, own.key.split("_", 2)[2], key.split("_", 2)[2], session.token, ticket, "canary"]
    assert own.agb().delete(session).success
    for secret in secrets:
        assert secret not in audit.text()
    assert stat.S_IMODE(audit.path.stat().st_mode) == 0o600


def test_an_audit_log_that_cannot_be_written_stops_the_start(own, binaries, images, tmp_path):
    import subprocess

    for path, works in [("/dev/null/x", False), (tmp_path / "elsewhere.jsonl", True), ("off", True)]:
        done = subprocess.run([own.berth, "key", "create", "--data", tmp_path / "data", f"k-{works}-{path}"],
                              env={"BERTH_AUDIT": str(path)}, capture_output=True, text=True)
        assert (done.returncode == 0) == works, done.stderr
        assert works or "allowed for `audit`" in done.stderr
    assert "key.create" in (tmp_path / "elsewhere.jsonl").read_text()
    assert not (tmp_path / "data" / "audit.jsonl").exists()
