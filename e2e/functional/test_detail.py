"""What is told of a session: while it lives, and for a day after its end."""

import time

import pytest
from agb import CreateSessionParams
from conftest import IMAGE


def detail(api, session):
    answer = api.get(f"/api/v1/sessions/{session.session_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def await_end(api, session, deadline_s=20):
    """The detail of a session of which nothing is left."""
    deadline = time.monotonic() + deadline_s
    while "at" not in (found := detail(api, session)).get("end", {}):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def test_a_live_session_is_described(new_session, api):
    session = new_session(labels={"team": "red"}, idle_release_timeout=123)
    found = detail(api, session)
    assert found["sessionId"] == session.session_id and found["image"] == IMAGE and found["status"] == "RUNNING"
    assert found["labels"] == {"team": "red"} and found["idleTimeoutSeconds"] == 123
    assert found["resourceId"] == session.resource_id and found["viewers"] == 0 and "end" not in found
    assert 0 < found["memoryPeakBytes"] < found["memoryLimitBytes"]
    assert found["createdAt"] < found["endsAt"]
    log = api.get(f"/api/v1/sessions/{session.session_id}/log").json()["data"]["lines"]
    assert any("guest is listening" in line for line in log), log


def test_the_own_list_holds_what_the_sdks_list_holds(new_session, api, agb):
    sessions = [new_session(labels={"list": "own"}).session_id for _ in range(3)]
    first = api.get("/api/v1/sessions", params={"labels": '{"list": "own"}', "limit": 2}).json()
    second = api.get("/api/v1/sessions", params={"labels": '{"list": "own"}', "limit": 2,
                                                 "nextToken": first["nextToken"]}).json()
    rows = first["data"] + second["data"]
    assert [row["sessionId"] for row in rows] == sessions[::-1] == agb.list({"list": "own"}).session_ids
    assert first["count"] == 3 and second["nextToken"] == ""
    assert all(row["labels"] == {"list": "own"} and row["image"] == IMAGE for row in rows)


def test_who_released_a_session_is_told(new_server):
    server = new_server("--pool", "0")
    session = server.agb().create(CreateSessionParams(image_id=IMAGE)).session
    session.command.execute("true")
    assert server.agb().delete(session).success
    for refusal in [session.command.execute("true"), session.get_status()]:
        text = refusal.error_message
        assert all(part in text for part in ["session", "not found", "expired", "released by its owner (key `tests`)"])


@pytest.mark.expect_log("ended by itself")
def test_a_crash_is_told_with_its_signal_and_log(session, api):
    session.command.execute("sudo kill -9 1; sudo pkill -9 berth-guest", timeout_ms=5000)
    found = await_end(api, session)
    assert found["end"]["reason"] == "crashed" and "memory peak" in found["end"]["text"]
    assert found["memoryPeakBytes"] > 0
    log = api.get(f"/api/v1/sessions/{session.session_id}/log").json()["data"]["lines"]
    assert any("guest is listening" in line for line in log)
