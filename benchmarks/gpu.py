"""On a GPU, in six minutes and without a network: the core's rates, its curves against the baselines, its memory.

    make gpu

Rates are those of the core over that of its matrix products alone, at the same shapes and precision, with random
weights; curves are the ladder's, measured on the GPU against baselines that were measured on processors. A table is
printed, and written to reports/gpu/ under the device's name. Needs torch, transformers and scipy; of what this package
imports beside them, wheels in `build/wheels` do (`make gpu-wheels` brings them there, where there is a network).
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import re
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from measure.prompts.drawn import Pairs
    from measure.spec import AnySpec, Precision

ROOT = Path(__file__).parent.parent
WHEELS = ROOT / "build" / "wheels"
# What `measure` imports of others when it measures, beside torch and what comes with it.
NEEDED = ("jaxtyping", "msgspec")
STEPS, TOKENS, ROUNDS = 50, 10, 3
# Across devices curves may differ by so much, in r.
AGREEMENT = 1e-4
PRECISIONS: tuple[Precision, ...] = ("float32", "tf32", "bfloat16")


@dataclass(frozen=True)
class Case:
    """A shape, how many pairs, and the share of the rate of its products that is asked at least."""

    name: str
    build: Callable[[], Any]
    pairs: int
    asked: float


@dataclass(frozen=True)
class Rate:
    """What a case did: seconds a pair, operations a second, their share of the products' alone, the most memory."""

    case: Case
    precision: str
    seconds: float
    operations: float
    share: float
    bytes: int

    @property
    def cells(self) -> tuple[str, ...]:
        """A row of the table."""
        asked = f"{self.share:.0%} ({self.case.asked:.0%} asked{'' if self.share >= self.case.asked else ', MISSED'})"
        rate = f"{self.operations / 1e12:.3g} TFLOP/s"
        time_ = f"{1000 * self.seconds:.3g} ms"
        return (self.case.name, self.precision, str(self.case.pairs), time_, rate, asked, f"{self.bytes / 1e9:.2f} GB")


@dataclass(frozen=True)
class Held:
    """How far a curve of the ladder was from its baseline, in r."""

    name: str
    farthest: float


def unpack(wheels: Path = WHEELS) -> str | None:
    """Put what is not installed, and lies in a folder of wheels, where it is imported from; what is lacking then."""
    lacking = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if lacking and wheels.is_dir():
        place = tempfile.mkdtemp(prefix="wheels-")
        for path in wheels.glob("*.whl"):
            zipfile.ZipFile(path).extractall(place)
        # Behind what is installed, which stands.
        sys.path.append(place)
        importlib.invalidate_caches()
        lacking = [name for name in lacking if importlib.util.find_spec(name) is None]
    if not lacking:
        return None
    return (
        f"{', '.join(lacking)} is neither installed nor in {wheels}; run `make gpu-wheels` where there is a package "
        "index, and take build/wheels along."
    )


def cases(*, tiny: bool) -> list[Case]:
    """The shapes; tiny ones only show that every line runs."""
    from benchmarks import test_schemes as schemes

    if tiny:
        shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 2}
        return [Case("a tiny OLMo", lambda: schemes.olmo(**shape), 4, 0.0)]
    seven = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
    return [
        Case("Qwen2-0.5B's shape", schemes.qwen2, 1000, 0.6),
        Case("OLMo-1B's shape", schemes.olmo, 1000, 0.7),
        Case("OLMo-7B's shape", lambda: schemes.olmo(**seven), 1000, 0.7),
    ]


