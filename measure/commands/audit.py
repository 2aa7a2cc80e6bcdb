"""The command `measure audit`: checkpoints that are not what their names say."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING, Any

from measure.base.exits import EXIT_CLAIM_FAILED
from measure.commands.common import add_command, say
from measure.spec import MeasureError

if TYPE_CHECKING:
    from measure.hub.audit import Audit

_TEXT = (
    "Find checkpoints on the hub that are not what their names say, by the hub's own file hashes: equal weights, files "
    "shared with main, weights that are missing. Fetches no weights. Exit status 1 where there are any."
)
_EXAMPLE = (
    "measure audit EleutherAI/pythia-2.8b\n"
    "  measure audit polypythia-410m-seed9 olmo2-1b --json\n"
    "  measure audit 'allenai/OLMo-2-1124-7B@stage1-*'\n"
    "  measure audit me/mine --revision-pattern 'ckpt_{step}'"
)


def add(commands: Any) -> None:
    """The command, with how revisions are named where no shipped pattern tells."""
    command = add_command(commands, "audit", run, _TEXT, _EXAMPLE)
    command.add_argument(
        "models", nargs="+", metavar="ID", help="hub ids or names of the catalog, also ID@PATTERN for some revisions"
    )
    command.add_argument("--json", action="store_true", help="one JSON list with an object per repository")
    command.add_argument("--revision-pattern", metavar="PATTERN", help=_PATTERN)
    command.add_argument("--tokens-a-step", type=int, metavar="N", help="tokens of a training step of that pattern")


_PATTERN = (
    "how training checkpoints are named, such as 'ckpt_{step}' or '[stage{stage}-]step{step}-tokens{tokens}': parts "
    "are stage, ingredient, step and tokens, [...] may be missing"
)


def run(options: argparse.Namespace) -> int:
    """Audit and print; 1 where a revision is not what its name says."""
    from measure.catalog import revisions
    from measure.harness import sweeping
    from measure.hub import audit

    if options.tokens_a_step is not None and options.revision_pattern is None:
        raise MeasureError(f"--tokens-a-step {options.tokens_a_step} belongs to a --revision-pattern; give one.")
    if options.revision_pattern is not None:
        revisions.use_own(options.revision_pattern, options.tokens_a_step)
    asked = [pair for name in options.models for pair in sweeping.repositories(name).items()]
    found = [audit.audit(repository, names) for repository, names in asked]
    if options.json:
        say(json.dumps([_as_json(one) for one in found], indent=1))
    else:
        say(*(line for one in found for line in _lines(one)))
    return EXIT_CLAIM_FAILED if any(one.faults for one in found) else 0


def _as_json(found: Audit) -> dict[str, Any]:
    findings = [{**dataclasses.asdict(one), "fault": one.is_fault} for one in found.findings]
    return {
        "repository": found.repository,
        "revisions": list(found.revisions),
        "findings": findings,
        "sound": list(found.sound),
    }


def _lines(found: Audit) -> list[str]:
    """An audit as a table: a line for each finding, faults marked."""
    faults = found.faults
    count = f"{len(faults)} not what {'its name says' if len(faults) == 1 else 'their names say'}"
    shown = [f"{found.repository}: {len(found.revisions)} revisions, {count if faults else 'all sound'}"]
    width = max((len(one.revision) for one in found.findings), default=0)
    for one in found.findings:
        source = f" ({one.source})" if one.source else ""
        shown.append(f"  {'FAULT' if one.is_fault else 'note ':<5} {one.revision:<{width}} {one.text}{source}")
    if faults and found.sound:
        shown.append(f"  sound: {', '.join(_few(found.sound))} ({len(found.sound)})")
    return shown


def _few(names: tuple[str, ...]) -> list[str]:
    return list(names) if len(names) < 6 else [*names[:3], "...", *names[-2:]]
