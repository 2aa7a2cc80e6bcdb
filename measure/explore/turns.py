"""Who is served when: one thread that measures a step at a time, each page in its turn. Measures nothing itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from measure.spec import MeasureError

_LOG = logging.getLogger("measure")
Event = dict[str, Any]
# Jobs that wait, of all pages together.
MOST_WAITING = 500
# What of one page goes first.
URGENCY = ("curve", "overlay", "tops", "layers", "slice", "standing", "file")
# What nobody waits for: done where no page asks.
BACKGROUND = "start"


@dataclass(eq=False)
class Job:
    """Steps that a page waits for; `tell` is called from the thread with each event, and with None at the end."""

    client: str
    channel: str
    steps: Iterator[Event]
    tell: Callable[[Event | None], None]
    cancelled: threading.Event = field(default_factory=threading.Event)
    place: int = -1

    def cancel(self) -> None:
        """Stop before the next step."""
        self.cancelled.set()

    @property
    def urgency(self) -> int:
        return URGENCY.index(self.channel) if self.channel in URGENCY else len(URGENCY)


class Turns:
    """A thread that goes round the pages that wait, and takes one step of each one's most urgent job."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        # By page, in the order in which they will be served.
        self._waiting: dict[str, list[Job]] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="measure-explore", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End after the step that runs."""
        with self._changed:
            self._closed = True
            for job in self._every():
                job.cancel()
            self._changed.notify_all()

    def add(self, job: Job) -> None:
        """Put a job in its place; an older one of the same page and channel is cancelled.

        Raises `MeasureError` where too many wait.
        """
        with self._changed:
            if len(self._every()) >= MOST_WAITING:
                raise MeasureError(f"{MOST_WAITING} measurements wait already; ask again once some are done.")
            jobs = self._waiting.setdefault(job.client, [])
            for older in jobs:
                if older.channel == job.channel:
                    older.cancel()
            jobs.append(job)
            self._tell_places()
            self._changed.notify_all()

    def _every(self) -> list[Job]:
        return [job for jobs in self._waiting.values() for job in jobs]

    def _pages(self) -> list[str]:
        """Those who wait for something, in the order in which they will be served."""
        return [one for one, jobs in self._waiting.items() if any(job.channel != BACKGROUND for job in jobs)]

    def _tell_places(self) -> None:
        """Tell every job that has not begun how many pages are served before it, where that changed."""
        for place, client in enumerate(self._pages()):
            for job in self._waiting[client]:
                if job.place not in (0, place) and not job.cancelled.is_set():
                    job.place = place
                    job.tell({"type": "place", "place": place})

    def _serve(self) -> None:
        while (job := self._next()) is not None:
            event = _step(job)
            job.place = 0
            job.tell(event)
            with self._changed:
                if event is None:
                    self._drop(job)
                self._tell_places()

    def _next(self) -> Job | None:
        """The job whose turn it is, its page put last; None once all is closed."""
        with self._changed:
            while True:
                if self._closed:
                    return None
                for job in [job for job in self._every() if job.cancelled.is_set()]:
                    job.steps = iter(())
                    job.tell(None)
                    self._drop(job)
                if self._waiting:
                    break
                self._changed.wait()
            client = next(iter(self._pages() or self._waiting))
            jobs = self._waiting[client] = self._waiting.pop(client)
            return min(jobs, key=lambda job: job.urgency)

    def _drop(self, job: Job) -> None:
        jobs = self._waiting.get(job.client, [])
        if job in jobs:
            jobs.remove(job)
        if not jobs:
            self._waiting.pop(job.client, None)


def _step(job: Job) -> Event | None:
    """The next event of a job; None at its end. What goes wrong is an event that says so, and the end."""
    try:
        return next(job.steps, None)
    except MeasureError as error:
        said = str(error)
    except MemoryError:
        said = (
            "the machine has no memory left for this; give shorter prompts or fewer points, or end what else uses it."
        )
    except Exception as error:  # a defect, which costs the page one answer and not the others theirs
        _LOG.exception("a measurement of the explorer failed")
        said = f"this could not be measured ({type(error).__name__}); the terminal of measure explore tells more."
    job.steps = iter(())
    return {"type": "problem", "text": said}
