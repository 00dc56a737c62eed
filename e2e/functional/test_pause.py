"""Pausing: a session's processes stand still, and go on with the next call as if nothing had been."""

import socket
import time

import pytest
import requests
import websockets.sync.client
from agb import CreateSessionParams
from conftest import IMAGE, LIVE, visit, wait_until

# Notes the longest time between two rounds of a loop: what a process sees of a pause.
LOOP = """
import threading, time
longest = 0.0
def watch():
    global longest
    last = time.monotonic()
    while True:
        time.sleep(0.01)
        now = time.monotonic()
        longest, last = max(longest, now - last), now
threading.Thread(target=watch, daemon=True).start()
"""


def pause(api, session):
    answer = api.post(f"/api/v1/sessions/{session.session_id}/pause")
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def status(api, session):
    answer = api.get(f"/api/v1/sessions/{session.session_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["status"]


def await_status(api, session, expected, deadline_s=20):
    deadline = time.monotonic() + deadline_s
    while status(api, session) != expected:
        assert time.monotonic() < deadline, status(api, session)
        time.sleep(0.05)


def test_processes_stand_still_until_the_next_call(session, api, agb):
    session.code.run(LOOP, "python")
    assert pause(api, session)["status"] == "PAUSED"
    assert pause(api, session)["status"] == "PAUSED"
    began = time.monotonic()
    # Reading its state does not wake it, and it is there for everyone who looks.
    while time.monotonic() - began < 1.5:
        assert session.get_status().status == "PAUSED"
        assert session.session_id in agb.list().session_ids
    assert status(api, session) == "PAUSED"
    assert float(session.code.run("longest", "python").result) > 1.4
    assert session.get_status().status == "RUNNING"


def test_a_paused_session_can_be_resumed_and_released(session, api, new_session):
    pause(api, session)
    resumed = api.post(f"/api/v1/sessions/{session.session_id}/resume")
    assert resumed.json()["data"]["status"] == "RUNNING"
    assert api.post(f"/api/v1/sessions/{session.session_id}/resume").status_code == 200
    assert session.command.execute("echo on").output == "on\n"
    # Ended by the fixture without being thawed first.
    pause(api, new_session())


@pytest.mark.parametrize("wake", ["link", "keep_alive", "labels"])
def test_what_is_a_call_and_what_is_not(session, api, wake):
    pause(api, session)
    if wake == "link":
        done = requests.post(session.link_url + "/callTool", json={"tool": "shell", "args": {"command": "echo on"}},
                             headers={"X-Access-Token": session.token})
        assert "on" in done.text
        assert status(api, session) == "RUNNING"
    elif wake == "keep_alive":
        assert session.keep_alive().success
        assert status(api, session) == "PAUSED"
    else:
        assert session.set_labels({"a": "b"}).success
        assert status(api, session) == "PAUSED"


def test_a_stream_wakes_a_paused_session(session, api):
    chunks = []
    session.code.run("x = 20", "python", stream_beta=True, on_stdout=chunks.append)
    pause(api, session)
    # On the socket that is still open from the first run.
    run = session.code.run("print(x + 1)", "python", stream_beta=True, on_stdout=chunks.append)
    assert run.success, run.error_message
    assert "".join(chunks) == "21\n"
    # The output does not wait for the row that says so.
    await_status(api, session, "RUNNING")


def test_a_stream_that_only_shows_life_or_ends_wakes_nobody(session, api):
    def connect():
        return websockets.sync.client.connect(session.ws_url, additional_headers={"X-Access-Token": session.token},
                                              proxy=None, ping_interval=None, close_timeout=0.2)

    with connect() as polite, connect() as rude:
        pause(api, session)
        polite.ping()
        rude.socket.shutdown(socket.SHUT_RDWR)
    began = time.monotonic()
    while time.monotonic() - began < 1.5:
        assert status(api, session) == "PAUSED"


def test_calls_that_come_with_the_pause_are_answered(session, api):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(session.command.execute, f"echo {n}") for n in range(60)]
        for _ in range(20):
            pause(api, session)
            # A call that was frozen in the middle goes on with the next one.
            assert session.command.execute("true").success
        assert [call.result().output for call in calls] == [f"{n}\n" for n in range(60)]


def test_nobody_uses_it_and_it_is_paused_if_the_server_says_so(new_server):
    server = new_server("--pool", "0", "--idle-timeout", "2", "--idle-action", "pause")
    created = server.agb().create(CreateSessionParams(image_id=IMAGE))
    session = created.session
    session.code.run("kept = 'here'", "python")
    headers = {"Authorization": f"Bearer {server.key}"}

    def paused():
        answer = requests.get(f"{server.endpoint}/api/v1/sessions/{session.session_id}", headers=headers)
        return answer.json()["data"]["status"] == "PAUSED"

    deadline = time.monotonic() + 20
    while not paused():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert session.code.run("kept", "python").result == "'here'"
    while not paused():
        assert time.monotonic() < deadline + 20
        time.sleep(0.05)
    # A restart finds it as it was.
    server.kill()
    server.start()
    assert paused()
    assert session.code.run("kept", "python").result == "'here'"
    assert server.agb().delete(session).success


def test_the_live_view_says_so_and_resumes(session, api, page):
    visit(page, session.info().data["resource_url"])
    wait_until(page, LIVE)
    pause(api, session)
    wait_until(page, "window.__berth.state === 'paused'")
    assert page.get_by_role("heading", name="This session is paused").is_visible()
    # The page looks whether it goes on, and does not wake it by that.
    page.wait_for_timeout(2500)
    assert status(api, session) == "PAUSED"
    page.get_by_role("button", name="Resume").click()
    wait_until(page, LIVE)
    assert status(api, session) == "RUNNING"
    # Somebody else's call brings it back too.
    pause(api, session)
    wait_until(page, "window.__berth.state === 'paused'")
    assert session.command.execute("true").success
    wait_until(page, LIVE)