def rate(case: Case, precision: Precision, device: str, pairs: int) -> Rate:
    """Measure a case; `pairs` may be fewer than its own, where time or memory is short."""
    from benchmarks.machine import recorded, wait
    from benchmarks.test_schemes import drawn
    from measure.core import measurements
    from measure.models import loading as models

    torch.manual_seed(0)
    # Filled where it is used: 28 GB of random numbers are soon made there.
    with torch.device(device):
        network = case.build().to(torch.bfloat16 if precision == "bfloat16" else torch.float32).eval()
    model = models.adopt(network, None, precision)
    some = drawn(pairs, TOKENS, model.vocabulary)

    def work(chosen: Pairs = some) -> object:
        return measurements.fast_curves(model, chosen, layer=1, read="final_norm", steps=STEPS, origin={})

    work()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    products = recorded(work)[1]
    times, rates = [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        wait(torch.device(device))
        times.append(time.perf_counter() - started)
        with models.as_measured(model.network, tf32=model.tf32):
            rates.append(products.rate())
    achieved = [products.operations / taken for taken in times]
    return Rate(
        case=Case(case.name, case.build, pairs, case.asked),
        precision=precision,
        seconds=statistics.median(times) / pairs,
        operations=statistics.median(achieved),
        share=statistics.median(a / b for a, b in zip(achieved, rates, strict=True)),
        bytes=torch.cuda.max_memory_allocated() if device == "cuda" else 0,
    )


def rates(every: Sequence[Case], device: str, until: float) -> Iterator[Rate | str]:
    """Each case in each precision while there is time; a line where one is left out."""
    for case in every:
        # TF32 is a GPU's alone.
        for precision in PRECISIONS if device == "cuda" else ("float32", "bfloat16"):
            pairs = case.pairs
            while True:
                if time.monotonic() > until:
                    yield f"{case.name}, {precision}: left out, the time was over"
                    break
                if device == "cuda":
                    torch.cuda.empty_cache()
                try:
                    yield rate(case, precision, device, pairs)
                    break
                except torch.OutOfMemoryError:
                    if pairs < 2:
                        yield f"{case.name}, {precision}: left out, it needs more memory than there is"
                        break
                    pairs //= 4


@contextmanager
def ladder_on(device: str) -> Iterator[None]:
    """The ladder, which is measured on the processor, is measured there instead."""
    from measure.models import loading as models

    before = models.device_of
    models.device_of = lambda reference: device
    try:
        yield
    finally:
        models.device_of = before


def baselines(*, tiny: bool) -> list[Path]:
    """The accepted curves of the ladder, the trained models' first."""
    found = (ROOT / "baselines").glob("test_*/*ladder-*.json")
    ordered = sorted(found, key=lambda path: ("scrambled" in path.name or "_after_" in path.name, path.name))
    return ordered[:1] if tiny else ordered


def held(paths: Sequence[Path], device: str, until: float) -> Iterator[Held | str]:
    """Each curve, measured on a device, against its baseline, while there is time."""
    from measure.harness import baselines as accepted
    from measure.harness.engines import in_process as engine
    from measure.harness.engines.protocol import load_of
    from measure.results import Curves

    by_load: dict[Any, dict[AnySpec, Path]] = {}
    for path in paths:
        content = accepted.parse(path.read_text())
        if "curve" in content:
            spec = spec_of(content)
            by_load.setdefault(load_of(spec), {})[spec] = path
    with ladder_on(device):
        for number, specs in enumerate(by_load.values()):
            if time.monotonic() > until:
                yield f"{len(by_load) - number} of {len(by_load)} models of the ladder: left out, the time was over"
                return
            for spec, result in engine.measure(specs, None, lambda *_: None).items():
                if not isinstance(result, Curves):
                    yield f"{spec.id}: {result}"
                    continue
                yield Held(spec.id, distance(accepted.parse(specs[spec].read_text()), accepted.describe(result)))


def spec_of(content: Any) -> AnySpec:
    """The spec that a baseline was measured by."""
    from measure import kinds
    from measure.harness.engines import shards

    # Curves of predictions and of crossings are kept as curves; their defaults tell them apart.
    fields = {**content["defaults"], **content["spec"]}
    specs = [kind.spec for kind in kinds.every() if kind.held == content["kind"]]
    able = [spec for spec in specs if fields.keys() <= spec.__dataclass_fields__.keys()]
    usual = {name: content["defaults"].get(name) for name in ("steps", "pairs")}
    fits = [spec for spec in able if all(vars(spec).get(n, value) == value for n, value in usual.items())]
    found = (fits or able)[0]
    return shards.from_plain([found.__name__, found.__module__, fields])


def distance(accepted: Any, measured: Any) -> float:
    """The largest difference of two curves' quartiles, in r."""
    pairs = (
        (a, b)
        for name in ("q25", "median", "q75")
        for a, b in zip(accepted["curve"][name], measured["curve"][name], strict=True)
    )
    return max(abs(a - b) if a is not None and b is not None else math.inf for a, b in pairs)


def table(device: str, found: Sequence[Rate | str], curves: Sequence[Held | str], seconds: float) -> str:
    """Everything that was found, in Markdown."""
    heads = ("shape, random weights", "precision", "pairs", "a pair", "rate", "of its products' rate", "most memory")
    rows = [row.cells for row in found if isinstance(row, Rate)]
    lines = [f"# {device}", "", f"torch {torch.__version__}, {seconds:.0f} s in all.", ""]
    lines += [f"| {' | '.join(cells)} |" for cells in (heads, ("---",) * len(heads), *rows)]
    kept = [one for one in curves if isinstance(one, Held)]
    worst = max(kept, key=lambda one: one.farthest, default=None)
    if worst is not None:
        within = sum(one.farthest <= AGREEMENT for one in kept)
        lines += ["", f"{within} of {len(kept)} curves of the ladder are within {AGREEMENT:g} of their baselines in r."]
        lines += [f"The farthest is {worst.farthest:.1e} away: {worst.name}."]
    lines += ["", *(f"- {one}" for one in (*found, *curves) if isinstance(one, str))]
    return "\n".join(lines).rstrip() + "\n"


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="make gpu", description=__doc__.splitlines()[0] if __doc__ else None)
    made.add_argument("--seconds", type=float, default=330.0, help="begin nothing after so long (default 330)")
    made.add_argument("--tiny", action="store_true", help="tiny shapes, on a processor too: that every line runs")
    made.add_argument("--out", type=Path, default=ROOT / "reports" / "gpu", help="where the table is written")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write the table; 0 where nothing that was asked is missed."""
    options = parser().parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not options.tiny:
        print("make gpu: torch finds no GPU here; run it on a machine with one (--tiny only tries it on a processor).")
        return 2
    if (lacking := unpack()) is not None:
        print(f"make gpu: {lacking}")
        return 2
    started = time.monotonic()
    name = torch.cuda.get_device_name(0) if device == "cuda" else "a processor"
    # Of the time a third is the ladder's.
    found = list(_told(rates(cases(tiny=options.tiny), device, started + options.seconds * 2 / 3)))
    curves = list(_told(held(baselines(tiny=options.tiny), device, started + options.seconds)))
    text = table(name, found, curves, time.monotonic() - started)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-')}.md"
    path.write_text(text)
    print(f"\n{text}\nwritten to {path}")
    missed = [row for row in found if isinstance(row, Rate) and row.share < row.case.asked]
    far = [one for one in curves if isinstance(one, Held) and one.farthest > AGREEMENT]
    return 1 if missed or far else 0


def _told(found: Iterator[Any]) -> Iterator[Any]:
    """The same, each told as it comes: a machine that is taken away leaves what it had found."""
    for one in found:
        print(" | ".join(one.cells) if isinstance(one, Rate) else one, flush=True)
        yield one


if __name__ == "__main__":
    sys.exit(main())
