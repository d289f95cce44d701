"""What the top level makes of the clock, of chance and of input is what the program has, not an import."""

import os
import random
import sys
import time
import uuid

from pool import Executor

STARTED = time.time()
RUN = f"run-{uuid.uuid4().hex}"
PID = os.getpid()
DICE = random.random()
TEXT = sys.stdin.read()
LEVEL = os.environ.get("LEVEL", "low")
batch_size = 12

if "--debug" in sys.argv:

    def kind():
        return "debug"

else:

    def kind():
        return "release"


def greet():
    return "hello"


def polite():
    return "good day"


def values():
    return STARTED, RUN, PID, DICE, TEXT, LEVEL, batch_size, kind(), greet()


def configure(**values):
    for name, value in values.items():
        globals()[name] = value


if __name__ == "__main__":
    os.environ["LEVEL"] = "high"
    sys.argv.append("--debug")
    configure(batch_size=64, greet=polite)
    with Executor(max_workers=2) as executor:
        found = executor.submit(values).result()
        print(found == values(), found[5:])
        print(executor.submit(kind).result(), sorted(set(executor.map(abs, [-1, 1]))))
