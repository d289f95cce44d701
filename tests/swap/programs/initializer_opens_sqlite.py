# start methods: fork forkserver
"""An initializer opens a database for each process; tasks write to it and read from it."""

import sqlite3

from pool import Executor

connection = None


def connect(rows):
    global connection
    connection = sqlite3.connect(":memory:")
    connection.execute("create table item (name text, amount integer)")
    connection.executemany("insert into item values (?, ?)", rows)


def add(name, amount):
    with connection:
        connection.execute("insert into item values (?, ?)", (name, amount))
    return connection.execute("select count(*), sum(amount) from item").fetchone()


def names():
    return [name for (name,) in connection.execute("select name from item order by rowid")]


if __name__ == "__main__":
    with Executor(max_workers=1, initializer=connect, initargs=([("nut", 3), ("bolt", 4)],)) as executor:
        print(executor.submit(add, "screw", 5).result())
        print(executor.submit(add, "nail", 6).result())
        print(executor.submit(names).result())
