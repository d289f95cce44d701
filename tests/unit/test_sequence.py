"""Values that are pickled one after the other keep what they have in common, also with what a reader has."""

from __future__ import annotations

import copy
import io
from collections import deque
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bounded_executor._serialize.pickling import Start
from bounded_executor._serialize.sequence import Reader, Writer
from bounded_executor._serialize.store import Record, Store


class _NoReferences:
    def reduce(self, _: Any) -> Any:
        return None


class Node:
    """An object with attributes, beside lists and dictionaries."""


def make(kind: int) -> Any:
    return ([], {}, Node())[kind]


def put(holder: Any, key: int, value: Any) -> None:
    if isinstance(holder, list):
        holder.append(value)
    elif isinstance(holder, dict):
        holder[key] = value
    else:
        setattr(holder, f"a{key}", value)


def parts_of(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, list):
        return list(enumerate(value))
    if isinstance(value, dict):
        return list(value.items())
    return list(vars(value).items())


def shape(values: list[Any]) -> list[Any]:
    """Return all that can be reached from values, with a number for each object: equal if they look alike."""
    numbers: dict[int, int] = {}
    found: list[Any] = []
    todo = [("top", one) for one in reversed(values)]
    while todo:
        key, value = todo.pop()
        if isinstance(value, int):
            found.append((key, "int", value))
        elif id(value) in numbers:
            found.append((key, "again", numbers[id(value)]))
        else:
            numbers[id(value)] = len(numbers)
            found.append((key, type(value).__name__, len(parts_of(value))))
            todo.extend(reversed(parts_of(value)))
    return found


kinds = st.lists(st.integers(0, 2), min_size=1, max_size=6)
# Which object gets which one, or a number, under which key.
changes = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 3), st.one_of(st.integers(0, 5), st.none())), max_size=8
)


def change(nodes: list[Any], steps: list[tuple[int, int, int | None]]) -> None:
    for holder, key, part in steps:
        value = key if part is None else nodes[part % len(nodes)]
        put(nodes[holder % len(nodes)], key, value)


def through(values: list[Any], own: list[Any], known: int = 0) -> list[Any]:
    """Send values to a reader that has its own, and return what it has then."""
    store = Store()
    writer = Writer(Start(), _NoReferences(), values[:known])
    offsets = []
    for value in values[known:]:
        pickled, before, _ = writer.add(value)
        offsets.append((store.append(pickled), before))
    reader = Reader(_NoReferences(), own[:known])
    result = own[:known]
    for mine, (offset, before) in zip(own[known:], offsets, strict=True):
        if reader.is_next(mine, Record(store.fd, offset), before):
            result.append(mine)
        else:
            result.append(reader.load(Record(store.fd, offset)))
    return result


@given(kinds, changes, changes)
def test_a_reader_that_has_an_older_state_ends_up_with_the_same(
    made: list[int], first: list[tuple[int, int, int | None]], later: list[tuple[int, int, int | None]]
) -> None:
    values = [make(kind) for kind in made]
    change(values, first)
    own = copy.deepcopy(values)
    change(values, later)
    assert shape(through(values, own)) == shape(values)


@given(kinds, changes)
def test_a_reader_that_has_the_same_keeps_all_of_it(
    made: list[int], steps: list[tuple[int, int, int | None]]
) -> None:
    values = [make(kind) for kind in made]
    change(values, steps)
    own = copy.deepcopy(values)
    assert all(one is mine for one, mine in zip(through(values, own), own, strict=True))


@given(kinds, changes, st.integers(0, 3))
def test_values_refer_to_what_the_reader_is_known_to_have(
    made: list[int], steps: list[tuple[int, int, int | None]], known: int
) -> None:
    values = [make(kind) for kind in made]
    own = [make(kind) for kind in made]
    # Only what comes later consists of others: what is known stays as it is.
    known = min(known, len(values))
    change(values, [(holder, *step) for holder, *step in steps if holder % len(values) >= known])
    read = through(values, own, known)
    assert shape(read) == shape(values)
    assert all(one is mine for one, mine in zip(read[:known], own, strict=False))


@given(kinds, changes)
def test_an_object_replaced_at_the_reader_is_what_later_values_refer_to(
    made: list[int], steps: list[tuple[int, int, int | None]]
) -> None:
    first = make(made[0])
    values = [first, [first], {1: first}]
    store = Store()
    writer = Writer(Start(), _NoReferences(), ())
    offsets = [store.append(writer.add(value)[0]) for value in values]
    reader = Reader(_NoReferences(), ())
    own = object()
    reader.replace(reader.load(Record(store.fd, offsets[0])), own)
    assert reader.load(Record(store.fd, offsets[1]))[0] is own
    assert reader.load(Record(store.fd, offsets[2]))[1] is own


def test_a_value_that_was_pickled_before_is_told() -> None:
    value: list[Any] = []
    writer = Writer(Start(), _NoReferences(), ())
    assert not writer.add([value])[2]
    assert writer.add(value)[2]
    # The second one begins with the same function, which was pickled before.
    assert not writer.add(deque([1]))[2]
    assert not writer.add(deque([2]))[2]
    for _ in range(300):
        # Its number takes more than a byte.
        writer.add([[]])
    pickled, before, is_known = writer.add(value)
    assert is_known and before > 600
    assert io.BytesIO(pickled).read()
