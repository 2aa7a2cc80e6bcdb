"""Train one rung from scratch: seeded, resumable after a kill, every revision written as it is reached.

Does not decide what a rung is (`recipe`) and does not measure stable regions.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from tqdm import tqdm
from transformers import (
    AutoModelForCausalLM,
    OlmoConfig,
    OlmoForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from measure.base import files
from measure.base.files import write_atomically
from measure.catalog import read_card
from measure.hub.known import hash_file
from measure.ladder.recipe import CONTEXT, END_OF_TEXT, VOCABULARY, Recipe, Rung
from measure.models.loading import no_progress_bars
from measure.prompts.drawn import Corpus
from measure.spec import MeasureError

SAVE_EVERY = 64
HELDOUT_WINDOWS = 2048


def train_tokenizer(corpus: Corpus, folder: Path) -> PreTrainedTokenizerFast:
    """Train the ladder's byte-level BPE tokenizer on `corpus` and save it in `folder`.

    It adds no BOS, as OLMo's does not; `<|endoftext|>` separates texts in training.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=[END_OF_TEXT], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(corpus.texts, trainer, length=len(corpus.texts))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_OF_TEXT, model_max_length=CONTEXT)
    fast.save_pretrained(folder)
    return fast


def end_token(tokenizer: Path) -> int:
    """Id of the token between texts, of the tokenizer in a folder."""
    found: int = PreTrainedTokenizerFast.from_pretrained(tokenizer).convert_tokens_to_ids(END_OF_TEXT)
    return found


def build(rung: Rung, end_of_text: int) -> PreTrainedModel:
    """A freshly initialised model of this rung's shape; its weights depend on `rung.seed` alone."""
    torch.manual_seed(rung.seed)
    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": rung.width,
        "num_hidden_layers": rung.blocks,
        "num_attention_heads": rung.heads,
        "num_key_value_heads": rung.key_value_heads,
        "intermediate_size": rung.intermediate,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": True,
        "eos_token_id": end_of_text,
        "bos_token_id": None,
        "pad_token_id": None,
    }
    if rung.family == "olmo":
        return OlmoForCausalLM(OlmoConfig(**shape))
    return Qwen2ForCausalLM(Qwen2Config(**shape))


@dataclass(frozen=True)
class Text:
    """A tokenized corpus, one long row: `ids` of shape (tokens,), texts separated by `<|endoftext|>`."""

    ids: np.ndarray
    corpus: str
    sha256: str
    end_of_text: int

    def windows(self, sequence: int) -> int:
        """How many windows of `sequence` inputs, each with its next-token targets, fit without overlap."""
        return (len(self.ids) - 1) // sequence

    def batch(self, windows: np.ndarray, sequence: int) -> torch.Tensor:
        """Token ids of shape (windows, sequence + 1): inputs and, shifted by one, their targets."""
        positions = windows[:, None] * sequence + np.arange(sequence + 1)
        return torch.from_numpy(self.ids[positions].astype(np.int64))


def tokenize(corpus: Corpus, tokenizer: PreTrainedTokenizerFast) -> Text:
    """Tokenize every text of `corpus`, an end-of-text token after each."""
    end = tokenizer.convert_tokens_to_ids(END_OF_TEXT)
    pieces: list[np.ndarray] = []
    for text in corpus.texts:
        ids = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
        if max([*ids, end]) >= VOCABULARY:
            raise MeasureError(f"the tokenizer has id {max([*ids, end])}; rungs have a vocabulary of {VOCABULARY:,}.")
        pieces.append(np.asarray([*ids, end], dtype=np.uint16))
    if not pieces:
        raise MeasureError(f"corpus {corpus.name!r} holds no text; give one that does.")
    return Text(ids=np.concatenate(pieces), corpus=corpus.name, sha256=corpus.sha256, end_of_text=end)


