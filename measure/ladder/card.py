"""Tell what was trained: a card beside each rung's revisions, and one page for the whole ladder.

The card holds the recipe, the corpus, and for each revision the hash of its weights file and its held-out loss,
measured on the 16-bit weights as they are stored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from measure.base.files import write_atomically
from measure.catalog import read_card
from measure.hub.known import hash_file
from measure.ladder.recipe import VOCABULARY, Recipe, Rung
from measure.ladder.train import Text, check_heldout, heldout_loss
from measure.models.loading import no_progress_bars
from measure.shown import one_line
from measure.spec import MeasureError


def write_card(rung: Rung, recipe: Recipe, text: Text, heldout: Text, folder: Path) -> None:
    """Measure every revision in `folder` on `heldout` and write `card.json` beside them.

    Raises `MeasureError` when the held-out text is too short.
    """
    check_heldout(heldout, recipe.sequence)
    revisions = []
    for step, revision in recipe.schedule().items():
        model = _load(folder / revision)
        revisions.append(
            {
                "revision": revision,
                "step": step,
                "tokens": step * recipe.step_tokens,
                "heldout": heldout_loss(model, heldout, recipe.sequence),
                "sha256": hash_file(folder / revision / "model.safetensors"),
            }
        )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    card = {
        "rung": asdict(rung),
        "parameters": parameters,
        "non_embedding_parameters": parameters - VOCABULARY * rung.width,
        "recipe": recipe.as_dict(),
        "corpus": {"name": text.corpus, "sha256": text.sha256, "tokens": len(text.ids)},
        "heldout": {"name": heldout.corpus, "sha256": heldout.sha256, "tokens": len(heldout.ids)},
        "revisions": revisions,
    }
    write_atomically(folder / "card.json", (json.dumps(card, indent=1) + "\n").encode())


def _load(folder: Path) -> Any:
    with no_progress_bars():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def verify(folder: Path, heldout: Text | None, left_out: Collection[str] = ()) -> list[str]:
    """What in a rung's folder is not as its card says: hashes always, held-out losses where `heldout` is given.

    Of the revisions `left_out` nothing is asked.
    Raises `MeasureError` when `heldout` is another text than the card's.
    """
    card = read_card(folder)
    if heldout is not None and heldout.sha256 != card["heldout"]["sha256"]:
        raise MeasureError(
            f"the held-out corpus given is not the one of {folder.name}'s card ({card['heldout']['name']}, sha256 "
            f"{card['heldout']['sha256'][:12]}); give that one, or leave --heldout out to check the hashes alone."
        )
    wrong = []
    for revision in (entry for entry in card["revisions"] if entry["revision"] not in left_out):
        path = folder / revision["revision"] / "model.safetensors"
        found = hash_file(path) if path.exists() else "missing"
        if found != revision["sha256"]:
            wrong.append(f"{folder.name}@{revision['revision']}: weights {found[:12]}, card {revision['sha256'][:12]}")
        elif heldout is not None:
            loss = heldout_loss(_load(path.parent), heldout, card["recipe"]["sequence"])["loss"]
            if abs(loss - revision["heldout"]["loss"]) > 1e-4:
                stated = revision["heldout"]["loss"]
                wrong.append(f"{folder.name}@{revision['revision']}: held-out loss {loss:.5f}, card {stated:.5f}")
    return wrong


def ladder_page(folder: Path) -> str:
    """The ladder's model card as Markdown, from the cards of all rungs in `folder`."""
    cards = [read_card(path.parent) for path in sorted(folder.glob("*/card.json"))]
    if not cards:
        raise MeasureError(f"{folder} holds no rung with a card.json; train one with `measure ladder train`.")
    cards.sort(key=lambda card: (card["rung"]["family"], card["parameters"], card["rung"]["seed"]))
    return "\n".join(
        [
            "# Model card: the ladder",
            "",
            "Small causal language models trained from scratch for measuring stable regions without a model hub.",
            "They speak no usable English: they are instruments, not assistants.",
            "",
            *(_rung_line(card) for card in cards),
            "",
            *_recipe_lines(cards),
            *_corpus_lines(cards),
            f"- Tokenizer: byte-level BPE, vocabulary {VOCABULARY}, "
            f"{'trained on the same corpus; ' if _is_shipped(cards) else ''}adds no BOS.",
            "- Weights: float16 in safetensors, tied embeddings; loaded in float32 by `measure`.",
            "- Names give the non-embedding parameters; `measure models` counts all.",
            "- A training seed sets the initial weights and the order of the text.",
            "",
            *_loss_table(cards),
            "",
            "Losses are nats per token on evenly spaced windows of the held-out text, stored weights,",
            "with the standard error over windows.",
            "",
        ]
    )  # fmt: skip


