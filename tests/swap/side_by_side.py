"""Runs the programs of ``programs/`` in processes of their own, with either executor.

A program is a file, or a folder that is one program with modules. Lines at the top of a file, or of that file
of a folder which begins with ``# run:``, say what a run needs:

``# run: ARGUMENTS``
    What follows ``python``; the file's own name by default. ``-c`` is given the text of the file. An archive
    ``NAME.pyz`` is made of the folder ``NAME``.
``# standard input: itself``
    The text of the file is what the program reads.
``# start methods: METHOD ...``
    Of the standard library's side: ``fork`` by default. The default run takes the first, the slow one all.
``# needs: MODULE ...``
    The test is skipped where one is missing.
``# only ours: REASON``, ``# only ours before 3.N: REASON``
    The standard library cannot run it. The output is compared with the block below ``# prints:``.
``# standard error: REASON``
    Our side may write there. Without it, it must not.
``# also spawned``
    The default run has our side with forking switched off too; the slow one does so with all programs.
``# not spawned: REASON``
    The slow run does not have it with forking switched off.
``# slow: REASON``
    Left out of the default run.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import uuid
import zipapp
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import helpers

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "programs"
SUPPORT = HERE / "support"

# Of one program. It takes a second; only one that hangs takes this long.
SECONDS = 60.0

# After its end, until its last process is gone.
LEAVING_SECONDS = 10.0
MARK = "SWAP_RUN"


class Run(NamedTuple):
    """How one run of a program ended."""

    side: str
    status: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"--- {self.side}: exit status {self.status}\n{self.out}--- standard error\n{self.err}"


class Program:
    """One of the programs, and what its head says of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.stem
        self.entry = path if path.is_file() else _entry(path)
        self.text = self.entry.read_text(encoding="utf-8")
        head = re.match(r"(#.*\n)*", self.text)
        assert head is not None
        self.head: dict[str, str] = {}
        for line in head[0].splitlines():
            key, _, value = line[2:].partition(":")
            self.head[key] = value.strip()
        self.start_methods = self.head.get("start methods", "fork").split()
        prints = re.search(r"^# prints:\n((?:#.*\n)+)", self.text, re.MULTILINE)
        self.prints = re.sub(r"^# ?", "", prints[1], flags=re.MULTILINE) if prints else None

    @property
    def needs(self) -> list[str]:
        return self.head.get("needs", "").split()

    @property
    def only_ours(self) -> bool:
        for key in self.head:
            if key == "only ours":
                return True
            if key.startswith("only ours before "):
                return sys.version_info < tuple(map(int, key.split()[-1].split(".")))
        return False

    def sides(self, *, every: bool = False) -> list[str]:
        """Return with what it is to be run: in the default run, or in every way."""
        methods = [] if self.only_ours else self.start_methods if every else self.start_methods[:1]
        spawned = (every or "also spawned" in self.head) and "not spawned" not in self.head
        return [*(f"stdlib:{method}" for method in methods), "ours", *(["ours:spawned"] if spawned else [])]

    def run(self, folder: Path, side: str) -> Run:
        """Run it in a new folder, with a copy of itself there."""
        folder = folder / side.replace(":", "-")
        if self.path.is_dir():
            shutil.copytree(self.path, folder, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir()
            shutil.copy(self.path, folder)
        arguments = shlex.split(self.head.get("run", self.entry.name))
        for argument in arguments:
            if argument.endswith(".pyz"):
                zipapp.create_archive(folder / argument[: -len(".pyz")], folder / argument)
        if arguments == ["-c"]:
            arguments.append(self.text)
        return run(folder, side, arguments, self.text if self.head.get("standard input") == "itself" else "")


def _entry(folder: Path) -> Path:
    found = [
        file for file in sorted(folder.rglob("*.py")) if file.read_text(encoding="utf-8").startswith("# run:")
    ]
    assert len(found) == 1, f"{folder} needs one file that begins with '# run:'"
    return found[0]


def programs() -> list[Program]:
    """Return all programs."""
    return [
        Program(path)
        for path in sorted(PROGRAMS.iterdir())
        if path.suffix == ".py" or (path.is_dir() and path.name != "__pycache__")
    ]


def run(
    folder: Path, side: str, arguments: list[str], text: str = "", seconds: float = SECONDS, **extra: str
) -> Run:
    """Run Python in ``folder``, with ``text`` as its standard input; fail after ``seconds``.

    It must end, and all processes that it has started must end with it.
    """
    mark = uuid.uuid4().hex
    with start(folder, side, arguments, **{MARK: mark}, **extra) as process:
        try:
            # Also what holds its output open is waited for.
            out, err = process.communicate(text, timeout=seconds)
        except subprocess.TimeoutExpired:
            left = _end_all(mark)
            out, err = process.communicate(timeout=10)
            raise AssertionError(f"{arguments} hung with {side}: {left}\n{out}\n{err}") from None
    deadline = time.monotonic() + LEAVING_SECONDS
    while helpers.marked_processes(MARK, mark):
        if time.monotonic() > deadline:
            raise AssertionError(f"{arguments} with {side} leaves behind {_end_all(mark)}\n{out}\n{err}")
        time.sleep(0.01)
    return Run(side, process.returncode, _tidy(out, folder), _tidy(err, folder))


def _end_all(mark: str) -> dict[int, str]:
    """Kill all processes of a run; return the command of each."""
    found = {}
    for pid in helpers.marked_processes(MARK, mark):
        with contextlib.suppress(OSError):
            found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            os.kill(pid, signal.SIGKILL)
    return found


def start(folder: Path, side: str, arguments: list[str], **extra: str) -> subprocess.Popen[str]:
    """Start Python in ``folder``, in a session of its own, with one of the executors."""
    environment = helpers.script_environment(SWAP_EXECUTOR=side, **extra)
    # With it, the order of what several processes print would not be that of a user's shell.
    environment.pop("PYTHONUNBUFFERED", None)
    # Nothing of the tests is there to be imported by a program, except the choice of the executor.
    inherited = os.environ.get("PYTHONPATH", "")
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(SUPPORT), str(helpers.PACKAGE_ROOT), inherited])
    )
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment,
        start_new_session=True,
        text=True,
    )


def _tidy(text: str, folder: Path) -> str:
    return text.replace(f"{folder}{os.sep}", "").replace(str(folder), "FOLDER")


def run_all(program: Program, folder: Path, sides: list[str]) -> list[Run]:
    """Run a program with each of these, all at the same time."""
    with ThreadPoolExecutor(len(sides)) as threads:
        return list(threads.map(lambda side: program.run(folder, side), sides))


def assert_alike(program: Program, runs: list[Run]) -> None:
    """All have ended well and printed the same, and what the program's text says if it says so."""
    report = "\n".join(map(str, runs))
    assert all(one.status == 0 for one in runs), f"not all ended well\n{report}"
    expected = program.prints or runs[0].out
    assert expected, f"the program printed nothing\n{report}"
    for one in runs:
        assert one.out == expected, f"{one.side} differs\n{report}\n--- expected\n{expected}"
        if one.side.startswith("ours") and "standard error" not in program.head:
            assert not one.err, f"{one.side} wrote to standard error\n{report}"
