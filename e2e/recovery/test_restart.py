"""Sessions outlive the server that made them, and go completely when they end."""

import time

import pytest
import requests
from agb import CreateSessionParams
from berth import leftovers
from conftest import IMAGE


@pytest.fixture
def own(new_server):
    """A server that this test may kill."""
    return new_server("--pool", "1")


def create(server, **params):
    created = server.agb().create(CreateSessionParams(image_id=IMAGE, **params))
    assert created.success, created.error_message
    return created.session


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_session_goes_on_when_its_server_does_not(own, end):
    session = create(own, labels={"kept": "yes"})
    session.code.run("counter = 41", "python")
    session.command.execute("nohup sleep 300 > /dev/null 2>&1 & echo $! > /tmp/pid")
    url = session.info().data["resource_url"]
    getattr(own, end)()
    own.start()

    again = own.agb().get(session.session_id)
    assert again.success, again.error_message
    assert again.session.token == session.token
    assert again.session.code.run("counter + 1", "python").result == "42"
    assert session.command.execute("kill -0 $(cat /tmp/pid) && echo alive").output == "alive\n"
    assert own.agb().list({"kept": "yes"}).session_ids == [session.session_id]
    assert requests.get(url).status_code == 200
    assert own.agb().delete(session).success


def test_a_kill_while_sessions_are_made_loses_none_that_were_told(own):
    import threading

    told, stop = [], threading.Event()

    def make():
        while not stop.is_set():
            try:
                created = own.agb().create(CreateSessionParams(image_id=IMAGE))
                if created.success:
                    told.append(created.session)
            except Exception:
                return

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(told) < 3:
        time.sleep(0.01)
    own.kill()
    stop.set()
    for thread in threads:
        thread.join()
    own.start()
    for session in told:
        assert session.command.execute("echo here", timeout_ms=10000).output == "here\n"
        assert own.agb().delete(session).success


def test_nothing_is_left_of_ended_sessions(own):
    sessions = [create(own) for _ in range(3)]
    for session in sessions:
        session.code.run("1", "python")
        assert own.agb().delete(session).success
    own.stop_for_good()
    assert leftovers([own]) == []


def test_an_idle_session_is_released_and_says_so(new_server):
    server = new_server("--pool", "0", "--idle-timeout", "2")
    session = create(server)
    for _ in range(6):
        # Reading the state is no use of it.
        session.get_status()
        time.sleep(0.5)
    deadline = time.monotonic() + 20
    while session.get_status().success and time.monotonic() < deadline:
        time.sleep(0.2)
    assert "nobody used it for its idle timeout" in session.get_status().error_message


def test_a_running_tool_is_use(new_server):
    server = new_server("--pool", "0", "--idle-timeout", "2")
    session = create(server)
    done = session.command.execute("sleep 5; echo done", timeout_ms=20000)
    assert done.output == "done\n", done.error_message


def test_a_session_ends_at_its_lifetime(new_server):
    server = new_server("--pool", "0", "--lifetime", "2")
    session = create(server)
    deadline = time.monotonic() + 20
    while session.command.execute("true").success and time.monotonic() < deadline:
        time.sleep(0.2)
    assert "lifetime limit" in session.command.execute("true").error_message


@pytest.mark.expect_log("ended by itself")
def test_a_killed_guest_is_told_with_its_reason(new_server):
    server = new_server("--pool", "0")
    session = create(server)
    session.command.execute("sudo kill -9 1; sudo pkill -9 berth-guest", timeout_ms=5000)
    deadline = time.monotonic() + 10
    while session.get_status().success and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "its guest process ended unexpectedly" in session.get_status().error_message
    assert "its guest process ended unexpectedly" in session.command.execute("true").error_message


def test_one_data_folder_has_one_server(own):
    import subprocess

    second = subprocess.run([own.berth, "serve", "--listen", "127.0.0.1:0", "--data", own.data],
                            capture_output=True, text=True, timeout=30)
    assert second.returncode == 1 and "another server is using" in second.stderr


def test_a_start_waits_for_what_a_killed_server_has_not_let_go_of_yet(own):
    import socket
    import threading

    own.kill()
    with socket.create_server(("127.0.0.1", int(own.listen.split(":")[1]))):
        size = own.log_size()
        starting = threading.Thread(target=own.start)
        starting.start()
        while "is in use; trying again" not in own.log_since(size):
            assert starting.is_alive()
            time.sleep(0.01)
    starting.join()
    assert own.healthy()["status"] == "ok"


def test_a_burst_beyond_the_pool_succeeds(own):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        sessions = list(pool.map(lambda _: create(own), range(8)))
        assert len({session.session_id for session in sessions}) == 8
        results = list(pool.map(lambda session: session.code.run("2 + 2", "python").result, sessions))
        assert results == ["4"] * 8
        assert all(result.success for result in pool.map(own.agb().delete, sessions))
