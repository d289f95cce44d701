"""Crawl a local web site in bounded memory, and measure that it was bounded.

The script starts a real HTTP server on 127.0.0.1 in a process of its own, produces the addresses of
its pages one by one, has each page fetched and parsed by a pool of processes, and checks that every
page came back exactly once and right:

    python crawl.py --pages 200000

On a Dask cluster that is there, or on one that is started for the run, one line differs (in ``bounded``):

    python crawl.py --cluster tcp://HOST:PORT
    python crawl.py --cluster local

The part to copy is small: ``consumer``, ``page_urls`` and ``submit_all`` (or ``map_all``). The rest is
the server and the measuring. ``--compare unbounded`` crawls the same pages a second time with the
standard library's ``ProcessPoolExecutor``, whose queue has no bound, and prints both results.

Memory and processes are read from /proc, so those figures are missing where there is none. The exit
status is 1 when a page is missing, doubled or wrong, when the parent's memory grew, or that of the
scheduler that was started, or when a process was left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

MB = 2**20
MAX_GROWTH = 5 * MB  # of the parent, between 5 % of the run and its end
# Of the scheduler, besides, for each page: Dask's grows by about half of it, by client.submit as well. With a
# queue that is not bounded it would be all that a task is, which is several times as much.
SCHEDULER_BYTES = 1024
MARK = "BOUNDED_EXECUTOR_CRAWL"  # environment variable by which processes of a run are recognised

# --------------------------------------------------------------------------------------------------
# The site: page N has a known title and a known number of links.
# --------------------------------------------------------------------------------------------------

FILLER = "<p>The quick brown fox jumps over the lazy dog &amp; runs away.</p>\n" * 40


def page_title(number: int) -> str:
    return f"Page {number}"


def page_links(number: int) -> int:
    return 3 + number % 10


def page_html(number: int) -> bytes:
    numbers = range(number * 31, number * 31 + page_links(number))
    links = "".join(f'<li><a href="/{other}">Page {other}</a></li>\n' for other in numbers)
    return (
        f"<!doctype html>\n<html><head><title>{page_title(number)}</title></head>\n"
        f'<body data-number="{number}">\n<ul>\n{links}</ul>\n{FILLER}</body></html>\n'
    ).encode()


class PageServer(asyncio.Protocol):
    """Answers one GET request per connection."""

    def __init__(self) -> None:
        self.request = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.request += data
        if b"\r\n\r\n" not in self.request:
            return
        try:
            body, status = page_html(int(self.request.split(maxsplit=2)[1].lstrip(b"/"))), "200 OK"
        except (ValueError, IndexError):
            body, status = b"no such page\n", "404 Not Found"
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        self.transport.write(head.encode() + body)
        self.transport.close()


async def serve(host: str) -> None:
    """Serve until standard input ends or the parent is gone; print the port first."""
    loop = asyncio.get_running_loop()
    end = asyncio.Event()

    def wait_for_end_of_input() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(end.set)

    parent = os.getppid()
    server = await loop.create_server(PageServer, host, 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    threading.Thread(target=wait_for_end_of_input, daemon=True).start()
    # A forked worker may hold the other end of standard input open, so the parent is looked at too.
    while not end.is_set() and os.getppid() == parent:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(end.wait(), timeout=1)
    os._exit(0)  # the thread that reads standard input may still be reading


@contextlib.contextmanager
def web_server(host: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """Run the server in a process of its own; gives its address and its process id."""
    command = [sys.executable, os.path.abspath(__file__), "--serve", host]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            yield f"http://{host}:{int(process.stdout.readline())}", process.pid
        finally:
            process.stdin.close()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


# --------------------------------------------------------------------------------------------------
# The cluster, for --cluster.
# --------------------------------------------------------------------------------------------------


def own_address(scheduler: str) -> str:
    """The address of this machine at which the machines of a cluster reach it."""
    parts = urlsplit(scheduler)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((parts.hostname, parts.port))  # nothing is sent
        host: str = probe.getsockname()[0]
        return host


def start_dask(folder: str, *options: str) -> subprocess.Popen[bytes]:
    """Start a scheduler, or workers, in a session of its own: Ctrl-C is for the crawl."""
    command = [sys.executable, "-m", "dask", *options, "--host", "127.0.0.1", "--no-dashboard"]
    with open(os.path.join(folder, f"{options[0]}.log"), "wb") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )


def scheduler_address(file: str, scheduler: subprocess.Popen[bytes]) -> str:
    """Wait until the scheduler has written its address into a file."""
    deadline = time.monotonic() + 60
    while scheduler.poll() is None and time.monotonic() < deadline:
        # The file is there a moment before what is in it.
        with contextlib.suppress(OSError, ValueError), open(file, "rb") as opened:
            return str(json.load(opened)["address"])
        time.sleep(0.05)
    raise RuntimeError("the Dask scheduler did not start")


@contextlib.contextmanager
def local_cluster(threads: int) -> Iterator[str]:
    """Run a Dask cluster on this machine; gives the scheduler's address."""
    # As many processes as there is use for, all with the same number of threads.
    processes = next(n for n in range(min(threads, os.cpu_count() or 1), 0, -1) if threads % n == 0)
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "scheduler.json")
        # The scheduler, and the workers without it, end by themselves if this process is killed.
        started = [
            start_dask(folder, "scheduler", "--port=0", f"--scheduler-file={file}", "--idle-timeout=60s")
        ]
        try:
            address = scheduler_address(file, started[0])
            options = [f"--nworkers={processes}", f"--nthreads={threads // processes}", "--death-timeout=30"]
            started.append(start_dask(folder, "worker", address, f"--local-directory={folder}", *options))
            yield address
        finally:
            for process in reversed(started):
                process.terminate()
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()


