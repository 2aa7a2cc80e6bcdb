"""Table 1: the models' dimensions, held against their real configs (Appendix A).

What the table prints and what the catalog says of each model must be what the model's own config says. The paper's
table has two errors, which are reported as errata and not repeated: OLMo-1B-0724 has untied embeddings, and Qwen2-7B
a vocabulary of 152,064. The ladder's rungs are not in the table: that they are as the catalog says is a test, no claim.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from measure import catalog
from measure.catalog import Shape
from measure.claims import Claim
from measure.names import Title
from measure.spec import ConfigSpec
from measure.stats import Fact, Verdict

CLAIM = Title("Models have the dimensions listed, two errors of the paper mended", place="Table 1")
# What a model must have to be asked.
TAKES = "a model of the paper's Table 1"

# As printed.
TABLE_1 = {
    "olmo-1b": Shape(2048, 16, 16, 16, 8192, 50304, True),
    "olmo-7b": Shape(4096, 32, 32, 32, 11008, 50304, False),
    "qwen2-0.5b": Shape(896, 24, 14, 2, 4864, 151936, True),
    "qwen2-1.5b": Shape(1536, 28, 12, 2, 8960, 151936, True),
    "qwen2-7b": Shape(3584, 28, 28, 4, 18944, 151936, False),
}
# Model and dimension, and what the config says instead.
ERRATA = {("olmo-1b", "tied"): False, ("qwen2-7b", "vocabulary"): 152064}
# Nothing is read here, so --protocol strict has nothing to ask twice.
READS: tuple[str, ...] = ()
# Every model is expected to be as the catalog says.
EXPECTED: dict[str, str] = {}

CASES = [pytest.param(ConfigSpec(name), id=name) for name in TABLE_1]
RUNGS = [pytest.param(ConfigSpec(m.name), id=m.name) for m in catalog.studied() if m.source == "ladder"]


def corrected(name: str) -> Shape:
    """A row of the paper's table with its errata mended."""
    errata: dict[str, Any] = {dimension: value for (model, dimension), value in ERRATA.items() if model == name}
    return dataclasses.replace(TABLE_1[name], **errata)


def judge(name: str, config: Shape, listed: Shape) -> Verdict:
    """Each dimension of the config against `listed`; the parameters they amount to stand beside."""
    wanted, found = dataclasses.asdict(listed), dataclasses.asdict(config)
    same = [dimension for dimension in wanted if wanted[dimension] == found[dimension]]
    errata = tuple(
        f"erratum: {dimension} is {value}, Table 1 prints {getattr(TABLE_1[name], dimension)}"
        for (other, dimension), value in ERRATA.items()
        if other == name
    )
    off = [f"{d}: listed {wanted[d]}, config {found[d]}" for d in wanted if d not in same]
    return Verdict(
        facts=(Fact("dimensions as in the config", len(same), len(wanted)),),
        notes=(f"parameters: {config.parameters(catalog.models()[name].family):,}", *errata, *off),
    )


@pytest.mark.parametrize("spec", CASES)
def test_claim(spec: ConfigSpec, measured: Callable[[ConfigSpec], Shape], claim: Claim) -> None:
    claim.check(judge(spec.model, measured(spec), corrected(spec.model)), EXPECTED)


@pytest.mark.parametrize("spec", CASES)
def test_control(spec: ConfigSpec, measured: Callable[[ConfigSpec], Shape], claim: Claim) -> None:
    config = measured(spec)
    others = {name: judge(spec.model, config, shape) for name, shape in TABLE_1.items() if name != spec.model}
    flipped = dataclasses.replace(corrected(spec.model), tied=not config.tied)
    claim.refute({"one dimension wrong": judge(spec.model, config, flipped), **others})
    listed = corrected(spec.model)
    claim.confirm({"planted: a config that is as listed": judge(spec.model, listed, listed)})


@pytest.mark.parametrize("spec", RUNGS)
def test_a_rung_is_as_the_catalog_says(spec: ConfigSpec, measured: Callable[[ConfigSpec], Shape]) -> None:
    assert measured(spec) == catalog.models()[spec.model].shape


def test_the_catalog_is_the_table_with_two_errors_corrected() -> None:
    listed = {name: catalog.models()[name].shape for name in TABLE_1}
    assert listed == {name: corrected(name) for name in TABLE_1}
    wrong = {
        (name, field.name)
        for name, row in TABLE_1.items()
        for field in dataclasses.fields(row)
        if getattr(row, field.name) != getattr(listed[name], field.name)
    }
    assert wrong == set(ERRATA)
