# start methods: fork forkserver
# slow: others tell more of the same
"""A whole small program: a local web server, downloads with a session per process, retries, a summary."""

import dataclasses
import http.server
import threading
import urllib.error
import urllib.request

from pool import Executor

session = None


class Session:
    def __init__(self, agent):
        self.opener = urllib.request.build_opener()
        self.opener.addheaders = [("User-Agent", agent)]
        self.count = 0

    def get(self, url):
        self.count += 1
        with self.opener.open(url, timeout=10) as response:
            return response.read().decode()


@dataclasses.dataclass
class Page:
    url: str
    body: str
    number: int


class NotThere(Exception):
    pass


def start_session(agent):
    global session
    session = Session(agent)


def fetch(url):
    try:
        return Page(url.rpartition("/")[2], session.get(url), session.count)
    except urllib.error.HTTPError as error:
        raise NotThere(error.code) from None


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if "missing" in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{self.path} for {self.headers['User-Agent']}".encode())

    def log_message(self, *args):
        pass


def main():
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    with Executor(max_workers=1, initializer=start_session, initargs=("tester/1.0",)) as executor:
        executor.submit(len, "").result()  # its processes are there before the thread
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        base = f"http://127.0.0.1:{server.server_port}"
        futures = [executor.submit(fetch, f"{base}/{name}") for name in ("a", "missing", "b")]
        for future in futures:
            try:
                print(future.result())
            except NotThere as error:
                print("not there:", error)
        server.shutdown()
        thread.join()
        server.server_close()


if __name__ == "__main__":
    main()
