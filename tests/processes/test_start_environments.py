"""Programs in surroundings that make a start hard: each works, or says why it cannot."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import cloudpickle
import loky
import pytest
from helpers import PACKAGE_ROOT, PATIENCE, SUPPORT

import bounded_executor

PROGRAM = """
    import sys
    from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool

    if __name__ == "__main__":
        with BoundedProcessPoolExecutor(2) as ex:
            print(ex.submit(abs, -3).result(), sum(ex.map(abs, range(10))))
"""
PRINTED = "3 45\n"


def run(
    code: str,
    folder: Path,
    *arguments: object,
    flags: tuple[str, ...] = (),
    prefix: tuple[str, ...] = (),
    path: tuple[Path, ...] = (PACKAGE_ROOT, SUPPORT),
    quiet: bool = True,
    **options: Any,
) -> str:
    """Run a program from a file in ``folder``, in a session of its own; return its output."""
    script = folder / "program.py"
    script.write_text(textwrap.dedent(code))
    return run_command(
        [*prefix, sys.executable, *flags, script, *arguments], path=path, quiet=quiet, **options
    )


def run_command(
    command: list[Any],
    *,
    path: tuple[Path, ...] = (PACKAGE_ROOT, SUPPORT),
    quiet: bool = True,
    **options: Any,
) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), **options.pop("env", {})}
    with subprocess.Popen(
        list(map(str, command)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
        text=True,
        **options,
    ) as process:
        try:
            out, err = process.communicate(timeout=2 * PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            out, err = process.communicate()
            raise AssertionError(f"the program hung; output: {out}\n{err}") from None
    assert process.returncode == 0, f"exit status {process.returncode}\n{out}\n{err}"
    assert not (quiet and err), err
    return out


def executable(file: Path, text: str) -> Path:
    file.write_text(text)
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


# Modules: each is found where the program finds it, and nowhere else.

SHADOWS = ("queue", "argparse", "signal", "threading", "struct", "pickle", "runpy", "loky", "json")


@pytest.mark.parametrize("mp_context", ["None", "'spawn'", "'loky'", "None, spawned"])
def test_no_file_of_the_working_directory_is_executed(tmp_path: Path, mp_context: str) -> None:
    """Not by any process below the program either, the resource trackers included."""
    mp_context, _, spawned = mp_context.partition(", ")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in SHADOWS:
        (elsewhere / f"{name}.py").write_text(
            "import os\nopen(os.path.join(os.path.dirname(__file__), 'executed'), 'a').write(__name__)\n"
        )
    for package in ("multiprocessing", "bounded_executor"):
        (elsewhere / package).mkdir()
        shutil.copy(elsewhere / "queue.py", elsewhere / package / "__init__.py")
    code = textwrap.dedent(PROGRAM).replace("Executor(2)", f"Executor(2, mp_context={mp_context})")
    if spawned:
        # As where there is no safe fork.
        code = "from bounded_executor._worker import bootstrap\nbootstrap.CAN_FORK = False\n" + code
    # Where the flag keeps the directory out the test would show nothing.
    environment = {"PYTHONSAFEPATH": ""}
    assert run(code, tmp_path, cwd=elsewhere, env=environment) == PRINTED
    assert not list(elsewhere.glob("**/executed"))


@pytest.mark.parametrize("early", [False, True])
def test_a_relative_path_means_the_directory_that_the_program_was_started_in(
    tmp_path: Path, early: bool
) -> None:
    """It may have gone to another one, whose modules are none of its own.

    Args:
        early: before anything that could know where it was.
    """
    for name in ("first", "second"):
        (tmp_path / name / "modules").mkdir(parents=True)
    (tmp_path / "first" / "modules" / "ours.py").write_text("def where():\n    return __file__\n")
    (tmp_path / "second" / "modules" / "sitecustomize.py").write_text("open('executed', 'w')\n")
    code = f"""
        import os
        if __name__ == "__main__" and {early}:
            os.chdir({str(tmp_path / "second")!r})
        from bounded_executor import BoundedProcessPoolExecutor
        import ours

        if __name__ == "__main__":
            os.chdir({str(tmp_path / "second")!r})
            with BoundedProcessPoolExecutor(1) as ex:
                print(ex.submit(ours.where).result())
    """
    modules = Path("modules")
    out = run(code, tmp_path, cwd=tmp_path / "first", path=(modules, PACKAGE_ROOT))
    assert out == f"{tmp_path / 'first' / 'modules' / 'ours.py'}\n"
    assert not (tmp_path / "second" / "executed").exists()


@pytest.fixture
def libraries(tmp_path: Path) -> Path:
    """A folder with this package and what it needs, as ``pip --target`` makes one."""
    folder = tmp_path / "libraries"
    for module in (bounded_executor, loky, cloudpickle):
        source = Path(module.__file__).parent
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    return folder


# Without the libraries that the interpreter has itself.
BARE = ("-S",)


def test_libraries_that_only_sys_path_knows(tmp_path: Path, libraries: Path) -> None:
    """As after ``pip install --target``."""
    code = "import sys\nsys.path.insert(0, sys.argv[1])\n" + textwrap.dedent(PROGRAM)
    assert run(code, tmp_path, libraries, flags=BARE, path=()) == PRINTED


def test_a_program_in_an_archive(tmp_path: Path, libraries: Path) -> None:
    """As ``zipapp`` makes one."""
    (libraries / "__main__.py").write_text(textwrap.dedent(PROGRAM))
    archive = tmp_path / "program.pyz"
    with zipfile.ZipFile(archive, "w") as file:
        for source in libraries.rglob("*"):
            file.write(source, source.relative_to(libraries))
    assert run_command([sys.executable, *BARE, archive], path=()) == PRINTED


def test_a_long_search_path(tmp_path: Path) -> None:
    """No command line could hold it."""
    code = "import sys\nsys.path += [f'/nowhere/{n:0100}' for n in range(20_000)]\n" + textwrap.dedent(
        PROGRAM
    )
    assert run(code, tmp_path) == PRINTED


# The interpreter: the one that multiprocessing names, with the flags of this one.


def test_there_is_no_interpreter(tmp_path: Path) -> None:
    """As in a program that embeds Python."""
    code = """
        import sys
        real = sys.executable
        sys.executable = None
        import multiprocessing
        from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool

        if __name__ == "__main__":
            for attempt in range(2):
                try:
                    with BoundedProcessPoolExecutor(2) as ex:
                        print(ex.submit(abs, -3).result())
                except BrokenProcessPool as error:
                    print(error)
                    multiprocessing.set_executable(real)
    """
    first, second = run(code, tmp_path, quiet=False).splitlines()
    assert "there is no interpreter to start processes with: sys.executable is None" in first
    assert second == "3"


def test_the_interpreter_never_comes_up(tmp_path: Path) -> None:
    """The error has its last words; what it was to be sent is more than a pipe holds."""
    broken = executable(tmp_path / "python", "#!/bin/sh\necho no such luck >&2\nexit 7\n")
    code = """
        import multiprocessing, sys
        from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool

        if __name__ == "__main__":
            sys.argv.append("x" * 1_000_000)
            sys.path.append("/" + "x" * 1_000_000)
            multiprocessing.set_executable(sys.argv[1])
            try:
                with BoundedProcessPoolExecutor(2) as ex:
                    print(ex.submit(abs, -3).result())
            except BrokenProcessPool as error:
                print(error)
    """
    out = run(code, tmp_path, broken, quiet=False)
    assert "exit status 7" in out
    assert "no such luck" in out


FLAGS = [
    name
    for name, value in vars(type(sys.flags)).items()
    if type(value).__name__ == "member_descriptor" and name not in ("int_max_str_digits", "safe_path")
]


@pytest.mark.parametrize(
    "flags",
    [
        ("-O",),
        ("-OO", "-B"),
        ("-W", "ignore::ResourceWarning", "-b"),
        ("-X", "utf8=1"),
        ("-X", "utf8=0"),
        ("-X", "dev"),
        ("-E", "-s"),
        ("-I",),
        ("-u",),
        ("-X", "int_max_str_digits=7000"),
        ("-X", "faulthandler"),
    ],
    ids=" ".join,
)
def test_workers_have_the_flags_of_the_program(tmp_path: Path, flags: tuple[str, ...]) -> None:
    code = f"""
        import io, sys
        sys.path[:0] = {[str(PACKAGE_ROOT), str(SUPPORT)]}
        from bounded_executor import BoundedProcessPoolExecutor

        def seen():
            found = {{name: getattr(sys.flags, name) for name in {FLAGS}}}
            found["options"] = {{key: value for key, value in sys._xoptions.items() if key != "utf8"}}
            found["warnings"] = sys.warnoptions
            found["digits"] = getattr(sys, "get_int_max_str_digits", int)()
            found["unbuffered"] = isinstance(sys.stdout.buffer, io.RawIOBase)
            found["options"].pop("int_max_str_digits", None)
            return found

        if __name__ == "__main__":
            with BoundedProcessPoolExecutor(1) as ex:
                there = ex.submit(seen).result()
            here = seen()
            print({{name: (here[name], there[name]) for name in here if here[name] != there[name]}})
    """
    assert run(code, tmp_path, flags=flags) == "{}\n"


@pytest.mark.skipif(not hasattr(sys, "set_int_max_str_digits"), reason="this Python has no such limit")
def test_a_limit_of_digits_set_at_run_time(tmp_path: Path) -> None:
    code = """
        import sys
        from bounded_executor import BoundedProcessPoolExecutor

        def digits(number):
            return len(str(number))

        if __name__ == "__main__":
            sys.set_int_max_str_digits(0)
            with BoundedProcessPoolExecutor(1) as ex:
                print(ex.submit(digits, 10**9999).result())
            sys.set_int_max_str_digits(5000)
            with BoundedProcessPoolExecutor(1) as ex:
                print(ex.submit(digits, 10**9999).exception())
    """
    first, second = run(code, tmp_path).splitlines()
    assert first == "10000"
    assert "5000" in second


# A frozen program starts itself.

FROZEN = """
    import os, sys
    if __name__ == "__main__":
        open({starts!r}, "a").write("x")
    sys.frozen = True
    sys.executable = {executable!r}
    {imports}
    from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool

    if __name__ == "__main__":
        {first}
        open({runs!r}, "a").write("x")
        try:
            with BoundedProcessPoolExecutor(2) as ex:
                print(ex.submit(abs, -3).result(), sum(ex.map(abs, range(10))))
        except BrokenProcessPool as error:
            print(error)
