"""The guarded block replaces a class that is an attribute of another one."""

from pool import Executor as Pool


class Json:
    def dump(self, x):
        return f"json {x}"


class Xml:
    def dump(self, x):
        return f"xml {x}"


class View:
    serializer_class = Json

    def run(self, x):
        return self.serializer_class().dump(x)


def work(x):
    return View().run(x)


if __name__ == "__main__":
    View.serializer_class = Xml
    with Pool(1) as p:
        print(p.submit(work, 1).result())
