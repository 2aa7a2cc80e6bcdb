"""Checkpoints from a hub: a sweep against its download and its measuring, memory while loading, time to start.

Run by `make bench`. The sweep is a ratio within one process; the hub is the tests' own, on loopback, each answer 200 ms
late. Memory is anonymous memory: weights are mapped from their file, and pages of files cost nothing.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import OlmoConfig, OlmoForCausalLM

from measure import catalog
from measure.harness.engines import in_process as engine
from measure.harness.engines.store import Store
from measure.hub import checkpoints as hub
from measure.models.loading import no_progress_bars
from measure.spec import CurveSpec
from tests.hub import TOKENIZER, LocalHub

CHECKPOINTS, LATENCY, ROUNDS = 12, 0.2, 1
REPO = "tiny/olmo"
RUNG = catalog.LADDER / "ladder-olmo-0.2m"
CORPUS = str(catalog.LADDER.parent.parent / "corpus" / "prose.jsonl")


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure_all(specs: list[CurveSpec], folder: Path) -> None:
    outcomes = engine.measure(specs, Store(folder), lambda *_: None)
    assert not [outcome for outcome in outcomes.values() if isinstance(outcome, Exception)]


@pytest.mark.parametrize("pairs", [200, 2400])
def test_a_sweep_takes_as_long_as_the_longer_of_download_and_measuring(
    pairs: int, benchmark: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pairs` decides which of the two is the longer."""
    specs = [CurveSpec(f"{REPO}@step{n}", pairs=pairs, corpus=CORPUS) for n in range(CHECKPOINTS)]
    with LocalHub() as served:
        revisions = sorted(path.parent for path in RUNG.parent.glob("ladder-*-0.2m*/*/model.safetensors"))
        for number in range(CHECKPOINTS):
            folders = (revisions[number], TOKENIZER)
            files = {path.name: path for folder in folders for path in folder.iterdir()}
            served.add(REPO, files, revision=f"step{number}")
        rows: list[tuple[float, float, float]] = []
        served.use(monkeypatch, tmp_path / "warm")
        measure_all(specs[:1], tmp_path / "warm-store")  # imports, corpus, tokenized text
        for turn in range(ROUNDS):
            served.latency = LATENCY
            served.use(monkeypatch, tmp_path / f"alone{turn}")
            hub.forget()
            download = timed(lambda: [hub.fetch(REPO, f"step{n}") for n in range(CHECKPOINTS)])
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
            measuring = timed(lambda turn=turn: measure_all(specs, tmp_path / f"store{turn}"))  # type: ignore[misc]
            served.use(monkeypatch, tmp_path / f"sweep{turn}")
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
            hub.forget()
            sweep = timed(lambda turn=turn: measure_all(specs, tmp_path / f"swept{turn}"))  # type: ignore[misc]
            rows.append((download, measuring, sweep))
    download, measuring, sweep = map(statistics.median, zip(*rows, strict=True))
    ratio = statistics.median(row[2] / max(row[:2]) for row in rows)
    benchmark.extra_info.update(download=download, measuring=measuring, sweep=sweep, ratio=ratio)  # type: ignore[attr-defined]
    benchmark.pedantic(lambda: None, rounds=1)  # type: ignore[attr-defined]
    print(
        f"\n{CHECKPOINTS} checkpoints, {pairs} pairs: download {download:.1f} s, measuring {measuring:.1f} s, ", end=""
    )
    print(f"sweep {sweep:.1f} s = {ratio:.2f} times the longer")
    assert ratio <= 1.2


LOADING = """
import sys, threading, time
from pathlib import Path
from measure.models import loading as models

def anonymous():
    text = Path("/proc/self/status").read_text()
    return int(text.split("RssAnon:")[1].split()[0]) * 1024

models.load(sys.argv[2])  # what libraries take once
before, peak, done = anonymous(), [0], threading.Event()

def watch():
    while not done.is_set():
        peak[0] = max(peak[0], anonymous())
        time.sleep(0.002)

thread = threading.Thread(target=watch)
thread.start()
model = models.load(sys.argv[1])
done.set()
thread.join()
size = 4 * sum(parameter.numel() for parameter in model.network.parameters())
print((peak[0] - before) / size)
"""


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16], ids=str)
def test_loading_takes_the_weights_once(stored: torch.dtype, benchmark: object, tmp_path: Path) -> None:
    config = OlmoConfig(
        vocab_size=50304, hidden_size=1024, intermediate_size=4096, num_hidden_layers=6, num_attention_heads=16
    )
    with no_progress_bars():
        OlmoForCausalLM(config).to(stored).save_pretrained(tmp_path / "large")
    command = [sys.executable, "-c", LOADING, str(tmp_path / "large"), "ladder-olmo-0.2m"]
    ratio = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    benchmark.extra_info["ratio"] = ratio  # type: ignore[attr-defined]
    benchmark.pedantic(lambda: None, rounds=1)  # type: ignore[attr-defined]
    print(f"\nanonymous memory while loading weights stored in {stored}: {ratio:.2f} times their float32 size")
    assert ratio <= 1.15


@pytest.mark.parametrize(
    ("command", "bound"),
    [
        ([str(Path(sys.executable).with_name("measure")), "--help"], 0.3),
        ([sys.executable, "-c", "import measure"], 0.2),
    ],
    ids=["measure --help", "import measure"],
)
def test_starting_takes_no_time(command: list[str], bound: float, benchmark: object) -> None:
    benchmark.pedantic(lambda: subprocess.run(command, capture_output=True, check=True), rounds=10, warmup_rounds=1)  # type: ignore[attr-defined]
    median = benchmark.stats.stats.median  # type: ignore[attr-defined]
    print(f"\n{' '.join([Path(command[0]).name, *command[1:]])}: {median:.3f} s")
    assert median <= bound
