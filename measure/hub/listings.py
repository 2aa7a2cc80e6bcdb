"""What the hub says: where a revision stands, which files it has, which branches there are. Fetches no files."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from measure.catalog import revisions
from measure.hub import answers, quota
from measure.hub.cache import (
    cache_folder,
    memory,
    remember,
    remembered_branches,
    remembered_hashes,
    remembered_sizes,
    sealed,
)
from measure.hub.errors import Kind, explained, is_offline, is_unreachable, with_retries
from measure.spec import MeasureError, NotMeasuredError

# Seconds in which the hub must answer a question about a repository.
_TIMEOUT = 30.0


@dataclass(frozen=True)
class Listing:
    """What the hub says of one revision: its commit, the size in bytes of each of its files, and hashes by name.

    A hash is the sha256 of a large file, else git's.
    """

    commit: str
    sizes: dict[str, int]
    hashes: dict[str, str] = field(default_factory=dict)


# A process stays on one commit of each revision, and asks for it once.
_LISTINGS: dict[tuple[str, ...], Listing] = {}
_T = TypeVar("_T")


def forget() -> None:
    """Ask the hub again where a branch stands, whatever it said before."""
    _LISTINGS.clear()


def listing_or_none(repo: str, revision: str, kind: Kind = "model") -> Listing | None:
    """What the hub says of a revision, None where it cannot be reached. Raises `MeasureError` where it refuses."""
    from huggingface_hub import constants

    if is_offline():
        return None
    place = (constants.ENDPOINT, repo, revision, kind)
    if known := _LISTINGS.get(place):
        return known
    try:
        asked = partial(_asked_listing, repo, revision, kind)
        listing = Listing(**answers.once(("listing", *place), lambda: _told(asked, repo, revision, kind)))
    except Exception as error:
        if is_unreachable(error):
            return None
        raise
    _LISTINGS[place] = listing
    if listing.hashes:
        remember(repo, f"{listing.commit}.hashes", sealed(json.dumps(listing.hashes)), kind)
    remember(repo, f"{listing.commit}.json", json.dumps(listing.sizes), kind)
    return listing


def _told(ask: Callable[[], _T], repo: str, revision: str, kind: Kind) -> _T:
    """What the hub says. Raises `MeasureError` where it refuses; what is raised where it cannot be reached stays."""
    try:
        return with_retries(ask)
    except Exception as error:
        if is_unreachable(error):
            raise
        raise explained_with_revisions(error, repo, revision, kind) from error


def _asked_listing(repo: str, revision: str, kind: Kind) -> dict[str, Any]:
    """The fields of a `Listing`."""
    from huggingface_hub import HfApi

    ask = HfApi().dataset_info if kind == "dataset" else HfApi().model_info
    spend()
    info = ask(repo, revision=revision, files_metadata=True, timeout=_TIMEOUT)
    files = info.siblings or ()
    stated = {file.rfilename: getattr(file.lfs, "sha256", None) or file.blob_id for file in files}
    hashes = {name: sha for name, sha in stated.items() if sha}
    return {"commit": str(info.sha), "sizes": {file.rfilename: file.size or 0 for file in files}, "hashes": hashes}


def listed() -> Mapping[tuple[str, ...], dict[str, Any]]:
    """What this process was told of revisions by now, each by the question that is shared (`answers`)."""
    return {("listing", *place): dataclasses.asdict(listing) for place, listing in list(_LISTINGS.items())}


def spend(requests: int = 1) -> None:
    """Wait until the hub may be asked again, with all processes that share the cache."""
    quota.take(memory() / "requests", requests)


def listing_at(repo: str, revision: str, commit: str) -> Listing | None:
    """What the hub says, or said earlier, of a revision that stands at `commit`; None where it cannot be reached.

    What it said once of a commit is not asked again. Raises `MeasureError` where it refuses.
    """
    from huggingface_hub import constants

    sizes, hashes = remembered_sizes(repo, commit), remembered_hashes(cache_folder(repo) / "snapshots" / commit)
    if sizes is None or not hashes:
        return listing_or_none(repo, revision)
    return _LISTINGS.setdefault((constants.ENDPOINT, repo, revision, "model"), Listing(commit, sizes, hashes))


def is_reachable(repo: str) -> bool:
    """Whether the hub answers now when asked for a model; asked once, without patience."""
    from huggingface_hub import HfApi

    if is_offline():
        return False
    spend()
    try:
        HfApi().model_info(repo, timeout=5.0)
    except Exception as error:
        return not is_unreachable(error)
    return True


def branches(repo: str, kind: Kind = "model") -> tuple[str, ...]:
    """Names of a repository's branches on the hub; without network, those it had when last asked."""
    from huggingface_hub import constants

    try:
        question = ("branches", constants.ENDPOINT, repo, kind)
        found = answers.once(question, lambda: _told(lambda: _asked_branches(repo, kind), repo, "main", kind))
    except MeasureError:
        raise
    except Exception as error:
        known = remembered_branches(repo, kind)
        if is_unreachable(error) and known:
            return known
        raise explained_with_revisions(error, repo, "main", kind) from error
    remember(repo, "branches.json", json.dumps(found), kind)
    return tuple(found)


