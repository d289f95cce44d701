# run: main.py
# start methods: fork forkserver
"""The script has objects of a module under names of its own; both see the same changes."""

import settings
from pool import Executor
from settings import ACTIVE, LISTENERS, activate

heard = []


def listen(text):
    heard.append(text)
    return len(heard)


LISTENERS.append(listen)


def modes():
    return ACTIVE["mode"], settings.mode(), ACTIVE is settings.ACTIVE


def tell(text):
    return settings.tell(text), heard, LISTENERS is settings.LISTENERS


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        print(executor.submit(modes).result())
        executor.submit(activate, "fast").result()
        print(executor.submit(modes).result())
        ACTIVE["mode"] = "only here"
        executor.submit(settings.activate, "faster").result()
        print(executor.submit(modes).result())
        print(executor.submit(tell, "a").result())
        print(executor.submit(settings.tell, "b").result())
        print(executor.submit(tell, "c").result())
    print("here:", ACTIVE, heard)
