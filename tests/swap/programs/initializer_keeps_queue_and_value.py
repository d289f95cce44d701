# start methods: fork forkserver
"""An initializer keeps a queue, a value and an event of multiprocessing in globals."""

import multiprocessing

from pool import Executor

reports = None
total = None
opened = None


def keep(a_queue, a_value, an_event):
    global reports, total, opened
    reports, total, opened = a_queue, a_value, an_event


def work(number):
    opened.wait()
    with total.get_lock():
        total.value += number
    reports.put(("done", number))


def main():
    context = multiprocessing.get_context("spawn")
    queue, value, event = context.Queue(), context.Value("i", 0), context.Event()
    with Executor(max_workers=2, initializer=keep, initargs=(queue, value, event)) as executor:
        futures = [executor.submit(work, number) for number in range(10)]
        event.set()
        for future in futures:
            future.result()
        print(sorted(queue.get() for _ in futures))
        print(value.value)


if __name__ == "__main__":
    main()
