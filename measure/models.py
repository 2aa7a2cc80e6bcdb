"""Load one model: weights, tokenizer, where its blocks are, device, dtype. Measures nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from measure import catalog
from measure.spec import MeasureError, Precision

_DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A causal language model ready to be measured. `blocks` is the path from its base model to the list of blocks."""

    network: Any
    tokenizer: Any
    blocks: tuple[str, ...]
    name: str
    revision: str
    weights: str
    source: str
    sha256: str
    config_sha256: str
    card: str = "no card"
    # (layer, read) -> most positions at which the fast path was seen to agree with the reference.
    verified: dict[tuple[int, str], int] = field(default_factory=dict)

    @property
    def base(self) -> nn.Module:
        """The model without its unembedding."""
        base: nn.Module = getattr(self.network, self.network.base_model_prefix)
        return base

    @property
    def block_list(self) -> nn.ModuleList:
        found = self.base.get_submodule(".".join(self.blocks))
        assert isinstance(found, nn.ModuleList)
        return found

    @property
    def depth(self) -> int:
        return len(self.block_list)

    @property
    def vocabulary(self) -> int:
        return int(self.network.get_input_embeddings().num_embeddings)

    @property
    def context(self) -> int | None:
        """The most tokens a prompt may have, where the configuration tells."""
        return getattr(self.network.config, "max_position_embeddings", None)

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.network.parameters()).dtype


def find_blocks(network: Any) -> tuple[str, ...]:
    """Path of the list of blocks inside the base model, found by structure: the list as long as the model is deep.

    Raises `MeasureError` when there is none.
    """
    depth = network.config.get_text_config().num_hidden_layers
    base = getattr(network, network.base_model_prefix, None)
    lists = [] if base is None else [(n, m) for n, m in base.named_modules() if isinstance(m, nn.ModuleList)]
    for name, modules in lists:
        if len(modules) == depth and len({type(block) for block in modules}) == 1:
            return tuple(name.split("."))
    found = ", ".join(f"{name} ({len(modules)})" for name, modules in lists) or "none"
    raise MeasureError(
        f"{type(network).__name__}: looked for one list of {depth} blocks of one kind in its base model, "
        f"found these lists: {found}. Only decoders with one list of blocks can be measured."
    )


def weights_hash(network: nn.Module) -> str:
    """sha256 over every parameter and buffer that is saved: names, dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        flat = tensor.detach().cpu().contiguous()
        digest.update(flat.view(torch.uint8).numpy() if flat.ndim else flat.reshape(1).view(torch.uint8).numpy())
    return digest.hexdigest()


def load(name: str, *, weights: str = "stored", precision: Precision = "float32") -> LoadedModel:
    """Load a catalog name, folder or hub id (each with an optional `@revision`), weights in `precision`.

    `weights` other than `stored` makes the counterfeit named (see `CurveSpec`).
    Raises `MeasureError` for an unknown model and for missing, truncated or mismatched weights.
    """
    from transformers import AutoModelForCausalLM

    reference = catalog.resolve(name)
    options: dict[str, Any] = {"revision": reference.revision} if reference.source == "hub" else {}
    device = "cuda" if torch.cuda.is_available() and reference.source == "hub" else "cpu"
    try:
        with no_progress_bars():
            network, report = AutoModelForCausalLM.from_pretrained(
                reference.location,
                dtype=_DTYPES[precision],
                use_safetensors=True,
                output_loading_info=True,
                **options,
            )
    except Exception as error:
        # transformers, safetensors and huggingface_hub each raise their own errors here.
        raise MeasureError(
            f"the weights of {name} could not be loaded from {reference.location}: {error} "
            "Expected a config.json beside a whole model.safetensors. For the ladder, restore the file "
            "(`git checkout -- measure/ladder/weights`); for a hub model, check the id, the network or the local cache."
        ) from error
    _check_complete(name, report)
    network = _counterfeit(network, weights).to(device)
    found = _describe(network, _tokenizer(reference), reference.name, reference.revision, weights, reference.source)
    return replace(found, card=_against_card(reference)) if reference.source == "ladder" else found


def read_shape(name: str) -> catalog.Shape:
    """The dimensions in a model's own config, by transformers; takes no weights. Raises `MeasureError` without one."""
    from transformers import AutoConfig

    reference = catalog.resolve(name)
    options: dict[str, Any] = {"revision": reference.revision} if reference.source == "hub" else {}
    try:
        config = AutoConfig.from_pretrained(reference.location, **options)
    except Exception as error:  # transformers and huggingface_hub each raise their own
        raise MeasureError(
            f"the config of {name} could not be read from {reference.location}: {error} "
            "Check the id, the network or the local cache."
        ) from error
    return catalog.Shape(
        hidden=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        key_value_heads=getattr(config, "num_key_value_heads", None) or config.num_attention_heads,
        intermediate=config.intermediate_size,
        vocabulary=config.vocab_size,
        tied=config.tie_word_embeddings,
    )


def _against_card(reference: catalog.Reference) -> str:
    """Whether a rung's weights file is the one its card was written for: what differs is drift, and is told as such."""
    folder = Path(reference.location)
    stated = {entry["revision"]: entry["sha256"] for entry in catalog.read_card(folder.parent)["revisions"]}
    with (folder / "model.safetensors").open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found == stated[reference.revision]:
        return "weights as the card says"
    return f"weights NOT as card.json says ({found[:12]} against {stated[reference.revision][:12]})"


