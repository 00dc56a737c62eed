"""Sessions and code: Berth beside podman, Jupyter Server and ipykernel, in one run on one machine.

The peers run without any sandbox of Berth's kind, on the host's own Python; that is to their advantage. Systems are
measured one after another, each alone. Times are wall clock at the client, in milliseconds.
"""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid

from websockets.sync.client import connect

from berth import IMAGE, IMAGES, Server, keep, memory_mib, p, timed

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "20"))
CALLS = 300
PANDAS = "import pandas as pd; int(pd.Series([20, 22]).sum())"


class Jupyter:
    """Jupyter Server with one kernel, over the kernel's WebSocket: what other code interpreters stand on."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="jupyter-bench-")
        self.sockets = contextlib.ExitStack()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--ServerApp.port=18899",
             "--ServerApp.port_retries=0", "--IdentityProvider.token=bench", f"--ServerApp.root_dir={self.folder}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                self.request("GET", "/api/status")
                break
            assert time.monotonic() < deadline, "Jupyter Server did not start"
            time.sleep(0.1)

    def request(self, method, path, body=None):
        request = urllib.request.Request(
            "http://127.0.0.1:18899" + path, method=method, data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": "token bench", "Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def kernel(self):
        kernel = self.request("POST", "/api/kernels", {"name": "python3"})["id"]
        socket = self.sockets.enter_context(connect(f"ws://127.0.0.1:18899/api/kernels/{kernel}/channels",
                                                    additional_headers={"Authorization": "token bench"}))
        return kernel, socket

    def run(self, socket, code):
        id = uuid.uuid4().hex
        socket.send(json.dumps({
            "header": {"msg_id": id, "msg_type": "execute_request", "username": "", "session": "bench",
                       "date": "", "version": "5.3"},
            "parent_header": {}, "metadata": {}, "channel": "shell",
            "content": {"code": code, "silent": False, "store_history": True, "user_expressions": {},
                        "allow_stdin": False}}))
        result, replied, idle = None, False, False
        while not (replied and idle):
            message = json.loads(socket.recv())
            if message["parent_header"].get("msg_id") != id:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "execute_result":
                result = content["data"]["text/plain"]
            replied |= kind == "execute_reply"
            idle |= kind == "status" and content["execution_state"] == "idle"
        return result

    def close(self):
        self.sockets.close()
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder)


@contextlib.contextmanager
def root_file_system():
    """The image's layers as one folder, for podman."""
    manifest = json.loads((IMAGES / "images" / f"{IMAGE}.json").read_text())
    folder = pathlib.Path(tempfile.mkdtemp(prefix="podman-bench-"))
    layers = []
    try:
        for number, layer in enumerate(manifest["layers"]):
            layers.append(folder / str(number))
            layers[-1].mkdir()
            subprocess.run(["mount", "-t", "erofs", "-o", "ro,loop", IMAGES / "layers" / f"{layer['sha256']}.erofs",
                            layers[-1]], check=True)
        root = folder / "root"
        root.mkdir()
        lower = ":".join(map(str, reversed(layers)))
        subprocess.run(["mount", "-t", "overlay", "-o", f"ro,lowerdir={lower}", "overlay", root], check=True)
        yield root
        subprocess.run(["umount", root], check=True)
    finally:
        for layer in reversed(layers):
            subprocess.run(["umount", layer], check=True)
        shutil.rmtree(folder)


def podman_run(root):
    """Times of `podman run -d` on the same root file system."""
    store = tempfile.mkdtemp(prefix="podman-store-")
    config = pathlib.Path(store) / "containers.conf"
    config.write_text('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n')
    podman = ["podman", "--cgroup-manager=cgroupfs", "--runtime", shutil.which("runc"), "--root", f"{store}/root",
              "--runroot", f"{store}/run", "--storage-driver", "vfs"]
    environment = os.environ | {"CONTAINERS_CONF": str(config)}
    times = []
    try:
        for _ in range(ROUNDS):
            milliseconds, done = timed(lambda: subprocess.run(
                [*podman, "run", "-d", "--network", "none", "--rootfs", f"{root}:O", "sleep", "1000"],
                env=environment, capture_output=True, text=True))
            assert done.returncode == 0, done.stderr
            times.append(milliseconds)
    finally:
        subprocess.run([*podman, "rm", "-f", "-a", "-t", "0"], env=environment, capture_output=True)
        shutil.rmtree(store, ignore_errors=True)
    return times


def idle_memory_mib(pid):
    """Proportional share of a process and its descendants, in MiB."""
    pids, found = [pid], []
    while pids:
        pid = pids.pop()
        found.append(pid)
        with contextlib.suppress(OSError):
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                pids.extend(map(int, (task / "children").read_text().split()))
    return sum(map(memory_mib, found))


