"""Checks what the user gave, and starts the run."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from .._process_pool import BoundedProcessPoolExecutor
from .arguments import executor_parameters, parse_arguments
from .console import Unusable, say
from .inputs import Inputs
from .job import Run
from .output import ReaderGone, Unwritable, open_output
from .progress import Counts, choose_progress
from .records import records_said
from .resume import Written, check_fits, read_written
from .target import check_modules, find_function, see_current_directory

__all__ = ["run_command"]

READER_GONE = 141


def run_command(arguments: Sequence[str] | None) -> int:
    """Run the command line and return its exit status."""
    try:
        options = parse_arguments(arguments)
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 2
    try:
        return _map(options)
    except ReaderGone:
        # As shells tell of a program that SIGPIPE has ended, which most programs do of.
        return READER_GONE
    except (Unusable, Unwritable) as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        say("interrupted")
        return 130


def _map(options: argparse.Namespace) -> int:
    see_current_directory()
    function = find_function(options.function)
    check_modules(options.preload)
    # The modules are imported: they may have set up logging.
    with records_said(quiet=options.quiet):
        return _run(options, function)


def _run(options: argparse.Namespace, function: Callable[..., Any]) -> int:
    inputs = Inputs(options.input, as_json=options.json)
    try:
        if options.output is not None and inputs.is_file(options.output):
            raise Unusable(f"{options.output} is both input and output")
        written = _read_written(options, inputs) if options.resume else None
        counts = Counts(
            None if options.quiet else inputs.count(),
            before=0 if written is None else written.count,
            failed_before=0 if written is None else written.failed,
        )
        executor = _executor(options, counts)
        output = open_output(
            options.output, keep=None if written is None else written.length, overwrite=options.overwrite
        )
    except BaseException:
        inputs.close()
        raise

    if inputs.is_terminal and not options.quiet:
        say("reading inputs from the terminal, one a line; Ctrl-D ends them")

    def running() -> int:
        stats = executor.stats()
        # Short tasks are handed to a process several at a time.
        return min(stats.running, stats.children)

    run = Run(
        executor,
        function,
        inputs,
        output,
        written=written,
        ordered=not options.unordered,
        keep_going=options.keep_going,
        counts=counts,
        progress=choose_progress(
            counts,
            running,
            quiet=options.quiet,
            to_screen=options.output is None and sys.stdout.isatty(),
        ),
    )
    status = run.run()
    if not options.quiet:
        say(counts.summary())
    return status


def _read_written(options: argparse.Namespace, inputs: Inputs) -> Written:
    ordered = not options.unordered
    written = read_written(options.output, ordered=ordered)
    if not inputs.regular:
        # Then it is seen to fit, or not to, as the inputs are read.
        return written
    with contextlib.closing(inputs.again()) as all_inputs:
        check_fits(written, all_inputs)
    return read_written(options.output, ordered=ordered)


def _executor(options: argparse.Namespace, counts: Counts) -> BoundedProcessPoolExecutor:
    on_event = None if options.quiet else counts.take
    try:
        return BoundedProcessPoolExecutor(**executor_parameters(options), on_event=on_event)
    except (TypeError, ValueError) as error:
        raise Unusable(str(error)) from None
