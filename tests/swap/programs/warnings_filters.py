# start methods: fork forkserver
"""The top turns one warning into an error, silences another and shows the rest in its own way."""

import warnings

from pool import Executor

shown = []


class OldWay(UserWarning):
    pass


def show(message, category, filename, lineno, file=None, line=None):
    shown.append(f"{category.__name__}: {message}")


warnings.showwarning = show
warnings.simplefilter("always")
warnings.filterwarnings("error", category=OldWay)
warnings.filterwarnings("ignore", message="never mind")


def task(text, category):
    try:
        warnings.warn(text, category)
    except OldWay as error:
        return f"raised {error}"
    return list(shown)


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        print(executor.submit(task, "do not", OldWay).result())
        print(executor.submit(task, "never mind", UserWarning).result())
        print(executor.submit(task, "look here", RuntimeWarning).result())
    print("here:", shown)
