"""The server behind the page: files, prompts as tokens, measurements as lines of JSON that come as they are made."""

from __future__ import annotations

import asyncio
import json
import mimetypes
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from measure.explore import asked, computing, pair_files
from measure.explore.asked import T
from measure.explore.guard import Guard
from measure.explore.served import Served, about, digest
from measure.explore.turns import Event, Job, Turns
from measure.spec import MeasureError

_WEB = Path(__file__).parent / "web"
# The chart library is the report's.
_SHARED = {name: Path(__file__).parents[1] / "report" / "web" / name for name in ("uPlot.iife.min.js", "uPlot.min.css")}
_KINDS = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
# Seconds between two looks at whether the page is still there.
_LOOK = 0.5
Answer = Callable[[Request], Awaitable[Response]]


def application(models: Sequence[Served], token: str, turns: Turns) -> Guard:
    """The whole server, as an ASGI application, on models that are loaded; `turns` is started by the caller."""
    page = _Page(models, turns)
    measured: dict[str, tuple[Any, Any]] = {
        "curves": (asked.Measured, page.curves),
        "tops": (asked.Tops, page.tops),
        "standing": (asked.Standing, page.standing),
        "plane": (asked.Plane, page.plane),
        "plateau-lab": (asked.Listed, page.plateau_lab),
    }
    routes = [
        Route("/about", page.about, methods=["GET"]),
        Route("/tokens", _answered(page.tokens), methods=["POST"]),
        Route("/pairs", _answered(page.pairs), methods=["POST"]),
        Route("/suite", _answered(page.suite), methods=["POST"]),
        *(Route(f"/{name}", page.streamed(*of), methods=["POST"]) for name, of in measured.items()),
        Route("/", _file_answer("index.html"), methods=["GET"]),
        *(Route(f"/{name}", _file_answer(name), methods=["GET"]) for name in _served_files()),
    ]
    return Guard(Starlette(routes=routes), token, asked.MOST_BYTES)


def _served_files() -> list[str]:
    """Every file that the page may ask for, by its name: nothing else is opened."""
    return [*_SHARED, *sorted(path.name for path in _WEB.iterdir() if path.suffix in (".js", ".css"))]


def _file_answer(name: str) -> Answer:
    async def answer(_: Request) -> Response:
        path = _SHARED.get(name, _WEB / name)
        kind = _KINDS.get(path.suffix) or mimetypes.guess_type(name)[0]
        return Response(path.read_bytes(), media_type=kind)

    return answer


def _answered(work: Callable[[bytes], Any]) -> Answer:
    """What takes no model's time, answered at once beside the queue."""

    async def answer(request: Request) -> Response:
        content = await request.body()
        try:
            return JSONResponse(await run_in_threadpool(work, content))
        except MeasureError as error:
            return _refused(error)

    return answer


def _refused(error: MeasureError) -> Response:
    status = 409 if isinstance(error, asked.OtherModelsError) else 400
    return PlainTextResponse(_whole(str(error)), status_code=status)


def _whole(text: str) -> str:
    """Text with lone surrogates, which have no bytes, spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


def line(event: Event) -> bytes:
    """An event as a line of JSON; what is no whole text in it is spelled out."""
    return json.dumps(event, separators=(",", ":"), allow_nan=False).encode() + b"\n"


class _Page:
    """What the page can ask for, on the models there are."""

    def __init__(self, models: Sequence[Served], turns: Turns) -> None:
        self._models, self._turns, self._served = models, turns, digest(models)

    def _taken(self, kind: type[T], content: bytes) -> T:
        """A request, checked. Raises `OtherModelsError` for one of a page that was told of other models."""
        wanted = asked.taken(kind, content)
        if wanted.served not in ("", self._served):
            raise asked.OtherModelsError("measure explore was started with other models; load the page again.")
        return wanted

    def _model(self, number: int) -> Served:
        if not 0 <= number < len(self._models):
            raise MeasureError(f"there is no model {number} here; load the page again.")
        return self._models[number]

    async def about(self, _: Request) -> Response:
        return JSONResponse(about(self._models))

    def tokens(self, content: bytes) -> list[list[dict[str, Any]]]:
        wanted = self._taken(asked.Tokens, content)
        return [self._model(wanted.model).tokens(text, wanted.bos) for text in wanted.texts]

    def pairs(self, content: bytes) -> dict[str, Any]:
        return pair_files.read(self._taken(asked.Read, content))

    def suite(self, content: bytes) -> dict[str, str]:
        wanted = self._taken(asked.Listed, content)
        return pair_files.suite(wanted, self._model(wanted.model).name)

    def curves(self, wanted: asked.Measured) -> tuple[str, Iterator[Event]]:
        return wanted.channel, computing.curves(self._model(wanted.model), wanted)

    def tops(self, wanted: asked.Tops) -> tuple[str, Iterator[Event]]:
        return "tops", computing.tops(self._model(wanted.model), wanted)

    def standing(self, wanted: asked.Standing) -> tuple[str, Iterator[Event]]:
        return "standing", computing.standing(self._model(wanted.model), wanted)

    def plane(self, wanted: asked.Plane) -> tuple[str, Iterator[Event]]:
        return "slice", computing.plane(self._model(wanted.model), wanted)

    def plateau_lab(self, wanted: asked.Listed) -> tuple[str, Iterator[Event]]:
        return "file", pair_files.plateau_lab(self._model(wanted.model), wanted)

    def streamed(self, kind: Any, work: Callable[[Any], tuple[str, Iterator[Event]]]) -> Answer:
        """Lines as they are measured; the measurement ends with the page that asked."""

        async def answer(request: Request) -> Response:
            try:
                wanted = self._taken(kind, await request.body())
                channel, steps = work(wanted)
                events: asyncio.Queue[Event | None] = asyncio.Queue()
                loop = asyncio.get_running_loop()
                job = Job(wanted.client, channel, steps, _teller(loop, events))
                self._turns.add(job)
            except MeasureError as error:
                return _refused(error)
            return StreamingResponse(_lines(request, job, events), media_type="application/x-ndjson")

        return answer


def _teller(loop: asyncio.AbstractEventLoop, events: asyncio.Queue[Event | None]) -> Callable[[Event | None], None]:
    def tell(event: Event | None) -> None:
        # Of a server that is closed nobody waits.
        if not loop.is_closed():
            loop.call_soon_threadsafe(events.put_nowait, event)

    return tell


async def _lines(request: Request, job: Job, events: asyncio.Queue[Event | None]) -> AsyncIterator[bytes]:
    try:
        while True:
            try:
                event = await asyncio.wait_for(events.get(), _LOOK)
            except TimeoutError:
                if await request.is_disconnected():
                    return
                continue
            if event is None:
                yield line({"type": "cancelled" if job.cancelled.is_set() else "end"})
                return
            yield line(event)
    finally:
        job.cancel()
