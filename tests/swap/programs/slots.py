# start methods: fork spawn
# slow: others tell more of the same
"""Classes with __slots__, __getstate__ and __setstate__, and a dataclass with slots."""

import threading
from dataclasses import dataclass

from pool import Executor


class Pixel:
    __slots__ = ("blue", "green", "red")

    def __init__(self, red, green, blue):
        self.red, self.green, self.blue = red, green, blue


class Counter:
    __slots__ = ("count", "lock")

    def __init__(self, count=0):
        self.count = count
        self.lock = threading.Lock()

    def __getstate__(self):
        return self.count

    def __setstate__(self, count):
        self.__init__(count)

    def increase(self):
        with self.lock:
            self.count += 1
        return self


@dataclass(slots=True)
class Size:
    width: int
    height: int


def grey(pixel):
    mean = (pixel.red + pixel.green + pixel.blue) // 3
    return Pixel(mean, mean, mean)


def turn(size):
    return Size(size.height, size.width)


if __name__ == "__main__":
    with Executor(max_workers=2) as executor:
        pixel = executor.submit(grey, Pixel(1, 2, 9)).result()
        print(pixel.red, pixel.green, pixel.blue, type(pixel) is Pixel, hasattr(pixel, "__dict__"))
        counter = executor.submit(Counter(3).increase).result()
        print(counter.count, counter.increase().count, type(counter) is Counter)
        print(executor.submit(turn, Size(1, 2)).result() == Size(2, 1))
