"""IPython's InteractiveShell with Berth's ways out: results as frames, text straight to the descriptors 1 and 2.

In: code. Out: what `emit` gets (results in the order they were shown), what is written to standard output and error,
and for each run an `Outcome`. Never: a prompt, a question to a person, a colour code.
"""

from __future__ import annotations

import base64
import builtins
import contextlib
import io
import os
import re
import signal
import sys
import threading
import time
import traceback
import types
import warnings
from dataclasses import dataclass
from typing import Any, Callable

from IPython.core import page
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.history import HistoryManager
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import berth_charts

#: Largest single representation that is sent; a bigger one is dropped with a note.
VALUE_CHARS_MAX = 8 << 20

#: Largest result, all its representations together.
RESULT_CHARS_MAX = 16 << 20

#: Longest text of an exception, and of its traceback.
ERROR_CHARS_MAX = 64 << 10

#: Deeper tracebacks are shown as Python itself shows them.
DETAILED_FRAMES_MAX = 100

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")

#: Receives one result: its representations by MIME type, and whether it is the value of the last expression.
Emit = Callable[[dict, bool], None]


@dataclass
class Outcome:
    """How a run ended."""

    execution_count: int
    seconds: float
    error: dict | None


class Interrupts:
    """SIGINT raises KeyboardInterrupt while user code runs, and does nothing between runs.

    Inside `shield` it waits, because a frame that is half sent cannot be taken back.
    """

    def __init__(self) -> None:
        self._running = False
        self._shields = 0
        self._waiting = False

    def _on_signal(self, _signum: int, _frame: Any) -> None:
        if not self._running:
            return
        if self._shields:
            self._waiting = True
            return
        raise KeyboardInterrupt

    @contextlib.contextmanager
    def allowed(self):
        # Set anew each time: code of an earlier run may have put its own handler there.
        signal.signal(signal.SIGINT, self._on_signal)
        self._waiting = False
        self._running = True
        try:
            yield
        finally:
            self._running = False

    @contextlib.contextmanager
    def shield(self):
        # Signal handlers only ever run in the main thread; other threads have nothing to wait for.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        if self._waiting and not self._shields and self._running:
            self._waiting = False
            raise KeyboardInterrupt


class _Hook(DisplayHook):
    """Sends the value of the last expression."""

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: dict, md_dict: dict | None = None) -> None:
        self.shell.emit_bundle(format_dict, True)

    def log_output(self, format_dict: dict) -> None:
        # The base class keeps every representation for a history that is never written.
        pass


class _Publisher(DisplayPublisher):
    """Sends what `display()` shows."""

    def publish(self, data, metadata=None, source=None, *, transient=None, update=False, **kwargs) -> None:
        display_id = (transient or {}).get("display_id")
        if update and display_id is not None:
            # A progress display can update thousands of times: its last form alone is sent, when the run ends.
            self.shell.pending_updates.pop(display_id, None)
            self.shell.pending_updates[display_id] = data
        else:
            self.shell.emit_bundle(data, False)

    def clear_output(self, wait: bool = False) -> None:
        pass