"""


def run_frozen(folder: Path, imports: str, first: str, arguments: str = '"$@"') -> tuple[str, int, int]:
    """Return what such a program prints, how often it was started, and how often it ran."""
    starts, runs = folder / "starts", folder / "runs"
    script = folder / "frozen.py"
    binary = executable(folder / "frozen", f"#!/bin/sh\nexec {sys.executable} {script} {arguments}\n")
    script.write_text(
        textwrap.dedent(FROZEN).format(
            starts=str(starts), runs=str(runs), executable=str(binary), imports=imports, first=first
        )
    )
    out = run_command([binary], quiet=False)
    return out, len(starts.read_text()), len(runs.read_text())


@pytest.mark.parametrize(
    ("imports", "first"),
    [
        ("import multiprocessing", "multiprocessing.freeze_support()"),
        ("from multiprocessing import freeze_support", "freeze_support()"),
        ("import multiprocessing.spawn", "multiprocessing.spawn.freeze_support()"),
    ],
)
def test_a_frozen_program_that_supports_it(tmp_path: Path, imports: str, first: str) -> None:
    out, starts, runs = run_frozen(tmp_path, imports, first)
    assert out == PRINTED
    # The program, the process that starts the workers, and two trackers.
    assert (starts, runs) == (4, 1)


def test_a_frozen_program_that_does_not(tmp_path: Path) -> None:
    """It is not started a second time."""
    out, starts, runs = run_frozen(tmp_path, "", "")
    assert "its main module does not call multiprocessing.freeze_support()" in out
    assert (starts, runs) == (1, 1)


def test_a_frozen_program_whose_support_fails(tmp_path: Path) -> None:
    """Its first other start, which runs it once more, is the last."""
    out, starts, runs = run_frozen(
        tmp_path, "import multiprocessing", "multiprocessing.freeze_support()", arguments=""
    )
    assert (
        out.count("ran the program itself: multiprocessing.freeze_support() must come before all else") == 2
    )
    assert (starts, runs) == (2, 2)


# Little is to be had.

AS_USER = ("setpriv", "--clear-groups", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
"""Becomes another user who may read what this one reads, the interpreter for one."""


def users_are_possible() -> bool:
    command = [*AS_USER, "--reuid=54321", sys.executable, "-c", ""]
    return (
        hasattr(os, "geteuid")
        and not os.geteuid()
        and not subprocess.call(command, stderr=subprocess.DEVNULL)
    )


needs_a_user = pytest.mark.skipif(
    not shutil.which("setpriv") or not users_are_possible(), reason="no other user can be had"
)


@needs_a_user
@pytest.mark.parametrize("limit", range(1, 15))
def test_no_further_process_or_thread_can_be_had(tmp_path: Path, limit: int) -> None:
    """Whichever is missing: a user's threads and processes are counted together."""
    code = f"""
        import resource
        from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool

        if __name__ == "__main__":
            resource.setrlimit(resource.RLIMIT_NPROC, ({limit}, {limit}))
            for _ in range(2):
                try:
                    with BoundedProcessPoolExecutor(2) as ex:
                        print(ex.submit(abs, -3).result(), sum(ex.map(abs, range(10))))
                except BrokenProcessPool as error:
                    print(error)
    """
    tmp_path.chmod(0o755)
    user = 1_000_000 + os.getpid() * 16 + limit
    out = run(code, tmp_path, prefix=(*AS_USER, f"--reuid={user}"), quiet=False)
    lines = out.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line == PRINTED.strip() or "can't start new thread" in line or "Resource temporarily" in line
    # The program's thread alone; more than are ever needed.
    if limit == 1:
        assert PRINTED not in out
    if limit == 14:
        assert out == 2 * PRINTED


