"""The registry of cases.

A new case is one more :class:`case.Case` in one of the lists that are joined here. What its measurements do
is one of the functions in ``runner.KINDS``.
"""

from __future__ import annotations

from case import Case
from cases_cost import COST
from cases_footprint import FOOTPRINT
from cases_recycling import RECYCLING
from cases_speed import SCRIPT, SPEED

CASES: dict[str, Case] = {one.name: one for one in (*SPEED, *COST, *RECYCLING, *FOOTPRINT, *SCRIPT)}
