"""Tiny models of five families, with weights large enough that a wrong prefix or patch cannot go unseen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

# Imported here because pytest inside pytest forgets the modules it imported, and these cannot be imported twice.
import datasets  # noqa: F401
import matplotlib.pyplot  # noqa: F401
import numpy as np
import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    OlmoConfig,
    OlmoForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from measure.models.loading import LoadedModel, adopt
from measure.prompts.drawn import Pairs, Prompt

VOCABULARY = 97
DEPTH = 4
# At the default scale of 0.02 a wrong prompt in the prefix moves the output by 1e-3 only.
SCALE = 0.3


def _llama_like(config: Callable[..., Any], network: Callable[..., Any], key_value_heads: int = 4) -> Any:
    return network(
        config(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=DEPTH,
            num_attention_heads=4,
            num_key_value_heads=key_value_heads,
            max_position_embeddings=64,
            initializer_range=SCALE,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=None,
        )
    )


def _neox() -> Any:
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=DEPTH,
            num_attention_heads=4,
            max_position_embeddings=64,
            initializer_range=SCALE,
            bos_token_id=1,
            eos_token_id=2,
        )
    )


def _gpt2() -> Any:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_embd=32,
            n_layer=DEPTH,
            n_head=4,
            n_positions=64,
            initializer_range=SCALE,
            bos_token_id=1,
            eos_token_id=2,
        )
    )


BUILDERS: dict[str, Callable[[], Any]] = {
    "olmo": lambda: _llama_like(OlmoConfig, OlmoForCausalLM),
    "qwen2": lambda: _llama_like(Qwen2Config, Qwen2ForCausalLM, key_value_heads=2),
    "llama": lambda: _llama_like(LlamaConfig, LlamaForCausalLM),
    "gpt_neox": _neox,
    "gpt2": _gpt2,
}


def tiny_network(family: str) -> Any:
    torch.manual_seed(0)
    return BUILDERS[family]().eval()


def tiny_model(family: str) -> LoadedModel:
    return adopt(tiny_network(family), None, "float32")


@pytest.fixture(autouse=True)
def no_step_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs inside tests must not write into the summary of the run outside."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


def whole_table(folder: Path) -> str:
    """The table of claims that the last run in a folder left beside its records."""
    return max((folder / "reports" / "runs").glob("*.claims.txt")).read_text()


class _FileNames:
    """Names each file as its first test begins: under pytest-xdist dots alone would be seen."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._begun: set[str] = set()

    def pytest_runtest_logstart(self, location: tuple[str, int | None, str]) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None and location[0] not in self._begun:
            self._begun.add(location[0])
            reporter.ensure_newline()
            reporter.write(f"{location[0]} ")
            # So that a line begins before what is not of this file.
            reporter.currentfspath = -2


def pytest_configure(config: pytest.Config) -> None:
    """With workers, whose reporter names no file."""
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_FileNames(config))


@pytest.fixture(params=list(BUILDERS))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(family: str) -> LoadedModel:
    return tiny_model(family)


@pytest.fixture
def olmo() -> LoadedModel:
    return tiny_model("olmo")


def random_prompts(lengths: list[int], seed: int = 0) -> tuple[Prompt, ...]:
    generator = np.random.default_rng(seed)
    return tuple(tuple(generator.integers(3, VOCABULARY, length).tolist()) for length in lengths)


@pytest.fixture
def pairs() -> Pairs:
    """Six pairs of ragged lengths, also within a pair, one A of a single token."""
    a, b = random_prompts([5, 7, 5, 1, 9, 5]), random_prompts([5, 3, 5, 4, 9, 2], seed=1)
    return Pairs(a, b, tuple(range(len(a))))


class WordTokenizer:
    """As much of a tokenizer as `measure` uses: one token a word, numbered by the word's own digits."""

    def __init__(self, bos: int | None = None, *, adds_bos: bool = False) -> None:
        self.bos_token_id = bos
        self.adds_bos = adds_bos

    def __call__(self, texts: Any, *, add_special_tokens: bool = True, verbose: bool = True) -> dict[str, Any]:
        front = [self.bos_token_id] if add_special_tokens and self.adds_bos else []
        encode = lambda text: front + [sum(word.encode()) % 90 + 3 for word in text.split()]  # noqa: E731
        return {"input_ids": encode(texts) if isinstance(texts, str) else [encode(text) for text in texts]}