@pytest.mark.parametrize("numbers", ["are free", "are files", "are pipes"])
def test_a_copy_of_the_program_closes_its_descriptors(tmp_path: Path, numbers: str) -> None:
    """As a daemon does. Nothing is written to what has the numbers of ours by then."""
    code = """
        import os, sys
        from bounded_executor import BoundedProcessPoolExecutor

        def use():
            with BoundedProcessPoolExecutor(2) as ex:
                print(ex.submit(abs, -3).result(), sum(ex.map(abs, range(10))), flush=True)

        if __name__ == "__main__":
            use()
            pid = os.fork()
            if pid:
                assert os.waitpid(pid, 0) == (pid, 0)
                use()
                sys.exit()
            os.closerange(3, 1000)
            files = pipes = ()
            if sys.argv[1] == "are files":
                files = [open(f"{sys.argv[2]}-{number}", "w+") for number in range(50)]
            if sys.argv[1] == "are pipes":
                pipes = [os.pipe() for number in range(25)]
            use()
            use()
            for file in files:
                assert not file.seek(0) and file.read() == ""
            for reads, writes in pipes:
                os.close(writes)
                assert os.read(reads, 100) == b""
    """
    # Since Python 3.12 it warns of such a fork.
    flags = ("-W", "ignore::DeprecationWarning")
    assert run(code, tmp_path, numbers, tmp_path / "file", flags=flags) == 4 * PRINTED


