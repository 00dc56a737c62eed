"""Webhooks: events of sessions reach a receiver, signed, and none is lost when the receiver or the server is not there."""

import base64
import hashlib
import hmac
import http.server
import json
import queue
import threading
import time

import pytest
from agb import CreateSessionParams
from berth import free_port
from conftest import IMAGE

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


class Receiver:
    """Answers as it is told to, and keeps what was posted. May be stopped, and started again on the same port."""

    def __init__(self):
        self.port, self.status, self.posted = free_port(), 204, queue.Queue()
        self.server = None

    def start(self):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                status = receiver.status
                self.send_response(status)
                self.end_headers()
                receiver.posted.put((status, self.path, dict(self.headers.items()), body))

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def next(self):
        """The next post: the status it got, and its event. Its signature is verified, by the specification."""
        status, path, headers, body = self.posted.get(timeout=60)
        headers = {name.lower(): value for name, value in headers.items()}
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        wanted = base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
        assert headers["webhook-signature"] == f"v1,{wanted}"
        assert abs(time.time() - int(headers["webhook-timestamp"])) < 60
        assert path == "/hooks/path-canary" and headers["content-type"] == "application/json"
        event = json.loads(body)
        assert event["id"] == headers["webhook-id"]
        return status, event


@pytest.fixture
def receiver():
    receiver = Receiver().start()
    yield receiver
    receiver.stop()


@pytest.fixture
def own(new_server, receiver, tmp_path):
    """A server that posts to the receiver."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    return new_server("--pool", "0", "--webhook-url", f"http://localhost:{receiver.port}/hooks/path-canary",
                      "--webhook-secret-file", str(secret))


def create(server):
    created = server.agb().create(CreateSessionParams(image_id=IMAGE, labels={"a": "label-canary"}))
    assert created.success, created.error_message
    return created.session


def test_a_session_is_told_from_its_creation_to_its_end(own, receiver):
    import requests

    session = create(own)
    status, event = receiver.next()
    assert event["type"] == "session.created" and event["createdAt"].endswith("Z")
    assert event["data"] == {"sessionId": session.session_id, "keyId": own.key.split("_")[1], "image": IMAGE}

    headers = {"Authorization": f"Bearer {own.key}"}
    for move in ("pause", "resume"):
        assert requests.post(f"{own.endpoint}/api/v1/sessions/{session.session_id}/{move}", headers=headers).ok
        _, event = receiver.next()
        assert event["type"] == f"session.{move}d" and event["data"]["sessionId"] == session.session_id

    assert own.agb().delete(session).success
    _, event = receiver.next()
    assert event["type"] == "session.ended" and event["data"]["reason"] == "released"
    assert "canary" not in own.log.read_text() and SECRET not in own.log.read_text()


def test_an_event_outlives_its_receiver_and_its_server(own, receiver):
    receiver.status = 503
    session = create(own)
    status, first = receiver.next()
    assert status == 503
    receiver.stop()
    assert own.agb().delete(session).success  # nobody listens by now
    own.kill()
    receiver.status = 200
    own.start()
    receiver.start()
    # The second may have been taken by the killed server, which is believed dead after a minute.
    events = {}
    while len(events) < 2:
        status, event = receiver.next()
        assert status == 200
        events[event["type"]] = event
    assert events["session.created"] == first
    assert events["session.ended"]["data"]["sessionId"] == session.session_id
    own.stop()
    assert receiver.posted.empty()


@pytest.mark.parametrize("mode, text, environment, part", [
    (0o644, SECRET, {}, "is 644, so others can read the webhook secret; allowed: 600 or 400"),
    (0o600, "short", {}, "the webhook secret is not one; allowed: `whsec_`"),
    (0o600, SECRET, {"BERTH_WEBHOOK_SECRET": SECRET}, "webhooks are set up in part"),
])
def test_a_secret_that_is_none_stops_the_start(binaries, tmp_path, mode, text, environment, part):
    import subprocess

    secret = tmp_path / "secret"
    secret.write_text(text)
    secret.chmod(mode)
    done = subprocess.run([binaries / "berth", "serve", "--data", tmp_path / "data", "--webhook-url", "http://h/",
                           "--webhook-secret-file", secret], env=environment, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 1 and part in done.stderr
    assert SECRET not in done.stderr and not (tmp_path / "data").exists()
