"""Running a server for tests, and looking for what it left behind."""

import contextlib
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess

import requests


def free_port():
    """A port that a killed server finds free again: outside the range from which clients' own ports are taken."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Server:
    """One `berth serve` with a data folder of its own. Survives `kill()` and `start()`."""

    def __init__(self, binaries, images, data, flags=(), host="127.0.0.1"):
        self.berth = binaries / "berth"
        self.images, self.data, self.flags = images, data, tuple(flags)
        self.log = data / "server.log"
        self.process = None
        self.key = None
        self.sandboxes = set()  # ids of all that its log names, once it is stopped for good
        self.tag = None  # four digits that are in the names of its links, cgroups and tables
        self.listen = f"{host}:{free_port()}"

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.berth, "serve", "--listen", self.listen, "--data", self.data, "--images", self.images,
                 *self.flags],
                stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
        line = self.process.stdout.readline()
        assert line.startswith("berth listening on http"), f"{line!r}; log:\n{self.log.read_text()[-3000:]}"
        self.endpoint = line.split()[-1]
        servers = pathlib.Path("/run/berth/servers").iterdir()
        self.tag = next(path.name for path in servers if path.read_text().startswith(str(self.data)))
        if self.key is None:
            self.key = self.new_key("tests")
        return self

    def place(self):
        """The flags that tell other commands where this server keeps what."""
        database = self.flags[self.flags.index("--database"):][:2] if "--database" in self.flags else ()
        return ["--data", self.data, *database]

    def new_key(self, name, *limits):
        done = subprocess.run([self.berth, "key", "create", *self.place(), name, *limits],
                              check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def agb(self, key=None):
        from agb import AGB
        from agb.config import Config

        return AGB(api_key=key or self.key, cfg=Config(endpoint=self.endpoint, timeout_ms=60000))

    def kill(self):
        """As a crash would: no handler runs."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """As a service manager would; the server must end by itself."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=30) == 0

    def stop_for_good(self):
        """Ends the server and all it ran. May be called again."""
        if not self.data.exists():
            return
        done = subprocess.run([self.berth, "stop", *self.place(), "--end-sessions"],
                              capture_output=True, text=True)
        if self.process.poll() is None:
            self.process.wait(timeout=30)
        assert done.returncode == 0, done.stderr
        self.sandboxes = set(re.findall(r"\bsb-[a-z2-7]{20}\b", self.log.read_text(errors="replace")))
        artifacts = pathlib.Path(__file__).parent / "artifacts"
        artifacts.mkdir(exist_ok=True)
        shutil.copy(self.log, artifacts / f"server-{self.data.name}.log")
        shutil.rmtree(self.data)

    def log_size(self):
        return self.log.stat().st_size

    def log_since(self, start):
        with open(self.log, "rb") as log:
            log.seek(start)
            return log.read().decode(errors="replace")

    def healthy(self):
        return requests.get(self.endpoint + "/healthz", timeout=5).json()


def leftovers(servers):
    """What is left on this machine of servers that were stopped for good: mounts, loop devices, cgroups, network links,
    namespaces, tables, processes, files."""
    found = []
    marks = [str(server.data) for server in servers]
    marks += [id for server in servers for id in server.sandboxes]
    marks += [mark for server in servers for mark in (f"bv{server.tag}-", f"berth_{server.tag}", f"berth-{server.tag}",
                                                      f"/run/berth/{server.tag}")]

    def note(kind, lines):
        found.extend(f"{kind}: {line}" for line in lines if any(mark in line for mark in marks))

    note("mount", pathlib.Path("/proc/self/mountinfo").read_text().splitlines())
    note("loop device", subprocess.run(["losetup", "-l", "-O", "NAME,BACK-FILE"], capture_output=True,
                                       text=True).stdout.splitlines())
    note("cgroup", (str(path) for path in pathlib.Path("/sys/fs/cgroup").rglob("*berth*/**/")))
    note("network link", (path.name for path in pathlib.Path("/sys/class/net").iterdir()))
    note("table", subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout.splitlines())
    note("namespace", (str(path) for path in pathlib.Path("/run/netns").glob("*")))
    note("file", (str(path) for path in pathlib.Path("/run/berth").rglob("*")))
    note("folder", (mark for mark in marks if mark.startswith("/") and pathlib.Path(mark).exists()))
    commands = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            commands.append(f"{process.name} {(process / 'cmdline').read_bytes().replace(bytes(1), b' ').decode()}")
        except (OSError, UnicodeDecodeError):
            pass
    note("process", (line for line in commands if "pytest" not in line))
    note("slot", (path.read_text() for path in pathlib.Path("/run/berth/slots").glob("*")))
    return found
