# %%
from dataclasses import dataclass

from pool import Executor


@dataclass
class Point:
    x: int
    made = 0

    def moved(self, by):
        Point.made += 1
        return Point(self.x + by)


class Refused(Exception):
    pass


# %%
executor = Executor(max_workers=1)
one = executor.submit(Point(1).moved, 2).result()
print(one, type(one) is Point, Point.made)
print(executor.submit(lambda: Point.made).result())
# prints:
# Point(x=3) True 0
# 1

# %%
def refuse(point):
    if isinstance(point, Point):
        raise Refused(point.x)


try:
    executor.submit(refuse, one).result()
except Refused as error:
    print("refused", error)
# prints:
# refused 3

# %%
@dataclass
class Point:
    x: int
    y: int = 0

    def moved(self, by):
        return Point(self.x + by, self.y - by)


two = executor.submit(Point(1).moved, 2).result()
print(two, type(two) is Point, isinstance(one, Point))
# prints:
# Point(x=3, y=-2) True False

# %%
try:
    executor.submit(refuse, two).result()
except Refused as error:
    print("refused", error)
print(executor.submit(isinstance, two, Point).result())
# prints:
# refused 3
# True

# %%
Point.__doc__ = "A point."
print(executor.submit(lambda: Point(1)).result() == Point(1))
executor.shutdown()
# prints:
# True
