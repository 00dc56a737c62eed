"""A new server takes over the sessions of the release before: their guests are older than it is."""

import os
import pathlib

import pytest
import requests
from agb import CreateSessionParams
from conftest import IMAGE, LIVE, visit, wait_until


@pytest.fixture
def previous_guest():
    path = os.environ.get("BERTH_PREVIOUS_GUEST", "")
    assert pathlib.Path(path).is_file(), "set BERTH_PREVIOUS_GUEST to what scripts/previous-guest prints; `make e2e` does"
    return path


def test_sessions_of_the_release_before_go_on(new_server, previous_guest, page):
    server = new_server("--pool", "0", "--guest", previous_guest)
    session = server.agb().create(CreateSessionParams(image_id=IMAGE)).session
    session.code.run("kept = 41", "python")
    session.file.write("/tmp/kept", "here")

    server.kill()
    server.flags = ("--pool", "0")
    server.start()
    assert session.code.run("kept + 1", "python").result == "42"
    assert session.file.read("/tmp/kept").content == "here"
    assert session.command.execute("echo on").output == "on\n"
    chunks = []
    assert session.code.run("print(kept)", "python", stream_beta=True, on_stdout=chunks.append).success
    assert "".join(chunks) == "41\n"
    visit(page, session.info().data["resource_url"])
    wait_until(page, LIVE)

    # What its guest does not know yet is refused with what helps, and harms nothing.
    headers = {"Authorization": f"Bearer {server.key}"}
    link = requests.get(f"{server.endpoint}/internet/getLink", headers=headers,
                        params={"sessionId": session.session_id, "port": 30100}).json()
    refused = requests.get(link["data"]["url"])
    assert refused.status_code == 501 and "create a new" in refused.json()["message"], refused.text
    # It would give control to everybody, so nobody gets a ticket without it.
    own = f"{server.endpoint}/api/v1/sessions/{session.session_id}"
    refused = requests.post(f"{own}/tickets", headers=headers, json={"rights": ["view", "files"]})
    assert refused.status_code == 501 and "create a new" in refused.json()["message"], refused.text
    shared = requests.post(f"{own}/tickets", headers=headers, json={"rights": ["control", "files"]}).json()["data"]["url"]
    for refused in (requests.get(f"{own}/viewers", headers=headers), requests.get(shared.split("?")[0] + "files"),
                    requests.put(shared.split("?")[0] + "files?name=a", data=b"a")):
        assert refused.status_code == 501 and "create a new" in refused.json()["message"], refused.text
    assert requests.post(f"{own}/pause", headers=headers).ok
    assert session.code.run("kept", "python").result == "41"
    assert server.agb().delete(session).success

    # And the next session has the new guest.
    session = server.agb().create(CreateSessionParams(image_id=IMAGE)).session
    session.command.execute("cd /tmp && nohup python3 -m http.server 30100 --bind 127.0.0.1 > /dev/null 2>&1 & "
                            "for n in $(seq 100); do curl -s 127.0.0.1:30100 > /dev/null && exit 0; sleep 0.1; done; exit 1",
                            timeout_ms=15000)
    assert requests.get(session.get_link(port=30100).data).status_code == 200
    assert server.agb().delete(session).success
