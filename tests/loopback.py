"""A web site on this machine for tests: each path answers correctly, slowly, incompletely or not at all."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Site:
    """Hold the answers by path, and the requests received in order: path and User-Agent."""

    url: str
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)

    def count(self, path: str) -> int:
        """Return the number of requests for `path`."""
        return [own for own, _ in self.requests].count(path)


def full_body(body: bytes, status: int = 200, **headers: str) -> Answer:
    """Return an answer with `status`, `headers` and all of `body`."""
    return truncated_body(body, len(body), status, **headers)


def truncated_body(body: bytes, promised: int, status: int = 200, **headers: str) -> Answer:
    """Return an answer that announces `promised` bytes, sends `body` and closes the connection if that is less."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(promised))
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = len(body) != promised

    return answer


def slow_body(body: bytes, seconds: float) -> Answer:
    """Return an answer that waits `seconds` before each byte of `body`."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        for byte in body:
            time.sleep(seconds)
            handler.wfile.write(bytes([byte]))

    return answer


def no_answer(seconds: float) -> Answer:
    """Return an answer that sends nothing for `seconds`."""
    return lambda handler: time.sleep(seconds)


def in_turn(*answers: Answer) -> Answer:
    """Return an answer that uses `answers` one after the other, and the last one from then on."""
    left = list(answers)
    return lambda handler: (left.pop(0) if len(left) > 1 else left[0])(handler)


@contextmanager
def site() -> Iterator[Site]:
    """Run a web site inside the context; a path without an answer has the status 404."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # otherwise a body waits 40 ms behind its header

        def do_GET(self) -> None:
            web_site.requests.append((self.path, self.headers["User-Agent"]))
            web_site.answers.get(self.path, full_body(b"", 404))(self)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # the client stopped waiting

    with Server(("127.0.0.1", 0), Handler) as server:
        web_site = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield web_site
        finally:
            server.shutdown()
            thread.join()
