"""A queue, a value and an event of multiprocessing, made in the guarded block, are shared."""

import multiprocessing

from pool import Executor

queue = None


def work(number):
    started.wait()
    with counter.get_lock():
        counter.value += 1
    queue.put(number * 2)


def take():
    return queue.get()


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    counter = context.Value("i", 0)
    started = context.Event()
    with Executor(max_workers=2) as executor:
        futures = [executor.submit(work, number) for number in range(4)]
        started.set()
        for future in futures:
            future.result()
        print(sorted(queue.get() for _ in range(4)), counter.value)
        queue.put("from here")
        print(executor.submit(take).result())
