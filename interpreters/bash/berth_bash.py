"""Bash for one session: a shell that lives on, given one piece of code at a time.

The shell is told to behave as at a terminal, because only then an interrupt ends the command and not the shell. It has
the outputs of this process; its own prompts and complaints about a missing terminal go nowhere.

    guest -> driver   {"run": {"id": 1, "code": "cd /tmp"}}
    driver -> guest   {"ready": {"version": "5.2.37"}} once, {"end": {...}}
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import berth_wire  # noqa: E402

#: What the shell does with a piece of code. Its outputs are ours while it runs, so that nothing else of it shows.
#: The descriptors of this conversation are closed for the code.
_STEP = (
    "{{ eval \"$(<{code})\"; }} >&{out} 2>&{err} </dev/null {status}>&- {out}>&- {err}>&-; printf '{number} %d\\n' \"$?\" >&{status}\n"
)

#: Only a person at a terminal is told that the shell exits.
_SETUP = "PS1=; PS2=; PROMPT_COMMAND=; set +o history; set +H; exit() {{ builtin exit \"$@\" 2>/dev/null; }}; printf '0 0\\n' >&{status}\n"


class Shell:
    """One bash and the pipes to it."""

    def __init__(self) -> None:
        read, self._write_status = os.pipe()
        self._status = os.fdopen(read, "rb", buffering=0)
        self._out, self._err = os.dup(1), os.dup(2)
        kept = (self._write_status, self._out, self._err)
        for fd in kept:
            os.set_inheritable(fd, True)
        self.process = subprocess.Popen(
            ["/bin/bash", "--norc", "--noprofile", "--noediting", "-i", "+m"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=kept,
            process_group=0,
        )
        for fd in kept:
            os.close(fd)
        self._number = 0
        self._say(_SETUP.format(status=self._write_status))
        self._answer()

    def run(self, code: str) -> int | None:
        """Runs `code` and returns its exit status, or nothing when the shell has ended."""
        self._number += 1
        file = os.memfd_create("cell")
        os.write(file, code.encode("utf-8", "surrogatepass"))
        path = f"/proc/{os.getpid()}/fd/{file}"
        fds = {"status": self._write_status, "out": self._out, "err": self._err}
        self._say(_STEP.format(code=path, number=self._number, **fds))
        try:
            return self._answer()
        finally:
            os.close(file)

    def interrupt(self) -> None:
        """Ends the command that runs. What it then says is the answer to the run."""
        os.killpg(self.process.pid, signal.SIGINT)
        # The rest of the interrupted line is forgotten by the shell, so it has to be asked again.
        self._say(f"printf '{self._number} 130\\n' >&{self._write_status}\n")

    def _say(self, line: str) -> None:
        try:
            self.process.stdin.write(line.encode())
            self.process.stdin.flush()
        except OSError:
            # It has ended, which the answer will show.
            pass

    def _answer(self) -> int | None:
        # A child that the shell left behind may hold the pipe open, so its end alone says nothing.
        ended = os.pidfd_open(self.process.pid)
        line = b""
        try:
            while True:
                readable, _, _ = select.select([self._status, ended], [], [])
                byte = self._status.read(1) if self._status in readable else b""
                if not byte:
                    return None
                line += byte
                if byte == b"\n":
                    number, status = line.split()
                    # A command that ended while it was being interrupted has answered twice.
                    if int(number) == self._number:
                        return int(status)
                    line = b""
        finally:
            os.close(ended)


def main() -> None:
    requests, replies = (int(os.environ.pop(name)) for name in ("BERTH_REQUESTS", "BERTH_REPLIES"))
    for fd in (requests, replies):
        os.set_inheritable(fd, False)
    channel = berth_wire.Pipes(requests, replies)
    shell = Shell()
    running = False

    def interrupt(*_args) -> None:
        if running:
            shell.interrupt()

    signal.signal(signal.SIGINT, interrupt)
    version = subprocess.run(["/bin/bash", "-c", 'printf %s "${BASH_VERSION%%(*}"'], capture_output=True, text=True).stdout
    channel.send({"ready": {"version": version}})
    count = 0
    while (message := channel.receive()) is not None:
        if "run" not in message:
            continue
        run = message["run"]
        count += 1
        began = time.monotonic()
        running = True
        status = shell.run(run["code"])
        running = False
        error = None
        if status is None:
            status = shell.process.wait()
            # `exit` ends the shell as it says; the session gets a new one.
            shell = Shell()
            if status:
                how = f"exit code {status}" if status > 0 else f"signal {-status}"
                error = {"name": "ShellExit", "value": f"the shell ended with {how}; its variables are lost"}
        elif status:
            error = {"name": "ExitCode", "value": f"exit code {status}"}
        channel.send(
            {"end": {"id": run["id"], "execution_count": count, "seconds": time.monotonic() - began, "error": error}}
        )


if __name__ == "__main__":
    main()