@contextlib.contextmanager
def cluster(args: argparse.Namespace) -> Iterator[Callable[[], int | None]]:
    """Have the cluster that was asked for ready; gives what reads the memory of its scheduler."""
    if not args.cluster:
        yield lambda: None
        return
    # At each end of a connection Dask keeps the last 1,000 messages for debugging, each below 1 MB.
    os.environ.setdefault("DASK_DISTRIBUTED__ADMIN__LOW_LEVEL_LOG_LENGTH", "20")
    from distributed import Client

    connect: Any = Client  # it has no types
    with contextlib.ExitStack() as stack:
        if args.cluster == "local":
            args.cluster = stack.enter_context(local_cluster(args.workers))
        client = stack.enter_context(connect(args.cluster, set_as_default=False))
        client.wait_for_workers(1, timeout=60)
        yield lambda: client.run_on_scheduler(resident_bytes)


# --------------------------------------------------------------------------------------------------
# The crawl.
# --------------------------------------------------------------------------------------------------

Page = tuple[int, str, int]


class PageParser(HTMLParser):
    """Collects the number, the title and the count of links of one page."""

    def __init__(self) -> None:
        super().__init__()
        self.number = -1
        self.title = ""
        self.links = 0
        self.in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links += 1
        elif tag == "body":
            self.number = int(dict(attrs)["data-number"] or -1)
        self.in_title = tag == "title"

    def handle_endtag(self, tag: str) -> None:
        self.in_title = False

    def handle_data(self, data: str) -> None:
        if self.in_title:
            self.title += data