def quiet(berth):
    """Waits until the pool has made up for what was taken from it: a peer makes nothing ahead of time."""
    berth.wait_for_pool()
    time.sleep(1)


def sandbox_pid(data):
    """The first process of the one sandbox of a server."""
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"berth-guest\0init" in (process / "cmdline").read_bytes():
                return int(process.name)
    raise AssertionError("no sandbox runs")


def main():
    figures = {}

    berth = Server(pool=ROUNDS)
    berth.wait_for_pool()
    time.sleep(2)
    sessions = []
    figures["warm"] = []
    for _ in range(ROUNDS):
        milliseconds, session = timed(berth.create)
        figures["warm"].append(milliseconds)
        sessions.append(session)
    session = sessions[0]
    berth.python(session, "1+1")
    figures["one_plus_one"] = [timed(lambda: berth.python(session, "1+1"))[0] for _ in range(CALLS)]
    figures["shell"] = [timed(lambda: berth.tool(session, "shell", command="true"))[0] for _ in range(CALLS)]
    for session in sessions:
        berth.release(session)
    berth.wait_for_pool()
    time.sleep(2)

    def create_and_run():
        session = berth.create()
        berth.tool(session, "shell", command="true")
        return session

    half = ROUNDS // 2
    figures["first_command"], figures["first_pandas"] = [], []
    for _ in range(half):
        milliseconds, session = timed(create_and_run)
        figures["first_command"].append(milliseconds)
        quiet(berth)
    for _ in range(half):
        def create_and_compute():
            session = berth.create()
            assert "42" in json.dumps(berth.python(session, PANDAS))
        figures["first_pandas"].append(timed(create_and_compute)[0])
        quiet(berth)
    berth.close()

    berth = Server(pool=0)
    sessions = []
    figures["cold"] = []
    for _ in range(ROUNDS):
        milliseconds, session = timed(berth.create)
        figures["cold"].append(milliseconds)
        berth.release(session)
        time.sleep(1.5)
    session = berth.create()
    berth.python(session, PANDAS)
    time.sleep(1)
    figures["memory"] = [idle_memory_mib(sandbox_pid(berth.data))]
    berth.close()

    with root_file_system() as root:
        figures["podman"] = podman_run(root)

    jupyter = Jupyter()
    kernel, socket = jupyter.kernel()
    jupyter.run(socket, "1+1")
    figures["jupyter_one_plus_one"] = [timed(lambda: jupyter.run(socket, "1+1"))[0] for _ in range(CALLS)]
    socket.close()
    jupyter.request("DELETE", f"/api/kernels/{kernel}")
    figures["jupyter_first_pandas"] = []
    for _ in range(half):
        def new_kernel():
            kernel, socket = jupyter.kernel()
            assert jupyter.run(socket, PANDAS) == "42"
            return kernel, socket
        milliseconds, (kernel, socket) = timed(new_kernel)
        figures["jupyter_first_pandas"].append(milliseconds)
        socket.close()
        jupyter.request("DELETE", f"/api/kernels/{kernel}")
    kernel, socket = jupyter.kernel()
    jupyter.run(socket, PANDAS)
    time.sleep(1)
    figures["jupyter_memory"] = [idle_memory_mib(jupyter.process.pid)]
    socket.close()
    jupyter.close()

    keep("sessions", figures)

    rows = [
        ("create, warm pool", "warm", "podman run -d, same root", "podman", "ms"),
        ("create, cold", "cold", "podman run -d, same root", "podman", "ms"),
        ("create to first command", "first_command", "", None, "ms"),
        ("shell `true` on the link", "shell", "", None, "ms"),
        ("`1+1` on the link", "one_plus_one", "Jupyter Server kernel WebSocket", "jupyter_one_plus_one", "ms"),
        ("create to first pandas result", "first_pandas", "new ipykernel, same import", "jupyter_first_pandas", "ms"),
        ("memory, idle after pandas", "memory", "Jupyter Server and its kernel", "jupyter_memory", "MiB"),
    ]
    print(f"{'':<32}{'Berth p50':>10}{'p95':>9}  {'peer':<34}{'p50':>9}{'p95':>9}{'ratio':>8}")
    for name, own, peer, theirs, unit in rows:
        line = f"{name + ', ' + unit:<32}{p(figures[own], 50):>10.2f}{p(figures[own], 95):>9.2f}"
        if theirs:
            ratio = p(figures[theirs], 50) / p(figures[own], 50)
            line += f"  {peer:<34}{p(figures[theirs], 50):>9.2f}{p(figures[theirs], 95):>9.2f}{ratio:>7.1f}x"
        print(line)


if __name__ == "__main__":
    main()
