"""API keys: what they may use, when they end, and that they keep out of each other's sessions."""

import json
import subprocess
import threading
import time

import pytest
import requests
import websockets.sync.client
from agb import CreateSessionParams
from conftest import IMAGE, LIVE, visit, wait_until


def revoke(server, name):
    subprocess.run([server.berth, "key", "revoke", *server.place(), name], check=True, capture_output=True)


def post(server, key, path, **body):
    return requests.post(server.endpoint + path, json=body, headers={"Authorization": f"Bearer {key}"}, timeout=60)


def create(server, key):
    return post(server, key, f"/mcp/createSession?imageId={IMAGE}")


def refused(answer, code, *parts):
    body = answer.json()
    assert (answer.status_code, body["code"]) == (429, code), body
    for part in parts:
        assert part in body["message"], body["message"]


def test_sessions_at_once_are_limited(server):
    key = server.new_key("two-at-once", "--max-sessions", "2")
    made = [create(server, key).json()["data"]["sessionId"] for _ in range(2)]
    refused(create(server, key), "QuotaExceeded.Sessions", "`two-at-once`", "2 sessions at once", "release one first")
    assert post(server, key, "/mcp/releaseSessionAsync", sessionId=made.pop()).status_code == 200
    made.append(create(server, key).json()["data"]["sessionId"])
    for session in made:
        assert post(server, key, "/mcp/releaseSessionAsync", sessionId=session).status_code == 200


def test_a_race_for_the_last_place_has_one_winner(server):
    key = server.new_key("racer", "--max-sessions", "1")
    answers = []
    racers = [threading.Thread(target=lambda: answers.append(create(server, key))) for _ in range(6)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    won = [answer for answer in answers if answer.status_code == 200]
    assert len(won) == 1, [answer.text for answer in answers]
    post(server, key, "/mcp/releaseSessionAsync", sessionId=won[0].json()["data"]["sessionId"])


def test_memory_is_limited(server):
    key = server.new_key("small", "--max-memory-mib", "100")
    refused(create(server, key), "QuotaExceeded.Memory", "`small`", "100 MiB of memory in all")


def test_creations_per_minute_are_limited(server):
    key = server.new_key("slow", "--max-creations-per-minute", "2")
    for _ in range(2):
        session = create(server, key).json()["data"]["sessionId"]
        post(server, key, "/mcp/releaseSessionAsync", sessionId=session)
    refused(create(server, key), "QuotaExceeded.CreationsPerMinute", "2 new sessions per minute")


def test_the_sdk_tells_of_a_limit(server):
    refusal = server.agb(server.new_key("none", "--max-sessions", "0")).create(CreateSessionParams(image_id=IMAGE))
    assert not refusal.success and "0 sessions at once" in refusal.error_message


def test_a_key_expires(server):
    key = server.new_key("brief", "--expires", "2s")
    session = create(server, key)
    assert session.status_code == 200, session.text
    session = session.json()["data"]["sessionId"]
    deadline = time.monotonic() + 20
    while post(server, key, "/mcp/getSession", sessionId=session).status_code != 401:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # A client that waits for the session's end is told of it, and not refused for minutes.
    while (answer := post(server, key, "/mcp/getSessionInfo", sessionId=session)).status_code == 401:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert answer.json()["code"] == "InvalidMcpSession.NotFound" and "has expired" in answer.json()["message"]


def test_revoking_a_key_shuts_out_its_holders_at_once(server, page):
    name = "revoked"
    key = server.new_key(name)
    session = server.agb(key).create(CreateSessionParams(image_id=IMAGE)).session
    visit(page, session.info().data["resource_url"])
    wait_until(page, LIVE)
    headers = {"X-Access-Token": session.token}
    with websockets.sync.client.connect(session.ws_url, additional_headers=headers) as stream:
        running = {"method": "run_code", "mode": "stream",
                   "params": {"language": "python", "timeoutS": 60, "code": "import time; print(1); time.sleep(60)"}}
        stream.send(json.dumps({"invocationId": "6" * 32, "source": "SDK", "target": "x", "data": running}))
        assert "stdout" in stream.recv(timeout=20)
        revoke(server, name)
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            stream.recv(timeout=10)
    wait_until(page, "window.__berth.state === 'ended'")
    assert "its API key was revoked" in page.locator("body").inner_text()
    for refusal in [post(server, key, "/mcp", sessionId=session.session_id, name="shell", args="{}"),
                    create(server, key), post(server, key, "/mcp/getSession", sessionId=session.session_id)]:
        assert (refusal.status_code, refusal.json()["code"]) == (401, "InvalidApiKey")
    call = requests.post(session.link_url + "/callTool", json={"tool": "shell", "args": {"command": "true"}},
                         headers=headers)
    assert "its API key was revoked" in call.text
    assert server.agb(key).delete(session).success is False


def test_a_key_sees_nothing_of_anothers_sessions(server, session):
    """Every route answers for another key's session exactly as for one that never was."""
    session.set_labels({"secret": "project"})
    other = server.new_key("other")
    agb = server.agb(other)
    assert session.session_id not in agb.list(limit=100).session_ids
    assert agb.list({"secret": "project"}).session_ids == []

    def answers(session_id):
        headers = {"Authorization": f"Bearer {other}"}
        get = lambda path: requests.get(server.endpoint + path, headers=headers)  # noqa: E731
        paths = ["getSession", "getSessionInfo", "getMcpResource", "releaseSessionAsync", "releaseSession"]
        found = [post(server, other, f"/mcp/{path}", sessionId=session_id) for path in paths]
        found += [
            post(server, other, "/mcp", sessionId=session_id, name="shell", args='{"command": "true"}'),
            post(server, other, f"/mcp/refreshSessionIdleTime?sessionId={session_id}"),
            post(server, other, f"/sdk/SetLabel?sessionId={session_id}&Labels=%7B%22a%22%3A%22b%22%7D"),
            get(f"/sdk/GetLabel?sessionId={session_id}"),
            get(f"/api/v1/sessions/{session_id}"),
            get(f"/api/v1/sessions/{session_id}/log"),
            post(server, other, f"/api/v1/sessions/{session_id}/pause"),
            post(server, other, f"/api/v1/sessions/{session_id}/resume"),
        ]
        return [(answer.status_code, answer.json()["code"], answer.json()["message"].replace(session_id, "ID"))
                for answer in found]

    assert answers(session.session_id) == answers("s-" + "a" * 20)
    # It was not harmed by any of it.
    assert session.get_labels().data == {"secret": "project"}
    assert session.command.execute("echo unharmed").output == "unharmed\n"


def test_keys_are_listed_without_their_secrets(server):
    key = server.new_key("listed", "--max-sessions", "3", "--expires", "30d")
    listing = subprocess.run([server.berth, "key", "list", *server.place()], check=True, capture_output=True,
                             text=True).stdout
    row = next(line for line in listing.splitlines() if "listed" in line)
    assert "3" in row and key.split("_")[1] in row
    assert key.split("_", 2)[2] not in listing
