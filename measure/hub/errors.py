"""What can go wrong between here and the model hub: what may pass, and one message for the rest."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from typing import Literal, TypeVar

from measure.spec import MeasureError, NotMeasuredError

_DISK_FULL = 28

Kind = Literal["model", "dataset"]
_T = TypeVar("_T")

# Seconds between tries of what may pass: too many requests, a failing server, a connection cut, a damaged file.
WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)
# huggingface_hub tries some of it again itself; what took so long already is not begun anew.
PATIENCE = 120.0
_PASSING_STATUS = (408, 429, 500, 502, 503, 504)
_PASSING_NAMES = {"TimeoutException", "ReadError", "WriteError", "RemoteProtocolError", "ChunkedEncodingError"}
_UNREACHABLE_NAMES = {"ConnectError", "ConnectTimeout", "OfflineModeIsEnabled", "ConnectionError"}


class DamagedError(OSError):
    """A file that is not there after its download, or not what the hub says it is; it is fetched again."""


def is_offline() -> bool:
    """Whether huggingface_hub was told not to use the network (HF_HUB_OFFLINE=1)."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def not_in_cache(repo: str, revision: str, *, part: str = "", kind: Kind = "model") -> MeasureError:
    """What is said of a repository, or of a `part` of it, that is neither here nor can be fetched."""
    what = f"{part} of {repo}@{revision}" if part else f"{repo}@{revision}"
    why = "HF_HUB_OFFLINE is set" if is_offline() else "the hub cannot be reached"
    return NotMeasuredError(
        f"{what} is not in the local cache, and {why}. Fetch it where there is a network (`"
        f"{_how(repo, revision, kind)}`), with HF_HOME on a disk that this machine shares, or give a local folder."
    )


def _how(repo: str, revision: str, kind: Kind) -> str:
    """The command that brings a revision into the cache."""
    more = f" --revision {shlex.quote(revision)}" if revision != "main" else ""
    return f"hf download {shlex.quote(repo)}{more}{' --repo-type dataset' if kind == 'dataset' else ''}"


def _chain(error: BaseException) -> list[BaseException]:
    """An error and what caused it: huggingface_hub wraps the cause in an error of its own."""
    found: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and seen not in found:
        found.append(seen)
        seen = seen.__cause__
    return found


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _named(error: BaseException, names: set[str]) -> bool:
    # By name, since huggingface_hub has changed its transport, and with it the classes, more than once.
    return bool(names & {kind.__name__ for kind in type(error).__mro__})


def _may_pass(error: BaseException) -> bool:
    """Whether trying again may help."""
    return any(
        isinstance(cause, DamagedError)
        or _status(cause) in _PASSING_STATUS
        or _named(cause, _PASSING_NAMES)
        or "Consistency check failed" in str(cause)
        or _is_of_xet(cause)
        for cause in _chain(error)
    )


def _is_of_xet(error: BaseException) -> bool:
    """Whether an error came out of the hub's storage for large files, which raises no class of its own."""
    trace, names = error.__traceback__, set()
    while trace is not None:
        names.add(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    return "xet_get" in names and not _status(error) and getattr(error, "errno", None) != _DISK_FULL


def is_unreachable(error: BaseException) -> bool:
    """Whether no hub answered at all."""
    chain = _chain(error)
    return not any(_status(cause) for cause in chain) and any(_named(cause, _UNREACHABLE_NAMES) for cause in chain)


def with_retries(call: Callable[[], _T]) -> _T:
    """Call again, at growing intervals, while the error is one that may pass."""
    until = time.monotonic() + PATIENCE
    for wait in WAITS:
        try:
            return call()
        except Exception as error:
            if not _may_pass(error) or time.monotonic() > until:
                raise
            asked = next((_retry_after(cause) for cause in _chain(error) if _status(cause)), 0.0)
            time.sleep(max(wait, asked))
    return call()


def _retry_after(error: BaseException) -> float:
    """Seconds that a hub asks to be left alone, a minute at most."""
    value = getattr(error, "response").headers.get("Retry-After", "0")  # noqa: B009
    return min(float(value), 60.0) if value.isascii() and value.isdigit() else 0.0


def explained(error: Exception, repo: str, revision: str, kind: Kind, nearest: Callable[[], str]) -> MeasureError:
    """One message for whatever huggingface_hub, its transport or the disk raised.

    `nearest` tells which revisions there are that are like one that does not exist.
    """
    from huggingface_hub import errors

    chain = _chain(error)
    page = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repo}"
    if isinstance(error, MeasureError):
        return error
    if any(isinstance(cause, errors.GatedRepoError) for cause in chain):
        return NotMeasuredError(
            f"{repo} is gated. Ask for access on its page, {page}, then log in with `hf auth login`, "
            "or set HF_TOKEN to a token that may read it."
        )
    if any(isinstance(cause, errors.RevisionNotFoundError) for cause in chain):
        return NotMeasuredError(f"{repo} has no revision {revision!r}; {nearest()}")
    if any(isinstance(cause, errors.RepositoryNotFoundError) for cause in chain):
        return NotMeasuredError(
            f"the hub has no {kind} {repo!r}, or it is private, and here is no folder of that name. Check the id, or "
            "log in with `hf auth login`."
        )
    if any(isinstance(cause, OSError) and cause.errno == _DISK_FULL for cause in chain):
        return NotMeasuredError(
            f"{repo}: the disk filled up while it was fetched; make room, or set HF_HOME elsewhere."
        )
    if any(isinstance(cause, DamagedError) for cause in chain):
        return NotMeasuredError(f"{repo}@{revision}: {error}, again and again; it was not kept. Try later.")
    if is_unreachable(error):
        return not_in_cache(repo, revision, kind=kind)
    status = next(filter(None, map(_status, chain)), None)
    said = f"the hub answered {status}" if status else f"the download failed ({error})"
    tries = ", again and again" if _may_pass(error) else ""
    return NotMeasuredError(
        f"{repo}@{revision}: {said}{tries}. Whole files are kept: called again, it goes on from there."
    )
