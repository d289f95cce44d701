# start methods: fork spawn
"""The top and tasks bind functions anew: aliases, a wrapped one, a stub put in by the initializer."""

from pool import Executor


def clock():
    return "the real time"


def stamp(text):
    return f"{clock()}: {text}"


def use_fake_clock():
    global clock

    def clock():
        return "a fake time"


def quiet(function):
    def call(*args):
        return function(*args).lower()

    return call


title = str.title
plain_stamp = stamp
dump = quiet(stamp)


def dumped(text):
    return dump(text), title(text), plain_stamp(text)


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        print(executor.submit(stamp, "A").result(), executor.submit(dumped, "b c").result())
        executor.submit(use_fake_clock).result()
        print(executor.submit(stamp, "A").result(), executor.submit(dumped, "b c").result())
    with Executor(max_workers=1, initializer=use_fake_clock) as executor:
        print(executor.submit(plain_stamp, "B").result())
    print("here:", stamp("C"))