class BerthShell(InteractiveShell):
    """The shell of one session."""

    def __init__(self, *args, **kwargs):
        self.emit: Emit | None = None
        self.pending_updates: dict[str, dict] = {}
        self.traceback_text = ""
        super().__init__(*args, **kwargs)

    def emit_bundle(self, data: dict, is_main: bool) -> None:
        bundle = bounded(data)
        if self.emit is not None and bundle:
            self.flush_streams()
            self.emit(bundle, is_main)
        elif "text/plain" in bundle:
            # A forked child has no way to send results of its own.
            print(bundle["text/plain"])

    def flush_streams(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            # Code may have put anything there.
            with contextlib.suppress(Exception):
                stream.flush()

    def _showtraceback(self, etype, evalue, stb) -> None:
        text = _ANSI.sub("", self.InteractiveTB.stb2text(stb))
        self.traceback_text = _cut(text, ERROR_CHARS_MAX)
        print(self.traceback_text, file=sys.stderr)

    def showtraceback(self, exc_tuple=None, *args, **kwargs) -> None:
        etype = exc_tuple[0] if exc_tuple else sys.exc_info()[0]
        # `sys.exit()` ends the cell, not the session; a code that means failure is reported by the outcome.
        if isinstance(etype, type) and issubclass(etype, SystemExit):
            return
        error = exc_tuple[1] if exc_tuple else sys.exc_info()[1]
        if isinstance(error, BaseException) and _frames(error.__traceback__) > DETAILED_FRAMES_MAX:
            # IPython studies the source of every frame, which takes seconds for a deep recursion.
            self._showtraceback(etype, error, _plain_traceback(error))
            return
        if exc_tuple is None and isinstance(error, BaseException):
            exc_tuple = (etype, error, _without_own_frames(error.__traceback__))
        super().showtraceback(exc_tuple, *args, **kwargs)

    def _format_exception_for_storage(self, exception, *args, **kwargs) -> dict:
        # There is no history to store it in, and formatting it a second time doubles the price of an error.
        return {}

    # Descriptors are inherited, so output streams and keeps its order. There is no pseudo terminal, so programs print no
    # colours.
    system = InteractiveShell.system_raw

    def ask_exit(self) -> None:
        """`exit` and `quit` have nothing to leave."""

    def enable_gui(self, gui=None) -> None:
        """There is no event loop to run beside the code."""

    def run(self, code: str, emit: Emit, interrupts: Interrupts) -> Outcome:
        """Runs one cell."""
        self.emit = emit
        self.traceback_text = ""
        count = self.execution_count
        started = time.perf_counter()
        error: BaseException | None = None
        try:
            with interrupts.allowed():
                result = self.run_cell(code, store_history=True)
            error = result.error_before_exec or result.error_in_exec
        except KeyboardInterrupt as interrupt:
            # Between the end of the cell and the end of `allowed`.
            error = interrupt
        seconds = time.perf_counter() - started
        updates, self.pending_updates = self.pending_updates, {}
        for data in updates.values():
            self.emit_bundle(data, False)
        self.flush_streams()
        return Outcome(count, seconds, self._describe(error))

    def _describe(self, error: BaseException | None) -> dict | None:
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            return None
        try:
            value = str(error)
            if isinstance(error, SyntaxError) and error.msg and error.lineno:
                # Without the name that the cell has in IPython's cache.
                value = f"{error.msg} (line {error.lineno})"
        except Exception as broken:
            value = f"<no text: {type(broken).__name__} in __str__>"
        return {
            "name": type(error).__name__,
            "value": _cut(_ANSI.sub("", value), ERROR_CHARS_MAX),
            "traceback": self.traceback_text,
        }


def bounded(data: dict) -> dict:
    """The representations in `data` as JSON values, without those that are too large to send."""
    bundle: dict[str, Any] = {}
    notes = []
    total = 0
    # Text first: it is what remains when the rest is too much.
    for mime in sorted(data, key=lambda mime: mime != "text/plain"):
        value = data[mime]
        if isinstance(value, (bytes, bytearray, memoryview)):
            raw = bytes(value)
            binary = mime.startswith(("image/", "audio/", "video/", "application/pdf")) and "svg" not in mime
            value = base64.b64encode(raw).decode("ascii") if binary else raw.decode("utf-8", "replace")
        size = _size(value)
        if mime == "text/plain" and size > VALUE_CHARS_MAX:
            value = _cut(str(value), VALUE_CHARS_MAX)
            size = len(value)
        if size > VALUE_CHARS_MAX or total + size > RESULT_CHARS_MAX:
            notes.append(f"[{mime} left out: {size} bytes are more than a result can carry]")
            continue
        total += size
        bundle[mime] = value
    if notes:
        bundle["text/plain"] = "\n".join([str(bundle.get("text/plain", "")), *notes]).strip("\n")
    return bundle


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if value is None or isinstance(value, (bool, int, float)):
        return 32
    if isinstance(value, dict):
        return 2 + sum(len(str(key)) + 4 + _size(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return 2 + sum(1 + _size(item) for item in value)
    return len(str(value))


def _cut(text: str, chars_max: int) -> str:
    if len(text) <= chars_max:
        return text
    half = chars_max // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters left out]\n{text[-half:]}"


def _without_own_frames(tb: Any) -> Any:
    """`tb` without the frames of this file at its end: where an interrupt arrived is in the frame before them."""
    frames = []
    while tb is not None:
        frames.append(tb)
        tb = tb.tb_next
    while len(frames) > 1 and frames[-1].tb_frame.f_code.co_filename == __file__:
        frames.pop()
    for frame in reversed(frames):
        tb = types.TracebackType(tb, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return tb


def _frames(tb: Any) -> int:
    count = 0
    while tb is not None:
        count += 1
        tb = tb.tb_next
    return count


def _plain_traceback(error: BaseException) -> list[str]:
    """Python's own traceback, from the first frame that is not IPython's, without its middle."""
    tb = error.__traceback__
    while tb.tb_next is not None and not tb.tb_frame.f_code.co_filename.startswith(("<ipython", "/tmp/ipykernel")):
        tb = tb.tb_next
    ends = DETAILED_FRAMES_MAX // 10
    lines = ["Traceback (most recent call last):\n"]
    lines += traceback.format_list(traceback.extract_tb(tb, limit=ends))
    lines.append(f"  [{max(_frames(tb) - 2 * ends, 0)} frames left out]\n")
    lines += traceback.format_list(traceback.extract_tb(tb, limit=-ends))
    lines += traceback.format_exception_only(type(error), error)
    return ["".join(lines)]


class _Descriptor(io.FileIO):
    """An unbuffered file that writes everything it is given."""

    def write(self, data) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            done += super().write(view[done:]) or 0
        return len(view)


def direct_stream(fd: int, name: str) -> io.TextIOWrapper:
    """Text goes to `fd` as it is written, so that Python, C code and child processes keep their order."""
    raw = _Descriptor(fd, "w", closefd=False)
    stream = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", newline="\n", write_through=True)
    stream.mode = "w"
    raw.name = name
    return stream


def _no_input(prompt: object = "") -> str:
    raise EOFError(
        "input() has nobody to ask: code runs without a terminal; put the value into the code instead"
    )


def _run_coroutine(coroutine: Any) -> Any:
    """Runs a cell with a top-level `await`; an interrupt cancels the cell, not the tasks that it left in the loop."""
    import asyncio

    from IPython.core.async_helpers import get_asyncio_loop

    loop = get_asyncio_loop()
    task = loop.create_task(coroutine)
    try:
        return loop.run_until_complete(task)
    except KeyboardInterrupt:
        task.cancel()
        loop.run_until_complete(asyncio.wait([task], timeout=1))
        raise


def create() -> BerthShell:
    """The one shell of this process. Call once."""
    # History is a thread and a database, and a process that is to be forked can have neither.
    HistoryManager.enabled = False
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor" if _ipython_major() >= 9 else "NoColor"
    config.InteractiveShell.banner1 = ""
    shell = BerthShell.instance(
        config=config, displayhook_class=_Hook, display_pub_class=_Publisher
    )
    berth_charts.add_to(shell.display_formatter)
    shell.display_formatter.active_types = shell.display_formatter.format_types
    shell.set_hook("show_in_pager", page.as_hook(page.display_page), 90)
    shell.loop_runner = _run_coroutine
    builtins.input = _no_input
    warnings.filterwarnings("ignore", message="To exit: use")
    # The other threads are those of linear algebra, which puts them aside before a fork.
    warnings.filterwarnings("ignore", message="This process .* is multi-threaded", category=DeprecationWarning)
    return shell


def _ipython_major() -> int:
    import IPython

    return IPython.version_info[0]
