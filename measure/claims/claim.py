"""One test's claim: verdicts held against what the repository expects, and kept for the record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import combinations

import pytest

from measure.claims.accepted import Accepted
from measure.spec import NotMeasuredError
from measure.stats.verdicts import Verdict

_NOTHING: Mapping[str, str] = {}
_MORE = (
    "measure more pairs, see --pairs and --pairs-from: an interval stands on 6 at least, and on 6 different last tokens"
)


class Claim:
    """One test's claim: compares verdicts with what the repository expects, and keeps them for the record.

    The `claim` fixture makes it. Tests call `check`, `refute` and `confirm`.

    `subject`: the id under which a suite accepts a verdict.
    `must_be_measured`: a verdict without an interval fails the test. Else it counts as not measured; it never passes.
    `known`: what was accepted of this case before.
    `held`: false on another sample than the accepted one. A verdict is then shown without being compared.
    `keep`: called with each verdict, to accept it.
    `named`: the counterfeits that the test has to refute.
    `drawn`: false for pairs that were handed in, which may be too few to confirm even planted data.
    """

    def __init__(
        self,
        subject: str,
        *,
        must_be_measured: bool = False,
        known: Accepted | None = None,
        held: bool = True,
        keep: Callable[[Verdict], None] | None = None,
        named: Iterable[str] = (),
        drawn: bool = True,
    ) -> None:
        self.subject = subject
        self.verdict: Verdict | None = None
        self.expected = "supported"
        self.controls: dict[str, Verdict] = {}
        self.planted: dict[str, Verdict] = {}
        # What an accepted negative has moved by.
        self.drift: list[str] = []
        self._must_be_measured = must_be_measured
        self._known = known or Accepted()
        self._held = held
        self._keep = keep
        self._named = tuple(named)
        self._drawn = drawn

    def check(self, verdict: Verdict, accepted: Mapping[str, str] = _NOTHING) -> None:
        """Pass if the measured verdict is the expected one. An accepted negative is shown as an expected failure.

        `accepted` holds the expected verdicts that are not `supported`, by the id of the test. Under --protocol strict
        an id ends with the read. Raises `NotMeasuredError` for a verdict that has no interval.
        """
        if self._keep is not None and verdict.outcome != "not measured":
            self._keep(verdict)
        if self._held:
            verdict = replace(verdict, draws=tuple(self._known.draws.values()))
        self.verdict = verdict
        self.expected = accepted.get(self.subject, "supported") if self._held else verdict.outcome
        self._check_measured({"the claim": verdict})
        if verdict.outcome != self.expected:
            pytest.fail(f"expected the claim to be {self.expected}, measured: {verdict}", pytrace=False)
        if self.expected != "supported" and self._held:
            self._check_effects(verdict)
            pytest.xfail(f"accepted as {verdict}")

    def _check_effects(self, verdict: Verdict) -> None:
        """An accepted negative is held to its effects: one that vanishes, turns or leaves its interval is drift."""
        self.drift = self._known.drift(verdict) if self._keep is None else []
        if self.drift:
            lines = "\n".join(f"  {line}" for line in self.drift)
            pytest.fail(
                f"accepted as {self.expected} and still so, by other effects than were accepted:\n{lines}\n"
                "Find out why; if it is meant, accept it with --snapshot-update.",
                pytrace=False,
            )

    def refute(self, counterfeits: Mapping[str, Verdict]) -> None:
        """Pass if none of the counterfeits supports the claim. Each is data on which the claim must not hold.

        Raises `NotMeasuredError` if one of them has no interval, and none supports the claim.
        """
        self.controls |= counterfeits
        believed = {name: verdict for name, verdict in counterfeits.items() if verdict.outcome == "supported"}
        if believed:
            lines = "\n".join(f"  {name}: {verdict}" for name, verdict in believed.items())
            pytest.fail(f"the claim is supported by data on which it must not hold:\n{lines}", pytrace=False)
        if not counterfeits:
            pytest.fail("claim.refute was given no counterfeit, and a control that cannot fail is none", pytrace=False)
        self._check_measured(counterfeits)
        self._check_looked_at()

    def _check_looked_at(self) -> None:
        """Fail where a counterfeit named for the test was left out, or where two of them gave one verdict."""
        left_out = [name for name in self._named if name not in self.controls]
        effects = {name: self.controls[name].effects for name in self._named if name in self.controls}
        same = [(a, b) for a, b in combinations(effects, 2) if effects[a] == effects[b]]
        if left_out:
            pytest.fail(f"counterfeits named for this claim and not refuted: {', '.join(left_out)}", pytrace=False)
        if same:
            first, second = same[0]
            pytest.fail(
                f"{first!r} and {second!r} gave the same verdict to the last digit, so that one was not looked at: "
                f"{self.controls[first]}",
                pytrace=False,
            )

    def confirm(self, planted: Mapping[str, Verdict]) -> None:
        """Pass if each of `planted` supports the claim. It is data built so that the claim holds.

        Without it a claim that nothing could support would look well controlled.
        """
        self.planted |= planted
        self._check_enough(planted)
        refused = {name: verdict for name, verdict in planted.items() if verdict.outcome != "supported"}
        if refused or not planted:
            lines = "\n".join(f"  {name}: {verdict}" for name, verdict in refused.items()) or "  none was given"
            pytest.fail(f"the claim is not supported by data built to support it:\n{lines}", pytrace=False)

    def _check_enough(self, planted: Mapping[str, Verdict]) -> None:
        """Raise `NotMeasuredError` if pairs that were handed in are too few to confirm planted data."""
        open_ones = [verdict for verdict in planted.values() if verdict.outcome in ("inconclusive", "not measured")]
        if open_ones and not self._drawn:
            raise NotMeasuredError(
                f"not measured: {open_ones[0].n} independent pairs are too few to tell whether a claim holds: data "
                "built to support it are inconclusive too. Give more pairs with --pairs-from."
            )

    def _check_measured(self, verdicts: Mapping[str, Verdict]) -> None:
        for name, verdict in verdicts.items():
            if verdict.outcome == "not measured":
                why = _MORE if verdict.n else "every pair is degenerate or left out"
                told = f"not measured: {name} has no interval (n = {verdict.n}); {why}"
                if self._must_be_measured:
                    pytest.fail(f"{told}. On the ladder's default sample every claim can be measured", pytrace=False)
                raise NotMeasuredError(told)
