"""The TypeScript SDK beside the official Python one: calls a second and times of a command that does nothing, one after
the other and 16 at once, in turns, on one session of one server.

Also how large the TypeScript SDK is.
"""

import concurrent.futures
import gzip
import json
import os
import pathlib
import subprocess
import time

os.environ.setdefault("AGB_LOG_LEVEL", "ERROR")

from agb import AGB
from agb.config import Config

from berth import Server, keep, p, timed

CALLS = int(os.environ.get("BENCH_CALLS", "300"))
ROUNDS = 5
SDK = pathlib.Path(__file__).parents[1] / "sdk" / "typescript"


class Python:
    def __init__(self, endpoint, key, session_id):
        self.session = AGB(api_key=key, cfg=Config(endpoint=endpoint, timeout_ms=60000)).get(session_id).session

    def call(self, _=None):
        milliseconds, done = timed(lambda: self.session.command.execute("true"))
        assert done.success, done.error_message
        return milliseconds

    def round(self, calls, in_flight):
        with concurrent.futures.ThreadPoolExecutor(in_flight) as pool:
            start = time.perf_counter()
            times = list(pool.map(self.call, range(calls)))
            return time.perf_counter() - start, times

    def close(self):
        pass


class Node:
    def __init__(self, endpoint, key, session_id):
        environment = os.environ | {"AGB_ENDPOINT": endpoint, "AGB_API_KEY": key, "BENCH_SESSION": session_id}
        self.process = subprocess.Popen(["node", pathlib.Path(__file__).with_name("sdk_node.mjs")], env=environment,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def round(self, calls, in_flight):
        self.process.stdin.write(json.dumps({"calls": calls, "inFlight": in_flight}) + "\n")
        self.process.stdin.flush()
        done = json.loads(self.process.stdout.readline())
        return done["seconds"], done["times"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def size():
    """Bytes: packed, and the ES modules in one file, without and with what they stand on, minified and zipped."""
    packed = json.loads(subprocess.run(["npm", "pack", "--json", "--dry-run", "--ignore-scripts"], cwd=SDK, check=True,
                                       capture_output=True, text=True).stdout)[0]
    figures = {"tarball": packed["size"]}
    for name, flags in (("bundle", ["--packages=external"]), ("bundle with undici", [])):
        command = ["npx", "--yes", "esbuild@0.28.2", "dist/esm/index.js", "--bundle", "--minify", "--platform=node",
                   "--format=esm", *flags]
        code = subprocess.run(command, cwd=SDK, check=True, capture_output=True).stdout
        figures[name] = len(code)
        figures[f"{name}, gzip"] = len(gzip.compress(code, 9))
    manifest = json.loads((SDK / "package.json").read_text())
    return figures | {"dependencies": len(manifest["dependencies"])}


def main():
    server = Server()
    clients = {}
    try:
        session = server.create()
        endpoint = f"http://{server.listen}"
        clients = {name: kind(endpoint, server.key, session["sessionId"])
                   for name, kind in (("@berth/sdk", Node), ("official Python", Python))}
        figures = {name: {in_flight: {"rates": [], "times": []} for in_flight in (1, 16)} for name in clients}
        for client in clients.values():
            client.round(50, 4)
        for _ in range(ROUNDS):
            for in_flight in (1, 16):
                for name, client in clients.items():
                    seconds, times = client.round(CALLS, in_flight)
                    figures[name][in_flight]["rates"].append(CALLS / seconds)
                    figures[name][in_flight]["times"] += times
    finally:
        for client in clients.values():
            client.close()
        server.close()
    sizes = size()
    keep("sdk", {"calls": figures, "size": sizes})

    print(f"{'`true` by command.execute':<28}{'calls/s':>9}{'p50 ms':>9}{'p95 ms':>9}")
    for in_flight in (1, 16):
        rates = []
        for name in clients:
            found = figures[name][in_flight]
            rates.append(p(found["rates"], 50))
            print(f"{name + f', {in_flight} at once':<28}{rates[-1]:>9.0f}{p(found['times'], 50):>9.2f}"
                  f"{p(found['times'], 95):>9.2f}")
        print(f"{'ratio':<28}{rates[0] / rates[1]:>8.1f}x")
    print()
    for name, value in sizes.items():
        print(f"{name:<28}{value:>9}")


if __name__ == "__main__":
    main()
