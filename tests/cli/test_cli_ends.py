"""Runs of the command line that are interrupted, killed and continued."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cli_runs import inputs_of, lines_of, one_line, run, start
from helpers import marked_processes, start_script, wait_until


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "inputs.txt"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_has_what_is_finished_written_and_the_rest_killed(
    number: int, tmp_path: Path, written: Path
) -> None:
    (gate := tmp_path / "gate").mkdir()
    options = ["cli_tasks:hold", "--workers", 2, "--output", written]
    with start(*options) as process:
        assert process.stdin
        process.stdin.write(f"a\nb\n{gate}\nc\n")
        process.stdin.flush()
        wait_until(lambda: list(gate.glob("begun-*")))
        wait_until(lambda: len(lines_of(written)) == 2)
        # Standard input is still open.
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert inputs_of(lines_of(written)) == ["a", "b"]
    assert "2 succeeded, 0 failed" in err and "Traceback" not in err
    assert ("interrupted" if number == signal.SIGINT else "ended by SIGTERM") in err
    (child,) = gate.glob("begun-*")
    pid = int(child.name.partition("-")[2])
    wait_until(lambda: not Path("/proc", str(pid)).exists())
    (gate / "open").touch()
    run(*options, "--resume", given=f"a\nb\n{gate}\nc\n")
    assert inputs_of(lines_of(written)) == ["a", "b", str(gate), "c"]


def test_sigterm_to_all_processes_has_no_input_written_as_an_error(tmp_path: Path, written: Path) -> None:
    (gate := tmp_path / "gate").mkdir()
    options = ["cli_tasks:hold", "--workers", 2, "--unordered", "--output", written]
    with start(*options, RUN_OF_CLI=str(tmp_path)) as process:
        assert process.stdin
        process.stdin.write(f"{gate}\na\n")
        process.stdin.flush()
        wait_until(lambda: list(gate.glob("begun-*")))
        wait_until(lambda: len(lines_of(written)) == 1)
        # As systemd does, and the program comes last.
        for pid in marked_processes("RUN_OF_CLI", str(tmp_path)):
            if pid != process.pid:
                os.kill(pid, signal.SIGTERM)
        process.stdin.write("b\n")
        process.stdin.flush()
        wait_until(lambda: len(lines_of(written)) >= 2)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert inputs_of(lines_of(written)) == ["a", "b"]


def test_lines_reach_the_disk_while_the_run_goes_on_and_at_its_end(tmp_path: Path, written: Path) -> None:
    (gate := tmp_path / "gate").mkdir()
    source = tmp_path / "inputs.txt"
    source.write_text(f"a\nb\n{gate}\nc\n")
    code = """
        import os, sys
        from bounded_executor._cli import main

        force = os.fsync

        def noted(file):
            force(file)
            print(os.fstat(file).st_size, flush=True)

        os.fsync = noted
        if __name__ == "__main__":
            sys.exit(main(["map", "cli_tasks:hold", *sys.argv[1:]]))
        """
    with start_script(code, source, "--workers", 1, "--output", written) as process:
        assert process.stdout
        # The third is held, and no further line is written.
        assert int(process.stdout.readline()) == written.stat().st_size
        assert inputs_of(lines_of(written)) == ["a", "b"]
        (gate / "open").touch()
        rest = process.stdout.read().split()
        assert process.wait(60) == 0
    assert int(rest[-1]) == written.stat().st_size
    assert inputs_of(lines_of(written)) == ["a", "b", str(gate), "c"]


asking = threading.Lock()


class _Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        with asking:
            self.server.asked[self.path] += 1  # type: ignore[attr-defined]
        body = f"page {self.path}".encode()
        # Who asked may have been killed.
        with suppress(OSError):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def pages() -> Iterator[tuple[str, Counter[str]]]:
    """A server, and how often each of its pages was asked for."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pages) as server:
        server.asked = Counter()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server.asked  # type: ignore[attr-defined]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("order", [(), ("--unordered",)], ids=["ordered", "unordered"])
@pytest.mark.parametrize("given_by", ["file", "stdin"])
def test_a_killed_run_is_continued_and_each_page_written_once(
    order: tuple[str, ...], given_by: str, source: Path, written: Path
) -> None:
    with pages() as (address, asked):
        # Every tenth comes twice.
        urls = [f"{address}/{number - number % 10 // 9}" for number in range(300)]
        source.write_text("".join(f"{url}\n" for url in urls))
        options = ["cli_tasks:fetch", "--workers", 2, "--queue-size", 12, "--max-tasks-per-child", 20, *order]
        options += ["--output", written]
        with source.open() as file, start(*options, stdin=file) as process:
            wait_until(lambda: written.exists() and written.read_bytes().count(b"\n") >= 100)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
        # As a machine that goes down may leave it.
        whole = written.read_bytes()
        before = whole.count(b"\n")
        assert before < 300
        written.write_bytes(whole[: whole.rindex(b"\n") + 1] + b'{"input": "http://127')
        where = [source] if given_by == "file" else []
        run(*options, *where, "--resume", given="" if where else source.read_text())
        lines = lines_of(written)
        assert written.read_bytes().startswith(whole[: whole.rindex(b"\n") + 1])
        assert Counter(inputs_of(lines)) == Counter(urls)
        if not order:
            assert inputs_of(lines) == urls
        assert all(line["result"] == f"page /{line['input'].rpartition('/')[2]}" for line in lines)
        # What was read and not written when it was killed is all that is asked for again.
        assert sum(asked.values()) <= 300 + 12
        _, err = run(*options, *where, "--resume", given="" if where else source.read_text())
        assert "300 succeeded, 0 failed, 300 of them written before" in err
        assert lines_of(written) == lines


def test_errors_count_as_written(source: Path, written: Path) -> None:
    source.write_text("1\nbad\n3\n")
    run("cli_tasks:fail_on_bad", source, "--output", written, "--workers", 1, "--queue-size", 1, status=1)
    assert inputs_of(lines_of(written)) == ["1", "bad"]
    # What an earlier run has left behind failed has failed: the output is not what it should be.
    for order in ([], ["--unordered"], []):
        _, err = run("cli_tasks:fail_on_bad", source, "--output", written, "--resume", *order, status=1)
        assert inputs_of(lines_of(written)) == ["1", "bad", "3"]
        assert "2 succeeded, 1 failed, " in one_line(err)
    assert "3 of them written before" in err


@pytest.mark.parametrize("given_by", ["file", "stdin"])
@pytest.mark.parametrize("order", [(), ("--unordered",)], ids=["ordered", "unordered"])
def test_an_output_that_does_not_fit_is_told_by_its_line(
    order: tuple[str, ...], given_by: str, source: Path, written: Path
) -> None:
    source.write_text("a\nb\n")
    run("cli_tasks:upper", source, "--output", written)
    source.write_text("a\nother\nc\n")
    before = written.read_bytes()
    where = [source] if given_by == "file" else []
    given = "" if where else source.read_text()
    _, err = run("cli_tasks:upper", *where, "--output", written, "--resume", *order, given=given, status=2)
    assert "its line 2" in err
    if where or not order:
        assert written.read_bytes() == before
