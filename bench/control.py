"""The control plane: requests per second and latency of the session routes and of tool calls, on SQLite and PostgreSQL,
beside `runc exec` of the same command; creations at once; the gap that a client sees when the server is killed.

Load comes from `wrk` on the same machine, which takes its share of it. Every load runs for SECONDS.
"""

import contextlib
import concurrent.futures
import http.client
import json
import os
import pathlib
import re
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
import urllib.parse

from berth import IMAGE, Server, keep, memory_mib, p, timed

SECONDS = int(os.environ.get("BENCH_SECONDS", "5"))
CONNECTIONS = (1, 16, 64)
STORED = 10_000
AT_ONCE = 100
FORGET = "DELETE FROM sessions WHERE id LIKE 's-stored%';"
KILLS = 10
POSTGRES = next(iter(sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


class Postgres:
    """A database of its own, from Debian's packages, on a Unix socket."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="berth-bench-postgres-"))
        shutil.chown(self.folder, "postgres", "postgres")
        self.run("initdb", "-D", self.folder / "data", "-A", "trust", "--no-sync")
        self.run("pg_ctl", "-D", self.folder / "data", "-w", "-l", self.folder / "log", "-o",
                 f"-c listen_addresses='' -c unix_socket_directories={self.folder}", "start")
        self.url = f"postgres://postgres@localhost/postgres?host={urllib.parse.quote(str(self.folder), safe='')}"

    def run(self, program, *arguments):
        subprocess.run(["runuser", "-u", "postgres", "--", POSTGRES / program, *arguments], check=True,
                       capture_output=True, cwd="/")

    def sql(self, text):
        subprocess.run(["runuser", "-u", "postgres", "--", "psql", "-qh", self.folder, "-v", "ON_ERROR_STOP=1",
                        "postgres"], input=text, text=True, check=True, capture_output=True, cwd="/")

    def close(self):
        self.run("pg_ctl", "-D", self.folder / "data", "-m", "fast", "stop")
        shutil.rmtree(self.folder)


def wrk(url, connections, method="GET", body="", headers=None):
    """Requests per second, and the p50 and p99 of their times in milliseconds. Refuses to count failures."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"wrk.method = {json.dumps(method)}\nwrk.body = {json.dumps(body)}\n")
        for name, value in (headers or {}).items():
            script.write(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}\n")
        script.flush()
        done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", "-s", script.name, url],
                              check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in done and "Socket errors" not in done and "50%" in done, done

    def time_of(percent):
        value, unit = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s|m)\n", done).groups()
        return float(value) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60000}[unit]

    return float(re.search(r"Requests/sec:\s+([\d.]+)", done).group(1)), time_of(50), time_of(99)


def store_sessions(server, run_sql):
    """Rows of live sessions, as the store would hold them; nothing runs behind them."""
    key = server.key.split("_")[1]
    rows = ",\n".join(f"('s-stored{n:013}', '{key}', 'other', '{IMAGE}', 'sb-stored{n}', 3600000, 0, 'running', {10**12 + n})"
                      for n in range(STORED))
    run_sql("INSERT INTO sessions (id, key_id, node, image, sandbox_id, idle_timeout_ms, memory_bytes, state, created_ms)"
            f" VALUES {rows};")


def loads(server, only=None):
    """Requests per second at each number of connections, by what is asked: everything, or `only` that."""
    session = server.create()
    # The session's first seconds belong to its interpreter, which warms up; loads would measure that as well.
    server.python(session, "1")
    id, base = session["sessionId"], f"http://{server.listen}"
    key = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
    token = {"X-Access-Token": session["token"], "Content-Type": "application/json"}
    shell = json.dumps({"tool": "shell", "args": {"command": "true"}, "requestId": "r"})
    labels = urllib.parse.quote('{"bench": "yes"}')
    asked = {
        "get": (base + "/mcp/getSession", "POST", json.dumps({"sessionId": id}), key),
        "status": (base + "/mcp/getSessionInfo", "POST", json.dumps({"sessionId": id}), key),
        "list": (base + "/sdk/ListSession?maxResults=10&labels=%7B%7D", "GET", "", key),
        "set labels": (base + f"/sdk/SetLabel?sessionId={id}&Labels={labels}", "POST", "{}", key),
        "get labels": (base + f"/sdk/GetLabel?sessionId={id}", "GET", "", key),
        "shell, link": (session["linkUrl"] + "/callTool", "POST", shell, token),
    }
    found = {name: {n: wrk(url, n, method, body, headers) for n in CONNECTIONS}
             for name, (url, method, body, headers) in asked.items() if only in (None, name)}
    server.release(session)
    return found


