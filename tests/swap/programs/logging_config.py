# start methods: fork spawn
"""The top configures logging with a dictionary: a file, levels, a filter and a formatter of the script."""

import logging
import logging.config
import os
from pathlib import Path

from pool import Executor


class Upper(logging.Formatter):
    def format(self, record):
        return super().format(record).upper()


class NoSecrets(logging.Filter):
    def filter(self, record):
        return "secret" not in record.getMessage()


logging.config.dictConfig(
    {
        "version": 1,
        "formatters": {"upper": {"()": Upper, "format": "%(levelname)s %(name)s %(message)s"}},
        "filters": {"no secrets": {"()": NoSecrets}},
        "handlers": {
            "file": {
                "class": "logging.FileHandler",
                "filename": "run.log",
                "formatter": "upper",
                "filters": ["no secrets"],
            }
        },
        "loggers": {
            "shop": {"level": "INFO", "handlers": ["file"]},
            "shop.quiet": {"level": "ERROR"},
        },
    }
)
log = logging.getLogger("shop.orders")
quiet = logging.getLogger("shop.quiet")


def order(number):
    log.debug("looking at %d", number)
    log.info("order %d", number)
    log.warning("secret %d", number)
    quiet.warning("not said")
    return log.getEffectiveLevel(), os.getpid()


if __name__ == "__main__":
    with Executor(max_workers=2) as executor:
        for level, process in executor.map(order, range(3)):
            print(level, process != os.getpid())
    log.info("the end")
    for line in sorted(Path("run.log").read_text().splitlines()):
        print(line)
