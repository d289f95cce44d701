# start methods: fork spawn
"""The top installs signal handlers; tasks use them for a time limit and for a note."""

import os
import signal

from pool import Executor

received = []


class TimeUp(Exception):
    pass


def note(number, frame):
    received.append(signal.Signals(number).name)


def time_up(number, frame):
    raise TimeUp("the time is up")


signal.signal(signal.SIGUSR1, note)
signal.signal(signal.SIGALRM, time_up)


def notify():
    os.kill(os.getpid(), signal.SIGUSR1)
    return received


def limited():
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        signal.pause()
    except TimeUp as error:
        return str(error)


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        print(executor.submit(notify).result())
        print(executor.submit(notify).result())
        print(executor.submit(limited).result())
