"""Tools inside a session: code in every language beside a new process of it, calls a second, how soon output and keys
arrive, and large files through the SDK and over plain HTTP beside `cat` in the same sandbox.

Times are wall clock at the client, in milliseconds, on the session's link unless it says otherwise.
"""

import json
import os
import time
import urllib.parse
import urllib.request

os.environ.setdefault("AGB_LOG_LEVEL", "ERROR")

from agb import AGB
from agb.config import Config
from websockets.sync.client import connect

from berth import Server, keep, p, timed
from control import wrk

CALLS = int(os.environ.get("BENCH_CALLS", "100"))
STARTS = 5
FILE_BYTES = 100 << 20
# The official SDK opens a connection for every 51,200 bytes of a file.
SDK_BYTES = 10 << 20
FILE = "/home/user/large"

# What is run in the interpreter, and what a shell has to start without one.
LANGUAGES = {
    "python": ("1+1", "python3 -c 'print(1+1)'"),
    "javascript": ("1+1", "node -e 'console.log(1+1)'"),
    "typescript": ("1+1", None),
    "java": ("1+1", "java -cp /tmp One"),
    "r": ("1+1", "Rscript -e '1+1'"),
    "bash": ("echo $((1+1))", "bash -c 'echo $((1+1))'"),
}


def one_plus_one(server, session):
    """For each language: the first run of a session, later ones, and a new process each time."""
    server.tool(session, "shell", command="cd /tmp && echo 'class One { public static void main(String[] a) "
                "{ System.out.println(1 + 1); } }' > One.java && javac One.java", timeout_ms=60000)
    figures = {}
    for language, (code, command) in LANGUAGES.items():
        run = lambda: server.tool(session, "run_code", code=code, language=language)
        first = timed(run)[0]
        warm = [timed(run)[0] for _ in range(CALLS)]
        new = [timed(lambda: server.tool(session, "shell", command=command, timeout_ms=60000))[0] for _ in range(10)] if command else []
        figures[language] = {"first": first, "warm": warm, "new": new}
    return figures


def calls_per_second(server, session):
    headers = {"X-Access-Token": session["token"], "Content-Type": "application/json"}
    body = json.dumps({"tool": "run_code", "args": {"code": "1+1", "language": "python"}, "requestId": "r"})
    return {clients: wrk(session["linkUrl"] + "/callTool", clients, "POST", body, headers) for clients in (1, 16)}


def stream_latency(session):
    """From the moment the code writes to the moment the client has it; both read the same clock."""
    code = "import time\nfor _ in range(200):\n    print(time.time())\n    time.sleep(0.005)"
    times = []
    with connect(session["wsUrl"], additional_headers={"X-Access-Token": session["token"]}) as socket:
        socket.send(json.dumps({"invocationId": "b", "source": "SDK", "target": "wuying_codespace", "data": {
            "method": "run_code", "mode": "stream", "params": {"language": "python", "timeoutS": 60, "code": code}}}))
        while True:
            data = json.loads(socket.recv())["data"]
            now = time.time()
            if data["phase"] == "end":
                return times
            times.append((now - float(data["chunk"].split()[-1])) * 1000)


def echo_latency(server, session):
    """From a key to its echo at a terminal."""
    process = server.tool(session, "start_process", command="cat", terminal={"columns": 80, "rows": 24})["process_id"]
    times = []
    with connect(f"{session['wsUrl']}/processes/{process}", additional_headers={"X-Access-Token": session["token"]}) as socket:
        socket.recv()
        for _ in range(300):
            start = time.perf_counter()
            socket.send(b"\0x")
            while not isinstance(socket.recv(), bytes):
                pass
            times.append((time.perf_counter() - start) * 1000)
    return times


def mib_per_second(milliseconds, size):
    return size / (1 << 20) / (milliseconds / 1000)


def large_files(server, session):
    url = f"{session['linkUrl']}/files?path={urllib.parse.quote(FILE)}"
    headers = {"X-Access-Token": session["token"]}
    content = os.urandom(1 << 20) * (FILE_BYTES >> 20)

    def put():
        urllib.request.urlopen(urllib.request.Request(url, content, headers, method="PUT")).read()

    def get():
        buffer = bytearray(1 << 20)
        total = 0
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            while count := answer.readinto(buffer):
                total += count
        assert total == FILE_BYTES

    figures = {"write over HTTP": [timed(put)[0] for _ in range(5)], "read over HTTP": [timed(get)[0] for _ in range(5)]}
    inside = "import time, subprocess\nt = time.perf_counter()\nsubprocess.run('cat {} > {}', shell=True, check=True)\n" \
             "print((time.perf_counter() - t) * 1000)"
    cat = lambda source, target: [float(server.tool(session, "run_code", language="python", code=inside.format(source, target))["stdout"][0])
                                  for _ in range(5)]
    figures["cat, reading"] = cat(FILE, "/dev/null")
    figures["cat, writing"] = cat(FILE, "/home/user/copy")

    sdk = AGB(api_key=server.key, cfg=Config(endpoint=f"http://{server.listen}", timeout_ms=120000))
    files = sdk.get(session["sessionId"]).session.file
    text = "0123456789abcdef" * (SDK_BYTES // 16)
    milliseconds, done = timed(lambda: files.write(FILE, text))
    assert done.success, done.error_message
    figures["write through the SDK"] = [milliseconds]
    milliseconds, done = timed(lambda: files.read(FILE))
    assert done.content == text
    figures["read through the SDK"] = [milliseconds]
    return figures


def main():
    server = Server()
    try:
        starts = []
        for _ in range(STARTS):
            session = server.create()
            server.python(session, "1")
            starts.append(one_plus_one(server, session) if not starts else {
                language: {"first": timed(lambda: server.tool(session, "run_code", code=code, language=language))[0]}
                for language, (code, _) in LANGUAGES.items()})
            if len(starts) < STARTS:
                server.release(session)
        languages = starts[0]
        for language in LANGUAGES:
            languages[language]["first"] = [start[language]["first"] for start in starts]
        session = server.create()
        server.python(session, "1")
        figures = {
            "languages": languages,
            "calls": calls_per_second(server, session),
            "stream": stream_latency(session),
            "echo": echo_latency(server, session),
            "files": large_files(server, session),
        }
    finally:
        server.close()
    keep("tools", figures)

    print(f"{'`1+1`, ms':<14}{'first p50':>11}{'then p50':>10}{'p95':>8}{'  new process p50':>18}{'ratio':>8}")
    for language, times in languages.items():
        line = f"{language:<14}{p(times['first'], 50):>11.1f}{p(times['warm'], 50):>10.2f}{p(times['warm'], 95):>8.2f}"
        if times["new"]:
            line += f"{p(times['new'], 50):>18.1f}{p(times['new'], 50) / p(times['warm'], 50):>7.1f}x"
        print(line)
    print()
    for clients, (rate, p50, p99) in figures["calls"].items():
        print(f"python `1+1`, {clients} client(s): {rate:.0f}/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms")
    for name, times in (("print to client", figures["stream"]), ("key to echo", figures["echo"])):
        print(f"{name}: p50 {p(times, 50):.2f} ms, p99 {p(times, 99):.2f} ms")
    print()
    print(f"{'100 MiB; 10 through the SDK':<30}{'MiB/s':>8}")
    for name, times in figures["files"].items():
        print(f"{name:<30}{mib_per_second(min(times), SDK_BYTES if 'SDK' in name else FILE_BYTES):>8.1f}")


if __name__ == "__main__":
    main()
