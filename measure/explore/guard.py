"""What is let in: requests of this machine's browser with the address's token, of bounded size; nothing else.

A page elsewhere can make a browser ask for addresses of this machine, or have its own name point here. So the address
holds a token that nobody else knows, `Host` must be a name of this machine, `Origin`, where there is one, this server.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HOSTS = ("127.0.0.1", "localhost", "[::1]")
POLICY = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob: data:", "connect-src 'self'",
    "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
    "trusted-types 'none'",
))  # fmt: skip
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_STALE = (
    "This address is not that of the explorer that runs now. Open the one that `measure explore` printed; "
    "what your page held comes back there, and the part of a link from # on can be put behind it.\n"
)


class Guard:
    """An ASGI application in front of another: refuses, or hands on with the token taken off the path."""

    def __init__(self, app: Any, token: str, most: int) -> None:
        self._app, self._token, self._most = app, token, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            # A websocket that is not accepted is refused.
            await send({"type": "websocket.close", "code": 1008})
            return
        if refusal := self._refusal(scope):
            await _say(send, *refusal)
            return
        body = await self._body(receive)
        if body is None:
            await _say(send, 413, f"The request holds more than {self._most:,} bytes, which this page never sends.\n")
            return
        rest = scope["path"][len(self._token) + 1 :]
        await self._app(
            {**scope, "path": rest, "raw_path": rest.encode()}, _replayed(body, receive), _with_headers(send)
        )

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason of a request that is not let in."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if host.rpartition(":")[0] not in HOSTS and host not in HOSTS:
            return 403, f"This server answers under {', '.join(HOSTS)} alone; open the address that it printed.\n"
        origin = headers.get("origin")
        if origin is not None and (urlsplit(origin).netloc != host or urlsplit(origin).scheme != "http"):
            return 403, "This server answers its own page alone, not one of another address.\n"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return 403, "This server answers its own page alone, not one of another address.\n"
        parts = scope["path"].split("/")
        given = parts[1] if len(parts) > 2 else ""
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return 403, _STALE
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._most:
            return 413, f"The request holds more than {self._most:,} bytes, which this page never sends.\n"
        return None

    async def _body(self, receive: Receive) -> bytes | None:
        """All of the request's body; None where it is too long."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return b""
            size += len(message.get("body", b""))
            if size > self._most:
                return None
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body in one message, then what comes."""
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", []), *more]}
        await send(message)

    return sent


async def _say(send: Send, status: int, text: str) -> None:
    """Answer with one sentence, and keep the connection no longer: a body may still be under way."""
    sent = _with_headers(send)
    content = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(content)).encode())]
    await sent({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await sent({"type": "http.response.body", "body": content})
