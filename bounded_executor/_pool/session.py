"""What one executor's processes are started from: the keeper, and what children take over."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError(f"{__name__} cannot be imported on Windows, where _adapters.portable takes its place")

import os
import pickle
import socket

from .._ipc.crash_report import Report
from .._ipc.frames import MAX_FDS, Channel, Kind
from .._ipc.scoreboard import CAN_SHARE, Board
from .._options import Settings
from .._serialize import main_module, pickling
from .._serialize.diagnostics import tell_changed
from .._serialize.exports import Exports
from .._worker import bootstrap
from . import forkserver

__all__ = ["Session"]


class Session:
    """Starts the supervisors of one executor, each the same as the one before.

    Args:
        settings: the executor's checked parameters; the initializer is pickled here and now, so
            that one that cannot be is an error of the constructor.

    Attributes:
        exports: refers to the main module's objects in what workers are sent.
        first_apart: modules that each worker imports for itself, for the first task, before it is ready.
    """

    def __init__(self, settings: Settings) -> None:
        self.forked = bootstrap.CAN_FORK
        self.keeper: forkserver.Keeper | None = None
        self.board: Board | None = None
        self.first_apart: tuple[str, ...] = ()
        self._settings = settings
        pickling.look_again()
        main = main_module.find(imports=settings.import_main)
        if main.changed:
            tell_changed(main.spec.file, main.changed)
        self.exports = Exports(main)
        initializer = None
        if settings.initializer is not None:
            call = self.exports.as_initializer(settings.initializer, settings.initargs)
            try:
                initializer = pickling.dump_inherited(call, self.exports.start, self.exports)
            except BaseException:
                self.release_descriptors()
                raise
            # The board, a report and the store travel along.
            count = len(self.exports.start.fds)
            if count > MAX_FDS - 3:
                self.release_descriptors()
                raise ValueError(f"initargs may refer to {MAX_FDS - 3} file descriptors at most, got {count}")
        self.exports.end_of_initializer()
        self._config = bootstrap.Config.capture(
            settings, forked=self.forked, initializer=initializer, main=main.spec, sender=self.exports.number
        )

    def open_board(self) -> Board | None:
        """Make the board that all children share, where one can be shared."""
        if CAN_SHARE:
            self.board = Board()
            self._config = self._config._replace(has_board=True)
        return self.board

    def import_first(self, modules: tuple[str, ...]) -> None:
        """Have what the first task needs imported before children are ready.

        By the supervisors, for all children; where these are spawned, by each child.
        """
        if self._config.share_imports:
            self._config = self._config._replace(first=modules)
        elif not self.forked and self._settings.initializer is None:
            # As with forks: a module may look different after the initializer than before it.
            self.first_apart = modules

    def import_nothing(self) -> None:
        """Leave all imports to the children: a supervisor could not have forked after its own."""
        self._config = self._config._replace(
            share_imports=False, share_preload=False, share_main=False, try_main=False, first=()
        )

    def begin(self, manifest: int, log_setup: int) -> None:
        """Have all workers begin with these globals of the main module; before the first is started.

        Args:
            manifest: lists them.
            log_setup: where in the store the configuration of ``logging`` is.

        Raises:
            ValueError: they refer to more file descriptors than can be passed on.
        """
        self.exports.begin()
        count = len(self.exports.start.fds)
        if count > MAX_FDS - 3:
            raise ValueError(
                f"initargs and globals may refer to {MAX_FDS - 3} file descriptors at most, got {count}"
            )
        self._config = self._config._replace(manifest=manifest, log_setup=log_setup)

    def blocks(self, number: int) -> bool:
        """Return whether a signal does not reach children, as the program blocks it."""
        return number in self._config.blocked

    @property
    def tries_main(self) -> bool:
        """Whether the next supervisor imports the main module."""
        return self._config.try_main

    def import_main_apart(self) -> None:
        """Have each worker import the main module for itself: a supervisor could not fork after that."""
        self._config = self._config._replace(share_main=False, try_main=False)

    def go_by_value(self, manifest: int) -> None:
        """Have no process import the main module any more.

        Args:
            manifest: what workers begin with instead.
        """
        self._config = self._config._replace(
            main=self.exports.spec, share_main=self.forked, try_main=False, manifest=manifest
        )

    def start_supervisor(self, report: Report | None = None) -> Channel:
        """Start a supervisor that looks like this process did when the executor was made.

        Args:
            report: where it leaves what its own imports write to standard error.
        """
        if self.keeper is None or not self.keeper.is_usable():
            self.drop_keeper()
            self.keeper = forkserver.lease(self._settings.mp_context, self.forked, fresh=True)
            if self.keeper.error is not None:
                raise self.keeper.error
        channel = Channel(self.keeper.start_supervisor())
        fds = [] if self.board is None else [os.dup(self.board.fd)]
        if report is not None:
            fds.append(report.share())
        fds.append(os.dup(self.exports.store_fd))
        fds += [os.dup(fd) for fd in self.exports.start.fds]
        config = self._config._replace(watched=report is not None)
        channel.send(Kind.CONFIG, body=pickle.dumps(config), fds=fds)
        return channel

    def status_of(self, pid: int) -> int | None:
        """Return how a supervisor has ended, negative for a signal; None where that is not known."""
        return None if self.keeper is None else self.keeper.status_of(pid)

    def keeper_failure(self) -> str:
        """Return why the keeper has ended; empty where it has not."""
        return "" if self.keeper is None else self.keeper.failure()

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
        """Close the store, and the descriptors that initializer and globals refer to."""
        self.exports.close()
