"""Live views that are shared: tickets with fewer rights, their revocation, who is looking, files through the view."""

import json
import subprocess
import time
import urllib.parse

import pytest
import requests
import websockets.sync.client
from agb import CreateSessionParams
from conftest import IMAGE, visit, wait_until
from websockets.exceptions import ConnectionClosed, InvalidStatus

ALL = ["view", "control", "clipboard-in", "clipboard-out", "files"]


class Tickets:
    """The routes for tickets of one session."""

    def __init__(self, server, session, key=None):
        self.base = f"{server.endpoint}/api/v1/sessions/{session.session_id}"
        self.headers = {"Authorization": f"Bearer {key or server.key}"}

    def ask(self, method, path, **parameters):
        return requests.request(method, self.base + path, headers=self.headers, timeout=30, **parameters)

    def share(self, **body):
        answer = self.ask("POST", "/tickets", json={"rights": ALL, **body})
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def listed(self):
        return self.ask("GET", "/tickets").json()["data"]

    def revoke(self, ticket_id=None):
        return self.ask("DELETE", "/tickets" + (f"/{ticket_id}" if ticket_id else ""))


def below(url, what):
    return url.split("?")[0] + what


def status(url):
    return requests.get(below(url, "status")).json()


def open_socket(url):
    return websockets.sync.client.connect(below(url, "ws").replace("http", "ws", 1), max_size=None)


def wait_for_end(socket):
    """Reads until the socket ends; a socket that stays open fails the test."""
    with pytest.raises(ConnectionClosed):
        for _ in range(1000):
            socket.recv(timeout=20)


@pytest.fixture
def tickets(server, session):
    return Tickets(server, session)


def test_a_ticket_has_what_was_asked_for(tickets):
    before = time.time()
    made = tickets.share(rights=["files", "view", "files"], name=" Zoë ", ttlSeconds=3600)
    assert made["rights"] == ["view", "files"] and made["name"] == "Zoë" and made["ticketId"].startswith("t-")
    told = status(made["url"])
    assert told["state"] == "live" and told["rights"] == ["view", "files"]
    assert 3500 < told["expiresAt"] / 1000 - before < 3700
    assert "resourceId=" in made["url"] and requests.get(made["url"]).status_code == 200
    # Without the URL, and without those that the owner gets.
    listed = tickets.listed()
    assert listed == [{name: value for name, value in made.items() if name != "url"}]
    assert "name" not in tickets.share(name="  ")


def test_what_is_not_allowed_is_refused_by_name(tickets):
    for body, wanted in [
        ({"rights": ["view", "fly"]}, ["`rights`", "fly", "clipboard-out"]),
        ({"rights": None}, ["`rights`", "clipboard-out"]),
        ({"name": "x" * 65}, ["`name`", "64"]),
        ({"name": "a\u0000b"}, ["`name`", "control"]),
        ({"ttlSeconds": 86401}, ["`ttlSeconds`", "86400"]),
        ({"ttlSeconds": 0}, ["`ttlSeconds`", "86400"]),
    ]:
        refused = tickets.ask("POST", "/tickets", json={"rights": ALL, **body})
        assert refused.status_code == 400, refused.text
        assert all(word in refused.json()["message"] for word in wanted), refused.text
    assert tickets.listed() == []


def test_a_session_has_so_many_shared_tickets(tickets):
    for _ in range(100):
        made = tickets.share()
    refused = tickets.ask("POST", "/tickets", json={"rights": ALL})
    assert refused.status_code == 400 and "100" in refused.json()["message"], refused.text
    assert tickets.revoke(made["ticketId"]).status_code == 200
    tickets.share()


