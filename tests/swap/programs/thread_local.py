# start methods: fork forkserver
"""A threading.local of the script holds one connection per process and thread."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

from pool import Executor

local = threading.local()


def connection():
    if not hasattr(local, "connection"):
        local.connection = sqlite3.connect(":memory:")
        local.connection.execute("create table seen (name text)")
    return local.connection


def see(name):
    connection().execute("insert into seen values (?)", (name,))
    return [row[0] for row in connection().execute("select name from seen")]


def see_in_a_thread(name):
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(see, name).result()


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        print(executor.submit(see, "a").result())
        print(executor.submit(see, "b").result())
        print(executor.submit(see_in_a_thread, "c").result())
        print(executor.submit(see, "d").result())
