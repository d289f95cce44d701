"""An engine (``_adapters.engine``) that is a Dask cluster.

Messages become Dask tasks, and results stay where they are until something asks for them.

A thread of its own collects what has ended, because that may wait for the cluster; it and the backend's
thread share ``_futures`` and ``_cancelled``, of which each use is one step. Dask is imported by those
only who use this.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FuturesTimeoutError
from concurrent.futures.process import BrokenProcessPool
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakSet

import dask.config
from distributed import Client, KilledWorker
from distributed import TimeoutError as DaskTimeoutError

from .._core.work import Work
from .._locks import Lock
from .._log import Log
from .._serialize.functions import Codec, Functions
from .._serialize.outcomes import Group
from .._serialize.payload import Remote, load
from .._serialize.pickling import summary
from ..errors import TerminatedWorkerError
from . import remote_worker
from .engine import MESSAGES_PER_WORKER, Ended, WorkerLost, outcomes_of, wire_form

__all__ = ["DaskEngine", "connect"]

_log = Log()

# A message costs the scheduler and the client about two milliseconds together.
BATCH_SECONDS = 0.05
# Tasks that take less wait with the workers behind those that run: the way there and back takes some 10
# milliseconds where nothing else is going on, and some 80 where much is.
AHEAD_SECONDS = 0.25
# More messages for each worker would only be smaller ones.
BATCHES_PER_WORKER = 4
# Messages whose outcomes are fetched together.
AT_ONCE = 64
# Messages that a connection keeps after they were sent, for Dask's developers. Each may be of 1 MB, and its
# default of 1,000 far more than the queue may weigh.
KEPT = 10
CLOSING_SECONDS = 10.0
# For how long a cluster may be without workers before that is told.
DESERTED_SECONDS = 5.0


def connect(client: Client | str) -> tuple[Client, bool]:
    """Return the client that is meant, and whether it was made here.

    Args:
        client: it, or the address of a scheduler.

    Raises:
        TypeError: it is neither.
        ValueError: the client is closed, or is one for coroutines; or the address has no port.
        OSError: there is no scheduler at the address.
    """
    if isinstance(client, str):
        # Dask finds a missing port so late that its half-made client waits a minute at its end.
        if "://" not in client or client.startswith(("tcp://", "tls://")):
            _check_port(client)
        with dask.config.set({"distributed.admin.low-level-log-length": KEPT}):
            made: Client = Client(client, set_as_default=False)  # type: ignore[no-untyped-call]
        return made, True
    if not isinstance(client, Client):
        raise TypeError(
            f"client must be a dask.distributed.Client or the address of a scheduler, got {client!r}"
        )
    if client.asynchronous:
        raise ValueError(
            f"client must be one for threads, made without asynchronous=True, got {client!r}; coroutines "
            "use asubmit and amap of this executor"
        )
    if client.status != "running":
        raise ValueError(f"client must be connected, got {client!r} with status {client.status!r}")
    return client, False


def _check_port(address: str) -> None:
    try:
        port = urlsplit(address if "://" in address else f"tcp://{address}").port
    except ValueError:
        port = None
    if port is None:
        raise ValueError(
            "client must be a dask.distributed.Client or an address with a port, such as tcp://HOST:8786, "
            f"got {address!r}"
        )


class _Unwarned:
    """Has Dask not warn of large graphs: a large message is none, and a warning may be an error.

    The setting is the process's, and several engines may be in here at once, so the last one to leave puts
    back what the first has found.
    """

    def __init__(self) -> None:
        self._lock = Lock()  # guards both; nothing is done under it but changing the setting
        self._inside = 0
        self._changed: Any = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                name = "distributed.admin.large-graph-warning-threshold"
                self._changed = dask.config.set({name: sys.maxsize})

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._changed.__exit__(None, None, None)


_unwarned = _Unwarned()


class DaskEngine:
    """Hands messages to a Dask cluster, each as one task.

    Args:
        client: how to reach it.
        owned: the client is closed at the end.
        retries: times that Dask runs a task once more that has failed.
        batches: short tasks travel together.
    """

    ahead_seconds = AHEAD_SECONDS
    counts_workers = True

    def __init__(self, client: Any, owned: bool, *, retries: int, batches: bool) -> None:
        self.codec: Codec = Functions()
        # Dask retries a whole message, and what is in it must not be run again for another's failure.
        self.batch_seconds = BATCH_SECONDS if batches and not retries else None
        self.messages_per_worker = BATCHES_PER_WORKER if self.batch_seconds else MESSAGES_PER_WORKER
        self.limit = 1 if retries else None
        self._client = client
        self._owned = owned
        self._retries = retries
        self._name = uuid.uuid4().hex
        self._futures: dict[int, Any] = {}
        self._cancelled: set[int] = set()
        self._stayed: WeakSet[_Stayed] = WeakSet()
        self._ended: SimpleQueue[tuple[int, Any] | None] = SimpleQueue()
        self._report: Callable[[int, Ended], None]
        self._changed: Callable[[], None]
        self._collector: threading.Thread | None = None
        self._looking = False
        self._told = False
        self._deserted_since: float | None = None
        self._take_count(client.nthreads())

    def open(self, report: Callable[[int, Ended], None], changed: Callable[[], None]) -> None:
        self._report = report
        self._changed = changed
        self._collector = threading.Thread(target=self._collect, name="bounded-dask", daemon=True)
        self._collector.start()

    def submit(self, ticket: int, work: Work) -> None:
        with _unwarned:
            # Dask groups tasks by what stands before the first number, and remembers each group.
            future = self._client.submit(
                remote_worker.run,
                *wire_form(work),
                ticket,
                # The items of a chunk of a given length stay together.
                self.batch_seconds if work.joins else None,
                True,
                bool(self._retries),
                key=f"{work.name}-{ticket}-{self._name}",
                pure=False,
                retries=self._retries or None,
            )
        self._futures[ticket] = future
        future.add_done_callback(lambda future: self._ended.put((ticket, future)))

    def cancel(self, ticket: int) -> None:
        future = self._futures.get(ticket)
        if future is not None:
            self._cancelled.add(ticket)
            # Nobody else wants it, so that Dask gives it up.
            future.release()

    def look(self) -> None:
        since = self._deserted_since
        deserted = since is not None and monotonic() - since > DESERTED_SECONDS and bool(self._futures)
        if deserted and not self._told:
            _log.warning(
                "the Dask cluster has no workers: %d messages wait for one. A worker that cannot import "
                "bounded_executor ends by itself when it is given one: loky-bounded-executor must be "
                "installed where workers run.",
                len(self._futures),
            )
        self._told = since is not None and (self._told or deserted)
        if not self._looking:
            self._looking = True
            # Not by a thread of ours: where the scheduler is gone this takes long.
            with contextlib.suppress(RuntimeError):
                self._client.loop.add_callback(self._count_again)

    def is_current(self) -> bool:
        return False

    def close(self) -> None:
        for ticket in list(self._futures):
            self.cancel(ticket)
        if self._collector is None:
            self._close_client()
        else:
            self._ended.put(None)
            # It may be in the middle of something that a lost cluster never answers.
            self._collector.join(CLOSING_SECONDS)

    async def _count_again(self) -> None:
        """Read how many workers there are, on the event loop of the client, where its methods are awaited."""
        before = self.capacity
        try:
            self._take_count(await self._client.nthreads())
        except Exception as error:
            # If the cluster is gone, what was given to it says so.
            _log.debug("the number of workers could not be read: %r", error)
        finally:
            self._looking = False
        if self.capacity != before:
            self._changed()

    def _take_count(self, threads: Mapping[str, int]) -> None:
        if threads:
            self._deserted_since = None
        elif self._deserted_since is None:
            self._deserted_since = monotonic()
        # One at least: what comes before the workers waits for them over there.
        self.capacity = max(1, sum(threads.values()))

    # Below: on the thread that collects.

    def _collect(self) -> None:
        going_on = True
        while going_on:
            some = [self._ended.get()]
            with contextlib.suppress(Empty):
                while len(some) < AT_ONCE:
                    some.append(self._ended.get_nowait())
            going_on = None not in some
            try:
                self._take([one for one in some if one is not None])
            except Exception as error:
                # Something that no worker of ours returns; nobody is to wait for it for ever.
                for ticket in [one[0] for one in some if one is not None and one[0] in self._futures]:
                    self._tell(ticket, error.with_traceback(None))
            # As long as we hold a future, Dask holds its result.
            del some
        self._close_client()

    def _take(self, ended: list[tuple[int, Any]]) -> None:
        brought = []
        for ticket, future in ended:
            if future.status in ("finished", "lost"):
                if future.type is remote_worker.Stays:
                    stayed = _Stayed(future)
                    self._stayed.add(stayed)
                    self._tell(ticket, [(True, stayed, None)])
                else:
                    brought.append((ticket, future))
            else:
                self._tell(ticket, self._why(ticket, future))
        if not brought:
            return
        try:
            found = self._client.gather([future for _, future in brought])
        except Exception:
            # One of them may be lost; the others are not.
            for ticket, future in brought:
                self._tell(ticket, self._bring(ticket, future))
        else:
            for (ticket, _), outcomes in zip(brought, found, strict=True):
                self._tell(ticket, outcomes_of(outcomes))

    def _bring(self, ticket: int, future: Any) -> Ended:
        try:
            return list(outcomes_of(future.result()))
        except Exception as error:
            return self._why(ticket, future, error)

    def _why(self, ticket: int, future: Any, error: BaseException | None = None) -> Ended:
        """Return why a task has no outcomes, or the error that is its outcome."""
        if future.status == "error":
            error = future.exception()
        if isinstance(error, remote_worker.TaskFailed):
            return [(False, error.body, None)]
        if isinstance(error, RuntimeError) and "deserialization of the task graph" in str(error):
            return BrokenProcessPool(
                "the Dask scheduler cannot read what it is given. loky-bounded-executor must be installed "
                f"there too, in this version: {error}"
            )
        if isinstance(error, KilledWorker):
            lost = WorkerLost(f"each worker ended that it was given to ({error})")
            lost.__cause__ = error
            return lost
        if error is not None and future.status != "cancelled":
            return error
        if ticket in self._cancelled:
            return CancelledError()
        return BrokenProcessPool(
            "Dask has given up what it was running: the connection to the scheduler was lost, or the cluster "
            f"was restarted, or the client was closed (it is {self._client.status} now)"
        )

    def _tell(self, ticket: int, ended: Ended) -> None:
        self._futures.pop(ticket, None)
        self._cancelled.discard(ticket)
        self._report(ticket, ended)

    def _close_client(self) -> None:
        if not self._owned:
            return
        for stayed in list(self._stayed):
            stayed.bring()
        with contextlib.suppress(Exception):
            self._client.close(timeout=CLOSING_SECONDS)


class _Stayed(Remote):
    """A result that is with the worker that made it.

    Args:
        future: Dask's, which keeps it there.
    """

    __slots__ = ("_error", "_found", "_future")

    def __init__(self, future: Any) -> None:
        self._future: Any = future
        self._found: remote_worker.Outcomes | None = None
        self._error: BaseException | None = None

    def fetch(self, seconds: float | None) -> Any:
        # First of all: `bring` sets at most one of these two, and drops the future after that.
        future = self._future
        if self._found is None:
            if self._error is not None:
                raise self._lost(self._error)
            try:
                self._found = future.result(seconds)
                # Now, and not when the collector comes to what Dask leaves behind.
                future.release()
            except DaskTimeoutError:
                raise FuturesTimeoutError(
                    f"a result that stayed with its Dask worker was not fetched within {seconds} seconds"
                ) from None
            except (Exception, CancelledError) as error:
                # Unless another thread was first, and has released it.
                if self._found is None:
                    raise self._lost(error) from error
        assert self._found is not None
        ((_, body, _),) = outcomes_of(self._found)
        assert not isinstance(body, Group)
        return load(body)

    def bring(self) -> None:
        """Fetch it while that is possible."""
        try:
            self._found = self._future.result()
        except BaseException as error:
            # A thread that fetches it too may be done with it, and have released it.
            if self._found is None:
                self._error = error.with_traceback(None)
        self._future = None

    def _lost(self, error: BaseException) -> TerminatedWorkerError:
        return TerminatedWorkerError(
            f"a result stayed with the Dask worker that made it, and is lost: {summary(error)}"
        )
