"""The explorer's server: this machine alone, one secret address, small questions.

* It listens on 127.0.0.1. A name in `Host` that is not this machine's is refused: a page elsewhere
  may have its name point here (DNS rebinding).
* Every address begins with a random token that only the printed line has. A page of another origin
  is refused even where it knows the token.
* The page may load its own three files and ask this server, nothing else (its content security
  policy), and shows texts as texts.
"""

import errno
import secrets
import sys
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ipt.explore.page import FILES, POLICY, file_of
from ipt.explore.requests import MOST_BYTES, as_json, read_body
from ipt.explore.routes import Explorer

ADDRESS = "127.0.0.1"
NAMES = (ADDRESS, "localhost")
PORTS = 50  # that are tried, one after another
SECONDS = 60  # that a connection may take to say what it wants
JSON = "application/json"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Refused(Exception):
    """A request that is not answered: its status, and why."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Server(ThreadingHTTPServer):
    """Serves one explorer on the first free port from `port` on."""

    daemon_threads = True
    # A port that another program listens on must not be taken over.
    allow_reuse_address = sys.platform != "win32"

    def __init__(self, explorer: Explorer, port: int) -> None:
        self.explorer = explorer
        self.token = secrets.token_urlsafe(16)
        last = min(port + PORTS, 2**16)
        for number in range(port, last):
            try:
                super().__init__((ADDRESS, number), _Handler)
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
            else:
                return
        raise ValueError(f"--port: every port from {port} to {last - 1} is taken; choose another")

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    @property
    def address(self) -> str:
        """What a browser opens."""
        return f"http://{ADDRESS}:{self.port}/{self.token}/"

    def respond(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> "Reply":
        """Answer a request, or say why not; raises nothing that a request can cause.

        headers: by name in small letters.
        """
        try:
            self._require_own(headers)
            token, _, name = path.partition("?")[0].removeprefix("/").partition("/")
            if not secrets.compare_digest(token.encode(), self.token.encode()):
                raise Refused(HTTPStatus.FORBIDDEN, "open the address that ipt explore has printed")
            if method == "GET":
                return self._file(name)
            return self._answer(name, headers, body)
        except Refused as error:
            return Reply(error.status, JSON, _error(str(error)))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say a fault in one line; a page that went away before its answer is none."""
        error = sys.exception()
        if not isinstance(error, OSError):
            print(f"ipt explore: a fault of ipt: {error!r:.300}", file=sys.stderr)

    def _require_own(self, headers: Mapping[str, str]) -> None:
        """Refuse what another site's page asks."""
        # Any port: that of a tunnel's other end may be another one.
        host = headers.get("host", "")
        name, _, port = host.rpartition(":")
        if name not in NAMES or not port.isdecimal():
            raise Refused(HTTPStatus.FORBIDDEN, "this server answers its own machine only")
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            raise Refused(HTTPStatus.FORBIDDEN, "another site's page may not ask")

    def _file(self, name: str) -> "Reply":
        if name not in FILES:
            raise Refused(HTTPStatus.NOT_FOUND, "no such file")
        return Reply(HTTPStatus.OK, FILES[name], file_of(name))

    def _answer(self, name: str, headers: Mapping[str, str], body: bytes) -> "Reply":
        if name not in self.explorer.routes:
            raise Refused(HTTPStatus.NOT_FOUND, "no such question")
        # A form of another site can send no JSON without being asked for permission first.
        if headers.get("content-type", "").partition(";")[0].strip() != JSON:
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "questions are JSON")
        try:
            content = as_json(self.explorer.respond(name, read_body(body)))
        except ValueError as error:
            raise Refused(HTTPStatus.BAD_REQUEST, " ".join(str(error).split())) from error
        except Exception as error:
            # A fault of the program: the page says it, and the server goes on.
            text = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"ipt explore: a fault of ipt at {name}: {text:.300}", file=sys.stderr)
            reason = f"a fault of ipt: {text:.300}"
            raise Refused(HTTPStatus.INTERNAL_SERVER_ERROR, reason) from error
        return Reply(HTTPStatus.OK, JSON, content)


class Reply:
    """What a request gets."""

    def __init__(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.status = status
        self.kind = kind
        self.content = content


def _error(reason: str) -> bytes:
    return as_json({"error": reason})


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = SECONDS

    def do_GET(self) -> None:
        self._send(self.server.respond("GET", self.path, self._headers(), b""))

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        # Without a length, or with a larger one, nothing of the body is read.
        if not (length.isascii() and length.isdecimal()) or len(length) > len(str(MOST_BYTES)):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "the length of the request is not known")
        elif int(length) > MOST_BYTES:
            reason = f"a request has {MOST_BYTES:,} bytes at most"
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)
        else:
            body = self.rfile.read(int(length))
            self._send(self.server.respond("POST", self.path, self._headers(), body))

    def _headers(self) -> dict[str, str]:
        # Of a header that is sent twice all values count.
        headers = {}
        for name in self.headers:
            headers[name.lower()] = ", ".join(self.headers.get_all(name, []))
        return headers

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._send(Reply(status, JSON, _error(reason)))

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{reply.kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(reply.content)))
        self.end_headers()
        self.wfile.write(reply.content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a line for each question would hide the address."""