def creations_at_once(server):
    """Times of many creations that begin in the same moment, and how many failed."""
    failures = []

    def one(_):
        milliseconds, session = timed(server.create)
        return milliseconds, session

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        made = [future.result() if not future.exception() else failures.append(future.exception())
                for future in [pool.submit(one, n) for n in range(AT_ONCE)]]
    made = [one for one in made if one]
    return [milliseconds for milliseconds, _ in made], [session for _, session in made], len(failures)


def restart_gap(server, session):
    """From the last answer before a kill to the first after it, for a client that asks without a pause."""
    def ask():
        with contextlib.suppress(OSError, http.client.HTTPException):
            server.get(session)
            return time.perf_counter()
        return None

    gaps = []
    for _ in range(KILLS):
        last = ask()
        server.kill()
        server.start()
        while not (first := ask()):
            pass
        gaps.append((first - last) * 1000)
    return gaps


def runc_exec(session):
    """Times of `runc exec` of the same no-op in the same sandbox."""
    state = next(pathlib.Path("/run/berth").glob(f"*/runtime/{session['resourceId']}/state.json"))
    # runc begins where it was told that the root is, which only the server's own mount namespace has.
    root = pathlib.Path(json.loads(state.read_text())["config"]["rootfs"])
    root.mkdir()
    try:
        command = ["runc", "--root", state.parent.parent, "exec", session["resourceId"], "sh", "-c", "true"]
        return [timed(lambda: subprocess.run(command, check=True, capture_output=True))[0] for _ in range(30)]
    finally:
        root.rmdir()


def cgroup_memory_mib(session):
    """What the kernel counts for a sandbox, its page cache included."""
    for pattern in ("memory/*/{}/memory.usage_in_bytes", "*/{}/memory.current", "unified/*/{}/memory.current"):
        for path in pathlib.Path("/sys/fs/cgroup").glob(pattern.format(session["resourceId"])):
            return int(path.read_text()) / (1 << 20)
    return float("nan")


def main():
    figures = {"loads": {}}

    with contextlib.closing(Server()) as server:
        figures["loads"]["SQLite"] = loads(server)
        session = server.create()
        figures["runc exec"] = runc_exec(session)
        figures["restart gap"] = restart_gap(server, session)
        server.release(session)
        database = sqlite3.connect(server.data / "berth.db", isolation_level=None)
        store_sessions(server, database.executescript)
        figures["loads"]["SQLite, 10,000 stored"] = loads(server, "list")
        database.executescript(FORGET)
        milliseconds, sessions, failures = creations_at_once(server)
        figures["at once"], figures["at once failures"] = milliseconds, failures
        time.sleep(3)
        figures["server memory, 100 sessions"] = memory_mib(server.process.pid)
        figures["session memory"] = [cgroup_memory_mib(session) for session in sessions]

    with contextlib.closing(Postgres()) as postgres, contextlib.closing(Server(database=postgres.url)) as server:
        figures["loads"]["PostgreSQL"] = loads(server)
        store_sessions(server, postgres.sql)
        figures["loads"]["PostgreSQL, 10,000 stored"] = loads(server, "list")
        postgres.sql(FORGET)

    keep("control", figures)

    print(f"{'requests/s (p50, p99 ms)':<38}" + "".join(f"{f'{n} connections':>28}" for n in CONNECTIONS))
    for engine, found in figures["loads"].items():
        for name, by_connections in found.items():
            cells = "".join(f"{f'{rate:,.0f} ({p50:.2f}, {p99:.2f})':>28}" for rate, p50, p99 in by_connections.values())
            print(f"{name + ', ' + engine:<38}{cells}")
    own = figures["loads"]["SQLite"]["shell, link"][1][1]
    peer = statistics.median(figures["runc exec"])
    print(f"\nshell no-op, p50: link {own:.2f} ms, `runc exec` {peer:.2f} ms, {peer / own:.1f}x")
    print(f"{AT_ONCE} creations at once, empty pool: p50 {p(figures['at once'], 50):.0f} ms, "
          f"p99 {p(figures['at once'], 99):.0f} ms, {figures['at once failures']} failures")
    print(f"restart gap at a client, {KILLS} kills: p50 {p(figures['restart gap'], 50):.0f} ms, "
          f"max {max(figures['restart gap']):.0f} ms")
    print(f"memory: server with {len(figures['session memory'])} sessions "
          f"{figures['server memory, 100 sessions']:.0f} MiB, each idle session "
          f"{statistics.median(figures['session memory']):.0f} MiB (its cgroup)")


if __name__ == "__main__":
    main()
