"""The command line: ``bounded-executor map package.module:function inputs.txt``."""

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line in this process.

    Args:
        arguments: what follows the program's name; None for those of this process.

    Returns:
        The exit status: 0 for success, 1 where an input failed, 2 for bad usage or input, 130 for Ctrl-C,
        141 where nothing reads standard output any more, 143 for SIGTERM.

    To be called in the main thread, which receives signals.
    """
    from .command import run_command

    return run_command(arguments)
