# start methods: fork spawn
"""An initializer fills a dict of the module, by changing it in place."""

from pool import Executor

SETTINGS = {"currency": "EUR"}


def configure(**settings):
    SETTINGS.update(settings)


def configure_from(pairs):
    configure(**dict(pairs))


def price(amount):
    return f"{amount * SETTINGS['rate']:.2f} {SETTINGS['currency']} {sorted(SETTINGS)}"


if __name__ == "__main__":
    with Executor(max_workers=2, initializer=configure_from, initargs=([("rate", 1.25)],)) as executor:
        for line in executor.map(price, range(1, 5)):
            print(line)
    print("here:", SETTINGS)