def adopt(network: Any, tokenizer: Any, precision: Precision) -> LoadedModel:
    """Take a loaded Hugging Face model as it is: its device and dtype are used, nothing is changed.

    Raises `MeasureError` when it is no causal language model, or when it is in 16 bits and `precision` does not say so.
    """
    if not isinstance(network, nn.Module) or not hasattr(network, "base_model_prefix"):
        raise MeasureError(
            f"model is a {type(network).__name__}; expected a catalog name, a folder, a hub id, "
            "or a Hugging Face causal language model."
        )
    if next(network.parameters()).is_meta:
        raise MeasureError("the model is on the meta device and has no weights; load it on a processor or accelerator.")
    found = str(next(network.parameters()).dtype).removeprefix("torch.")
    if precision not in ("float32", found):
        raise MeasureError(
            f"precision={precision!r}, but the loaded model is in {found} and is measured as it is; leave "
            f"precision out, or convert it first: model.to(torch.{precision})."
        )
    if found in ("float16", "bfloat16") and precision != found:
        raise MeasureError(
            f"the model is in {found}, which moves distances visibly; pass precision={found!r} to measure it so, "
            "or load it with dtype=torch.float32."
        )
    name = getattr(network.config, "_name_or_path", "") or type(network).__name__
    revision = getattr(network.config, "_commit_hash", None) or "unknown"
    return _describe(network, tokenizer, name, revision, "stored", "loaded")


def _describe(network: Any, tokenizer: Any, name: str, revision: str, weights: str, source: str) -> LoadedModel:
    blocks = find_blocks(network)
    hashes = weights_hash(network), config_hash(network)
    return LoadedModel(network, tokenizer, blocks, name, revision, weights, source, *hashes)


def config_hash(network: Any) -> str:
    """sha256 over what the configuration says of the computation: same weights, other activation, other hash."""
    known = {k: v for k, v in network.config.to_dict().items() if k not in ("_name_or_path", "transformers_version")}
    known["attention"] = getattr(network.config, "_attn_implementation", None)
    return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()


def _check_complete(name: str, report: dict[str, Any]) -> None:
    """Refuse weights that do not fit their configuration: transformers would fill what is missing at random."""
    kinds = ("missing_keys", "unexpected_keys", "mismatched_keys")
    wrong = {kind: sorted(map(str, report.get(kind) or ())) for kind in kinds}
    found = "; ".join(f"{kind.replace('_', ' ')}: {', '.join(keys[:3])}" for kind, keys in wrong.items() if keys)
    if found:
        raise MeasureError(
            f"the weights of {name} do not fit its config.json ({found}). Restore the folder, or convert the "
            "checkpoint to the form that transformers writes."
        )


def _tokenizer(reference: catalog.Reference) -> Any:
    from transformers import AutoTokenizer

    if reference.source == "hub":
        return AutoTokenizer.from_pretrained(reference.location, revision=reference.revision)
    folder = Path(reference.location)
    # A revision of the ladder lies in DIR/RUNG/REVISION; one tokenizer in DIR/tokenizer serves them all.
    shared = [folder.parent.parent / "tokenizer"] if (folder.parent / "card.json").is_file() else []
    for place in (folder, *shared):
        if (place / "tokenizer.json").is_file() or (place / "tokenizer_config.json").is_file():
            try:
                return AutoTokenizer.from_pretrained(place)
            except Exception as error:  # transformers and tokenizers each raise their own
                raise MeasureError(
                    f"the tokenizer in {place} could not be loaded ({error}); restore its files."
                ) from error
    return None


def _counterfeit(network: Any, weights: str) -> Any:
    kind, _, seed = weights.partition(":")
    if kind == "scrambled":
        return _scrambled(network, int(seed))
    if kind == "untrained":
        with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they are
            torch.manual_seed(int(seed))
            return type(network)(network.config).to(next(network.parameters()).dtype).eval()
    return network


@torch.no_grad()
def _scrambled(network: Any, seed: int) -> Any:
    """Shuffle the entries of each weight matrix: same values, same scales, nothing that was learnt."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            order = torch.randperm(parameter.numel(), generator=generator)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return network


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """No bar for a load or save that takes milliseconds; downloads keep theirs, which are huggingface_hub's."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _exact_switches() -> list[tuple[Any, str, Any]]:
    """Every setting that lets torch round float32 products: (holder, attribute, its exact value)."""
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        backends: Any = torch.backends
        holders = backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul
        return [(holder, "fp32_precision", "ieee") for holder in holders]
    return [(torch.backends.cuda.matmul, "allow_tf32", False), (torch.backends.cudnn, "allow_tf32", False)]


@contextmanager
def as_measured(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients, no autocast, exact float32 (TF32 off); all put back after, also on an error."""
    training = [module for module in network.modules() if module.training]
    before = [(holder, name, getattr(holder, name)) for holder, name, _ in _exact_switches()]
    try:
        for module in training:
            module.training = False
        for holder, name, exact in _exact_switches():
            setattr(holder, name, exact)
        with torch.no_grad(), torch.autocast(next(network.parameters()).device.type, enabled=False):
            yield
    finally:
        for holder, name, value in before:
            setattr(holder, name, value)
        for module in training:
            module.training = True