# The standard streams, the log, the directory.

STREAMS = """
    import os, sys
    from bounded_executor import BoundedProcessPoolExecutor

    class Deaf:
        def write(self, text):
            pass

    def noisy(value):
        print("noise", file=sys.stdout)
        print("noise", file=sys.stderr)
        for descriptor in (1, 2):
            os.write(descriptor, b"noise")
        return abs(value)

    if __name__ == "__main__":
        output = os.dup(1)
        {prepare}
        for _ in range(2):
            with BoundedProcessPoolExecutor(2, idle_timeout=0) as ex:
                found = ex.submit(noisy, -3).result(), sum(ex.map(noisy, range(10)))
                os.write(output, f"{{found}} ".encode())
        # At its end the interpreter would want these streams to be as they were.
        os._exit(0)
"""


@pytest.mark.parametrize(
    "prepare",
    [
        "sys.stdin = sys.stdout = sys.stderr = None",
        "sys.stdin.close(); sys.stdout.close(); sys.stderr.close()",
        "sys.stdout = sys.stderr = Deaf()",
        "print('what is buffered goes nowhere'); os.close(1)",
        "os.closerange(0, 3)",
        "os.closerange(0, 3); sys.stdin = sys.stdout = sys.stderr = None",
        "[os.set_inheritable(number, False) for number in range(3)]",
        "os.close(0)",
        "os.close(2); open(os.devnull)",
    ],
)
def test_standard_streams_that_are_none(tmp_path: Path, prepare: str) -> None:
    """What tasks print goes where it can, or nowhere; never into what the processes say to each other."""
    out = run(STREAMS.format(prepare=prepare), tmp_path, quiet=False)
    assert out.count("(3, 45)") == 2