def consumer(url: str) -> Page:
    """Fetch and parse one page; this is what the worker processes run."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    try:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"{url}: {response.status} {response.reason}")
        html = response.read().decode()
    finally:
        connection.close()
    parser = PageParser()
    parser.feed(html)
    parser.close()
    return parser.number, parser.title, parser.links


def page_urls(base: str, run: Run) -> Iterator[str]:
    """Produce the address of every page, one by one, and count them."""
    for number in range(run.pages):
        run.produced += 1
        yield f"{base}/{number}"


def submit_all(executor: Executor, urls: Iterator[str], run: Run) -> None:
    """Submit each page and forget its future: the result is collected by a callback."""

    def collect(future: Future[Page]) -> None:
        if future.cancelled():
            return  # the run was interrupted, and its summary is not wanted
        error = future.exception()
        if error is None:
            run.page_came_back(future.result())
        else:
            run.page_failed(error)

    for url in urls:
        executor.submit(consumer, url).add_done_callback(collect)


def map_all(executor: Any, urls: Iterator[str], run: Run) -> None:
    """Take the results from ``map`` as they finish."""
    for page in executor.map(consumer, urls, unordered=True):
        run.page_came_back(page)


class Run:
    """Counts and checks what comes back; keeps one byte for each page, and no page."""

    def __init__(self, pages: int, scheduler_bytes: Callable[[], int | None]) -> None:
        self.pages = pages
        self.scheduler_bytes = scheduler_bytes
        self.produced = 0
        self.done = 0
        self.wrong = 0
        self.failed = 0
        self.first_error = ""
        self.seen = bytearray(pages)
        self.parent_at_start = resident_bytes()
        self.parent_at_5_percent: int | None = None
        self.parent_at_end: int | None = None
        self.scheduler_at_5_percent: int | None = None
        self.scheduler_at_end: int | None = None
        # A future that is done already calls back in the thread that submits.
        self._lock = threading.Lock()

    def page_came_back(self, page: Page) -> None:
        number, title, links = page
        with self._lock:
            if 0 <= number < self.pages and title == page_title(number) and links == page_links(number):
                self.seen[number] = min(self.seen[number] + 1, 255)
            else:
                self.wrong += 1
            self._count()

    def page_failed(self, error: BaseException) -> None:
        with self._lock:
            self.failed += 1
            self.first_error = self.first_error or f"{type(error).__name__}: {error}"
            self._count()

    def _count(self) -> None:
        self.done += 1
        if self.done == max(1, self.pages // 20):
            self.parent_at_5_percent = resident_bytes()
            self.scheduler_at_5_percent = self.scheduler_bytes()
        if self.done == self.pages:
            self.parent_at_end = resident_bytes()
            self.scheduler_at_end = self.scheduler_bytes()


# --------------------------------------------------------------------------------------------------
# Measuring: everything is read from /proc, and is None or empty where there is none.
# --------------------------------------------------------------------------------------------------


def resident_bytes() -> int | None:
    """Resident memory of this process now."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def peak_resident_bytes() -> int | None:
    """The most resident memory this process ever had."""
    with contextlib.suppress(OSError), open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def process_bytes(pid: int) -> int:
    """Memory of a process, pages that it shares with others counted in part; 0 if it is gone."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        for line in file:
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def parents() -> dict[int, int]:
    """Each living process of the machine, and its parent."""
    found = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
                if state != b"Z":
                    found[int(name)] = int(parent)
    return found


def descendants(server: int) -> set[int]:
    """All processes below this one, the web server left out."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    todo = [os.getpid()]
    while todo:
        below = [pid for pid in children.get(todo.pop(), ()) if pid != server]
        found.update(below)
        todo += below
    return found


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def has_mark(pid: int, mark: bytes) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return mark in file.read().split(b"\0")
    return False


def left_behind(server: int, mark: str) -> list[str]:
    """Processes of the run that are still there, also those that have lost their parent.

    One resource tracker of each kind (multiprocessing's and loky's) lives as long as the interpreter
    and is not counted. A process that is just ending has a second to do so.
    """
    deadline = time.monotonic() + 1
    while True:
        marked = {pid for pid in parents() if pid != os.getpid() and has_mark(pid, f"{MARK}={mark}".encode())}
        found, trackers = [], set()
        for pid in sorted(descendants(server) | marked - {server}):
            command = command_line(pid)
            if "resource_tracker" in command and ("loky" in command) not in trackers:
                trackers.add("loky" in command)
            elif command:
                found.append(f"{pid} {command}"[:160])
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


class Monitor:
    """Measures once a second in a thread of its own, and says on standard error how far the run is.

    On a terminal one line is rewritten; elsewhere a line is written every five seconds.
    """

    def __init__(self, run: Run, executor: Executor, label: str, server: int) -> None:
        self.run = run
        self.executor = executor
        self.label = label
        self.server = server
        self.live = sys.stderr.isatty()
        self.started = time.monotonic()
        self.most_unfinished = 0
        self.tree_peak: int | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="monitor", daemon=True)

    def __enter__(self) -> Monitor:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()
        if self.live:
            print(file=sys.stderr)

    def levels(self) -> tuple[int, int | None]:
        """Unfinished tasks now, and children replaced so far (``None``: this executor does not say)."""
        if hasattr(self.executor, "stats"):
            stats = self.executor.stats()
            return stats.unfinished, stats.children_replaced if stats.children_started else None
        return self.run.produced - self.run.done, None

    def _loop(self) -> None:
        turn = 0
        while not self._stop.wait(1.0):
            turn += 1
            unfinished, replaced = self.levels()
            self.most_unfinished = max(self.most_unfinished, unfinished)
            if (parent := resident_bytes()) is not None:
                tree = sum(process_bytes(pid) for pid in {os.getpid(), *descendants(self.server)})
                self.tree_peak = max(self.tree_peak or 0, tree)
            if self.live or turn % 5 == 0:
                rate = self.run.done / (time.monotonic() - self.started)
                self._say(
                    f"{self.label}: {self.run.done:,} of {self.run.pages:,} pages, {rate:,.0f} a second, "
                    f"{unfinished:,} unfinished, parent {megabytes(parent)}, "
                    f"{count(replaced)} children replaced"
                )

    def _say(self, text: str) -> None:
        if self.live:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)