# The corpus that the shipped rungs were trained on, and what was held out of it.
_NOVELS = (
    "English novels of the 1810s to 1930, public domain (90 of the benchmark set 100 English Novels 1.4 of the "
    "Computational Stylistics Group)"
)
_SHIPPED = {
    "cf96608d6610a7b936ac102c96f8b6e0a169e88443e731aafe6a2d3a4e2ef03c": _NOVELS,
    "55a7b7cd9781b047c6f1c15d8b2493d2ff933009769484ffad2dfae78f8d7966": "the ten others",
}


def _is_shipped(cards: list[dict[str, Any]]) -> bool:
    return all(card["corpus"]["sha256"] in _SHIPPED for card in cards)


def _alike(cards: list[dict[str, Any]], told: Callable[[dict[str, Any]], str]) -> list[tuple[str, str]]:
    """What is told of the cards, each text once with the names of its rungs, "" where it is the same for all."""
    found: dict[str, list[str]] = {}
    for card in cards:
        found.setdefault(told(card), []).append(_name(card))
    return [(text, "" if len(found) == 1 else ", ".join(names)) for text, names in found.items()]


def _recipe_lines(cards: list[dict[str, Any]]) -> list[str]:
    return [
        f"- Recipe{f' of {names}' if names else ', the same for all'}: {text}" for text, names in _alike(cards, _recipe)
    ]


def _recipe(card: dict[str, Any]) -> str:
    recipe = card["recipe"]
    return (
        f"AdamW, betas {tuple(recipe['betas'])}, weight decay "
        f"{recipe['weight_decay']} on matrices, learning rate {recipe['learning_rate']} after "
        f"{recipe['warmup']} warm-up steps, cosine to {recipe['final_learning_rate']}, gradients clipped at "
        f"{recipe['gradient_clip']}, batches of {recipe['batch']} windows of {recipe['sequence']} tokens, "
        f"{recipe['steps']} steps "
        f"({recipe['steps'] * recipe['batch'] * recipe['sequence']:,} tokens), no text seen twice, float32."
    )


def _corpus_lines(cards: list[dict[str, Any]]) -> list[str]:
    return [f"- Corpus{f' of {names}' if names else ''}: {text}" for text, names in _alike(cards, _corpora)]


def _corpora(card: dict[str, Any]) -> str:
    parts = []
    for text in (card["corpus"], card["heldout"]):
        # Of another the name that its card has.
        called = _SHIPPED.get(text["sha256"], one_line(text["name"]))
        parts.append(f"{called}, {text['tokens']:,} tokens (sha256 {text['sha256'][:12]})")
    return f"{parts[0]}; held out: {parts[1]}."


def _rung_line(card: dict[str, Any]) -> str:
    shape = card["rung"]
    heads = f"{shape['heads']} heads"
    if shape["key_value_heads"] != shape["heads"]:
        heads += f" ({shape['key_value_heads']} key/value)"
    kind = {"olmo": "`OlmoForCausalLM`, non-parametric LayerNorm", "qwen2": "`Qwen2ForCausalLM`, RMSNorm, QKV bias"}
    return (
        f"- **{_name(card)}**: {kind[shape['family']]}; width {shape['width']}, {shape['blocks']} blocks, {heads}, "
        f"intermediate {shape['intermediate']}; {card['non_embedding_parameters']:,} non-embedding parameters, "
        f"seed {shape['seed']}."
    )


def _name(card: dict[str, Any]) -> str:
    return Rung(**card["rung"]).name


def _loss_table(cards: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| model | revision | tokens | held-out loss | n windows | sha256 of the weights file |",
        "|---|---|---|---|---|---|",
    ]
    for card in cards:
        for revision in card["revisions"]:
            held = revision["heldout"]
            lines.append(
                f"| {_name(card)} | {revision['revision']} | {revision['tokens']:,} | "
                f"{held['loss']:.3f} ± {held['standard_error']:.3f} | {held['windows']} | {revision['sha256'][:12]} |"
            )
    return lines
