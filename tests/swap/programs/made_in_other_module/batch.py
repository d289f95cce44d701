"""A small library that runs functions of any program in an executor."""

from pool import Executor

done = 0


def _call(function, item):
    global done
    done += 1
    return done, function(item)


def run_all(function, items, **options):
    with Executor(max_workers=1, **options) as executor:
        yield from [executor.submit(_call, function, item).result() for item in items]


class Runner:
    def __init__(self, prepare):
        self.executor = Executor(max_workers=1, initializer=prepare)

    def run(self, function, *args):
        return self.executor.submit(function, *args).result()

    def close(self):
        self.executor.shutdown()
