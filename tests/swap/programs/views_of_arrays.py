# needs: numpy
# also spawned
"""Arrays and other buffers that the guarded block fills, with views of them."""

import array
import ctypes

import numpy

from pool import Executor

TABLE = numpy.zeros(4)
FIRST_HALF = TABLE[:2]
WEIGHTS = {"table": TABLE}
RECORDS = numpy.zeros(2, dtype=[("a", "i4")])
NUMBERS = array.array("d", [0.0] * 4)
BYTES = bytearray(8)
COUNTS = (ctypes.c_int * 3)()


def read():
    TABLE[0] += 50
    return FIRST_HALF.tolist(), WEIGHTS["table"] is TABLE, FIRST_HALF.base is TABLE, WEIGHTS["table"].tolist()


def others():
    return RECORDS["a"].tolist(), list(NUMBERS), bytes(BYTES), list(COUNTS)


if __name__ == "__main__":
    TABLE[1] = 3
    RECORDS["a"] = 4
    NUMBERS[0] = 3
    BYTES[0] = 65
    COUNTS[1] = 4
    with Executor(max_workers=1) as executor:
        print(executor.submit(read).result())
        print(executor.submit(others).result())
