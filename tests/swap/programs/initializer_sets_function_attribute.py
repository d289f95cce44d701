"""The initializer sets an attribute of a function."""

from pool import Executor as Pool
import enum


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Service:
    conn = None

    @classmethod
    def connect(cls):
        cls.conn = "connected"


def helper():
    return getattr(helper, "conn", None)


def init():
    Service.connect()
    helper.conn = "c"
    Color.RED.label = "red"
    Service.ping = lambda self: "pong"
    global NEW
    NEW = 1


def w1(x):
    return x


def w2():
    return Service.conn, helper(), getattr(Color.RED, "label", None), Service().ping(), NEW


def w3():
    return (
        Service.conn,
        helper(),
        helper.conn,
        Color.RED.label,
        Service().ping(),
        NEW,
        getattr(helper, "extra", None),
    )


if __name__ == "__main__":
    with Pool(1, initializer=init) as p:
        print(p.submit(w1, 1).result())
        print(p.submit(w2).result())
        Color.RED.label = "main"
        Color.BLUE.label = "main"
        helper.extra = 5
        print(p.submit(w3).result()[:6])
        Service.ping = lambda self: "main"
        print(p.submit(lambda: Service().ping()).result() if False else p.submit(w3).result()[:6])