def test_revocation_cuts_what_is_open_at_once_and_nothing_else(tickets, session):
    mine, other = tickets.share(name="Ann"), tickets.share()
    owner = session.info().data["resource_url"]
    with open_socket(mine["url"]) as cut, open_socket(other["url"]) as goes_on, open_socket(owner) as owners:
        for socket in (cut, goes_on, owners):
            assert socket.ping().wait(20)
        assert tickets.revoke(mine["ticketId"]).status_code == 200
        wait_for_end(cut)
        for socket in (goes_on, owners):
            assert socket.ping().wait(20)
        told = status(mine["url"])
        assert (told["state"], told["reason"]) == ("expired", "revoked") and "revoked" in told["message"]
        page = requests.get(mine["url"])
        assert page.status_code == 410 and "revoked" in page.text
        with pytest.raises(InvalidStatus) as refused:
            open_socket(mine["url"])
        assert b"revoked" in refused.value.response.body
        assert requests.get(below(mine["url"], "files")).status_code == 400
        assert [ticket["ticketId"] for ticket in tickets.listed()] == [other["ticketId"]]
        # Again is as good as once; what never was is refused.
        assert tickets.revoke(mine["ticketId"]).status_code == 200
        unknown = tickets.revoke("t-" + "a" * 20)
        assert unknown.status_code == 400 and "`ticketId`" in unknown.json()["message"]

        # All of them: the owner's as well, who gets a new one.
        assert tickets.revoke().status_code == 200
        wait_for_end(goes_on)
        wait_for_end(owners)
    assert status(owner)["reason"] == "revoked" and tickets.listed() == []
    assert status(session.info().data["resource_url"])["state"] == "live"


def test_a_ticket_is_not_revoked_through_another_session(server, tickets, new_session):
    made, other = tickets.share(), Tickets(server, new_session())
    assert other.revoke(made["ticketId"]).status_code == 400
    assert other.revoke().status_code == 200
    assert status(made["url"])["state"] == "live"
    stranger = Tickets(server, type("Named", (), {"session_id": tickets.base.rsplit("/", 1)[-1]}),
                       server.new_key("ticket-stranger"))
    assert stranger.revoke(made["ticketId"]).json()["code"] == "InvalidMcpSession.NotFound"
    assert status(made["url"])["state"] == "live"


def test_the_page_says_that_its_url_was_revoked(tickets, page):
    made = tickets.share()
    visit(page, made["url"])
    wait_until(page, "Boolean(window.__berth) && window.__berth.framesPainted > 0", 60)
    assert tickets.revoke(made["ticketId"]).status_code == 200
    wait_until(page, "window.__berth.state === 'ended'")
    assert "revoked" in page.inner_text("body")


def test_a_ticket_survives_its_server_with_its_rights(new_server):
    own = new_server("--pool", "0")
    session = own.agb().create(CreateSessionParams(image_id=IMAGE)).session
    tickets = Tickets(own, session)
    kept, gone = tickets.share(rights=["view"]), tickets.share()
    assert tickets.revoke(gone["ticketId"]).status_code == 200
    own.kill()
    own.start()
    assert status(kept["url"])["rights"] == ["view"]
    assert status(gone["url"])["reason"] == "revoked"
    assert own.agb().delete(session).success
    ended = tickets.ask("GET", "/tickets")
    assert ended.status_code == 400 and "released" in ended.json()["message"]


def test_viewers_of_a_paused_session_are_none(tickets):
    assert tickets.ask("POST", "/pause").ok
    answer = tickets.ask("GET", "/viewers")
    assert answer.json()["data"] == {"viewers": []}
    # Nor was it thawed for the answer.
    assert tickets.ask("GET", "").json()["data"]["status"] == "PAUSED"


def upload(url, name, content=b"content", **headers):
    return requests.put(below(url, "files"), params={"name": name}, data=content, headers=headers, timeout=60)


def download(url, path, **headers):
    return requests.get(below(url, "files"), params={"path": path}, headers=headers, timeout=30)


