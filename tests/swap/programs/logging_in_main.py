"""main() configures logging to standard output; records of tasks arrive there once each."""

import logging
import sys

from pool import Executor

logger = logging.getLogger("job")


def work(number):
    logger.info("working on %d", number)
    logger.debug("not shown")
    if number == 2:
        logger.error("cannot do %d", number)
    return number


def main():
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    with Executor(max_workers=1) as executor:
        for number in range(4):
            executor.submit(work, number).result()
    logger.info("done")


if __name__ == "__main__":
    main()
