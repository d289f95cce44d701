# start methods: fork forkserver
"""The top of the script opens a database and fills it; tasks query it."""

import sqlite3

from pool import Executor

connection = sqlite3.connect(":memory:")
connection.row_factory = sqlite3.Row
connection.create_function("double", 1, lambda value: value * 2)
connection.execute("create table city (name text, people integer)")
connection.executemany("insert into city values (?, ?)", [("Rome", 3), ("Oslo", 1), ("Lima", 10)])


def find(name):
    row = connection.execute(
        "select name, double(people) as twice from city where name = ?", (name,)
    ).fetchone()
    return row and (row["name"], row["twice"])


if __name__ == "__main__":
    with Executor(max_workers=2) as executor:
        for name, found in zip(("Rome", "Lima", "Bonn"), executor.map(find, ("Rome", "Lima", "Bonn"))):
            print(name, found)
