"""The viewer served to this machine alone, or with a token to others: pictures are drawn when the browser asks.

Without ``--host`` only requests that name this machine are answered. With it every request needs the token that was
printed: once in the address, from then on in a cookie that no script can read and no other page can send.
"""

import hmac
import secrets
import socket
import threading
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from re import fullmatch

from depthscope.errors import BadInputError, DepthscopeError
from depthscope.report.folder import CaseFolder, open_case
from depthscope.report.images import jpeg
from depthscope.report.policy import MARK, SERVED, header
from depthscope.report.sections import PANELS
from depthscope.viewer.page import viewer_page
from depthscope.viewer.scene import ViewerScene, open_scene
from depthscope.viewer.slices import PLANES

HOST = "127.0.0.1"
"""Where nobody else can reach it."""

PORT = 8765
"""Where it is looked for first."""

TRIED = 20
"""Ports after it that are tried."""

COOKIE = "depthscope_token"
"""Holds the token after the first request."""

KEPT = 256
"""Pictures that are kept, some 40 kB each."""


class Drawn:
    """What the browser may ask of a case, by its address.

    Args:
        place: Folder of the case; read again when a page is asked for and the case has changed.
    """

    def __init__(self, place: Path) -> None:
        self.place = Path(place)
        self.case: CaseFolder = open_case(self.place)
        self._stamp = self._changed()
        self._lock = threading.Lock()
        # Bound to this object, so that they end with it.
        self._scene = lru_cache(maxsize=2)(self._open)
        self._page = lru_cache(maxsize=2)(lambda number: viewer_page(self.case, self._scene(number), number).encode())
        self._picture = lru_cache(maxsize=KEPT)(self._draw)

    def answer(self, address: str) -> tuple[str, bytes] | None:
        """The media type and the bytes of what lies at an address, or None where there is nothing; pages not sealed.

        Raises:
            DepthscopeError: It cannot be drawn.
        """
        path = address.partition("?")[0]
        with self._lock:
            if (number := page_number(path)) is not None:
                self._refresh()
                return ("text/html; charset=utf-8", self._page(number)) if number < len(self.case.clips) else None
            found = fullmatch(r"/clip-(\d{1,6})/([a-z]{1,12})/(\d{1,9})\.jpg", path)
            if found is None or found[2] not in {**PANELS, **PLANES} or int(found[1]) >= len(self.case.clips):
                return None
            data = self._picture(int(found[1]), found[2], int(found[3]))
        return None if data is None else ("image/jpeg", data)

    def _open(self, number: int) -> ViewerScene:
        return open_scene(self.case, number)

    def _draw(self, number: int, panel: str, frame: int) -> bytes | None:
        scene = self._scene(number)
        if panel in PLANES:
            picture = None if scene.slices is None else scene.slices.picture(panel, frame)
            return None if picture is None else jpeg(picture)
        view = scene.view
        if view is None or frame >= len(view.names):
            return None
        picture = view.picture(view.names[frame], panel)
        return None if picture is None else jpeg(picture)

    def _changed(self) -> tuple[tuple[str, int], ...]:
        files = [*self.place.glob("*/result.json"), *self.place.glob("*/*/result.json")]
        found = []
        for path in sorted(files):
            with suppress(OSError):  # a stage that is being written again
                found.append((str(path), path.stat().st_mtime_ns))
        return tuple(found)

    def _refresh(self) -> None:
        if (stamp := self._changed()) == self._stamp:
            return
        self.case, self._stamp = open_case(self.place), stamp
        for kept in (self._scene, self._page, self._picture):
            kept.cache_clear()