# --------------------------------------------------------------------------------------------------
# The summary.
# --------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Summary:
    """What one crawl came to; memory in bytes."""

    executor: str
    pages: int
    seconds: float
    right: int
    missing: int
    doubled: int
    wrong: int
    failed: int
    first_error: str
    most_unfinished: int
    children_replaced: int | None
    parent_at_start: int | None
    parent_at_5_percent: int | None
    parent_at_end: int | None
    parent_peak: int | None
    tree_peak: int | None
    scheduler_at_5_percent: int | None
    scheduler_at_end: int | None
    scheduler_is_own: bool
    left_behind: list[str]

    @property
    def growth(self) -> int | None:
        if self.parent_at_end is None or self.parent_at_5_percent is None:
            return None
        return self.parent_at_end - self.parent_at_5_percent

    @property
    def scheduler_growth(self) -> int | None:
        if self.scheduler_at_end is None or self.scheduler_at_5_percent is None:
            return None
        return self.scheduler_at_end - self.scheduler_at_5_percent

    @property
    def bad(self) -> str:
        """How many pages are not right, by kind."""
        kinds = ("missing", "doubled", "wrong", "failed")
        return ", ".join(f"{value:,} {kind}" for kind in kinds if (value := getattr(self, kind))) or "none"

    def faults(self) -> list[str]:
        """What is wrong, in words; empty if nothing is."""
        found = []
        if self.right != self.pages or self.wrong or self.failed:
            found.append(f"pages: {self.bad}")
        if self.first_error:
            found.append(f"first error: {self.first_error}")
        if self.growth is not None and self.growth > MAX_GROWTH:
            found.append(f"the parent grew by {megabytes(self.growth)}, more than {megabytes(MAX_GROWTH)}")
        # Others may give work to one that was there before.
        more = self.scheduler_growth if self.scheduler_is_own else None
        limit = MAX_GROWTH + self.pages * SCHEDULER_BYTES
        if more is not None and more > limit:
            found.append(f"the scheduler grew by {megabytes(more)}, more than {megabytes(limit)}")
        found += [f"left behind: process {line}" for line in self.left_behind]
        return found


def count(value: int | None) -> str:
    return "no" if value is None else f"{value:,}"


def megabytes(value: int | None) -> str:
    return "unknown" if value is None else f"{value / MB:,.1f} MB"


def print_summaries(summaries: list[Summary]) -> None:
    rows: list[tuple[str, Callable[[Summary], str]]] = [
        ("executor", lambda s: s.executor),
        ("pages back exactly once, and right", lambda s: f"{s.right:,} of {s.pages:,}"),
        ("pages not right", lambda s: s.bad),
        ("time", lambda s: f"{s.seconds:,.1f} s"),
        ("pages a second", lambda s: f"{s.pages / s.seconds:,.0f}"),
        ("most tasks unfinished (seen each second)", lambda s: f"{s.most_unfinished:,}"),
        ("children replaced", lambda s: count(s.children_replaced)),
        ("parent's memory at the start", lambda s: megabytes(s.parent_at_start)),
        ("... at 5 % of the run", lambda s: megabytes(s.parent_at_5_percent)),
        ("... at the end", lambda s: megabytes(s.parent_at_end)),
        ("... the difference of these two", lambda s: megabytes(s.growth)),
        ("... at its peak", lambda s: megabytes(s.parent_peak)),
        ("all processes at their peak, server aside", lambda s: megabytes(s.tree_peak)),
        ("processes left behind", lambda s: f"{len(s.left_behind)}"),
    ]
    if any(summary.scheduler_at_end for summary in summaries):
        rows[-1:-1] = [
            ("the scheduler's memory at 5 % of the run", lambda s: megabytes(s.scheduler_at_5_percent)),
            ("... at the end", lambda s: megabytes(s.scheduler_at_end)),
        ]
    for label, value in rows:
        print(f"{label:<42}", *(f"{value(summary):>28}" for summary in summaries))


def bounded(args: argparse.Namespace) -> Any:
    # Imported here so that the run it is compared with does not carry the package in its memory.
    from bounded_executor import BoundedExecutor, BoundedProcessPoolExecutor

    if args.cluster:
        return BoundedExecutor.for_dask(args.cluster, queue_size=args.queue_size)
    return BoundedProcessPoolExecutor(
        max_workers=args.workers,
        max_tasks_per_child=args.max_tasks_per_child,
        queue_size=args.queue_size,
        idle_timeout=0,  # or else clean workers stay warm for a while, and would count as left behind
    )


