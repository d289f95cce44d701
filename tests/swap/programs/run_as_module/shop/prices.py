"""Prices of the shop."""

from . import CURRENCY

RATES = {"tea": 3}


def price(item):
    return f"{RATES[item]} {CURRENCY}"
