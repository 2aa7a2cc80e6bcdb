"""Load one model: weights, tokenizer, where its blocks are, device, dtype. Measures nothing.

Files, configuration and tokenizer are brought by `model_files`, `model_config` and `tokenizer_loading`; what others
call of them is offered here.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from measure import catalog
from measure.base import checkpoint_files
from measure.catalog.ladder_cards import AS_THE_CARD_SAYS, NOT_AS_THE_CARD_SAYS
from measure.hub import checkpoints as hub
from measure.hub import known, packed
from measure.hub.known import Facts
from measure.hub.tokenizer_places import tokenizer_file
from measure.models import counterfeits, sound, structure
from measure.models.config import count_parameters, read_config
from measure.models.files import bring, check_files, fetch, identity, local_folder, read_own_config, revisions_in
from measure.models.loaded_model import LoadedModel, config_hash, weights_hash
from measure.models.structure import find_blocks, network_blocks
from measure.models.tokenizer_loading import find_tokenizer, named_tokenizer
from measure.models.torch_settings import as_measured, no_progress_bars
from measure.names import Weights
from measure.spec import MeasureError, Precision

__all__ = [
    "LoadedModel",
    "adopt",
    "as_measured",
    "count_parameters",
    "device_of",
    "fetch",
    "identity",
    "load",
    "local_folder",
    "named_tokenizer",
    "no_progress_bars",
    "read_own_config",
    "revisions_in",
    "tokenizer_file",
    "weights_hash",
]

_DTYPES = {
    "float32": torch.float32,
    # float32 whose products are rounded to 10 bits of mantissa, by NVIDIA's matrix units.
    "tf32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

_LOG = logging.getLogger("measure")
# Bytes of a model's files from which on it pays to keep what was found out about them.
WORTH_KEEPING = 2**26


def _hash_numbers(name: str, network: nn.Module) -> str:
    """`weights_hash`. Raises `MeasureError` where a parameter holds what is no number."""
    try:
        return weights_hash(network)
    except sound.NotFiniteError as error:
        raise MeasureError(f"{name}: {error}") from None


def load(
    name: str, *, weights: str = "stored", precision: Precision = "float32", allow_pickle: bool = False
) -> LoadedModel:
    """Load a catalog name, folder or hub id (each with an optional `@revision`), weights in `precision`.

    `weights` other than `stored` makes the counterfeit named (see `CurveSpec`). From the hub safetensors alone are
    taken, unless `allow_pickle`, and code that a repository brings is never run.
    Raises `MeasureError` for an unknown model, one that is no decoder or is quantized, for missing, truncated or
    mismatched weights, for weights that are no numbers (`sound.check`), and for files of which nobody can tell whether
    they are the model (`check_files`).
    """
    reference = catalog.resolve(name)
    meant = Weights.parse(weights)
    place = bring(reference, weights=not meant.is_untrained, allow_pickle=allow_pickle)
    config = read_config(place.folder, name)
    if not meant.is_untrained:
        check_files(reference, place.folder)
    _LOG.info("loading %s", name)
    if meant.is_untrained:
        network = _untrained(config, meant.seed, precision)
    else:
        network = _stored(name, place.folder, precision, allow_pickle=allow_pickle)
    if meant.kind == "scrambled":
        counterfeits.scramble(network, meant.seed)
    if meant.change:
        counterfeits.change_later(network_blocks(network), weights)
    _check_dtype(name, network, precision)
    network = network.to(device_of(reference))
    sound.check(name, network)
    found_tokenizer = find_tokenizer(reference, place.folder)
    tokenizer = found_tokenizer.held
    facts = _facts_of_files(name, network, place.folder, precision) if meant.is_stored else None
    found = _describe(network, tokenizer, reference.name, place.revision, weights, reference.source, facts)
    card = _against_card(reference) if reference.source == "ladder" else found.card
    found = replace(found, tokenizer_place=found_tokenizer.place, no_tokenizer=found_tokenizer.missing)
    return replace(
        found, card=card, commit=place.commit, packed=packed.cards(place.folder), tf32=_rounds(network, precision)
    )


def _rounds(network: nn.Module, precision: Precision) -> bool:
    """Whether products are to be rounded. Raises `MeasureError` where the device cannot."""
    if precision == "tf32" and next(network.parameters()).device.type != "cuda":
        raise MeasureError(
            "precision='tf32' is a mode of NVIDIA's matrix units, and this model is on the processor; use 'float32' or "
            "'bfloat16'."
        )
    return precision == "tf32"


def device_of(reference: catalog.Reference) -> str:
    """Where a model is measured: on an accelerator if there is one, the ladder always on the processor."""
    return "cuda" if torch.cuda.is_available() and reference.source != "ladder" else "cpu"


def _stored(name: str, folder: Path, precision: Precision, *, allow_pickle: bool) -> Any:
    from transformers import AutoModelForCausalLM

    pickled = allow_pickle and not list(folder.glob(f"*{checkpoint_files.SAFE.ending}"))
    try:
        with no_progress_bars():
            network, report = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=_DTYPES[precision],
                use_safetensors=not pickled,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        # transformers and safetensors each raise their own errors here.
        if "DefaultCPUAllocator" in str(error):
            raise MemoryError(str(error)) from error
        raise MeasureError(
            f"the weights of {name} could not be loaded from {folder}: {error} "
            "Expected a config.json beside a whole model.safetensors. For the ladder, restore the file "
            "(`git checkout -- measure/ladder/weights`); for a hub model, delete that folder and fetch it again."
        ) from error
    sound.check_stored(name, network, (_pickled_types if pickled else checkpoint_files.stored_types)(folder))
    _check_complete(name, report)
    return network


def _pickled_types(folder: Path) -> dict[str, str]:
    """By name the types of the tensors in pickled files, none of which is read."""
    paths = [folder / name for name in checkpoint_files.weights(folder, pickled=True)]
    found = (torch.load(path, map_location="meta", weights_only=True) for path in paths)
    return {name: str(values.dtype).removeprefix("torch.") for held in found for name, values in held.items()}


def _untrained(config: Any, seed: int, precision: Precision) -> Any:
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they are
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32).to(_DTYPES[precision]).eval()


def _check_dtype(name: str, network: nn.Module, precision: Precision) -> None:
    """Refuse weights that are not in the precision asked for, whatever the checkpoint's own is."""
    asked = _DTYPES[precision]
    others = ((n, p.dtype) for n, p in network.named_parameters() if p.is_floating_point() and p.dtype != asked)
    wrong = {str(dtype) for place, dtype in others if not sound.is_planned(network, place, dtype, asked)}
    if wrong:
        raise MeasureError(
            f"{name} was loaded with weights in {', '.join(sorted(wrong))}, {precision} was asked for; convert the "
            "checkpoint, or load it yourself and hand the model over."
        )


