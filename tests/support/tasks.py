"""Tasks that workers import. No test runs here, and nothing here knows the package's inside."""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import os
import pickle
import resource
import signal
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any, NoReturn

state: dict[str, Any] = {}


def give(value: Any = None) -> Any:
    return value


def double(value: int) -> int:
    return 2 * value


def add(*values: int) -> int:
    return sum(values)


def everything(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


def nap(seconds: float, value: Any = None) -> Any:
    time.sleep(seconds)
    return value


def pid(_: Any = None) -> int:
    return os.getpid()


def identity(_: Any = None) -> tuple[int, str]:
    """Process id and start time: the kernel may give a process id out again."""
    return os.getpid(), Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]


def ancestors(stop: int) -> list[int]:
    """Process ids from this one up to the child of ``stop``."""
    chain = [os.getpid()]
    while True:
        stat = Path(f"/proc/{chain[-1]}/stat").read_text().rpartition(")")[2].split()
        parent = int(stat[1])
        if parent in (stop, 1, 0):
            return chain
        chain.append(parent)


# Files as a memory that outlives a process.


def mark(path: str, value: Any = None) -> Any:
    """Append one byte, which no other process can tear."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"x")
    os.close(fd)
    return value


def marks(path: str) -> int:
    return os.path.getsize(path) if os.path.exists(path) else 0


def note(path: str, value: Any) -> Any:
    with open(path, "a") as file:
        file.write(f"{value}\n")
    return value


def notes(path: str) -> list[str]:
    return Path(path).read_text().split() if os.path.exists(path) else []


def hold_open(gate: Any) -> None:
    """Wait; nothing else calls this, so that no executor knows how long it takes."""
    gate.hold()


def turn_heavy(number: int) -> int | bytes:
    """Return a number, or 50 KB from 3,000 on."""
    return number if number < 3000 else bytes(50_000)


# Errors.


def fail(message: str = "failed") -> NoReturn:
    raise ValueError(message)


def fail_if(value: int, bad: int) -> int:
    if value == bad:
        raise ValueError(f"bad {value}")
    return value


def leave(status: int = 0) -> NoReturn:
    sys.exit(status)


def interrupt() -> NoReturn:
    raise KeyboardInterrupt("from the task")


def kill_self(number: int = signal.SIGKILL) -> NoReturn:
    os.kill(os.getpid(), number)
    time.sleep(60)
    raise AssertionError("survived")


def hard_exit(status: int) -> NoReturn:
    os._exit(status)


def kill_if(value: int, bad: int) -> int:
    if value == bad:
        kill_self()
    return value


def fork_and_return(value: Any) -> Any:
    """Return in the process and in a copy of it."""
    os.fork()
    return value


def _refuse(message: str) -> NoReturn:
    raise ArithmeticError(message)


class NoPickle:
    def __reduce__(self) -> NoReturn:
        raise ArithmeticError("refuses to pickle")


class NoUnpickle:
    def __reduce__(self) -> Any:
        return _refuse, ("refuses to unpickle",)


class NoPickleError(Exception):
    def __reduce__(self) -> NoReturn:
        raise ArithmeticError("refuses to pickle")


class NoUnpickleError(Exception):
    def __reduce__(self) -> Any:
        return _refuse, ("refuses to unpickle",)


class TwoArgumentsError(Exception):
    """The common mistake: ``args`` does not fit ``__init__``."""

    def __init__(self, left: int, right: int) -> None:
        super().__init__(f"{left} {right}")


class ExitOnUnpickle:
    def __reduce__(self) -> Any:
        return sys.exit, (3,)


def make(name: str) -> Any:
    """Return an object of a class of this module, made in the worker."""
    return globals()[name]()


def throw(name: str, *args: Any) -> NoReturn:
    """Raise an exception of a class of this module."""
    raise globals()[name](*args)


class Tracked:
    """Can be referred to weakly and travels."""

    def __init__(self, value: Any = None) -> None:
        self.value = value


def tracked(_: Any = None) -> Tracked:
    return Tracked()


# Surroundings.


def surroundings(variable: str) -> dict[str, Any]:
    mask = os.umask(0)
    os.umask(mask)
    return {
        "variable": os.environ.get(variable),
        "directory": os.getcwd(),
        "path": list(sys.path),
        "umask": mask,
        "state": dict(state),
    }


def spoil(variable: str, directory: str) -> None:
    """Change whatever a task can change about its process."""
    os.environ[variable] = "spoiled"
    os.chdir(directory)
    sys.path.insert(0, "/spoiled")
    os.umask(0o777)
    state["spoiled"] = True


def imported_value(module: str) -> Any:
    return __import__(module).VALUE


def is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def sigint_is_default() -> bool:
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler


def loop_result(value: Any) -> Any:
    async def answer() -> Any:
        await asyncio.sleep(0)
        return value

    return asyncio.run(answer())


# Initializers.


def initialize(*values: Any) -> None:
    state["initialized"] = values
    state["by"] = os.getpid()


def initialized() -> tuple[Any, bool]:
    return state.get("initialized"), state.get("by") == os.getpid()


def initialize_with_mark(path: str) -> None:
    mark(path)
    initialize(path)


def fail_initializer(message: str = "no start") -> NoReturn:
    raise LookupError(message)


def fail_initializer_unless(path: str) -> None:
    if not os.path.exists(path):
        raise LookupError("not yet")


def fail_initializer_at_gate(gate: Any) -> NoReturn:
    gate.wait()
    raise LookupError("no start")


def kill_initializer() -> NoReturn:
    kill_self()


# Nested executors.


def nested(count: int) -> list[int]:
    from bounded_executor import BoundedProcessPoolExecutor

    with BoundedProcessPoolExecutor(1, queue_size=2, idle_timeout=0) as executor:
        futures = [executor.submit(double, number) for number in range(count)]
        return [future.result() for future in futures]


def nap_after_mark(path: str, seconds: float) -> None:
    mark(path)
    time.sleep(seconds)


def in_thread(act: Any) -> None:
    threading.Thread(target=act).start()


def await_marks(path: str, count: int) -> None:
    deadline = time.monotonic() + 60
    while marks(path) < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def bytes_of(size: int) -> bytes:
    return bytes(size)


def length(data: bytes, seconds: float = 0.0) -> int:
    time.sleep(seconds)
    return len(data)


def take_memory(size: int, seconds: float, value: Any = None) -> Any:
    """Use so much memory for so long."""
    data = b"x" * size
    time.sleep(seconds)
    del data
    return value


_leak: list[bytes] = []


def leak(size: int) -> int:
    """Keep so much more with every call; returns the process id."""
    _leak.append(b"x" * size)
    return os.getpid()


def memory_error_of(size: int) -> str:
    try:
        b"x" * size
    except MemoryError as error:
        return type(error).__name__
    return "nothing"


def start_threads(count: int) -> int:
    """Return how many threads could run at once."""
    together = threading.Barrier(count + 1)
    threads = [threading.Thread(target=together.wait) for _ in range(count)]
    for thread in threads:
        thread.start()
    together.wait(20)
    for thread in threads:
        thread.join()
    return len(threads)


def has_module(name: str) -> bool:
    return name in sys.modules


def imported(name: str, log: str) -> tuple[bool, int, int]:
    """Whether the module is there already; how often it was imported; the process id."""
    return name in sys.modules, marks(log), os.getpid()


def nest_and_mark_the_end(path: str) -> list[int]:
    """Use an executor in here, and mark the file when this process has come to its own end."""
    # With a negative priority it runs after the processes that this one has started were joined.
    Finalize(None, mark, args=(path,), exitpriority=-1)
    return nested(2)


def lower_data_limit() -> int:
    """Give up the right to have more data than now allowed; returns that limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, soft))
    return soft


