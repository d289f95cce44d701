"""What one thread waits for: its channels, and notes that other threads leave.

No lock: a note is one append, and a wake-up one byte. Both may come from a ``__del__`` that the
collector runs while any lock is held, and be interrupted anywhere by a signal's handler that raises.

One byte is enough until the thread has read it. So the thread numbers its readings, and a wake-up notes for
which of them it has sent a byte, *after* it has. Whatever happens in between costs a byte too many, never one
too few.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from .._ipc.frames import Channel

__all__ = ["Loop"]

Owner = TypeVar("Owner")


class Loop(Generic[Owner]):
    """Waits for channels, each with an owner; all but ``wake`` and ``note`` are the thread's own."""

    def __init__(self) -> None:
        self._notes: deque[Callable[[], None]] = deque()
        self._events: dict[Channel, int] = {}  # what each is waited for
        self._is_open = False
        self._is_closed = False
        self._readings = 0  # written by the thread only
        self._sent_for = -1  # the reading that a byte was sent for last
        self._wake_in: socket.socket
        self._wake_out: socket.socket
        self._selector: selectors.BaseSelector

    def open(self) -> None:
        """Make what is waited by; before that, and after :meth:`close`, a wake-up does nothing."""
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        self._is_open = True
        # Notes may have been left before.
        self.wake_surely()

    def wake(self) -> None:
        """Have the thread take a turn; never blocks, callable from any thread."""
        reading = self._readings
        if self._sent_for != reading:
            self.wake_surely()
            self._sent_for = reading

    def wake_surely(self) -> None:
        """Send a byte in any case."""
        try:
            if self._is_open:
                self._wake_out.send(b"\0")
        except OSError as error:
            # A full or closed socket means that it is awake, or has nothing to look at any more. What has no
            # number is no error of the socket: a signal's handler has raised it, perhaps a TimeoutError.
            if error.errno is None:
                raise

    def note(self, action: Callable[[], None]) -> bool:
        """Have the thread do something soon; never blocks, callable from any thread.

        Returns:
            False where the thread has ended, and nothing is done.
        """
        if self._is_closed:
            return False
        self._notes.append(action)
        self.wake()
        return True

    def add(self, channel: Channel, owner: Owner) -> None:
        """Wait for this channel too."""
        self._events[channel] = selectors.EVENT_READ
        self._selector.register(channel.sock, selectors.EVENT_READ, (channel, owner))

    def remove(self, channel: Channel) -> bool:
        """Wait for it no longer; returns whether it was waited for."""
        if self._events.pop(channel, None) is None:
            return False
        self._selector.unregister(channel.sock)
        return True

    def watch(self, channel: Channel, owner: Owner) -> None:
        """After something was sent: wait for room as well, if it did not all go out."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.pending else 0)
        if self._events.get(channel, events) != events:
            self._events[channel] = events
            self._selector.modify(channel.sock, events, (channel, owner))

    def wait(self, seconds: float | None) -> Iterator[tuple[Channel, Owner]]:
        """Wait for something to do, and yield the channels that can be read; then run the notes."""
        for key, events in self._selector.select(seconds):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    self._wake_in.recv(4096)
                # Only now: a note left before this line is seen in this round.
                self._readings += 1
                continue
            channel, owner = key.data
            # It may have been removed by what came before it in this round.
            if channel not in self._events:
                continue
            if events & selectors.EVENT_WRITE:
                channel.flush()
                self.watch(channel, owner)
            if events & selectors.EVENT_READ:
                yield channel, owner
        while self._notes:
            self._notes.popleft()()

    def close(self) -> None:
        """Do what was noted, and close what is waited by; the channels are their owners' to close."""
        self._is_closed = True
        # What was dropped while the thread came to its end still has bytes in the ledger.
        while self._notes:
            self._notes.popleft()()
        if self._is_open:
            self._selector.close()
            self._wake_in.close()
            self._wake_out.close()