class ViewerServer(ThreadingHTTPServer):
    """Serves one case.

    Args:
        drawn: What is served.
        port: 0 for any free one.
        host: The address to listen on.
        token: What every request must carry; "" where only this machine is answered.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, drawn: Drawn, port: int, host: str = HOST, token: str = "") -> None:
        self.drawn, self.host, self.token = drawn, host, token
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    @property
    def address(self) -> str:
        """What to open in a browser."""
        name = socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host
        name = f"[{name}]" if ":" in name else name
        return f"http://{name}:{self.server_address[1]}/" + (f"?token={self.token}" if self.token else "")


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "depthscope", ""

    def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
        """Answers one request."""
        assert isinstance(self.server, ViewerServer)
        path, _, query = self.path.partition("?")
        if not self._allowed(query):
            return
        try:
            found = self.server.drawn.answer(path)
        except DepthscopeError as error:
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", f"{error}\n".encode())
            return
        if found is None:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"nothing here\n")
            return
        self._send(HTTPStatus.OK, *found)

    def _allowed(self, query: str) -> bool:
        """Whether the request may be answered; if not, it has been told so, or sent on without its token."""
        assert isinstance(self.server, ViewerServer)
        token, port = self.server.token, self.server.server_address[1]
        if not token:
            if self.headers.get("Host") in (f"{HOST}:{port}", f"localhost:{port}"):
                return True
            # A page from elsewhere whose name was made to point here must not read what a patient's case holds.
            self._send(HTTPStatus.FORBIDDEN, "text/plain", b"this machine only\n")
            return False
        cookies = [part.strip().partition("=") for part in (self.headers.get("Cookie") or "").split(";")]
        if any(name == COOKIE and same(value, token) for name, _, value in cookies):
            return True
        if any(
            same(value, token)
            for name, _, value in (part.partition("=") for part in query.split("&"))
            if name == "token"
        ):
            # The token leaves the address bar, and so the history and what others see of the screen.
            place = "./" + self.path.partition("?")[0].rpartition("/")[2]
            cookie = f"{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/"
            self._send(HTTPStatus.SEE_OTHER, "text/plain", b"", {"Location": place, "Set-Cookie": cookie})
            return False
        self._send(
            HTTPStatus.FORBIDDEN, "text/plain", b"open the address that depthscope view printed, with its token\n"
        )
        return False

    def _send(self, status: HTTPStatus, media: str, data: bytes, more: dict[str, str] | None = None) -> None:
        nonce = secrets.token_hex(16)
        data = data.replace(MARK.encode(), nonce.encode()) if media.startswith("text/html") else data
        self.send_response(status)
        for name, value in (
            ("Content-Type", media),
            ("Content-Length", str(len(data))),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", header(SERVED, nonce)),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            *(more or {}).items(),
        ):
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):  # the browser has gone on to another frame
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server names it
        """Says nothing: the command line is for people."""


def same(given: str, token: str) -> bool:
    """Whether two tokens are equal, in a time that does not tell how far."""
    return hmac.compare_digest(given.encode(), token.encode())


def page_number(path: str) -> int | None:
    """The clip whose page lies at a path, or None where there is no page."""
    if path in ("/", "/index.html"):
        return 0
    found = fullmatch(r"/clip-(\d{1,6})\.html", path)
    return int(found[1]) if found else None


def serving(drawn: Drawn, port: int | None = None, host: str | None = None) -> ViewerServer:
    """A server that is bound and not yet running.

    Args:
        drawn: What is served.
        port: The port to take; without it the first free one from `PORT` on.
        host: The address to listen on, with a new token; without it only this machine is served.

    Raises:
        BadInputError: It is taken, or no port or address.
    """
    if port is not None and not 0 <= port <= 65_535:
        raise BadInputError(f"--port {port}", "0 to 65535", "leave it away to take the next free one")
    token = "" if host is None else secrets.token_urlsafe(24)
    refused = None
    for number in range(PORT, PORT + TRIED) if port is None else (port,):
        try:
            return ViewerServer(drawn, number, host or HOST, token)
        except socket.gaierror as error:
            raise BadInputError(f"--host {host}", "an address of this machine, such as 0.0.0.0 for all") from error
        except OSError as error:
            refused = error
    what = f"port {port}" if port is not None else f"all ports from {PORT} to {PORT + TRIED - 1}"
    what = f"{what} of {host}" if host else what
    why = refused.strerror if refused is not None else ""
    raise BadInputError(
        f"{what} cannot be used ({why})", "a free port", "give another --port, or none for the next free one"
    ) from refused