def _against_card(reference: catalog.Reference) -> str:
    """Whether a rung's weights file is the one its card was written for: what differs is drift, and is told as such."""
    folder = Path(reference.location)
    stated = {entry["revision"]: entry["sha256"] for entry in catalog.read_card(folder.parent)["revisions"]}
    found = known.hash_file(folder / "model.safetensors")
    if found == stated[reference.revision]:
        return AS_THE_CARD_SAYS
    return f"{NOT_AS_THE_CARD_SAYS} ({found[:12]} against {stated[reference.revision][:12]})"


def adopt(network: Any, tokenizer: Any, precision: Precision) -> LoadedModel:
    """Take a loaded Hugging Face model as it is: its device and dtype are used, nothing is changed.

    Also one that is compiled, spread over devices or adapted by PEFT; see `structure.unwrapped`.
    Raises `MeasureError` when it is no causal language model, or when it is in 16 bits and `precision` does not say so.
    """
    given, network = network, structure.unwrapped(network)
    name = getattr(network.config, "_name_or_path", "") or type(network).__name__
    marked = known.mark(given, config_hash(network))
    facts = known.of_model(given, marked)
    if facts is None:
        sound.check(name, network)
    found = str(next(network.parameters()).dtype).removeprefix("torch.")
    if precision not in ("float32", found) and (precision, found) != ("tf32", "float32"):
        raise MeasureError(
            f"precision={precision!r}, but the loaded model is in {found} and is measured as it is; leave "
            f"precision out, or convert it first: model.to(torch.{precision})."
        )
    if found in ("float16", "bfloat16") and precision != found:
        raise MeasureError(
            f"the model is in {found}, which moves distances visibly; pass precision={found!r} to measure it so, "
            "or load it with dtype=torch.float32."
        )
    revision = getattr(network.config, "_commit_hash", None) or "unknown"
    if facts is None and given is not network:
        _check_adapted(given, network)
    described = _describe(network, tokenizer, name, revision, "stored", "loaded", facts)
    known.remember(given, marked, described.facts)
    return replace(described, tf32=_rounds(network, precision), adapters=structure.adapters(network))


def _check_adapted(given: nn.Module, network: Any) -> None:
    """Raise `MeasureError` where adapters are more than layers: the whole gives other logits than the model inside."""
    if not structure.adapters(network):
        return
    ids = torch.arange(8, device=next(network.parameters()).device)[None] % len(network.get_input_embeddings().weight)
    try:
        with as_measured(given):
            outer, inner = (model(input_ids=ids).logits for model in (given, network))
        same = torch.allclose(outer, inner, rtol=1e-4, atol=1e-5 * float(inner.abs().max()))
    except Exception as error:
        raise MeasureError(
            f"the adapted {type(network).__name__} cannot be run on token ids alone ({error!r}); "
            "merge the adapter (merge_and_unload), or hand over a model whose adapters need nothing else."
        ) from error
    if not same:
        raise MeasureError(
            f"the adapted {type(network).__name__} gives other logits than the model with its adapters' layers alone; "
            "only adapters that are layers of the model can be measured: merge it (merge_and_unload)."
        )


def _describe(
    network: Any, tokenizer: Any, name: str, revision: str, weights: str, source: str, facts: Facts | None
) -> LoadedModel:
    blocks = find_blocks(network)
    facts = facts or Facts(_hash_numbers(name, network))
    hashes = facts.sha256, config_hash(network)
    return LoadedModel(network, tokenizer, blocks, name, revision, weights, source, *hashes, facts=facts)


def _facts_of_files(name: str, network: Any, folder: Path, precision: Precision) -> Facts | None:
    """What other processes have found out about the same files; None for small ones, which are as soon looked at."""
    files = list(checkpoint_files.read(folder).values())
    if sum(path.stat().st_size for path in files) < WORTH_KEEPING:
        return None
    place, versions = hub.memory() / "known", {name: metadata.version(name) for name in ("torch", "transformers")}
    address = known.of_files(place, files, what="weights that are numbers", precision=precision, **versions)
    sha256 = known.read_hash(address)
    if sha256 is None:
        sha256 = _hash_numbers(name, network)
        known.write_hash(address, sha256)
    path = known.of(
        place,
        what="passed",
        weights=sha256,
        config=config_hash(network),
        source=known.source_hash(),
        machine=known.machine(next(network.parameters()).device),
        **versions,
    )
    return Facts(sha256, known.read_passed(path), path)


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
