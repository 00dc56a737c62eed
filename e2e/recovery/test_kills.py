"""Nothing is lost: a server under load is killed again and again, at random moments."""

import contextlib
import random
import threading
import time

import pytest
import requests
from conftest import IMAGE

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


@pytest.mark.timeout(600)
def test_many_kills_under_load_lose_nothing(new_server):
    seed = random.randrange(1 << 30)
    print("seed", seed)
    server = new_server("--pool", "2", "--idle-timeout", "3000")
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
    # What is left on the machine is looked for when the fixture has stopped the server.
    assert load.missing() == []
