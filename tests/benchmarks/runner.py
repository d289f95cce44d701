"""One measurement in a fresh process: a JSON object as the argument, a JSON line as the answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import kinds_cost
import kinds_footprint
import kinds_scale
import kinds_speed
from adapter import Answer, Contender
from contenders import CONTENDERS

KINDS: dict[str, Callable[[Contender, dict[str, Any], Answer], None]] = {
    one.__name__: one
    for one in (
        kinds_speed.rate,
        kinds_speed.mapped,
        kinds_speed.payload,
        kinds_cost.queue_size,
        kinds_cost.lasting,
        kinds_cost.latency,
        kinds_footprint.memory,
        kinds_footprint.fresh,
        kinds_footprint.again,
        kinds_footprint.growth,
        kinds_scale.messages,
        kinds_scale.busy,
    )
}


def give(value: object) -> object:
    """Return the input, as ``work.give`` does: a function of the main script."""
    return value


def main() -> None:
    """Measure what the argument says."""
    spec = json.loads(sys.argv[1])
    contender = CONTENDERS[spec["contender"]]
    contender.load()
    # The answer goes out before the pool is closed: a pool that hangs there has been measured.
    KINDS[spec["kind"]](contender, spec["params"], lambda values: print(json.dumps(values), flush=True))


if __name__ == "__main__":
    main()
