"""Defaults of methods are changed in place."""

from pool import Executor as Pool


def acc(x, seen=[]):
    seen.append(x)
    return list(seen)


class K:
    def m(self, x, seen={}):
        seen[x] = 1
        return sorted(seen)

    @staticmethod
    def s(x, seen=[]):
        seen.append(x)
        return list(seen)

    @classmethod
    def c(cls, x, *, seen=[]):
        seen.append(x)
        return list(seen)


def work(x):
    return acc(x), K().m(x), K.s(x), K.c(x)


def work2(x):
    return acc(x), K().m(x), K.s(x), K.c(x)


if __name__ == "__main__":
    acc("main")
    K().m(0)
    K.s("main")
    K.c("main")
    with Pool(1) as p:
        print(p.submit(work, 1).result())
        print(p.submit(work2, 2).result())
        acc("late")
        K.s("late")
        print(p.submit(acc, 3).result(), p.submit(K.s, 3).result(), p.submit(work, 4).result())
