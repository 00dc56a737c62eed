"""The server on PostgreSQL: what it promises on SQLite it promises there."""

import pathlib
import shutil
import subprocess
import tempfile
import urllib.parse

import pytest
import requests
import websockets.sync.client
from agb import CreateSessionParams
from conftest import IMAGE


class Postgres:
    """A cluster of its own, from Debian's packages, on a Unix socket."""

    def __init__(self):
        installed = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
        assert installed, "PostgreSQL is not installed; run: apt-get install -y postgresql"
        self.programs, self.folder = installed[-1], pathlib.Path(tempfile.mkdtemp(prefix="berth-e2e-postgres-"))
        shutil.chown(self.folder, "postgres", "postgres")
        self.run("initdb", "-D", self.folder / "data", "-A", "trust", "--no-sync")
        self.start()
        folder = urllib.parse.quote(str(self.folder), safe="")
        self.url = f"postgres://postgres@localhost/postgres?host={folder}"

    def run(self, program, *arguments):
        subprocess.run(["runuser", "-u", "postgres", "--", self.programs / program, *arguments], check=True, cwd="/",
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self):
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off"
        self.run("pg_ctl", "-D", self.folder / "data", "-w", "-l", self.folder / "log", "-o", options, "start")

    def stop(self):
        self.run("pg_ctl", "-D", self.folder / "data", "-w", "-m", "immediate", "stop")


@pytest.fixture(scope="module")
def postgres():
    postgres = Postgres()
    yield postgres
    postgres.stop()
    shutil.rmtree(postgres.folder)


@pytest.fixture(scope="module")
def own(new_server, postgres):
    server = new_server("--pool", "1", "--database", postgres.url)
    yield server
    # While the database is there.
    server.stop_for_good()


def create(server, **params):
    created = server.agb().create(CreateSessionParams(image_id=IMAGE, **params))
    assert created.success, created.error_message
    return created.session


def test_sessions_labels_and_lists(own):
    sessions = [create(own, labels={"kind": "pg", "n": str(n)}) for n in range(3)]
    agb = own.agb()
    assert agb.list({"kind": "pg"}).session_ids == [session.session_id for session in sessions[::-1]]
    assert agb.list({"kind": "pg", "n": "1"}).session_ids == [sessions[1].session_id]
    pages = [agb.list({"kind": "pg"}, page=page, limit=2) for page in (1, 2)]
    assert [len(page.session_ids) for page in pages] == [2, 1] and pages[0].total_count == 3
    assert sessions[0].set_labels({"kind": "other"}).success
    assert sessions[0].get_labels().data == {"kind": "other"}
    for session in sessions:
        assert agb.delete(session).success
    assert "released by its owner" in sessions[0].get_status().error_message


def test_a_session_goes_on_when_its_server_is_killed(own):
    session = create(own)
    session.code.run("counter = 41", "python")
    own.kill()
    own.start()
    assert session.code.run("counter + 1", "python").result == "42"
    assert own.agb().delete(session).success


@pytest.mark.expect_log("database")
def test_a_database_that_goes_away_and_comes_back(own, postgres):
    session = create(own)
    postgres.stop()
    refused = own.agb().create(CreateSessionParams(image_id=IMAGE))
    assert not refused.success and "the database is busy or out of reach; try again" in refused.error_message
    # What needs no database goes on: a call on the link of a live session.
    assert session.command.execute("echo on").output == "on\n"
    postgres.start()
    assert session.code.run("1 + 1", "python").result == "2"
    assert own.agb().delete(session).success
    assert own.agb().delete(create(own)).success


def test_a_ticket_that_another_server_revokes_is_cut(own, postgres, new_server):
    other = new_server("--pool", "0", "--database", postgres.url, key=own.key)
    session, headers = create(own), {"Authorization": f"Bearer {own.key}"}
    tickets = f"/api/v1/sessions/{session.session_id}/tickets"
    shared, kept = [requests.post(own.endpoint + tickets, headers=headers, json={"rights": ["view"]}).json()["data"]
                    for _ in range(2)]
    connect = websockets.sync.client.connect
    streams = [one["url"].split("?")[0].replace("http", "ws", 1) + "ws" for one in (shared, kept)]
    with connect(streams[0], max_size=None) as cut, connect(streams[1], max_size=None) as goes_on:
        for socket in (cut, goes_on):
            assert socket.ping().wait(30)
        # The other one lists and revokes what it does not run.
        assert {one["ticketId"] for one in requests.get(other.endpoint + tickets, headers=headers).json()["data"]} == {
            shared["ticketId"], kept["ticketId"]}
        assert requests.delete(f"{other.endpoint}{tickets}/{shared['ticketId']}", headers=headers).status_code == 200
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            for _ in range(1000):
                cut.recv(timeout=20)
        assert goes_on.ping().wait(20)
    assert requests.get(shared["url"].split("?")[0] + "status").json()["reason"] == "revoked"
    assert own.agb().delete(session).success
    other.stop_for_good()
