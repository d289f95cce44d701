"""Frames over socket pairs: how the parent, a supervisor and a child talk.

A frame is a fixed header (length of the body, kind, three numbers, seconds) and a body of bytes.
Bodies are only ever pickles where both ends are processes of one executor, joined by a socket
pair that one of them inherited or was handed: there is no name under which another process could
reach it.

The parent must never wait for one child, so it uses :class:`Channel`, which never blocks.
Supervisor and child have one partner and nothing better to do: they use :func:`read_frame` and
:func:`write_frame`, which block.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections import deque
from typing import Any, NamedTuple

__all__ = ["MAX_FDS", "Channel", "Frame", "Kind", "MainOutcome", "Order", "read_frame", "write_frame"]

_HEADER = struct.Struct("<QBQQId")
_CHUNK = 1 << 16
# A frame longer than this is received into memory of its own instead of through the buffer.
_LONG = 1 << 16
# The kernel passes on no more in one message.
MAX_FDS = 253
# What is received is not for programs that tasks start. Where the kernel does not see to it, we do.
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
# What is sent is taken a moment later; anything else means that the partner is gone.
_LATER = {errno.EAGAIN, errno.EINTR, errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS}
# Bytes read from one socket before the others get their turn.
_TURN = 1 << 22


# In one piece, or in several that are not worth a copy to make one of them.
Body = bytes | bytearray | list[Any]


class Kind:
    """What a frame is about; ``ident``, ``index`` and ``count`` mean what the comment says."""

    # parent -> child
    RUN = 1  # ident: work, index: its number among all that this child was given; body: see Work.message
    RUN_PARTS = 2  # the same; body: the message in parts, see _serialize.payload
    # child -> parent
    READY = 10  # ident: pid, index: bytes resident; the initializer is through
    RESULT = 11  # ident: work, index: item; body: pickle of the result
    RESULT_PARTS = 22  # the same; body: the pickle in parts
    ERROR = 12  # ident: work, index: item; body: pickle of what _serialize.pickling.dump_error returns
    TOGETHER = 19  # ident: work, index: first item, count: items; body: one pickle of all results
    EACH = 21  # the same; body: the results one by one, see _worker.result_buffer
    STOPPED = 24  # ident: work, index: item; this one and all after it are not run
    INIT_ERROR = 13  # body as with ERROR
    PRELOAD_ERROR = 29  # the same; also from a supervisor
    MODULES = 14  # body: names of modules that were imported by tasks, one a line
    UNFIT = 15  # before READY; body: why no task could run within the memory limits
    PEAK = 16  # before an outcome; ident: the most bytes that were ever resident
    LEAVING = 17  # before an outcome; nothing is run after that one, because of the memory taken
    BEGUN = 18  # from a child that is watched, once: it has begun a task
    LOG = 20  # body: pickle of a log record's attributes
    # parent -> supervisor
    CONFIG = 25  # body: pickle of _worker.bootstrap.Config; descriptors that it refers to come along
    FORK = 26  # ident: child; body: pickle of Order; its end of its socket and its report come along
    KILL = 27  # ident: child, index: signal
    IMPORT = 28  # body as with MODULES
    # supervisor -> parent
    DIED = 30  # ident: child, index: pid; body: exit status, negative for a signal, and peak bytes, in digits
    NOT_STARTED = 32  # ident: child; body: why
    NO_SUPERVISOR = 34  # from the keeper, in its place: it could not be started; body: why
    MAIN = 33  # ident: MainOutcome, index: pid; body: why it has failed; also from a child that imports
    UNSHARED = 31  # body: why modules are not shared, for the log; ident 1: the supervisor ends for that


class MainOutcome:
    """What came of the import of the main module."""

    IMPORTED = 0
    # It begins.
    BEGUN = 3
    FAILED = 1
    # The process cannot fork after it.
    LEFT_THREADS = 2


class Order(NamedTuple):
    """What a child is started with.

    Attributes:
        limit: tasks after which it leaves by itself; 0 for no limit.
        place: its place on the board; None where it has none.
        watched: its standard error is recorded until it is ready.
        deaf: SIGTERM does not end it.
        first: names of modules that it imports before it is ready, for the first task's function.
    """

    limit: int
    place: int | None
    watched: bool
    deaf: bool
    first: tuple[str, ...]


class Frame:
    """One received frame."""

    __slots__ = ("body", "count", "ident", "index", "kind", "seconds")

    def __init__(
        self, kind: int, ident: int, index: int, count: int, seconds: float, body: bytes | bytearray
    ) -> None:
        self.kind = kind
        self.ident = ident
        self.index = index
        self.count = count
        self.seconds = seconds
        self.body = body


def read_frame(sock: socket.socket, fds: list[int] | None = None) -> Frame | None:
    """Read one frame, waiting for it.

    Args:
        sock: a blocking socket.
        fds: where to put file descriptors that come along; without it none may.

    Returns:
        The frame, or None when the other end has closed.
    """
    try:
        return _read_frame(sock, fds)
    except ConnectionError:
        # The other end was killed before it had read all that we wrote.
        return None


def _read_frame(sock: socket.socket, fds: list[int] | None) -> Frame | None:
    header = bytearray()
    while len(header) < _HEADER.size:
        want = _HEADER.size - len(header)
        if sys.platform == "win32" or fds is None:
            data = sock.recv(want)
        else:
            data, new, _, _ = socket.recv_fds(sock, want, MAX_FDS, _CLOEXEC)
            fds.extend(new)
            if not _CLOEXEC:
                for fd in new:
                    os.set_inheritable(fd, False)
        if not data:
            return None
        header += data
    length, kind, ident, index, count, seconds = _HEADER.unpack(header)
    body = bytearray(length)
    view = memoryview(body)
    while view:
        got = sock.recv_into(view)
        if not got:
            return None
        view = view[got:]
    return Frame(kind, ident, index, count, seconds, body)


def write_frame(
    sock: socket.socket,
    kind: int,
    ident: int = 0,
    index: int = 0,
    seconds: float = 0.0,
    body: Body = b"",
    count: int = 1,
) -> None:
    """Write one frame, waiting until the kernel has taken all of it."""
    for piece in _pieces(body, kind, ident, index, count, seconds):
        sock.sendall(piece)


def _pieces(body: Body, *numbers: float) -> list[Any]:
    """Return what is written for one frame; short things together, long ones as they are."""
    pieces = body if isinstance(body, list) else [body]
    length = sum(map(len, pieces))
    header = _HEADER.pack(length, *numbers)
    return [header + b"".join(pieces)] if length < _LONG else [header, *pieces]


class Channel:
    """The parent's end of a socket pair: frames in and out without ever blocking.

    Used by one thread, the one that waits for the socket to become readable or writable.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.eof = False
        self._out: deque[tuple[memoryview, list[int]]] = deque()
        self._in = bytearray()
        self._long: tuple[tuple[int, int, int, int, float], bytearray, int] | None = None

    def fileno(self) -> int:
        return self.sock.fileno()

    @property
    def pending(self) -> bool:
        """Whether bytes wait for the socket to become writable."""
        return bool(self._out)

    def send(
        self,
        kind: int,
        ident: int = 0,
        index: int = 0,
        body: Body = b"",
        fds: list[int] | None = None,
    ) -> None:
        """Queue one frame and write as much of it as the socket takes now.

        The channel owns ``fds`` from here on, and closes them once they are on their way.
        """
        for piece in _pieces(body, kind, ident, index, 1, 0.0):
            self._out.append((memoryview(piece), fds or []))
            fds = None
        self.flush()

    def flush(self) -> None:
        """Write what the socket takes. A partner that is gone swallows everything."""
        while self._out:
            data, fds = self._out[0]
            try:
                if sys.platform == "win32" or not fds:
                    sent = self.sock.send(data)
                else:
                    sent = socket.send_fds(self.sock, [data], fds)
            except OSError as error:
                if error.errno not in _LATER:
                    self._drop_output()
                return
            for fd in fds:
                os.close(fd)
            if sent == len(data):
                self._out.popleft()
            else:
                self._out[0] = (data[sent:], [])

    def receive(self) -> list[Frame]:
        """Return the frames that have arrived complete; ``eof`` is set once there are no more."""
        frames: list[Frame] = []
        budget = _TURN
        while budget > 0 and not self.eof:
            asked = _CHUNK
            try:
                if self._long is None:
                    data = self.sock.recv(asked)
                    got = len(data)
                    self._in += data
                else:
                    head, body, have = self._long
                    asked = len(body) - have
                    got = self.sock.recv_into(memoryview(body)[have:])
                    self._long = (head, body, have + got)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                got = 0
            if not got:
                self.eof = True
            budget -= got
            self._parse(frames)
            # What is behind a long frame must be found too: of one that is dead this is asked only once.
            if self._long is None and got < asked:
                break
        return frames

    def close(self) -> None:
        """Close the socket; frames that were not written are dropped."""
        self._drop_output()
        self.sock.close()

    def _drop_output(self) -> None:
        for _, fds in self._out:
            for fd in fds:
                os.close(fd)
        self._out.clear()

    def _parse(self, frames: list[Frame]) -> None:
        if self._long is not None:
            head, body, have = self._long
            if have == len(body):
                frames.append(Frame(*head, body))
                self._long = None
            return
        at = 0
        size = len(self._in)
        while size - at >= _HEADER.size:
            length, kind, ident, index, count, seconds = _HEADER.unpack_from(self._in, at)
            end = at + _HEADER.size + length
            if end <= size:
                short = bytes(memoryview(self._in)[at + _HEADER.size : end])
                frames.append(Frame(kind, ident, index, count, seconds, short))
                at = end
                continue
            if length > _LONG:
                long = bytearray(length)
                have = size - at - _HEADER.size
                long[:have] = memoryview(self._in)[at + _HEADER.size :]
                self._long = ((kind, ident, index, count, seconds), long, have)
                at = size
            break
        del self._in[:at]
