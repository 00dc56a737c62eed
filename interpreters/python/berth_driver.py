"""Python for one session: a warmed process that forks interpreters, and the interpreter that a fork becomes.

Started once by the guest with a stream socket as standard input. Everything slow (imports, fonts, the first cell)
happens before the first fork, so an interpreter answers its first run in milliseconds and a killed one is replaced as
fast.

    guest -> warm process   {"fork": {"cpus": 2}} with three descriptors: channel, standard output, standard error
    warm process -> guest   {"ready": {...}} once, {"forked": pid}, {"exited": {"pid": 7, "status": 9}}
    guest -> interpreter    {"run": {"id": 1, "code": "1 + 1"}}
    interpreter -> guest    {"result": {"id": 1, "number": 1, "main": true, "mime": {...}}}, answered by {"shown": 1}
                            {"end": {"id": 1, "execution_count": 1, "seconds": 0.1, "error": null}}

Invariant: the warm process has one thread, or a fork could copy a lock that nobody will ever release.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import itertools
import os
import select
import signal
import socket
import sys
import threading

import berth_wire

#: Libraries that start threads when they are imported, unless told not to. Told in the warm process only.
_THREAD_SETTINGS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")

#: Cells that load what the first real one would otherwise wait for. A fork runs the first ones again while nobody
#: waits: it touches the pages that it has to copy anyway.
_WARM_UP = (
    "1 + 1",
    "import pandas\npandas.DataFrame({'a': [1.5, 2.5]})",
    "raise ValueError('warm')",
    "import matplotlib.pyplot\nmatplotlib.pyplot.plot([1, 2]); matplotlib.pyplot.title('warm')",
)
_WARM_UP_AGAIN = _WARM_UP[:3]


def main() -> None:
    control = berth_wire.Channel(berth_wire.claim(0))
    sys.argv = [""]
    faulthandler.enable()
    shell = _warm()
    threads = len(os.listdir("/proc/self/task"))
    control.send(
        {
            "ready": {
                "python": ".".join(str(part) for part in sys.version_info[:3]),
                "threads": threads,
                "modules": [name for name in ("numpy", "pandas", "matplotlib") if name in sys.modules],
            }
        }
    )
    _fork_on_request(control, shell)


def _warm():
    kept = {name: os.environ.get(name) for name in _THREAD_SETTINGS}
    for name in _THREAD_SETTINGS:
        os.environ[name] = "1"
    import berth_shell

    # The directory of this file was needed until here; user code must not find modules in it.
    sys.path[0] = ""
    shell = berth_shell.create()
    interrupts = berth_shell.Interrupts()
    try:
        import matplotlib.pyplot  # noqa: F401  (before the backend is chosen)

        shell.enable_matplotlib("inline")
    except ImportError:
        # Installed later by the user, it still finds its way.
        os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    _run_quietly(shell, interrupts, _WARM_UP)
    for name, value in kept.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    gc.collect()
    # Objects of the warm process are never collected in a fork: the collector would touch, so copy, every page.
    gc.freeze()
    return shell


def _run_quietly(shell, interrupts, cells: tuple) -> None:
    """Runs `cells` and leaves no trace of them. A package that an image lacks is no error here."""
    null = open(os.devnull, "w")
    stdout, stderr = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = null
    try:
        for cell in cells:
            shell.run(cell, lambda bundle, is_main: None, interrupts)
    finally:
        sys.stdout, sys.stderr = stdout, stderr
        null.close()
    shell.emit = None
    shell.reset(new_session=True)
    # A reset forgets that `__main__` is a module, which processes that are spawned ask for.
    for name in ("__spec__", "__loader__", "__package__"):
        shell.user_ns.setdefault(name, None)
        shell.user_ns_hidden.setdefault(name, None)


def _fork_on_request(control: berth_wire.Channel, shell) -> None:
    """Forks when asked and tells how forks ended, until the guest is gone."""
    wake_read, wake_write = os.pipe()
    for fd in (wake_read, wake_write):
        os.set_blocking(fd, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        readable, _, _ = select.select([control.fileno(), wake_read], [], [])
        if wake_read in readable:
            os.read(wake_read, 4096)
            for pid, status in _ended_children():
                control.send({"exited": {"pid": pid, "status": status}})
        if control.fileno() in readable:
            try:
                request = control.receive(fds_max=3)
            except OSError:
                return
            if request is None:
                return
            message, fds = request
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                os.close(wake_read)
                os.close(wake_write)
                control.close()
                try:
                    _become_interpreter(shell, message["fork"], *fds)
                finally:
                    # Never back into the loop of the warm process, whatever happened.
                    os._exit(1)
            for fd in fds:
                os.close(fd)
            control.send({"forked": pid})


def _ended_children():
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status


def _become_interpreter(shell, settings: dict, channel_fd: int, stdout_fd: int, stderr_fd: int) -> None:
    import berth_shell

    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(stdout_fd, 1)
    os.dup2(stderr_fd, 2)
    os.close(stdout_fd)
    os.close(stderr_fd)
    sys.stdout = sys.__stdout__ = berth_shell.direct_stream(1, "<stdout>")
    sys.stderr = sys.__stderr__ = berth_shell.direct_stream(2, "<stderr>")
    _own_randomness()
    _use_cpus(int(settings.get("cpus", 1)))

    interrupts = berth_shell.Interrupts()
    _run_quietly(shell, interrupts, _WARM_UP_AGAIN)
    channel = berth_wire.Channel(socket.socket(fileno=channel_fd), interrupts.shield)
    os.set_inheritable(channel_fd, False)

    def in_forked_child() -> None:
        # A process that user code forks prints, but does not speak for the interpreter.
        shell.emit = None
        channel.close()

    os.register_at_fork(after_in_child=in_forked_child)

    showing = threading.RLock()
    shown = itertools.count(1)

    while True:
        request = channel.receive()
        if request is None:
            os._exit(0)
        if "run" not in request[0]:
            continue
        run = request[0]["run"]

        def emit(bundle: dict, is_main: bool, run_id: int = run["id"]) -> None:
            with showing:
                number = next(shown)
                channel.send({"result": {"id": run_id, "number": number, "main": is_main, "mime": bundle}})
                channel.wait_for_shown(number)

        outcome = shell.run(run["code"], emit, interrupts)
        channel.send(
            {
                "end": {
                    "id": run["id"],
                    "execution_count": outcome.execution_count,
                    "seconds": outcome.seconds,
                    "error": outcome.error,
                }
            }
        )


def _own_randomness() -> None:
    """Forks would otherwise all draw the same numbers; the standard library sees to its own generator."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def _use_cpus(cpus: int) -> None:
    """Gives linear algebra as many threads as the session has processors."""
    if cpus <= 1:
        return
    for library in _openblas_libraries():
        for name in (
            "scipy_openblas_set_num_threads64_",
            "scipy_openblas_set_num_threads",
            "openblas_set_num_threads64_",
            "openblas_set_num_threads",
        ):
            function = getattr(library, name, None)
            if function is not None:
                function(ctypes.c_int(cpus))
                break


def _openblas_libraries():
    with open("/proc/self/maps") as maps:
        paths = {line.split(maxsplit=5)[-1].strip() for line in maps if "openblas" in line}
    for path in sorted(paths):
        try:
            yield ctypes.CDLL(path)
        except OSError:
            continue


if __name__ == "__main__":
    main()