def next_token_losses(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    """Cross-entropy in nats per predicted token, shape (windows x sequence,)."""
    logits = model(ids[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")


@torch.no_grad()
def heldout_loss(model: PreTrainedModel, text: Text, sequence: int) -> dict[str, float]:
    """Mean loss in nats per token on evenly spaced windows of a held-out text, its standard error over windows, n."""
    count = min(HELDOUT_WINDOWS, text.windows(sequence))
    chosen = np.linspace(0, text.windows(sequence) - 1, count).astype(np.int64)
    losses = [
        next_token_losses(model, text.batch(part, sequence)).reshape(len(part), -1).mean(1)
        for part in np.array_split(chosen, max(1, count // 64))
    ]
    means = torch.cat(losses).double()
    return {"loss": float(means.mean()), "standard_error": float(means.std() / len(means) ** 0.5), "windows": count}


def save_revision(model: PreTrainedModel, folder: Path) -> None:
    """Write `model` in Hugging Face format, weights in 16 bits, under a temporary name and then renamed."""
    temporary = folder.with_name(f".{folder.name}.partial")
    if temporary.exists():
        shutil.rmtree(temporary)
    # float16 rather than bfloat16: eight times finer for weights of this size, which all lie far below its limit.
    halved = AutoModelForCausalLM.from_config(model.config, dtype=torch.float16)
    halved.load_state_dict(model.state_dict())
    with no_progress_bars():
        halved.save_pretrained(temporary)
    (temporary / "generation_config.json").unlink(missing_ok=True)
    os.replace(temporary, folder)


def check_heldout(text: Text, sequence: int) -> None:
    """Raise `MeasureError` when a held-out text is too short for a loss with its standard error."""
    if text.windows(sequence) < 2:
        raise MeasureError(
            f"the held-out corpus {text.corpus!r} holds {len(text.ids):,} tokens; a loss with its standard error takes "
            f"two windows of {sequence}, {2 * sequence + 1} tokens. Use a longer one."
        )


def check_enough(recipe: Recipe, text: Text) -> None:
    """Raise `MeasureError` when `text` is too short for one pass."""
    needed = recipe.steps * recipe.batch
    if text.windows(recipe.sequence) < needed:
        raise MeasureError(
            f"corpus {text.corpus!r} holds {len(text.ids):,} tokens; {recipe.steps} steps need "
            f"{needed * recipe.sequence:,} so that no text is seen twice. Use a larger corpus or fewer --steps."
        )


def train(
    rung: Rung,
    recipe: Recipe,
    text: Text,
    folder: Path,
    *,
    progress: bool = True,
    tell: Callable[[int, float], None] | None = None,
) -> None:
    """Train `rung` on `text`, or go on where an earlier call was killed; every revision lands in `folder`.

    `progress` shows a bar; `tell` is told the step and its loss after each.
    Raises `MeasureError` when the text is too short for one pass, when `folder` holds another run, finished or not, and
    when it cannot be written.
    """
    check_enough(recipe, text)
    check_same(rung, recipe, text, folder)
    if all((folder / revision).exists() for revision in recipe.schedule().values()):
        return
    try:
        _train(rung, recipe, text, folder, progress=progress, tell=tell)
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or error
        raise MeasureError(
            f"{folder} cannot be written ({why}); what was kept there is whole: called again, training goes on from it "
            "once there is room; or give another --out."
        ) from error


def _train(
    rung: Rung, recipe: Recipe, text: Text, folder: Path, *, progress: bool, tell: Callable[[int, float], None] | None
) -> None:
    run = _Run(rung, recipe, text, folder)
    order = np.random.default_rng(rung.seed).permutation(text.windows(recipe.sequence))
    bar = tqdm(total=recipe.steps, initial=run.step, desc=rung.name, unit="step", disable=not progress)
    schedule = recipe.schedule()
    with bar:
        while True:
            # First, so that no revision is ever without what tells whose it is.
            if run.step % SAVE_EVERY == 0 or run.step == recipe.steps:
                run.save()
            if run.step in schedule and not (folder / schedule[run.step]).exists():
                save_revision(run.model, folder / schedule[run.step])
            if run.step == recipe.steps:
                return
            windows = order[run.step * recipe.batch : (run.step + 1) * recipe.batch]
            loss = run.advance(text.batch(windows, recipe.sequence))
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()
            if tell is not None:
                tell(run.step, loss)


def forget_state(folder: Path) -> None:
    """Drop the optimizer's state of a finished run; its revisions stay."""
    (folder / "state.pt").unlink(missing_ok=True)


def identity(rung: Rung, recipe: Recipe, text: Text) -> str:
    """What a training run is: sha256 of its rung with the seed, recipe and text."""
    content = {"rung": asdict(rung), "recipe": recipe.as_dict(), "corpus": text.sha256}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def unfinished(folder: Path) -> str | None:
    """The `identity` of the run whose state lies in `folder`; None where there is none."""
    path = folder / "state.pt"
    return str(_read_state(path)["identity"]) if path.exists() else None


_SEAL = b"\nsha256 "


def _state_bytes(state: dict[str, Any]) -> bytes:
    """A state as a file: torch holds the numbers that it reads against no checksum, so the file ends in one."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    return content + _SEAL + hashlib.sha256(content).hexdigest().encode()


def _read_state(path: Path) -> dict[str, Any]:
    """The state of a run. Raises `MeasureError` for a file that is damaged."""
    try:
        content, sealed, seal = files.content(path).rpartition(_SEAL)
        # Of earlier versions, without one.
        content = content if sealed else seal
        if sealed and hashlib.sha256(content).hexdigest().encode() != seal:
            raise ValueError("it is not as it was written")
        state: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True)
        identity, step = state["identity"], state["step"]
        if not isinstance(identity, str) or type(step) is not int or step < 0:
            raise ValueError("it is no state of a training run")
    except Exception as error:  # torch and pickle raise their own
        raise _damaged(path, error) from error
    return state


def _damaged(path: Path, error: Exception) -> MeasureError:
    why = next(iter(str(error).splitlines()), type(error).__name__)
    return MeasureError(f"{path} is damaged ({why}); delete it, and the training begins anew.")


def check_same(rung: Rung, recipe: Recipe, text: Text, folder: Path) -> None:
    """Raise `MeasureError` when `folder` holds the weights of another rung, recipe or corpus, or of an unknown run."""
    told, state = folder / "card.json", folder / "state.pt"
    held = [revision for revision in recipe.schedule().values() if (folder / revision).exists()]
    if told.exists():
        _check_card(read_card(folder), rung, recipe, text, folder)
    elif state.exists():
        began = unfinished(folder)
        if began != identity(rung, recipe, text):
            raise _another(state)
    elif held:
        raise MeasureError(
            f"{folder / held[0]} holds weights, and neither card.json nor state.pt beside it tells whose; give another "
            "--out, or move them away."
        )


def _check_card(card: dict[str, Any], rung: Rung, recipe: Recipe, text: Text, folder: Path) -> None:
    """Hold a finished run against what is asked for, and its weights against its card."""
    asked = json.loads(json.dumps({"rung": asdict(rung), "recipe": recipe.as_dict()}))
    corpus = {"sha256": text.sha256, "tokens": len(text.ids)}
    # Which checkpoints are kept changes no weight.
    found = [name for name, value in asked["recipe"].items() if card["recipe"].get(name) != value]
    differ = [*(["rung"] if card["rung"] != asked["rung"] else []), *(name for name in found if name != "revisions")]
    differ += ["corpus"] if {name: card["corpus"][name] for name in corpus} != corpus else []
    if differ:
        raise MeasureError(
            f"{folder} holds a finished run of another {', '.join(differ)}, as its card.json says; give another --out, "
            "or move it away."
        )
    for entry in card["revisions"]:
        path = folder / entry["revision"] / "model.safetensors"
        if path.exists() and hash_file(path) != entry["sha256"]:
            raise MeasureError(f"{path}: the weights are not those that card.json was written for; move them away.")


def _another(path: Path) -> MeasureError:
    return MeasureError(
        f"{path} belongs to a run with another rung, recipe or corpus; give another --out, or delete it."
    )


class _Run:
    """The state of one training run, kept in `state.pt` beside its revisions."""

    def __init__(self, rung: Rung, recipe: Recipe, text: Text, folder: Path) -> None:
        self.identity = identity(rung, recipe, text)
        self.recipe = recipe
        self.path = folder / "state.pt"
        self.model = build(rung, text.end_of_text)
        # Matrices decay; biases and norm scales do not.
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        vectors = [p for p in self.model.parameters() if p.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": recipe.weight_decay}]
        groups += [{"params": vectors, "weight_decay": 0.0}] if vectors else []
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, fused=True)
        self.step = 0
        if self.path.exists():
            self._restore()
        folder.mkdir(parents=True, exist_ok=True)

    def _restore(self) -> None:
        state = _read_state(self.path)
        if state["identity"] != self.identity:
            raise _another(self.path)
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if state["step"] > self.recipe.steps:
                raise ValueError(f"it is of step {state['step']} of {self.recipe.steps}")
        except Exception as error:  # torch raises its own
            raise _damaged(self.path, error) from error
        self.step = state["step"]

    def save(self) -> None:
        state = {
            "identity": self.identity,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        write_atomically(self.path, _state_bytes(state))

    def advance(self, ids: torch.Tensor) -> float:
        """One optimizer step on `ids` (batch, sequence + 1); returns the loss before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(self.step)
        loss = next_token_losses(self.model, ids).mean()
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.gradient_clip)
        self.optimizer.step()
        self.step += 1
        return float(loss.detach())
