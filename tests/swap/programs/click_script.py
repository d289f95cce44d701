# run: click_script.py --depth 2 count a bb ccc
# needs: click
"""A click program with a group: its commands set a global before they use the executor."""

import click
from pool import Executor

CONFIG = {}


def count(word):
    return word, len(word) * CONFIG["depth"]


@click.group()
@click.option("--depth", type=int, default=1, show_default=True)
def main(depth):
    """Count letters."""
    CONFIG["depth"] = depth


@main.command(name="count")
@click.argument("words", nargs=-1)
def count_command(words):
    """Count the letters of WORDS."""
    with Executor(max_workers=2) as executor:
        for word, letters in executor.map(count, words):
            click.echo(f"{word} {letters}")


if __name__ == "__main__":
    main()
