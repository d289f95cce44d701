"""Starts the command line in processes of its own, with pipes or on a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from helpers import script_environment

COMMAND = [sys.executable, "-W", "error", "-m", "bounded_executor", "map"]


def take_sigint() -> None:
    # A process in the background of a shell without job control ignores it, and so would its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def start(
    *options: object,
    cwd: Path | None = None,
    stdin: Any = subprocess.PIPE,
    stdout: Any = subprocess.PIPE,
    stderr: Any = subprocess.PIPE,
    **extra: str,
) -> subprocess.Popen[str]:
    """Start it, with pipes where nothing else is given; ``extra`` goes into its environment."""
    return subprocess.Popen(
        [*COMMAND, *map(str, options)],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=script_environment(**extra),
        cwd=cwd,
        start_new_session=True,
        preexec_fn=take_sigint,
        text=True,
    )


def run(*options: object, given: str = "", status: int = 0, cwd: Path | None = None) -> tuple[list[Any], str]:
    """Run it to its end; return the lines of its standard output, and its standard error."""
    with start(*options, cwd=cwd) as process:
        try:
            out, err = process.communicate(given, timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode == status, out + err
    assert "Traceback" not in err
    return [json.loads(line) for line in out.splitlines()], err


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def inputs_of(lines: list[Any]) -> list[Any]:
    return [line["input"] for line in lines]


def one_line(err: str) -> str:
    assert err.count("\n") == 1, err
    return err


def on_a_terminal(
    *options: object, status: int = 0, columns: int = 80, seen: Callable[[str], object] = len
) -> str:
    """Run with a terminal as standard error; return what it showed.

    Args:
        status: the exit status that is expected.
        columns: how wide the terminal is.
        seen: called with all that was shown so far, whenever there is more of it.
    """
    ours, theirs = os.openpty()
    shown = b""
    with subprocess.Popen(
        [*COMMAND, *map(str, options)],
        stdin=subprocess.DEVNULL,
        stderr=theirs,
        env=script_environment(TERM="xterm", COLUMNS=str(columns)),
    ) as process:
        os.close(theirs)
        # Reading fails when the last process has closed the other side.
        with suppress(OSError):
            while block := os.read(ours, 4096):
                shown += block
                seen(shown.decode(errors="ignore"))
        os.close(ours)
    assert process.returncode == status, shown
    return shown.decode()
