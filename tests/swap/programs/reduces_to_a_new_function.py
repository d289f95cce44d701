"""An object's pickle is a function that is made anew each time."""

from pool import Executor as Pool


class Lazy:
    def __init__(self, n):
        self.n = n

    def __reduce__(self):
        n = self.n

        def rebuild():
            return Lazy(n)

        return rebuild, ()


L = Lazy(3)


def work():
    return L.n


if __name__ == "__main__":
    with Pool(1) as p:
        print(p.submit(work).result())
