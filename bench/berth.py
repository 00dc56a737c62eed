"""What the measurements share: a Berth server of their own, times, percentiles."""

import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.parse

IMAGE = "agb-code-space-1"
BINARIES = pathlib.Path(os.environ["BERTH_BIN"])
IMAGES = pathlib.Path(os.environ["BERTH_IMAGES"])
RESULTS = pathlib.Path(__file__).parent / "results"


class Server:
    """A server with a data folder and a port of its own, spoken to on one kept connection a thread. May be killed and
    started again."""

    def __init__(self, pool=0, database=""):
        self.data = pathlib.Path(tempfile.mkdtemp(prefix="berth-bench-"))
        self.log = open(self.data / "server.log", "wb")
        self.pool = pool
        self.environment = os.environ | ({"BERTH_DATABASE": database} if database else {})
        self.listen = "127.0.0.1:0"
        self.own = threading.local()
        self.start()
        self.key = self.berth("key", "create", "bench").strip()

    def berth(self, *command):
        return subprocess.run([BINARIES / "berth", *command, "--data", self.data], check=True, capture_output=True,
                              text=True, env=self.environment).stdout

    def start(self):
        self.process = subprocess.Popen(
            [BINARIES / "berth", "serve", "--listen", self.listen, "--data", self.data, "--images", IMAGES,
             "--pool", str(self.pool), "--lifetime", "0", "--idle-timeout", "3600"],
            stdout=subprocess.PIPE, stderr=self.log, text=True, start_new_session=True,
            env=self.environment)
        self.listen = self.process.stdout.readline().split("//")[1].strip()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def ask(self, method, path, body=None, headers=None):
        if not hasattr(self.own, "connection"):
            self.own.connection = http.client.HTTPConnection(self.listen)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", **(headers or {})}
        while True:
            kept = self.own.connection.sock is not None
            try:
                self.own.connection.request(method, path, json.dumps(body or {}), headers)
                return json.loads(self.own.connection.getresponse().read())
            except (OSError, http.client.HTTPException):
                self.own.connection.close()
                # The server closes those that are not used.
                if not kept:
                    raise

    def call(self, path, body=None, headers=None):
        answer = self.ask("POST", path, body, headers)
        assert answer.get("success", True), answer
        return answer.get("data")

    def create(self):
        return self.call(f"/mcp/createSession?imageId={IMAGE}")

    def get(self, session):
        return self.call("/mcp/getSession", {"sessionId": session["sessionId"]})

    def release(self, session):
        self.call("/mcp/releaseSessionAsync", {"sessionId": session["sessionId"]})

    def tool(self, session, tool, **arguments):
        data = self.call(urllib.parse.urlsplit(session["linkUrl"]).path + "/callTool",
                         {"tool": tool, "args": arguments, "requestId": "bench"},
                         {"X-Access-Token": session["token"]})
        assert not data["result"]["isError"], data
        return json.loads(data["result"]["content"][0]["text"])

    def python(self, session, code):
        return self.tool(session, "run_code", code=code, language="python")["result"]

    def wait_for_pool(self):
        while self.ask("GET", "/healthz")["pool"]["ready"] < self.pool:
            time.sleep(0.2)

    def close(self):
        self.berth("stop", "--end-sessions")
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.data)


def timed(work):
    """How long it took in milliseconds, and what it returned."""
    start = time.perf_counter()
    result = work()
    return (time.perf_counter() - start) * 1000, result


def p(values, percent):
    """A percentile; of one value, the value."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def memory_mib(pid):
    """Proportional share of one process, in MiB; nothing when it is gone."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def keep(name, figures):
    """Keeps the raw figures."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(figures, indent=1))
