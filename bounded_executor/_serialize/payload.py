"""A pickle and the large buffers that belong to it: arrays and the like are not copied into it.

That is what protocol 5 of pickle calls out-of-band data (PEP 574). A buffer goes into the socket from
where it is, and out of it into the memory that the object on the other side then has.
"""

from __future__ import annotations

import pickle
import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

__all__ = [
    "Item",
    "Parts",
    "Picker",
    "Pickled",
    "Remote",
    "Unpickled",
    "load",
    "load_item",
    "sizes_of",
    "together",
]

# What is smaller stays in the pickle.
LARGE_BYTES = 1 << 16

# What a number weighs, about as long as its pickle is.
NUMBER_BYTES = 10

_COUNT = struct.Struct("<Q")


class Parts:
    """A pickle and its buffers.

    Args:
        pickled: the pickle.
        buffers: in the order in which it refers to them.
    """

    __slots__ = ("_buffers", "_pickled")

    def __init__(self, pickled: bytes | memoryview, buffers: Sequence[Any]) -> None:
        self._pickled = pickled
        self._buffers = buffers

    def __len__(self) -> int:
        return len(self._pickled) + sum(map(len, self._buffers))

    @property
    def pickled(self) -> bytes | memoryview:
        """The pickle, which lacks the buffers."""
        return self._pickled

    @property
    def buffer_count(self) -> int:
        """How many buffers it lacks."""
        return len(self._buffers)

    def load(self) -> Any:
        """Return the object, which takes over the buffers as they are."""
        return pickle.loads(self._pickled, buffers=self._buffers)

    def copy(self) -> Parts:
        """Return the same with buffers of its own, for an owner who may go on changing his."""
        return Parts(self._pickled, list(map(bytearray, self._buffers)))

    def wrapped(self) -> list[Any]:
        """Return the same as something that can itself be pickled in parts."""
        return [self._pickled, *map(pickle.PickleBuffer, self._buffers)]

    def body(self) -> list[Any]:
        """Return the body of a frame, piece by piece."""
        sizes = [len(self._pickled), *map(len, self._buffers)]
        table = struct.pack(f"<{len(sizes) + 1}Q", len(sizes), *sizes)
        return [table, self._pickled, *self._buffers]

    @classmethod
    def of_body(cls, body: bytes | bytearray) -> Parts:
        """Return what such a frame has brought; nothing is copied."""
        (count,) = _COUNT.unpack_from(body)
        sizes = struct.unpack_from(f"<{count}Q", body, _COUNT.size)
        view = memoryview(body)
        pieces = []
        at = _COUNT.size * (1 + count)
        for size in sizes:
            pieces.append(view[at : at + size])
            at += size
        return cls(pieces[0], pieces[1:])


class Unpickled:
    """Something that has not been pickled and never leaves this process; it weighs nothing.

    Args:
        value: what it is.
    """

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def __len__(self) -> int:
        return 0

    def load(self) -> Any:
        """Return it."""
        return self._value


class Remote(ABC):
    """A result that stays where it was made until it is asked for; it weighs nothing here."""

    __slots__ = ("__weakref__",)

    def __len__(self) -> int:
        return 0

    @abstractmethod
    def fetch(self, seconds: float | None) -> Any:
        """Return the object.

        Args:
            seconds: how long that may take; None: any time.

        Raises:
            TimeoutError: it took longer; it may be asked for again.
            BaseException: it is lost, or cannot be unpickled.
        """

    def load(self) -> Any:
        """Return the object, however long that takes."""
        return self.fetch(None)


Pickled = bytes | bytearray | Parts | Unpickled | Remote
# What a call needs besides the function: numbers are pickled when they are sent.
Item = tuple[Any, ...] | bytes | Parts | Unpickled


def load(pickled: Pickled) -> Any:
    """Return the object that this is the pickle of."""
    return pickle.loads(pickled) if isinstance(pickled, (bytes, bytearray)) else pickled.load()


class Picker:
    """Picks the large buffers out of what is being pickled: a ``buffer_callback``."""

    def __init__(self) -> None:
        self.buffers: list[memoryview] = []

    def __call__(self, buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes < LARGE_BYTES:
            return True
        self.buffers.append(view)
        return False


def sizes_of(items: Sequence[Item]) -> list[int]:
    """Return how many bytes each item weighs."""
    lengths = list(map(len, items))
    kinds = set(map(type, items))
    if tuple not in kinds:
        return lengths
    if len(kinds) == 1:
        return [length * NUMBER_BYTES for length in lengths]
    return [len(item) * (NUMBER_BYTES if type(item) is tuple else 1) for item in items]


def together(head: tuple[Any, ...], items: Sequence[Item], size: int) -> bytes | Parts:
    """Return one message of items that may be large; :func:`load_item` loads each of them.

    Args:
        head: what else is in it.
        items: pickles, or tuples of numbers that are pickled here.
        size: bytes that all of them weigh.
    """
    if size < LARGE_BYTES:
        return pickle.dumps((*head, items), pickle.HIGHEST_PROTOCOL)
    picker = Picker()
    wrapped = list(map(_wrapped, items))
    pickled = pickle.dumps((*head, wrapped), pickle.HIGHEST_PROTOCOL, buffer_callback=picker)
    return Parts(pickled, picker.buffers)


def _wrapped(item: Item) -> Any:
    if isinstance(item, Parts):
        return item.wrapped()
    return pickle.PickleBuffer(item) if isinstance(item, bytes) else item


def load_item(item: Any) -> Any:
    """Return what such an item is, or is the pickle of, in a message that came in parts."""
    if type(item) is list:
        pickled, *buffers = item
        return pickle.loads(pickled, buffers=buffers)
    return item if type(item) is tuple else pickle.loads(item)
