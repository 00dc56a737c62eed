"""Frames between the guest and an interpreter: a length (u32, little endian), then that many bytes of JSON.

In: a connected stream socket. Out: dictionaries, and file descriptors that came along. Both sides bound a frame.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import socket
import struct
import threading
from typing import Any, Callable, ContextManager

#: Largest frame in either direction; the guest gives up on an interpreter that sends more.
FRAME_BYTES_MAX = 24 << 20

_LENGTH = struct.Struct("<I")


class Channel:
    """One end of the connection to the guest."""

    def __init__(self, sock: socket.socket, shield: Callable[[], ContextManager] | None = None):
        self._socket = sock
        self._lock = threading.Lock()
        # Half a frame would lose the connection, so an interrupt has to wait until a frame is out.
        self._shield = shield

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def receive(self, fds_max: int = 0) -> tuple[dict, list[int]] | None:
        """The next frame with its descriptors, or None when the guest is gone."""
        # Descriptors ride on the first byte, so only the first read has to look for them.
        if fds_max:
            head, fds, _, _ = socket.recv_fds(self._socket, _LENGTH.size, fds_max)
        else:
            head, fds = self._socket.recv(_LENGTH.size), []
        if not head:
            return None
        head = head + self._exactly(_LENGTH.size - len(head))
        (length,) = _LENGTH.unpack(head)
        if length > FRAME_BYTES_MAX:
            raise ValueError(f"a frame of {length} bytes; at most {FRAME_BYTES_MAX} are allowed")
        # `surrogatepass`: code may hold half a character that a client split between two calls.
        return json.loads(self._exactly(length).decode("utf-8", "surrogatepass")), list(fds)

    def send(self, message: dict) -> None:
        """Sends one frame; safe from any thread."""
        body = encode(message)
        frame = _LENGTH.pack(len(body)) + body
        if self._shield is None:
            with self._lock:
                self._socket.sendall(frame)
        else:
            with self._shield(), self._lock:
                self._socket.sendall(frame)

    def wait_for_shown(self, number: int) -> None:
        """Waits until the guest has passed on result `number`, and everything that was written before it.

        Results and output take different ways; going on only then keeps later output behind the result. An interrupt
        may end the wait but not the reading of a frame; an answer that nobody waits for any more is skipped.
        """
        while True:
            select.select([self._socket], [], [])
            with self._shield() if self._shield else contextlib.nullcontext():
                message = self.receive()
            if message is None:
                # The guest is gone, and with it everybody who could want more of this process.
                os._exit(0)
            if message[0].get("shown", -1) >= number:
                return

    def _exactly(self, count: int) -> bytes:
        pieces = []
        while count:
            piece = self._socket.recv(min(count, 1 << 20))
            if not piece:
                raise EOFError("the guest closed the connection inside a frame")
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)


class Pipes:
    """The connection of a driver that is a program of its own."""

    def __init__(self, requests: int, replies: int):
        self._requests = os.fdopen(requests, "rb")
        self._replies = replies

    def receive(self) -> dict | None:
        """The next frame, or None when the guest is gone."""
        head = self._requests.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack(head)
        return json.loads(self._requests.read(length).decode("utf-8", "surrogatepass"))

    def send(self, message: dict) -> None:
        body = encode(message)
        frame = memoryview(_LENGTH.pack(len(body)) + body)
        while frame:
            frame = frame[os.write(self._replies, frame) :]


def encode(message: Any) -> bytes:
    """JSON that a strict parser accepts: no NaN, no half characters, no foreign types."""
    try:
        text = json.dumps(message, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        text = json.dumps(_plain(message, 0), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace")


def _plain(value: Any, depth: int) -> Any:
    """`value` with everything replaced that JSON cannot say."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if depth > 64:
        return "..."
    if isinstance(value, dict):
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, depth + 1) for item in value]
    return str(value)


def claim(fd: int) -> socket.socket:
    """Takes the stream socket at `fd` and leaves the null device in its place."""
    sock = socket.socket(fileno=os.dup(fd))
    sock.setblocking(True)
    os.set_inheritable(sock.fileno(), False)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, fd)
    os.close(null)
    return sock
