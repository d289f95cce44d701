"""The guarded block loads settings and builds objects of the script; tasks see them."""

import configparser
import json
import os
from dataclasses import dataclass
from pathlib import Path

from pool import Executor

CONFIG = None
TABLE: dict = {}
VERSION = "unset"


@dataclass
class Settings:
    name: str
    limits: dict


class Pricing:
    rates = {"EUR": 1.0}

    def __init__(self, settings):
        self.settings = settings

    def price(self, amount, currency):
        return min(amount * self.rates[currency], self.settings.limits["most"])


def load(path):
    return Settings(**json.loads(Path(path).read_text()))


def price(amount, currency):
    return pricing.price(amount, currency)


def describe(key):
    return CONFIG.name, TABLE[key], VERSION, ini["shop"]["open"], os.environ["SHOP"], helper_uses()


def helper_uses():
    return sorted(extra)


if __name__ == "__main__":
    Path("settings.json").write_text('{"name": "shop", "limits": {"most": 100}}')
    CONFIG = load("settings.json")
    TABLE["a"] = [1, 2]
    TABLE.update(b=[3])
    VERSION = "2.0"
    extra = {"x", "y"}
    ini = configparser.ConfigParser()
    ini.read_string("[shop]\nopen = yes\n")
    os.environ["SHOP"] = "east"
    pricing = Pricing(CONFIG)
    with Executor(max_workers=2) as executor:
        print(executor.submit(price, 20, "EUR").result(), executor.submit(price, 2_000, "EUR").result())
        print(executor.submit(describe, "a").result())
        print(executor.submit(describe, "b").result())
