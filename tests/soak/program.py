"""One program of the soak: one executor after the other, each for some seconds, each looked at in the end.

A third of the executors run without any injected fault: there nothing may be lost, and nothing begins twice.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import jobs
import tasks
from coroutines import CoroutineProducer
from endings import LateImport
from helpers import marked_processes
from injector import Injector
from interrupts import Interrupts, MainProducer
from producers import Producer, Scene
from runlog import RunLog
from tally import Tally
from watchdog import HUNG_SECONDS, Watchdog

from bounded_executor import BoundedProcessPoolExecutor

MARK = "BOUNDED_EXECUTOR_SOAK"
ROUND_SECONDS = 12.0
REPORT_SECONDS = 5.0
COLLECT_SECONDS = 0.5
# What may be left out, to look for one fault at a time.
EXTRAS = ("faults", "interrupts", "imports", "coroutines")
# After an executor's end; a thread that was interrupted in ``Thread.join`` may take it for ended too early.
SETTLE_SECONDS = 10.0
# What must be zero then.
LEVELS = ("unfinished", "waiting", "running", "held_bytes", "undelivered", "children")
USES = ("bursts", "nowait", "cancels", "callbacks", "ordered", "unordered")


class Program:
    """What one program counts, and how it reports that: a line of JSON every few seconds, and a last one.

    Args:
        seed: decides all that is drawn.
        without: those of ``EXTRAS`` that are left out.
    """

    def __init__(self, seed: int, without: list[str]) -> None:
        self.draw = random.Random(seed)
        self.without = without
        self.tally = Tally()
        self.watchdog = Watchdog(self.tally, self.end)
        self.memory: list[int] = []
        self._mark = os.environ[MARK] = uuid.uuid4().hex
        self._folders: list[str] = []
        self._ending = threading.Lock()
        # Processes that end are what this is about; the executor's own failures are told all the same.
        logging.getLogger("bounded_executor").setLevel(logging.CRITICAL)
        sys.unraisablehook = self._on_unraisable
        threading.excepthook = self._on_thread_error
        for act in (self._report, self._collect):
            threading.Thread(target=act, name=act.__name__, daemon=True).start()

    def folder(self) -> str:
        """Return a new folder that only this user can read, and that is removed in the end."""
        self._folders.append(tempfile.mkdtemp(prefix="soak-"))
        return self._folders[-1]

    def end(self) -> NoReturn:
        """Report for the last time and end: threads that hang must not keep the program from it."""
        self._ending.acquire()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        hung = self.tally["hung"]
        # What runs still after a hang is ended by the kernel, with this program.
        left = [] if hung else left_behind(self._mark)
        for line in left:
            self.tally.complain("left", line)
        self._print(done=True)
        os._exit(1 if self.tally.bad or left else 0)

    def _report(self) -> None:
        while True:
            time.sleep(REPORT_SECONDS)
            self._print(done=False)

    def _collect(self) -> None:
        """Give back the slots of coroutines that closed event loops have left behind: the collector does."""
        while True:
            time.sleep(COLLECT_SECONDS)
            gc.collect()

    def _print(self, *, done: bool) -> None:
        first, last = (self.memory[0], self.memory[-1]) if self.memory else (0, 0)
        state = {**self.tally.state(), "first": first, "last": last, "now": resident_bytes(), "done": done}
        os.write(1, json.dumps(state).encode() + b"\n")

    def _on_unraisable(self, args: Any) -> None:
        self.tally.add(f"ignored {args.exc_type.__name__}")

    def _on_thread_error(self, args: Any) -> None:
        self.tally.complain("wrong", f"a thread, {args.thread}, failed with {args.exc_value!r}")
        threading.__excepthook__(args)


def run(minutes: float, seed: int, without: list[str]) -> NoReturn:
    """Run for so many minutes.

    Args:
        minutes: how long.
        seed: decides all that is drawn.
        without: those of ``EXTRAS`` that are left out.
    """
    program = Program(seed, without)
    end = time.monotonic() + 60 * minutes
    folder = program.folder()
    # Modules that tests write are imported from there; executors take the path over.
    sys.path.append(folder)
    first = 1
    while not program.tally["hung"] and (time.monotonic() < end or not program.memory):
        seconds = min(ROUND_SECONDS, max(1.0, end - time.monotonic()))
        first = run_round(program, folder, first, seconds)
        # From the first round on, what is imported and allocated once is there.
        program.memory.append(resident_bytes())
    program.end()


def settings(draw: random.Random, quiet: bool) -> dict[str, Any]:
    """Return the settings of one executor.

    Args:
        draw: decides.
        quiet: no faults are going to be injected.
    """
    chosen = {
        "max_workers": draw.randint(2, 4),
        "queue_size": draw.choice((2, 3, 20, 100, None)),
        "queue_bytes": draw.choice((None, 64 * jobs.MB, jobs.MB, jobs.MB // 10)),
        "max_tasks_per_child": draw.choice((None, None, 1, 20, 200)),
        "initializer": draw.choice((None, None, tasks.initialize)),
        "task_retries": 0 if quiet else draw.choice((0, 1, 3)),
        "idle_timeout": draw.choice((0, 10)),
    }
    if chosen["max_tasks_per_child"]:
        chosen["max_tasks_jitter"] = draw.choice((0, 5))
    # With a limit of time or memory, workers are given nothing ahead, or keep no results.
    if draw.random() < 0.5:
        chosen["task_timeout"] = jobs.TASK_TIMEOUT
    if draw.random() < 0.4:
        chosen["max_memory_hard"] = jobs.MEMORY_LIMIT
        chosen["max_memory_per_child"] = draw.choice((None, jobs.SOFT_LIMIT))
    return chosen


def run_round(program: Program, folder: str, first: int, seconds: float) -> int:
    """Use one executor for some time, end it, and look whether it has lost anything.

    Args:
        program: what is drawn and counted.
        folder: for files.
        first: the first number that no task has had.
        seconds: how long to use it.

    Returns:
        The first number that no task has had after that.
    """
    draw, tally = program.draw, program.tally
    quiet = draw.random() < 1 / 3 or "faults" in program.without
    chosen = settings(draw, quiet)
    interrupted = draw.random() < 0.5 and "interrupts" not in program.without
    under_way = draw.random() < 0.4
    # With an initializer a supervisor imports nothing.
    imports = draw.random() < 0.3 and not under_way and chosen["initializer"] is None
    imports = imports and "imports" not in program.without
    what = describe(chosen, quiet=quiet, interrupted=interrupted, under_way=under_way, imports=imports)
    log = RunLog(folder, first)
    ex = BoundedProcessPoolExecutor(**chosen)

    def over(act: str, seconds: float = 2 * HUNG_SECONDS) -> Any:
        return program.watchdog.over(act, seconds, lambda: f"{what}: {levels(ex)}")

    scene = Scene(ex, tally, log, threading.Event(), rare_kinds(chosen), not under_way, most_items(chosen))
    before = {name: tally[name] for name in ("killed by a fault", "late by a fault")}
    if interrupted:
        # An executor whose start is interrupted is broken, and says so.
        with over("a first task"):
            number = jobs.pack(log.ident(), "int")
            assert ex.submit(jobs.item, number).result() == jobs.answer(number)
    producers: list[Producer] = [Producer(use, scene, random.Random(draw.random())) for use in USES]
    if "coroutines" not in program.without:
        producers.append(CoroutineProducer("coroutines", scene, random.Random(draw.random())))
    injector = Injector(ex, chosen["max_workers"], random.Random(draw.random()), tally)
    if not quiet:
        producers.append(Producer("rare", scene, random.Random(draw.random())))
        injector.start()
    for producer in producers:
        producer.start()
    with Interrupts(random.Random(draw.random()), tally) as interrupts:
        main_stop = threading.Event()
        own = MainProducer(replace(scene, stop=main_stop), random.Random(draw.random()), interrupts)
        timer = threading.Timer(seconds, main_stop.set)
        timer.daemon = True
        timer.start()
        with over("the main thread", seconds + 2 * HUNG_SECONDS):
            if interrupted:
                own.run()
            main_stop.wait()
        if not quiet:
            with over("the injector"):
                injector.stop()
        shut_down = own.shut_down if interrupted else ex.shutdown
        if under_way:
            # The threads are in the middle of it and get an error.
            with over("a shutdown under way"):
                shut_down()
        scene.stop.set()
        for producer in producers:
            with over(producer.name):
                producer.join()
        if imports:
            drop_all(ex)
            ending = LateImport(
                replace(scene, stop=threading.Event()),
                random.Random(draw.random()),
                folder,
                "task_timeout" in chosen,
            )
            ending.start()
            with over("a slow import"):
                ending.ready.wait()
        else:
            drop_all(ex)
            if not under_way:
                alone = Producer(
                    "alone", replace(scene, stop=threading.Event()), random.Random(draw.random())
                )
                alone.start()
                with over("a map alone"):
                    alone.join()
        with over("a shutdown"):
            shut_down()
            if imports:
                ending.join()
    check_end(ex, tally, what)
    cost, stops = (injector.cost, injector.stops) if not quiet else (0, 0)
    for name, most in (("killed by a fault", cost), ("late by a fault", stops)):
        losses = tally[name] - before[name]
        if losses > most:
            tally.complain("lost", f"{losses} tasks {name}, {most} can be explained, {what}", losses - most)
    check_runs(ex, tally, log, what)
    log.close()
    return log.next


def drop_all(ex: Any) -> None:
    """Have the collector find what was dropped, while the executor is there that is told of it."""
    deadline = time.monotonic() + SETTLE_SECONDS
    # What runs holds the coroutine that waits for it, also where its event loop was closed.
    while (stats := ex.stats()).unfinished or stats.undelivered:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    gc.collect()


def most_items(chosen: dict[str, Any]) -> int:
    """Return how long a part of a map may be: some seconds, also where each item takes a new process."""
    return 20 if chosen["max_tasks_per_child"] == 1 else 400


def rare_kinds(chosen: dict[str, Any]) -> tuple[str, ...]:
    """Return what tasks may do at times under these settings."""
    kinds = jobs.RARE
    if "task_timeout" in chosen:
        kinds += ("hang",)
    if "max_memory_hard" in chosen:
        kinds += ("memory", "leak")
    return kinds


def levels(ex: Any) -> dict[str, int]:
    """Return what an executor holds, and how many tasks it has neither ended nor holds as unfinished."""
    stats = ex.stats()
    held = {name: getattr(stats, name) for name in LEVELS}
    held["unaccounted for"] = stats.submitted - stats.finished - stats.unfinished
    return {name: count for name, count in held.items() if count}


def check_end(ex: Any, tally: Tally, what: str) -> None:
    """Look whether an executor that has ended holds anything still."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        held = levels(ex)
        if not held or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    stats = ex.stats()
    tally.add("rounds")
    for name in ("submitted", "retried", "timed_out"):
        tally.add(name.replace("_", " "), getattr(stats, name))
    tally.add("replaced", stats.children_replaced)
    if held:
        tally.complain("leaked", f"{held} at the end of an executor, {stats.submitted} submitted, {what}")


