# needs: numpy
"""NumPy at the top: print options, error states, structured types, a subclass, tables that tasks read."""

import numpy as np
from pool import Executor

np.set_printoptions(precision=2, suppress=True)
np.seterr(all="raise")

City = np.dtype([("name", "U10"), ("people", "i4")])
CITIES = np.array([("Rome", 3), ("Oslo", 1)], dtype=City)
weights = None


class Image(np.ndarray):
    @property
    def pixels(self):
        return self.size


def people(name):
    return int(CITIES[CITIES["name"] == name]["people"].sum())


def text(numbers):
    return str(np.array(numbers))


def divide(left, right):
    try:
        return (np.float64(left) / np.float64(right)).item()
    except FloatingPointError:
        return "raised"


def weigh(row):
    return float(weights @ row)


def image(width, height):
    return np.zeros((height, width)).view(Image)


if __name__ == "__main__":
    weights = np.arange(3) / 2
    with Executor(max_workers=2) as executor:
        print([executor.submit(people, name).result() for name in ("Rome", "Oslo", "Bonn")])
        print(executor.submit(text, [1 / 3, 2e-9]).result())
        print(executor.submit(divide, 1, 0).result(), executor.submit(divide, 1, 2).result())
        print([executor.submit(weigh, np.ones(3) * number).result() for number in (1, 2)])
        picture = executor.submit(image, 3, 2).result()
        print(type(picture) is Image, picture.pixels)
