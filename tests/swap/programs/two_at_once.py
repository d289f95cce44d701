# start methods: fork spawn
# slow: others tell more of the same
"""Two executors at once, each with an initializer, and results of one given to the other."""

from pool import Executor

role = "none"
handled = []


class Page:
    def __init__(self, text):
        self.text = text
        self.words = None


def become(name):
    global role
    role = name


def fetch(number):
    handled.append(number)
    return Page(f"page {number} by {role} as {len(handled)}")


def parse(page):
    handled.append(page)
    page.words = page.text.split()
    return page, role, len(handled)


if __name__ == "__main__":
    with (
        Executor(max_workers=1, initializer=become, initargs=("fetcher",)) as fetchers,
        Executor(max_workers=1, initializer=become, initargs=("parser",)) as parsers,
    ):
        pages = [fetchers.submit(fetch, number) for number in range(3)]
        parsed = [parsers.submit(parse, page.result()) for page in pages]
        for future in parsed:
            page, by, count = future.result()
            print(type(page) is Page, page.words, by, count)
    print("here:", role, handled)
