"""A task assigns a global whose old text is an attribute's name."""

from pool import Executor as Pool
import types

STATUS = "name"
USER = types.SimpleNamespace(name="ann", age=1)


def set_status(x):
    global STATUS
    STATUS = x


def read():
    return STATUS, USER.name


if __name__ == "__main__":
    USER.age = 2
    with Pool(1) as p:
        p.submit(set_status, "title").result()
        print(p.submit(read).result())