@pytest.mark.parametrize(
    "handler",
    ["logging.StreamHandler(sys.stdout)", "logging.NullHandler()", "multiprocessing.log_to_stderr()"],
)
def test_a_handler_of_multiprocessing_s_logger(tmp_path: Path, handler: str) -> None:
    """It may have no formatter."""
    code = f"""
        import logging, multiprocessing, sys
        handler = {handler}
        if not isinstance(handler, logging.Logger):
            multiprocessing.get_logger().addHandler(handler)
        multiprocessing.get_logger().setLevel(logging.WARNING)
    """
    assert run(textwrap.dedent(code) + textwrap.dedent(PROGRAM), tmp_path) == PRINTED


def test_a_working_directory_that_was_removed(tmp_path: Path) -> None:
    """A relative path finds nothing in a task either, and makes nothing."""
    code = """
        import os, sys
        from bounded_executor import BoundedProcessPoolExecutor

        def write(path):
            with open(path, "w"):
                return os.path.abspath(path)

        if __name__ == "__main__":
            os.mkdir(sys.argv[1])
            os.chdir(sys.argv[1])
            if sys.argv[2] == "before":
                os.rmdir(sys.argv[1])
            ex = BoundedProcessPoolExecutor(1)
            if sys.argv[2] == "after":
                os.rmdir(sys.argv[1])
            with ex:
                error = ex.submit(write, "a-file-of-a-test").exception()
                print(type(error).__name__, ex.submit(abs, -3).result())
    """
    for moment in ("before", "after"):
        assert run(code, tmp_path, tmp_path / moment, moment, cwd=tmp_path) == "FileNotFoundError 3\n"


@pytest.mark.parametrize("mp_context", ["None", "'spawn'"])
@pytest.mark.parametrize("removed", [False, True])
def test_a_program_in_the_debugger(tmp_path: Path, mp_context: str, removed: bool) -> None:
    """The main module that ``python -m pdb`` makes has no specification."""
    code = f"""
        import os
        from bounded_executor import BoundedProcessPoolExecutor

        class Box:
            def __init__(self, value):
                self.value = value

        def double(box):
            return Box(2 * box.value)

        if __name__ == "__main__":
            if {removed}:
                os.mkdir("away")
                os.chdir("away")
                os.rmdir(os.getcwd())
            with BoundedProcessPoolExecutor(1, mp_context={mp_context}, idle_timeout=0) as ex:
                print(ex.submit(double, Box(21)).result().value, flush=True)
            # The debugger would begin anew.
            os._exit(0)
    """
    out = run(code, tmp_path, flags=("-m", "pdb", "-c", "continue"), cwd=tmp_path)
    assert out.splitlines()[-1] == "42"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="address space is not limited elsewhere")
