"""A task assigns a global whose old value another global holds."""

from pool import Executor as Pool

MODE = "fast"
CONFIG = {}


def set_mode(x):
    global MODE
    MODE = x


def read():
    return MODE, CONFIG


if __name__ == "__main__":
    CONFIG["default"] = MODE
    CONFIG["fast"] = 1
    with Pool(1) as p:
        p.submit(set_mode, "slow").result()
        print(p.submit(read).result())
