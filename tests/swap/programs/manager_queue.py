# start methods: fork forkserver
# slow: others tell more of the same
"""A manager's queue, dict and lock carry objects of the script between tasks and the main process."""

import multiprocessing
from dataclasses import dataclass

from pool import Executor


@dataclass(frozen=True)
class Progress:
    task: int
    percent: int


def work(number, queue, shared, lock):
    for percent in (50, 100):
        queue.put(Progress(number, percent))
    with lock:
        shared["sum"] = shared.get("sum", 0) + number
        shared[number] = Progress(number, 100)


def read_back(shared):
    return sorted(value.task for value in shared.values() if isinstance(value, Progress))


def main():
    with multiprocessing.Manager() as manager:
        queue, shared, lock = manager.Queue(), manager.dict(), manager.Lock()
        with Executor(max_workers=2) as executor:
            futures = [executor.submit(work, number, queue, shared, lock) for number in range(4)]
            for future in futures:
                future.result()
            print(executor.submit(read_back, shared).result())
        messages = [queue.get() for _ in range(8)]
        print(all(type(message) is Progress for message in messages))
        print(sorted((message.task, message.percent) for message in messages))
        print(shared["sum"], shared[3] == Progress(3, 100))


if __name__ == "__main__":
    main()