@pytest.mark.parametrize("megabytes", [50, 100, *range(150, 451, 50)])
def test_little_address_space(tmp_path: Path, megabytes: int) -> None:
    """As with ``ulimit -v``: the board takes less of it, and what cannot be had is named."""
    code = f"""
        import resource
        from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool

        if __name__ == "__main__":
            resource.setrlimit(resource.RLIMIT_AS, ({megabytes} << 20, {megabytes} << 20))
            try:
                with BoundedProcessPoolExecutor(2) as ex:
                    print(ex.submit(abs, -3).result(), sum(ex.map(abs, range(10))))
            except BrokenProcessPool as error:
                print(error)
    """
    out = run(code, tmp_path, quiet=False)
    # Each thread reserves more or less, as it comes.
    reasons = ("can't start new thread", "Cannot allocate memory", "MemoryError")
    assert out == PRINTED or any(reason in out for reason in reasons)
    if megabytes == 450:
        assert out == PRINTED


def without_proc() -> tuple[str, ...]:
    return "unshare", "-m", "sh", "-c", 'umount -l /proc && exec "$@"', "sh"


@pytest.mark.skipif(
    not shutil.which("unshare")
    or bool(subprocess.call([*without_proc(), "true"], stderr=subprocess.DEVNULL)),
    reason="/proc cannot be taken away",
)
@pytest.mark.parametrize(
    "arguments", ["", "max_tasks_per_child=2", "task_timeout=60, task_retries=1", "preload=['json']"]
)
def test_there_is_no_proc_file_system(tmp_path: Path, arguments: str) -> None:
    code = PROGRAM.replace("Executor(2)", f"Executor(2, {arguments})")
    assert (
        run(
            "import os\nassert not os.path.exists('/proc/self')\n" + textwrap.dedent(code),
            tmp_path,
            prefix=without_proc(),
        )
        == PRINTED
    )


def test_a_loky_that_is_too_old(tmp_path: Path) -> None:
    """Up to 3.6 it has one reusable executor per process."""
    code = """
        import loky, loky.reusable_executor
        loky.__version__ = "3.6.0"
        del loky.reusable_executor._executor_storage
        try:
            from bounded_executor import BoundedProcessPoolExecutor

            BoundedProcessPoolExecutor(2)
        except ImportError as error:
            print(error)
    """
    message = "bounded_executor needs loky 3.7 or later, and loky 3.6.0 is installed. Install a later one: "
    assert run(code, tmp_path) == message + "pip install 'loky>=3.7'\n"


def test_a_tracker_that_was_killed(tmp_path: Path) -> None:
    """The next start has another one, which finds no modules in the working directory either."""
    (tmp_path / "argparse.py").write_text("open('executed', 'w')\n")
    (tmp_path / "signal.py").write_text("open('executed', 'w')\n")
    code = """
        import logging, os, signal, sys
        from multiprocessing import resource_tracker
        from bounded_executor import BoundedProcessPoolExecutor

        logging.basicConfig(stream=sys.stdout, format="%(message)s")

        if __name__ == "__main__":
            for _ in range(2):
                with BoundedProcessPoolExecutor(2, idle_timeout=0) as ex:
                    print(ex.submit(abs, -3).result(), flush=True)
                pid = resource_tracker._resource_tracker._pid
                os.kill(pid, signal.SIGKILL)
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    """
    script = tmp_path / "elsewhere"
    script.mkdir()
    out = run(code, script, cwd=tmp_path, env={"PYTHONSAFEPATH": ""})
    message = "a resource tracker has ended and is started anew; some resources may be left behind"
    assert out.splitlines() == ["3", message, "3"]
    assert not (tmp_path / "executed").exists()