def mark_at_exit(path: str) -> None:
    atexit.register(mark, path)


def await_file(path: str) -> None:
    deadline = time.monotonic() + 60
    while not os.path.exists(path):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def note_pid_and_nap(path: str, seconds: float) -> None:
    note(path, os.getpid())
    time.sleep(seconds)


def note_pid_and_hold(path: str, gate: Any, value: Any) -> Any:
    note(path, os.getpid())
    return gate.hold(value)


def note_pid_after(path: str, go: str) -> None:
    note(path, "begun")
    await_file(go)
    note(path, os.getpid())


# Members of a batch: short, unless told to do something.


def member(log: str, number: int, act: Any = None) -> Any:
    """Note the run in one write, and return the number or what ``act`` returns."""
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"%d:%d\n" % (number, os.getpid()))
    os.close(fd)
    return number if act is None else act()


def hold_member(log: str, number: int, gate: Any) -> int:
    """Another function, which has an average of its own."""
    member(log, number)
    return gate.hold(number)


def resident_kb(data: bytes) -> tuple[int, int]:
    """Return what this process has in memory, and how long ``data`` is."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")), len(data)


def keep_results() -> None:
    """Have this process keep results of short tasks for as long as others follow."""
    from bounded_executor._worker import result_buffer

    result_buffer.KEEP_SECONDS = float("inf")


def numbered_identity(number: int) -> tuple[int, tuple[int, str]]:
    return number, identity()


def read_with_the_gil(path: str) -> str:
    """Wait in C for a byte from a pipe, with no thread of Python's running meanwhile."""
    fd = os.open(path, os.O_RDONLY)
    ctypes.PyDLL(None).read(fd, ctypes.create_string_buffer(1), 1)
    os.close(fd)
    return "read"


def stop_once() -> str:
    os.kill(os.getpid(), signal.SIGSTOP)
    return "continued"


def fork_in_c_and_return(value: Any) -> Any:
    """Return in the process, and in a copy of which Python has not heard."""
    ctypes.CDLL(None).fork()
    return value


def fork_and_fail_in_the_copy(value: Any) -> Any:
    """Return in the process, and raise in a copy of it that has ended by then."""
    pid = os.fork()
    if not pid:
        raise ValueError("in the copy")
    os.waitpid(pid, 0)
    return value


def fork_and_fail(message: str) -> NoReturn:
    os.fork()
    raise ValueError(message)


def fork_and_fail_later(pipe: str) -> int:
    """Return the process id of a copy, which raises when somebody opens the pipe."""
    pid = os.fork()
    if not pid:
        with open(pipe):
            raise ValueError("in the copy")
    return pid


class Waits:
    """Waits for a gate when it goes."""

    def __init__(self, gate: Any) -> None:
        self.gate = gate

    def __reduce__(self) -> Any:
        return give, ("left",)

    def __del__(self) -> None:
        self.gate.hold()


@dataclass
class Point:
    x: int
    y: int


class Buffer:
    """Is pickled as arrays are: its data need not be part of the pickle."""

    def __init__(self, data: Any, fails: str = "") -> None:
        if fails:
            self.fails = fails
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        data = pickle.PickleBuffer(self.data) if protocol >= 5 else bytes(self.data)
        return _make_buffer, (data, getattr(self, "fails", ""))


def _make_buffer(data: Any, fails: str) -> Buffer:
    if fails:
        raise ValueError(fails)
    return Buffer(data)


def fill_buffer(buffer: Buffer, value: int) -> int:
    buffer.data[:] = bytes([value]) * len(buffer.data)
    return sum(buffer.data)


def kill_self_with(buffer: Buffer) -> None:
    kill_self()
