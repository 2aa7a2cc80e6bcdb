"""Claim: other families show the same, Gemma excepted (Janiak et al. 2024, section 6, Discussion).

"We only look at a handful of relatively small Transformer language models. We have seen similar results for GPT, Pythia
and Phi, and Llama, with a notable exception of Gemma."

The paper shows no curve of these. What "similar" must at least mean is asked of every model alike, the paper's own and
the ladder's too: trained weights give sharper curves than the same architecture untrained, with edges flatter than
those of the shuffled weights. One model of each family stands for it. The exception was measured without a BOS token,
which Gemma is broken without, so Gemma is asked both ways.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from measure import catalog, claims
from measure.claims import Claim
from measure.results import Curves
from measure.spec import CurveSpec, Pairing
from measure.stats import Verdict

CLAIM = "Trained weights make regions in every family, Gemma perhaps excepted (section 6)"

# An accepted negative stands here with its verdict, case by case. Of the families of the Discussion none has been
# measured yet: what is expected of them, Gemma too, is what is expected of all.
EXPECTED: dict[str, str] = {}


@dataclass(frozen=True)
class Family:
    """One model, trained and not, its shuffled copy, and second counterfeits of both kinds."""

    trained: CurveSpec
    untrained: CurveSpec
    scrambled: CurveSpec
    untrained_again: CurveSpec
    scrambled_again: CurveSpec


def family(name: str, pairing: Pairing = "random") -> Family:
    main = f"{name}@main"
    return Family(
        trained=CurveSpec(main, pairing=pairing),
        untrained=CurveSpec(main, weights="untrained:0", pairing=pairing),
        scrambled=CurveSpec(main, weights="scrambled:0", pairing=pairing),
        untrained_again=CurveSpec(main, weights="untrained:1", pairing=pairing),
        scrambled_again=CurveSpec(main, weights="scrambled:1", pairing=pairing),
    )


MODELS = [model for model in catalog.models().values() if model.seed == 0]
FAMILIES = {model.name: family(model.name) for model in MODELS}
FAMILIES |= {f"{m.name}-bos": family(m.name, "random_with_bos") for m in MODELS if m.family == "gemma"}
CASES = [pytest.param(case, id=name) for name, case in FAMILIES.items()]


def own_specs(name: str, case: Family) -> list[CurveSpec]:
    """What of a case has its baseline here, and not in the suites on training and on size."""
    model = next(model for model in MODELS if model.name == name.removesuffix("-bos"))
    trained = [case.trained] if model.origin != "paper" else []
    again = [case.scrambled, case.scrambled_again, case.untrained_again]
    return [*trained, case.untrained, *([] if len(model.revisions) > 1 else again)]


SPECS = [pytest.param(spec, id=spec.id) for name, case in FAMILIES.items() for spec in own_specs(name, case)]


def judge(trained: Curves, untrained: Curves, scrambled: Curves, notes: tuple[str, ...] = ()) -> Verdict:
    """The claim on one model's pairs, against its untrained and its shuffled copy."""
    return Verdict(effects=claims.sharper(untrained, trained, scrambled, "untrained to trained"), notes=notes)


@pytest.mark.parametrize("case", CASES)
def test_claim(case: Family, measured: Callable[[CurveSpec], Curves], claim: Claim) -> None:
    trained = measured(case.trained)
    notes = (claims.null_note(trained),)
    claim.check(judge(trained, measured(case.untrained), measured(case.scrambled), notes), EXPECTED)


@pytest.mark.parametrize("case", CASES)
def test_control(case: Family, measured: Callable[[CurveSpec], Curves], claim: Claim) -> None:
    trained, untrained, scrambled = measured(case.trained), measured(case.untrained), measured(case.scrambled)
    claim.refute(
        {
            "shuffled weights for the trained": judge(measured(case.scrambled_again), untrained, scrambled),
            "untrained weights for the trained": judge(measured(case.untrained_again), untrained, scrambled),
            "trained and untrained swapped": judge(untrained, trained, scrambled),
        }
    )


@pytest.mark.parametrize("spec", SPECS)
def test_baseline(spec: CurveSpec, measured: Callable[[CurveSpec], Curves], baseline: object) -> None:
    assert baseline == measured(spec)