def test_files_go_to_the_desktop_and_come_back(tickets, session):
    url = tickets.share(rights=["view", "files"])["url"]
    content = bytes(range(256)) * 20_000
    first = upload(url, "Bericht é.bin", content)
    assert first.status_code == 200, first.text
    assert first.json() == {"path": "/home/user/Desktop/Bericht é.bin", "size": len(content)}
    # What is there stays.
    second = upload(url, "Bericht é.bin", b"other").json()
    assert second["path"] == "/home/user/Desktop/Bericht é (2).bin"
    owner = session.command.execute("stat -c %U:%a ~/Desktop/Ber*2*").output
    assert owner == "user:644\n"

    answer = download(url, first.json()["path"])
    assert answer.content == content
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''Bericht%20%C3%A9%2Ebin"
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["content-type"] == "application/octet-stream"
    part = download(url, first.json()["path"], Range="bytes=256-259")
    assert part.status_code == 206 and part.content == bytes(range(4))

    session.command.execute("mkdir -p ~/Downloads/folder && echo x > ~/Downloads/'a \"b\".html' && touch ~/elsewhere")
    listed = requests.get(below(url, "files"))
    assert listed.headers["content-type"] == "application/json" and listed.headers["cache-control"] == "no-store"
    found = {(file["folder"], file["name"]): file for file in listed.json()["files"]}
    assert found["Downloads", 'a "b".html']["size"] == 2 and found["Desktop", "Bericht é.bin"]["size"] == len(content)
    assert not {"folder", "elsewhere"} & {name for _, name in found} and listed.json()["truncated"] is False
    assert abs(found["Downloads", 'a "b".html']["modified"] / 1000 - time.time()) < 3600
    assert download(url, found["Downloads", 'a "b".html']["path"]).content == b"x\n"


def test_names_and_paths_that_mean_something_else_are_refused(tickets, session):
    url = tickets.share()["url"]
    for name in ["", ".", "..", "a/b", "/etc/x", "../x", "a\0b", "é" * 128]:
        refused = upload(url, name)
        assert refused.status_code == 400 and "`name`" in refused.json()["message"], (name, refused.text)
    assert requests.put(below(url, "files"), data=b"x").status_code == 400
    odd = ["-rf", "%2e%2e%2fx", "\u202egpj.exe", "a\nb", ".hidden", "é" * 127, "a;b&c=d?#+ .txt", "'\"<script>.html"]
    for name in odd:
        done = upload(url, name, b"kept")
        assert done.status_code == 200 and done.json()["path"] == "/home/user/Desktop/" + name, (name, done.text)
        assert download(url, done.json()["path"]).content == b"kept", name
    again = upload(url, "é" * 127).json()["path"].rsplit("/", 1)[-1]
    assert again.endswith(" (2)") and len(again.encode()) <= 255
    for path in ["/etc/passwd", "/home/user/Desktop/../../../etc/passwd", "/home/user/Desktop/..", "/home/user/Desktop",
                 "Desktop/.hidden", "", "/home/user/Desktop/sub/x", "/home/user/.bashrc"]:
        refused = download(url, path)
        assert refused.status_code == 400 and "`path`" in refused.json()["message"], (path, refused.text)
    assert download(url, "/home/user/Desktop/none").status_code == 400
    assert session.command.execute("ls -A ~/Desktop | grep -c berth-upload").output == "0\n"


def test_what_is_no_plain_file_hangs_nobody(tickets, session):
    url = tickets.share()["url"]
    made = session.command.execute(
        "mkdir -p ~/Desktop && cd ~/Desktop && mkfifo pipe && ln -s /dev/zero zero && ln -s /dev/tty tty && ln -s pipe to-pipe &&"
        " ln -s /etc/hostname hostname && ln -s loop loop && ln -s /root root && sudo mkdir -m 700 locked &&"
        " python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('socket')\"")
    assert made.success, made.error_message
    names = {file["name"] for file in requests.get(below(url, "files"), timeout=20).json()["files"]}
    assert "hostname" in names
    odd = ["pipe", "zero", "tty", "to-pipe", "loop", "root", "locked", "socket"]
    assert not names & set(odd), names
    # A link leads where the session's user may go.
    assert download(url, "/home/user/Desktop/hostname").content == session.file.read("/etc/hostname").content.encode()
    for name in odd:
        refused = download(url, f"/home/user/Desktop/{name}")
        assert refused.status_code == 400, (name, refused.text)
    # Names that are taken by them are taken.
    for name in ("pipe", "loop", "locked"):
        assert upload(url, name).json()["path"].endswith(f"/{name} (2)")
    # A desktop that is none.
    assert session.command.execute("rm -rf ~/Desktop; sudo rm -rf ~/Desktop && mkfifo ~/Desktop").success
    assert upload(url, "a").status_code == 400
    assert requests.get(below(url, "files"), timeout=20).json()["files"] == []


