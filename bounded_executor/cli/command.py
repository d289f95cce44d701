"""Checks what the user gave, and starts the run."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence

from .._executor import BoundedProcessPoolExecutor
from .arguments import executor_parameters, parse_arguments
from .function import check_modules, find_function, see_current_directory
from .inputs import Inputs
from .output import Unwritable, open_output
from .problems import Unusable, say
from .progress import Counts, choose_progress
from .resume import Written, check_fits, read_written
from .run import Run

__all__ = ["run_command"]


def run_command(arguments: Sequence[str] | None) -> int:
    """Run the command line and return its exit status."""
    try:
        options = parse_arguments(arguments)
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 2
    try:
        return _map(options)
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
    ordered = not options.unordered
    with contextlib.closing(Inputs(options.input, as_json=options.json)) as inputs:
        written: Written | None = None
        if options.resume:
            written = read_written(options.output, ordered=ordered)
            if inputs.regular:
                with contextlib.closing(inputs.again()) as all_inputs:
                    check_fits(written, all_inputs)
                written = read_written(options.output, ordered=ordered)
        try:
            executor = BoundedProcessPoolExecutor(**executor_parameters(options))
        except (TypeError, ValueError) as error:
            raise Unusable(str(error)) from None
        output = open_output(
            options.output, keep=None if written is None else written.length, overwrite=options.overwrite
        )
        counts = Counts(None if options.quiet else inputs.count())
        to_screen = options.output is None and sys.stdout.isatty()

        def running() -> int:
            stats = executor.stats()
            return stats.unfinished - stats.waiting

        progress = choose_progress(counts, running, quiet=options.quiet, to_screen=to_screen)
        run = Run(
            executor,
            function,
            inputs,
            output,
            written=written,
            ordered=ordered,
            keep_going=options.keep_going,
            counts=counts,
            progress=progress,
        )
        status = run.run()
        if not options.quiet:
            say(counts.summary())
        return status