def check_runs(ex: Any, tally: Tally, log: RunLog, what: str) -> None:
    """Look how often tasks have begun: once, and once more for each retry."""
    stats = ex.stats()
    runs = log.runs()
    again = {number: count for number, count in runs.items() if count > 1}
    excess = sum(again.values()) - len(again)
    # Also with faults: a task that a killed process had begun fails, unless it is retried.
    if excess > stats.retried:
        shown = {int(number): log.pids(number) for number in list(again)[:3]}
        tally.complain(
            "twice",
            f"{excess} runs too many, {stats.retried} retries, {what}; first ones by process: {shown}",
            excess - stats.retried,
        )
    if len(runs) < stats.succeeded:
        tally.complain("wrong", f"{stats.succeeded} tasks have returned, {len(runs)} have begun, {what}")


def describe(chosen: dict[str, Any], **flags: bool) -> str:
    """Return in short what kind of executor it was."""
    words = [name for name, value in flags.items() if value]
    words += [f"{name}={getattr(value, '__name__', value)}" for name, value in chosen.items()]
    return ", ".join(words)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def left_behind(mark: str) -> list[str]:
    """Return what runs still, except clean idle processes for as long as they may stay."""
    deadline = time.monotonic() + 15
    while True:
        found = []
        for pid in marked_processes(MARK, mark):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if "resource_tracker" not in command:
                found.append(f"{pid} {command:.120}")
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)
