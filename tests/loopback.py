"""A web site on this machine, whose pages are good, slow, broken or gone as a test wants them."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Site:
    """What it answers by path, and what it was asked: path and User-Agent in turn."""

    url: str
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def times(self, path: str) -> int:
        """How many times it was asked for `path`."""
        return [own for own, _ in self.asked].count(path)


def whole(body: bytes, status: int = 200, **headers: str) -> Answer:
    """`body` and no less."""
    return part_of(body, len(body), status, **headers)


def part_of(body: bytes, promised: int, status: int = 200, **headers: str) -> Answer:
    """`body` where `promised` bytes were announced; then the line goes dead."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(promised))
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = len(body) != promised

    return answer


def dripping(body: bytes, seconds: float) -> Answer:
    """`body` byte by byte, `seconds` before each."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        for byte in body:
            time.sleep(seconds)
            handler.wfile.write(bytes([byte]))

    return answer


def silent(seconds: float) -> Answer:
    """No answer for so long."""
    return lambda handler: time.sleep(seconds)


def in_turn(*answers: Answer) -> Answer:
    """One after the other, the last one for ever."""
    left = list(answers)
    return lambda handler: (left.pop(0) if len(left) > 1 else left[0])(handler)


@contextmanager
def site() -> Iterator[Site]:
    """A site for as long as the context lasts; what it has no answer for, it has not (404)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # a body would wait 40 ms behind its header

        def do_GET(self) -> None:
            here.asked.append((self.path, self.headers["User-Agent"]))
            here.answers.get(self.path, whole(b"", 404))(self)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # a client that has given up waiting

    with Server(("127.0.0.1", 0), Handler) as server:
        here = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield here
        finally:
            server.shutdown()
            thread.join()