def test_files_need_their_right_and_a_page_of_ours(tickets):
    url = tickets.share(rights=["view", "control"])["url"]
    for refused in (upload(url, "a"), requests.get(below(url, "files")), download(url, "/home/user/Desktop/a")):
        assert refused.status_code == 403 and refused.json()["code"] == "RightMissing", refused.text
        assert "`files`" in refused.json()["message"] and "view,control" in refused.json()["message"]
    url = tickets.share()["url"]
    for origin in ("https://evil.example", "null"):
        refused = upload(url, "a", Origin=origin)
        assert refused.status_code == 400 and "another site" in refused.json()["message"]
    own = urllib.parse.urlsplit(url)
    assert upload(url, "a", Origin=f"{own.scheme}://{own.netloc}").status_code == 200


def test_an_upload_ends_when_its_ticket_is_revoked(tickets, session):
    made = tickets.share()

    def body():
        yield b"x" * 1000
        assert tickets.revoke(made["ticketId"]).status_code == 200
        yield b"x" * 1000

    try:
        refused = requests.put(below(made["url"], "files"), params={"name": "cut"}, data=body(), timeout=30)
        assert refused.status_code == 400 and "revoked" in refused.json()["message"], refused.text
    except requests.exceptions.ConnectionError:
        pass  # The server closed while the client was still sending.
    url = tickets.share()["url"]
    names = {file["name"] for file in requests.get(below(url, "files")).json()["files"]}
    assert "cut" not in names


def test_the_audit_log_names_the_ticket(server, tickets):
    made = tickets.share(name="name-canary")
    assert upload(made["url"], "file-name-canary").status_code == 200
    assert requests.get(below(made["url"], "files")).status_code == 200
    with open_socket(made["url"]) as socket:
        assert socket.ping().wait(20)
        assert tickets.revoke(made["ticketId"]).status_code == 200
        wait_for_end(socket)
    wanted = {"view.share", "file.write", "file.read", "view.open", "view.close", "view.revoke"}
    deadline = time.monotonic() + 20
    while True:
        text = (server.data / "audit.jsonl").read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        lines = [line for line in lines if line.get("ticketId") == made["ticketId"]]
        if {line["event"] for line in lines} == wanted:
            break
        assert time.monotonic() < deadline, lines
        time.sleep(0.05)
    assert all(line["sessionId"] == tickets.base.rsplit("/", 1)[-1] and line["outcome"] == "ok" for line in lines)
    secret = made["url"].split("/view/")[1].split("/")[0]
    assert not any(word in text for word in (secret, "name-canary", "file-name-canary"))


def test_the_command_line_shares_and_unshares(server, session):
    def berth(*arguments, code=0):
        done = subprocess.run([server.berth, "session", *arguments, "--endpoint", server.endpoint, "--api-key", server.key],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == code, (arguments, done)
        return done

    url = berth("share", session.session_id, "--rights", "view,control", "--name", "Ann", "--ttl", "1h").stdout
    assert url.endswith("\n") and status(url.strip())["rights"] == ["view", "control"]
    made = json.loads(berth("share", session.session_id, "--json").stdout)
    assert made["rights"] == ["view"] and status(made["url"])["state"] == "live"
    assert "clipboard-out" in berth("share", session.session_id, "--rights", "fly", code=2).stderr
    assert berth("unshare", session.session_id, made["ticketId"]).stdout == ""
    assert status(made["url"])["reason"] == "revoked" and status(url.strip())["state"] == "live"
    assert "`ticketId`" in berth("unshare", session.session_id, "t-none", code=2).stderr
    berth("unshare", session.session_id)
    assert status(url.strip())["reason"] == "revoked"
