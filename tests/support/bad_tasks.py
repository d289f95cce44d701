"""Tasks that end, hang or spoil their process; what ``tasks`` is for the others."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing.reduction import DupFd
from typing import Any, NoReturn

from tasks import await_file, fail, kill_self, mark, marks, nap, note, notes, state

from bounded_executor._ipc.crash_report import STACK_SIGNAL

# Ways to die.


def abort() -> NoReturn:
    os.abort()


def segfault() -> NoReturn:
    ctypes.string_at(0)
    raise AssertionError("survived")


def close_everything() -> NoReturn:
    os.closerange(0, 10_000)
    time.sleep(60)
    raise AssertionError("survived")


def kill_parent() -> NoReturn:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
    raise AssertionError("survived")


def kill_parent_until(path: str, times: int, value: Any) -> Any:
    """Kill the supervisor in the first so many runs."""
    mark(path)
    if marks(path) <= times:
        kill_parent()
    return value


def release_a_copy_and_die(pipe: str, pid: int) -> NoReturn:
    """Have ``tasks.fork_and_fail_later``'s copy end first."""
    with open(pipe, "w"):
        os.waitpid(pid, 0)
    kill_self()


def note_take_memory_and_die(path: str, size: int) -> NoReturn:
    note(path, os.getpid())
    data = b"x" * size
    kill_self()
    raise AssertionError(f"survived with {len(data)} bytes")


def nap_and_die(seconds: float) -> NoReturn:
    time.sleep(seconds)
    kill_self()


def note_and_die_after(path: str, go: str) -> NoReturn:
    note(path, os.getpid())
    await_file(go)
    kill_self()


def die_until(path: str, times: int, value: Any) -> Any:
    """Die in the first so many runs, whatever process they are in."""
    mark(path)
    if marks(path) <= times:
        kill_self()
    return value


def die_until_then_hold(path: str, times: int, gate: Any) -> Any:
    die_until(path, times, None)
    return gate.hold("held")


def die_once_at(path: str, value: int, bad: int) -> int:
    first = str(value) not in notes(path)
    note(path, value)
    if value == bad and first:
        kill_self()
    return value


def mark_and_fail(path: str) -> NoReturn:
    mark(path)
    fail()


def say_and_segfault(words: str) -> NoReturn:
    print(f"{words} words", file=sys.stderr, flush=True)
    segfault()


def say_and_die_until(path: str, times: int) -> None:
    """An initializer that dies in the first so many processes."""
    print("starting", file=sys.stderr, flush=True)
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        mark(path)
        dies = marks(path) <= times
    if dies:
        kill_self()


def take_a_life(path: str) -> None:
    """An initializer that dies, and makes a file one byte shorter, until it is empty."""
    with open(path, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        left = os.path.getsize(path)
        file.truncate(max(0, left - 1))
    if left:
        kill_self()


def note_pid_and_hold_after(path: str, count: int, go: str) -> None:
    """An initializer that does not hold the first so many processes."""
    note(path, os.getpid())
    if str(os.getpid()) not in notes(path)[:count]:
        await_file(go)


def stop_the_others_and_die(path: str, pids: str) -> NoReturn:
    """Die, and the first time stop all other processes that have noted themselves."""
    if not marks(path):
        for pid in map(int, notes(pids)):
            if pid != os.getpid():
                os.kill(pid, signal.SIGSTOP)
    mark(path)
    kill_self()


def die_once_then_be_one_of(folder: str, number: int, seconds: float) -> int:
    """Die the first time, and then return how many tasks were at this when this one began."""
    mark(f"{folder}/runs-{number}")
    if marks(f"{folder}/runs-{number}") == 1:
        kill_self()
    mark(f"{folder}/busy-{number}")
    busy = sum(name.startswith("busy") for name in os.listdir(folder))
    nap(seconds)
    os.remove(f"{folder}/busy-{number}")
    return busy


class ExitWhenUnpickled:
    def __reduce__(self) -> Any:
        return os._exit, (7,)


# Ways to hang.


def inner(seconds: float) -> None:
    nap(seconds)


def outer(seconds: float) -> None:
    inner(seconds)


def join_a_thread_that_naps(seconds: float) -> None:
    thread = threading.Thread(target=nap, args=(seconds,), daemon=True)
    thread.start()
    thread.join()


def stop_self() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)


def hold_on_to_life() -> None:
    """Block every signal that can be."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    time.sleep(60)


def close_all_but_the_connection() -> None:
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        try:
            if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.close(fd)
        except OSError:
            continue
    time.sleep(60)


class SlowToUnpickle:
    def __reduce__(self) -> Any:
        return nap, (60,)


class SlowToPickle:
    def __reduce__(self) -> Any:
        nap(60)
        return nap, (0,)


def run_program(variable: str, value: str) -> None:
    """Start a program that is found by a variable in its environment, and wait for it."""
    subprocess.run(["sleep", "60"], env={**os.environ, variable: value}, check=True)


def hang_until(path: str, times: int, value: Any) -> Any:
    mark(path)
    if marks(path) <= times:
        time.sleep(60)
    return value


class Inherited:
    """A file descriptor, as an argument of an initializer."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __reduce__(self) -> Any:
        return _adopt, (DupFd(self.fd),)


def _adopt(duplicate: Any) -> Inherited:
    return Inherited(duplicate.detach())


def write_to_all_inherited() -> int:
    """Write a byte to everything that ``tasks.initialize`` was given; returns how many there are."""
    for inherited in state["initialized"]:
        os.write(inherited.fd, b"x")
    return len(state["initialized"])


def print_to(inherited: Inherited) -> None:
    os.dup2(inherited.fd, 1)


def print_without_end() -> NoReturn:
    while True:
        print("and on", flush=True)


# What no task should do.


def leave_grandchild(go: str) -> int:
    pid = os.fork()
    if not pid:
        await_file(go)
        os._exit(0)
    return pid


def leave_grandchild_and_die(path: str) -> NoReturn:
    pid = os.fork()
    if not pid:
        time.sleep(60)
        os._exit(0)
    note(path, pid)
    kill_self()


def sleep_for_ever() -> None:
    time.sleep(1000)


def ignore_all_signals() -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            continue


def close_standard_streams() -> None:
    for fd in (0, 1, 2):
        os.close(fd)


def change_its_group() -> None:
    os.setsid()


def recurse() -> None:
    recurse()


def forbid_more_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


def change_directory_to_one_that_goes() -> None:
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)


def start_thread_that_raises() -> None:
    threading.excepthook = lambda _: None
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


def signal_group(number: int) -> NoReturn:
    os.killpg(0, number)
    time.sleep(60)
    raise AssertionError("survived")


def note_pid_and_stop(path: str) -> None:
    note(path, os.getpid())
    stop_self()


def say_lines(number: int) -> int:
    for _ in range(10_000):
        print(f"line of {number}")
    return number


def raise_late(number: int) -> int:
    """Raise between two lines of the executor's own code, as the handler of a timer that was left does."""
    from bounded_executor._worker import result_buffer

    clock = result_buffer.perf_counter

    def raise_once() -> float:
        result_buffer.perf_counter = clock
        raise TimeoutError("late")

    result_buffer.perf_counter = raise_once
    return number


def note_and_be_late_once(log: str, number: int, late: int, seconds: float) -> int:
    """Take too long in one run, deaf to the signal that asks for the stack, and return all the same."""
    note(log, number)
    if number == late:
        signal.pthread_sigmask(signal.SIG_BLOCK, {STACK_SIGNAL})
        time.sleep(seconds)
    return number
