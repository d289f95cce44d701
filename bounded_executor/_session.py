"""What one executor's processes are started from: the keeper, and what children take over."""

from __future__ import annotations

import os
import pickle
import socket
from typing import Any

from . import _loky, _pickling, _process
from ._board import CAN_SHARE, Board
from ._params import Settings
from ._report import Report
from ._wire import MAX_FDS, Channel, Kind

__all__ = ["Session"]


class Session:
    """Starts the supervisors of one executor, each the same as the one before.

    Args:
        settings: the executor's checked parameters; the initializer is pickled here and now, so
            that one that cannot be is an error of the constructor.
    """

    def __init__(self, settings: Settings) -> None:
        self.forked = _process.CAN_FORK
        self.keeper: _loky.Keeper | None = None
        self.board: Board | None = None
        self._settings = settings
        self._fds: list[int] = []
        self._kept: list[Any] = []
        initializer = None
        if settings.initializer is not None:
            initializer, self._fds, self._kept = _pickling.dump_inherited(
                (settings.initializer, settings.initargs)
            )
            # The board and a report travel along.
            if len(self._fds) > MAX_FDS - 2:
                count = len(self._fds)
                self.release_descriptors()
                raise ValueError(f"initargs may refer to {MAX_FDS - 2} file descriptors at most, got {count}")
        self._config = _process.Config.capture(settings, forked=self.forked, initializer=initializer)

    def open_board(self) -> Board | None:
        """Make the board that all children share, where one can be shared."""
        if self.forked and CAN_SHARE:
            self.board = Board()
            self._config = self._config._replace(has_board=True)
        return self.board

    def import_first(self, modules: tuple[str, ...]) -> None:
        """Have the supervisors import what the first task needs before they start children."""
        if self._config.share_imports:
            self._config = self._config._replace(first=modules)

    def import_nothing(self) -> None:
        """Leave all imports to the children: a supervisor could not have forked after its own."""
        self._config = self._config._replace(share_imports=False, share_preload=False, first=())

    def start_supervisor(self, report: Report | None = None) -> Channel:
        """Start a supervisor that looks like this process did when the executor was made.

        Args:
            report: where it leaves what its own imports write to standard error.
        """
        if self.keeper is None or not self.keeper.is_usable():
            self.drop_keeper()
            self.keeper = _loky.lease(self._settings.mp_context, self.forked, fresh=True)
            if self.keeper.error is not None:
                raise self.keeper.error
        channel = Channel(self.keeper.start_supervisor())
        fds = [] if self.board is None else [os.dup(self.board.fd)]
        if report is not None:
            fds.append(report.share())
        fds += [os.dup(fd) for fd in self._fds]
        config = self._config._replace(watched=report is not None)
        channel.send(Kind.CONFIG, body=pickle.dumps(config), fds=fds)
        return channel

    def drop_keeper(self, *, wait: bool = False) -> None:
        """Have the next supervisor come from a new keeper; ``wait`` until this one has ended."""
        keeper, self.keeper = self.keeper, None
        if keeper is not None:
            keeper.quit(wait=wait)

    def prepare_next(self) -> None:
        """Get ready for the next executor, while this one's processes still end."""
        if self.keeper is not None and self.keeper.error is None and self._settings.idle_timeout > 0:
            self.keeper.prepare()

    def end_supervisor(self, channel: Channel) -> None:
        """Close the supervisor's socket, and wait until the process is on its way out."""
        sock = channel.sock
        try:
            sock.settimeout(5.0)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                continue
        except OSError:
            pass
        channel.close()

    def close(self) -> None:
        """Give the keeper back and close what children would have inherited."""
        if self.keeper is not None:
            self.keeper.release(self._settings.idle_timeout)
            self.keeper = None
        if self.board is not None:
            self.board.close()
            self.board = None
        self.release_descriptors()

    def release_descriptors(self) -> None:
        """Close the descriptors that the initializer's arguments refer to."""
        while self._fds:
            os.close(self._fds.pop())
        self._kept.clear()
