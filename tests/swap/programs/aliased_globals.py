"""Containers that the script has under several names, filled in the guarded block and by tasks."""

from pool import Executor

ROUTES = {}
routes = ROUTES
NODES = []


class Application:
    table = ROUTES
    nodes = NODES


def add_route(path):
    ROUTES[path] = len(ROUTES)
    NODES.append(path)
    return (
        sorted(Application.table),
        routes is ROUTES,
        Application.table is ROUTES,
        Application.nodes is NODES,
    )


def find(path):
    return routes.get(path), Application.table.get(path), ROUTES.get(path), NODES


if __name__ == "__main__":
    ROUTES["/"] = 0
    NODES.append("/")
    with Executor(max_workers=1) as executor:
        print(executor.submit(find, "/").result())
        print(executor.submit(add_route, "/a").result())
        print(executor.submit(add_route, "/b").result())
        print(executor.submit(find, "/b").result())
    print("here:", ROUTES, NODES)
