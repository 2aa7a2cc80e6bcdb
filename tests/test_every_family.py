"""Whatever model is handed over is measured right or refused in a sentence: families and states of docs/models.md."""

from __future__ import annotations

from importlib import metadata

import pytest

from tests import families, states

# A sentence of ours may differ with what transformers says; the table is of one release.
SAME = f"transformers {metadata.version('transformers')}," in families.DOCUMENT.read_text()


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("family", families.FAMILIES)
def test_every_family_is_measured_right_or_refused_in_a_sentence(family: str) -> None:
    found = families.outcome(family)
    assert found.off <= families.BOUND
    if SAME:
        assert found.told == families.rows()[family]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", states.STATES)
def test_every_state_is_measured_right_or_refused_in_a_sentence(name: str) -> None:
    if states.STATES[name].needs_peft:
        pytest.importorskip("peft")
    found = states.outcome(name)
    assert found.off <= families.BOUND
    if SAME:
        assert found.told == families.states_told()[name]
