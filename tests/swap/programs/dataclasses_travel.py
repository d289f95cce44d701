# start methods: fork spawn
"""Dataclasses as arguments and results: frozen, ordered, nested, with factories, and as keys."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

from pool import Executor


@dataclass(frozen=True, order=True)
class Point:
    x: float
    y: float = 0.0

    def __add__(self, other: Point) -> Point:
        return Point(self.x + other.x, self.y + other.y)


@dataclass
class Shape:
    name: str
    points: list[Point] = field(default_factory=list)
    area: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.area = float(len(self.points))


def move(shape: Shape, by: Point) -> Shape:
    return replace(shape, points=[point + by for point in shape.points])


def index(points: list[Point]) -> dict[Point, int]:
    return {point: number for number, point in enumerate(sorted(points))}


if __name__ == "__main__":
    shape = Shape("line", [Point(1), Point(2, 3)])
    with Executor(max_workers=2) as executor:
        moved = executor.submit(move, shape, Point(1, 1)).result()
        print(moved, moved == Shape("line", [Point(2, 1), Point(3, 4)]), type(moved) is Shape)
        found = executor.submit(index, [Point(3), Point(1), Point(2)]).result()
        print(found[Point(3)], Point(1) in found, max(found))
        print(asdict(executor.submit(Shape, "dot", [Point(0)]).result()))