def known_branches(repo: str) -> tuple[str, ...]:
    """Names of a repository's branches; none where nobody can tell them."""
    try:
        return branches(repo)
    except MeasureError:
        return ()


def refs(repo: str) -> dict[str, str]:
    """The commit of each branch of a model on the hub, by one request. Raises `MeasureError`, also offline."""
    try:
        found = with_retries(lambda: _asked_refs(repo, "model"))
    except Exception as error:
        raise explained_with_revisions(error, repo, "main") from error
    remember(repo, "branches.json", json.dumps(tuple(found)))
    return found


def _asked_branches(repo: str, kind: Kind) -> tuple[str, ...]:
    return tuple(_asked_refs(repo, kind))


def _asked_refs(repo: str, kind: Kind) -> dict[str, str]:
    from huggingface_hub import constants
    from huggingface_hub.errors import OfflineModeIsEnabled
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status  # type: ignore[attr-defined]

    if is_offline():
        raise OfflineModeIsEnabled("offline")
    spend()
    # list_repo_refs of huggingface_hub has no timeout.
    answer = get_session().get(
        f"{constants.ENDPOINT}/api/{kind}s/{repo}/refs", headers=build_hf_headers(), timeout=_TIMEOUT
    )
    hf_raise_for_status(answer)
    return {branch["name"]: branch["targetCommit"] for branch in answer.json()["branches"]}


def nearest_revision(repo: str, revision: str) -> str:
    """The training branch nearest to the tokens that `tokensNB` asks for; any other revision as it stands.

    Of several stages the first is meant, unless `stage2-tokensNB` tells another. Raises `MeasureError` when no branch
    of the model tells its tokens.
    """
    asked = revisions.wanted(revision)
    if asked is None:
        return revision
    names = branches(repo)
    found = asked.nearest(revisions.in_order(names, repo))
    if found is None or found.tokens is None:
        raise NotMeasuredError(
            f"{repo}@{revision}: none of its {len(names)} branches is a training checkpoint that tells its tokens"
            f"{_looked_for(repo, asked)}; name a branch: {', '.join(names[:5])}."
        )
    if not asked.tokens / 2 <= found.tokens <= 2 * asked.tokens:
        raise NotMeasuredError(
            f"{repo}@{revision}: the nearest of its training checkpoints is {found.name}, after "
            f"{found.tokens / 1e9:g} billion tokens, which is too far off to stand for it; name a branch."
        )
    return found.name


def _looked_for(repo: str, asked: revisions.Wanted) -> str:
    """Which branches would have told it, and what a user can tell."""
    family = revisions.family_of(repo)
    stage = f" in stage {asked.stage}" if asked.stage is not None else ""
    if family is None:
        return f"{stage} (looked for stepN-tokensNB; --revision-pattern and --tokens-a-step tell of others)"
    return f"{stage} (looked for {family.pattern}{'' if family.tokens_a_step else ', tokens a step are not published'})"


def explained_with_revisions(error: Exception, repo: str, revision: str, kind: Kind = "model") -> MeasureError:
    """`hub_errors.explained`, with the branches most like a revision that does not exist."""
    return explained(error, repo, revision, kind, lambda: _nearest_branch(repo, revision, kind))


def _nearest_branch(repo: str, revision: str, kind: Kind) -> str:
    try:
        return nearest_names(revision, _asked_branches(repo, kind), repo)
    except Exception:  # the message is worth giving without them
        return "see its branches on the hub."


def _apart(first: revisions.Revision, second: revisions.Revision) -> tuple[int, int]:
    """How far apart two checkpoints are: in stages, then in steps."""
    (stage, step), (other_stage, other_step) = first.order, second.order
    return abs(stage - other_stage), abs(step - other_step)


def nearest_names(wanted: str, names: Iterable[str], repo: str = "") -> str:
    """The names most like one that does not exist; of training steps, those next to it."""
    names = list(names)
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.0)
    if (asked := revisions.parse(wanted, repo)) is not None:
        found = sorted(revisions.in_order(names, repo), key=lambda other: _apart(asked, other))
        near = [revision.name for revision in found[:3]] or near
    return f"nearest: {', '.join(near)}." if near else "it has none."
