"""The options of the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from .console import PROGRAM

__all__ = ["executor_parameters", "parse_arguments"]

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        try:
            from .. import __version__ as version
        except ImportError:
            version = "of an unknown version, since it is not installed"
        print(PROGRAM, version)
        parser.exit(0)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help lists the options)\n")


def _count(least: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {text!r}")
        return value

    return convert


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not value > 0:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, got {text!r}")
    return value


def _size(text: str) -> int:
    number = text.strip().upper().removesuffix("IB").removesuffix("B")
    unit = number[-1:] if number[-1:] in _UNITS else ""
    try:
        value = int(float(number.removesuffix(unit)) * _UNITS[unit])
    except (ValueError, OverflowError):
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a number of bytes, such as 500M or 2G, got {text!r}")
    return value


def _size_or_none(text: str) -> int | None:
    return None if text == "none" else _size(text)


def _size_or_auto(text: str) -> int | str:
    return text if text == "auto" else _size(text)


def _add_executor_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("processes and bounds (sizes in bytes, or as 500M, 2G)")
    group.add_argument("--workers", type=_count(1), metavar="N", help="tasks at once (default: the CPUs)")
    group.add_argument(
        "--queue-size",
        type=_count(1),
        metavar="N",
        help="inputs read and not yet written (default: max(6 * workers, 512))",
    )
    group.add_argument(
        "--queue-bytes",
        type=_size_or_none,
        default=64 * 2**20,
        metavar="SIZE",
        help="what waiting calls may weigh together, or none (default: 64M)",
    )
    group.add_argument(
        "--max-tasks-per-child", type=_count(1), metavar="N", help="tasks before a process is replaced"
    )
    group.add_argument(
        "--max-tasks-jitter",
        type=_count(0),
        default=0,
        metavar="N",
        help="random tasks more than that, up to N",
    )
    group.add_argument(
        "--max-memory-per-child", type=_size, metavar="SIZE", help="replace a process with more"
    )
    group.add_argument(
        "--max-memory-hard", type=_size, metavar="SIZE", help="ceiling for a running task's data"
    )
    group.add_argument(
        "--max-memory-total", type=_size_or_auto, metavar="SIZE", help="for all processes together, or auto"
    )
    group.add_argument(
        "--task-timeout", type=_seconds, metavar="SECONDS", help="kill a task that runs longer"
    )
    group.add_argument(
        "--retries",
        type=_count(0),
        default=0,
        metavar="N",
        help="run a task again whose process died or that timed out (default: 0)",
    )
    group.add_argument(
        "--preload",
        action="append",
        default=[],
        metavar="MODULE",
        help="import it once for all processes; repeatable",
    )


_ABOUT_MAP = "Call a function for each line of the input and write one JSON line for each."


def _map_parser() -> argparse.ArgumentParser:
    command = _Parser(
        prog=f"{PROGRAM} map",
        description=_ABOUT_MAP,
        epilog="Exit status: 0 all succeeded, 1 an input failed or the run broke off, "
        "2 bad usage, input or output, 130 interrupted, 141 nothing reads standard output any more, "
        "143 ended by SIGTERM.",
    )
    command.add_argument("function", help="package.module:function; the current directory is looked in too")
    command.add_argument(
        "input", nargs="?", default="-", help="file of inputs, - or nothing for standard input"
    )
    command.add_argument(
        "--json",
        action="store_true",
        help="inputs are JSON lines: an object is keyword arguments, a list positional ones",
    )
    command.add_argument("--output", metavar="FILE", help="file of results (default: standard output)")
    command.add_argument("--unordered", action="store_true", help="write results as they finish")
    command.add_argument("--resume", action="store_true", help="go on with an interrupted run's output file")
    command.add_argument("--overwrite", action="store_true", help="replace an output file that is there")
    command.add_argument("--keep-going", action="store_true", help="do not stop at the first error")
    command.add_argument("--quiet", action="store_true", help="neither progress nor summary, only errors")
    _add_executor_options(command)
    return command


def _check_command(arguments: Sequence[str]) -> None:
    parser = _Parser(
        prog=PROGRAM, description="Run a function over many inputs, in processes, with flat memory."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    parser.add_argument("command", choices=["map"], help=f"map: {_ABOUT_MAP} See map --help.")
    parser.parse_args(arguments)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed arguments; leaves by SystemExit(2) with one line where they are wrong."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _check_command(given[:1])
    parser = _map_parser()
    # Its sub-parsers would not take the input's name behind options.
    options = parser.parse_intermixed_args(given[1:])
    if options.resume and options.output is None:
        parser.error("--resume needs --output, the file of the interrupted run")
    if options.resume and options.overwrite:
        parser.error("--resume and --overwrite exclude each other")
    if options.max_tasks_jitter and options.max_tasks_per_child is None:
        parser.error("--max-tasks-jitter needs --max-tasks-per-child")
    return options


def executor_parameters(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options that the executor's constructor takes, by its names."""
    return {
        "max_workers": options.workers,
        "queue_size": options.queue_size,
        "queue_bytes": options.queue_bytes,
        "max_tasks_per_child": options.max_tasks_per_child,
        "max_tasks_jitter": options.max_tasks_jitter,
        "max_memory_per_child": options.max_memory_per_child,
        "max_memory_hard": options.max_memory_hard,
        "max_memory_total": options.max_memory_total,
        "task_timeout": options.task_timeout,
        "task_retries": options.retries,
        "preload": options.preload,
        # The program ends with its run; nobody would take a kept process over.
        "idle_timeout": 0,
    }
