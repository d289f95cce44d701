# run: -
# standard input: itself
"""The program has no file: its text is what Python reads."""

from pool import Executor

seen = []
step = None


class Done(Exception):
    pass


def prepare(value):
    global step
    step = value


def add(number):
    seen.append(number * step)
    return sum(seen)


def fail():
    raise Done(len(seen))


def same(error):
    return type(error) is Done


if __name__ == "__main__":
    with Executor(max_workers=1, initializer=prepare, initargs=(10,)) as executor:
        print([executor.submit(add, number).result() for number in (1, 2, 3)])
        try:
            executor.submit(fail).result()
        except Done as error:
            print("done", error, executor.submit(same, error).result())
    print("here:", seen, step)
