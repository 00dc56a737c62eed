"""Nothing is lost: a server under load is killed again and again, at random moments."""

import contextlib
import json
import random
import threading
import time

import pytest
import requests
import websockets.sync.client
from conftest import IMAGE, LIVE, visit, wait_until

KILLS = 50
WORKERS = 3
LIVE_MAX = 8  # sessions that are kept; more than that only fill the machine


class Load:
    """Workers that create, use and release sessions on a server that comes and goes."""

    def __init__(self, server, seed):
        self.server, self.random = server, random.Random(seed)
        self.lock, self.stop = threading.Lock(), threading.Event()
        self.acknowledged, self.releasing, self.refusals = {}, set(), []
        self.created = 0

    def post(self, path, **body):
        headers = {"Authorization": f"Bearer {self.server.key}"}
        return requests.post(self.server.endpoint + path, json=body, headers=headers, timeout=60)

    def shell(self, session, command):
        return self.post("/mcp", sessionId=session, name="shell", args='{"command": "%s"}' % command)

    def work(self, seed):
        choose = random.Random(seed)
        while not self.stop.is_set():
            # A server that was just killed refuses; that is no answer, so nothing was promised.
            with contextlib.suppress(requests.RequestException):
                created = self.post(f"/mcp/createSession?imageId={IMAGE}")
                if created.status_code != 200:
                    self.refusals.append(created.json()["message"])
                    continue
                session = created.json()["data"]["sessionId"]
                with self.lock:
                    self.created += 1
                    self.acknowledged[session] = None
                mark = f"{session}-{seed}"
                if self.shell(session, f"echo {mark} > /tmp/mark").status_code == 200:
                    with self.lock:
                        self.acknowledged[session] = mark
                if choose.random() < 0.6 or len(self.acknowledged) > LIVE_MAX:
                    self.release(session)
                time.sleep(choose.random() * 0.3)

    def release(self, session):
        with self.lock:
            self.releasing.add(session)
            self.acknowledged.pop(session, None)
        self.post("/mcp/releaseSessionAsync", sessionId=session)

    def missing(self):
        """Sessions that the server acknowledged and no longer has, with what it says of them."""
        with self.lock:
            expected = dict(self.acknowledged)
        found = []
        for session, mark in expected.items():
            answer = self.shell(session, "cat /tmp/mark").json()
            with self.lock:
                if session in self.releasing:
                    continue
            text = answer.get("message") or answer["data"]["content"][0]["text"]
            if not answer["success"] or (mark and mark not in text):
                found.append((session, text))
        return found


class Witness:
    """What must go on through every kill: interpreter variables, a running stream's code, an open live view, a token."""

    def __init__(self, server, page):
        from agb import CreateSessionParams

        def create():
            created = server.agb().create(CreateSessionParams(image_id=IMAGE))
            assert created.success, created.error_message
            return created.session

        self.page, self.session, self.streaming = page, create(), create()
        self.session.code.run("lives = 0", "python")
        self.lives, self.beat = 0, 0
        self.url = self.session.info().data["resource_url"]
        visit(page, self.url)
        wait_until(page, LIVE)
        code = "import time\nfor beat in range(10**6):\n    open('/tmp/beat', 'w').write(str(beat))\n    time.sleep(0.02)"
        headers = {"X-Access-Token": self.streaming.token}
        with websockets.sync.client.connect(self.streaming.ws_url, additional_headers=headers) as socket:
            params = {"language": "python", "timeoutS": 600, "code": code}
            data = {"method": "run_code", "mode": "stream", "params": params}
            socket.send(json.dumps({"invocationId": "5" * 32, "source": "SDK", "target": "wuying_codespace", "data": data}))
            self.expect_beat()

    def expect_beat(self):
        """The code of the stream goes on: its counter has risen since the last look."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            text = self.link(self.streaming, "shell", command="cat /tmp/beat")["content"][0]["text"]
            # Read in the middle of a write, the file is empty.
            found = json.loads(text).get("stdout", "") if text.startswith("{") else text
            if found.strip().isdigit() and int(found) > self.beat:
                self.beat = int(found)
                return
            time.sleep(0.05)
        raise AssertionError(f"the stream's code stands still at {self.beat}: {text}")

    def link(self, session, tool, **args):
        """A call with the token that the session had at first."""
        answer = requests.post(session.link_url + "/callTool", json={"tool": tool, "args": args, "requestId": "r"},
                               headers={"X-Access-Token": session.token}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]["result"]

    def look(self):
        """After a restart: everything is as it was, and goes on."""
        self.lives += 1
        run = self.session.code.run("lives += 1; lives", "python")
        assert run.result == str(self.lives), (run.error_message, self.lives)
        assert self.link(self.session, "shell", command="true")["isError"] is False
        self.expect_beat()
        wait_until(self.page, LIVE)

    def end(self, server):
        for session in (self.session, self.streaming):
            assert server.agb().delete(session).success


@pytest.mark.timeout(900)
def test_many_kills_under_load_lose_nothing(new_server, page):
    seed = random.randrange(1 << 30)
    print("seed", seed)
    server = new_server("--pool", "2", "--idle-timeout", "3000")
    witness = Witness(server, page)
    load = Load(server, seed)
    workers = [threading.Thread(target=load.work, args=(seed + n,)) for n in range(WORKERS)]
    for worker in workers:
        worker.start()
    lost = []
    try:
        for _ in range(KILLS):
            time.sleep(load.random.uniform(0.1, 1.5))
            server.kill()
            server.start()
            witness.look()
            lost += load.missing()
            with load.lock:
                surplus = list(load.acknowledged)[:-LIVE_MAX]
            for session in surplus:
                load.release(session)
    finally:
        load.stop.set()
        for worker in workers:
            worker.join()
    print(f"{load.created} sessions created, {KILLS} kills")
    assert lost == [] and load.refusals == []
    witness.end(server)
    # What is left on the machine is looked for when the fixture has stopped the server.
    assert load.missing() == []
