"""A class makes one object only."""

from pool import Executor as Pool


class Sing:
    _instance = None

    def __new__(cls):
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance


S = Sing()
S.v = 1


def work():
    return getattr(S, "v", "gone")


if __name__ == "__main__":
    S.v = 2
    with Pool(1) as p:
        print(p.submit(work).result())