def crawl(args: argparse.Namespace, kind: str) -> Summary:
    """Crawl all pages with one kind of executor."""
    mark = os.environ[MARK] = f"{os.getpid()}-{time.time_ns()}"
    with contextlib.ExitStack() as stack:
        remote = bool(args.cluster) and args.cluster != "local"
        base, server = stack.enter_context(web_server(own_address(args.cluster) if remote else "127.0.0.1"))
        with cluster(args) as scheduler_bytes:
            run = Run(args.pages, scheduler_bytes)
            executor = bounded(args) if kind == "bounded" else ProcessPoolExecutor(args.workers)
            monitor = Monitor(run, executor, kind, server)
            with monitor, executor:
                feed = map_all if kind == "bounded" and args.use == "map" else submit_all
                feed(executor, page_urls(base, run), run)
            seconds = time.monotonic() - monitor.started
        _, replaced = monitor.levels()
        return Summary(
            executor=type(executor).__name__,
            pages=run.pages,
            seconds=seconds,
            right=run.seen.count(1),
            missing=run.seen.count(0),
            doubled=run.pages - run.seen.count(0) - run.seen.count(1),
            wrong=run.wrong,
            failed=run.failed,
            first_error=run.first_error,
            most_unfinished=monitor.most_unfinished,
            children_replaced=replaced,
            parent_at_start=run.parent_at_start,
            parent_at_5_percent=run.parent_at_5_percent,
            parent_at_end=run.parent_at_end,
            parent_peak=peak_resident_bytes(),
            tree_peak=monitor.tree_peak,
            scheduler_at_5_percent=run.scheduler_at_5_percent,
            scheduler_at_end=run.scheduler_at_end,
            scheduler_is_own=not remote,
            left_behind=left_behind(server, mark),
        )


def crawl_in_a_fresh_interpreter(args: argparse.Namespace, kind: str) -> Summary | str:
    """The same in a process of its own, so that neither run is measured with the other's memory.

    Gives a sentence instead of a summary when that process did not live to tell.
    """
    command = [sys.executable, os.path.abspath(__file__), "--only", kind]
    command += ["--pages", str(args.pages), "--workers", str(args.workers)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode == 0:
        return Summary(**json.loads(done.stdout))
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
    return f"The {kind} run ended early, by {how}."


def arguments() -> argparse.Namespace:
    def positive(text: str) -> int:
        value = int(text)
        if value < 1:
            raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
        return value

    parser = argparse.ArgumentParser(
        description="Crawl a local web site in bounded memory.",
    )
    add = parser.add_argument
    add("--pages", type=positive, default=2000, help="pages to crawl (default: %(default)s)")
    add("--workers", type=positive, help="worker processes; on a local cluster, threads (default: 20)")
    add("--queue-size", type=positive, default=120, help="most unfinished tasks (default: %(default)s)")
    add("--max-tasks-per-child", type=positive, help="tasks until a process is replaced (default: 2)")
    add("--use", choices=["submit", "map"], default="submit", help="what feeds it (default: %(default)s)")
    add("--compare", choices=["unbounded"], help="crawl again with ProcessPoolExecutor.submit")
    add("--cluster", metavar="ADDRESS", help="crawl on this Dask cluster, or on one that is started: local")
    add("--serve", metavar="HOST", help=argparse.SUPPRESS)
    add("--only", choices=["bounded", "unbounded"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cluster and args.max_tasks_per_child:
        parser.error("--max-tasks-per-child: a cluster's workers are replaced by dask worker --lifetime")
    if args.cluster and args.compare:
        parser.error("--compare: it would compare a cluster with processes of this machine")
    if args.cluster and args.cluster != "local":
        if args.workers:
            parser.error("--workers: a cluster that is there has the workers that it has")
        if not re.fullmatch(r"\w+://[^/:]+:\d+", args.cluster):
            parser.error(f"--cluster: must be local, or like tcp://HOST:PORT, not {args.cluster}")
    args.workers = args.workers or 20
    args.max_tasks_per_child = args.max_tasks_per_child or 2
    return args


def main() -> int:
    args = arguments()
    if args.serve:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the crawl; the server ends after it
        asyncio.run(serve(args.serve))
    if args.only:
        print(json.dumps(dataclasses.asdict(crawl(args, args.only))))
        return 0
    summary = crawl(args, "bounded")
    other = crawl_in_a_fresh_interpreter(args, args.compare) if args.compare else None
    print_summaries([summary, other] if isinstance(other, Summary) else [summary])
    if isinstance(other, str):
        print(other)
    for fault in summary.faults():
        print(f"WRONG: {fault}")
    return 1 if summary.faults() else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
