# slow: others tell more of the same
"""Both ends of a pipe are globals: tasks send on it, the main process receives."""

import multiprocessing

from pool import Executor

receiver, sender = multiprocessing.Pipe(duplex=False)


def report(number):
    sender.send({"number": number})
    return number


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        print(list(executor.map(report, range(3))))
        print([receiver.recv() for _ in range(3)])
