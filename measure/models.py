"""Load one model: weights, tokenizer, where its blocks are, device, dtype. Measures nothing."""

from __future__ import annotations

import ctypes
import hashlib
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from measure import (
    catalog,
    checkpoint_files,
    counterfeits,
    gguf_files,
    hub,
    known,
    places,
    shelf,
    sound,
    stale,
    structure,
)
from measure.known import Facts
from measure.spec import MeasureError, Precision
from measure.structure import find_blocks, network_blocks, shape_of

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
    # The hub's commit; empty for what did not come from there.
    commit: str = ""
    # What the GGUF file was that the weights were unpacked from; None for weights that were no such file.
    gguf: dict[str, Any] | None = None
    # Whether float32 products are rounded; see `as_measured`.
    tf32: bool = False
    # Where the tokenizer lies, if not with the model; or why there is none though something of it is there.
    tokenizer_place: str = ""
    no_tokenizer: str = ""
    # The names of the adapters that are layers of the model; see `structure.adapters`.
    adapters: str = ""
    # Where the fast path was seen to be the reference.
    facts: Facts = field(default_factory=lambda: Facts(""))

    @property
    def base(self) -> nn.Module:
        """The model without its unembedding."""
        return structure.base_of(self.network)

    @property
    def block_list(self) -> nn.ModuleList:
        return network_blocks(self.network, self.blocks)

    @property
    def depth(self) -> int:
        return len(self.block_list)

    @property
    def embedding(self) -> Tensor:
        """A row for each token, as wide as the residual stream."""
        weight: Tensor = self.network.get_input_embeddings().weight
        return weight

    @property
    def vocabulary(self) -> int:
        return len(self.embedding)

    @property
    def shape(self) -> catalog.Shape:
        """The dimensions in its configuration."""
        return shape_of(self.network.config)

    @property
    def context(self) -> int | None:
        """The most tokens a prompt may have, where the configuration tells."""
        return structure.context_of(self.network.config)

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.network.parameters()).dtype


def weights_hash(network: nn.Module) -> str:
    """sha256 over every parameter and buffer that is saved: names, dtypes, shapes and bytes.

    Raises `sound.NotFiniteError` where a parameter holds what is no number.
    """
    digest = hashlib.sha256()
    # A layer may keep a state of its own, which is nothing here: see `sound.check`.
    state = {name: tensor for name, tensor in sorted(network.state_dict().items()) if isinstance(tensor, Tensor)}
    with sound.looked_at(dict(network.named_parameters())):
        for name, tensor in state.items():
            digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
    they are the model (`_check_files`).
    """
    reference = catalog.resolve(name)
    initialised = weights.startswith("untrained")
    place = _place(reference, weights=not initialised, allow_pickle=allow_pickle)
    config = read_config(place.folder, name)
    if not initialised:
        _check_files(reference, place.folder)
    _LOG.info("loading %s", name)
    if initialised:
        network = _untrained(config, int(weights.partition(":")[2]), precision)
    else:
        network = _stored(name, place.folder, precision, allow_pickle=allow_pickle)
    if weights.startswith("scrambled"):
        counterfeits.scramble(network, int(weights.partition(":")[2]))
    if "_after_" in weights:
        counterfeits.change_later(network_blocks(network), weights)
    _check_dtype(name, network, precision)
    network = network.to(device_of(reference))
    sound.check(name, network)
    found_tokenizer = _tokenizer(reference, place.folder)
    tokenizer = found_tokenizer.held
    facts = _facts_of_files(name, network, place.folder, precision) if weights == "stored" else None
    found = _describe(network, tokenizer, reference.name, place.revision, weights, reference.source, facts)
    card = _against_card(reference) if reference.source == "ladder" else found.card
    gguf = gguf_files.card(place.folder)
    found = replace(found, tokenizer_place=found_tokenizer.place, no_tokenizer=found_tokenizer.missing)
    return replace(found, card=card, commit=place.commit, gguf=gguf, tf32=_rounds(network, precision))


def _rounds(network: nn.Module, precision: Precision) -> bool:
    """Whether products are to be rounded. Raises `MeasureError` where the device cannot."""
    if precision == "tf32" and next(network.parameters()).device.type != "cuda":
        raise MeasureError(
            "precision='tf32' is a mode of NVIDIA's matrix units, and this model is on the processor; use 'float32' or "
            "'bfloat16'."
        )
    return precision == "tf32"


@dataclass(frozen=True)
class _Place:
    """Where a model's files are; `commit` is the hub's, empty for what did not come from there."""

    folder: Path
    revision: str
    commit: str = ""


def _place(reference: catalog.Reference, *, weights: bool, allow_pickle: bool) -> _Place:
    if reference.source != "hub":
        return _Place(local_folder(reference), reference.revision)
    found = fetch(reference, weights=weights, allow_pickle=allow_pickle)
    return _Place(found.folder, found.revision, found.commit)


def local_folder(reference: catalog.Reference) -> Path:
    """The folder of a model that is on this machine; one in a GGUF file is unpacked first.

    Raises `MeasureError` as `gguf_files.unpacked` and `shelf.folder` do.
    """
    if reference.source == "index":
        return shelf.folder(reference.location)
    if reference.source == "gguf":
        return gguf_files.unpacked(gguf_path(reference))
    return Path(reference.location)


def gguf_path(reference: catalog.Reference) -> Path:
    """The GGUF file that a reference names, brought from the hub where it lies there."""
    scheme, _, rest = reference.location.partition("://")
    if not rest:
        return Path(reference.location)
    parts = rest.split("/", 2)
    if scheme != "hf" or len(parts) != 3:
        raise MeasureError(f"{reference.location}: a GGUF file on the hub is named hf://OWNER/NAME/FILE.gguf.")
    return hub.fetch_file("/".join(parts[:2]), parts[2])


def fetch(reference: catalog.Reference, *, weights: bool = True, allow_pickle: bool = False) -> hub.Checkpoint:
    """Bring a hub model into the cache; one that cannot be measured is refused before its weights are fetched."""
    return hub.fetch(
        reference.location,
        reference.revision,
        weights=weights,
        allow_pickle=allow_pickle,
        check=partial(read_config, name=reference.name),
    )


def device_of(reference: catalog.Reference) -> str:
    """Where a model is measured: on an accelerator if there is one, the ladder always on the processor."""
    return "cuda" if torch.cuda.is_available() and reference.source != "ladder" else "cpu"


def identity(name: str, *, weights: bool = True) -> str:
    """What a model is before it is loaded: the hub's commit, or a hash of the files in its folder."""
    reference = catalog.resolve(name)
    if reference.source == "hub":
        commit = hub.commit_of(reference.location, reference.revision)
        # Of a commit that the hub has not listed nobody knows whether all its files are here.
        return commit if hub.is_listed(reference.location, commit) else f"{commit} as it is in the cache"
    if reference.source in ("gguf", "index"):
        item = shelf.ITEMS.get(reference.location)
        sha256 = item.sha256 if item is not None else gguf_files.file_hash(gguf_path(reference))
        return f"gguf {gguf_files.FORMAT} {sha256}"
    digest = hashlib.sha256()
    for told, path in _read_files(reference, Path(reference.location)):
        if weights or path.suffix not in (".safetensors", ".bin"):
            digest.update(f"{told}|{known.hash_once(path)}|".encode())
    return digest.hexdigest()


def _read_files(reference: catalog.Reference, folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file that loading a model may read, wherever it lies, and what it is called there."""
    yield from checkpoint_files.read(folder).items()
    if reference.source == "ladder":
        yield "card.json", folder.parent / "card.json"
    for place in tokenizer_places(reference, folder):
        if place != folder:
            yield from ((f"{place.name}/{name}", place / name) for name in hub.SMALL_FILES if (place / name).is_file())


def _check_files(reference: catalog.Reference, folder: Path) -> None:
    """Raise `MeasureError` where a folder holds more than one model, or weights that are another revision's.

    An adapter beside the weights; a whole file and parts that are not the same; of a training checkpoint a file that is
    main's.
    """
    checkpoint_files.check_folder(folder)
    if both := checkpoint_files.two_sets(folder):
        seen = known.of_files(hub.memory() / "known", both, what="one set of weights")
        if not known.is_marked(seen):
            checkpoint_files.check_same(both)
            known.set_mark(seen)
    if reference.source == "folder" and reference.revision != "main":
        _check_apart(reference, folder)


def _check_apart(reference: catalog.Reference, folder: Path) -> None:
    """Raise `MeasureError` where a training checkpoint, a folder in a folder, holds weights that are main's.

    Of a revision whose name tells of no training it is said, no more.
    """
    root = folder.parents[len(Path(reference.revision).parts) - 1]
    main = next((place for place in (root / "main", root) if (place / "config.json").is_file()), None)
    held = checkpoint_files.shared(folder, main) if main is not None else []
    every = checkpoint_files.held(folder)
    name = f"{reference.name}@{reference.revision}"
    trained = stale.order(reference.revision) is not None
    if held and len(held) < len(every):
        error = stale.shared(name, held, len(every))
        if trained:
            raise error
        _LOG.warning("%s", error)
    elif held and trained and not stale.may_be_equal("main", reference.revision, revisions_in(root)):
        raise stale.equal(f"{name} and main", known.hash_file(folder / held[0]), "or one file copied twice")


def revisions_in(folder: Path) -> list[str]:
    """Names of the folders in a folder that hold a model."""
    return sorted(path.parent.name for path in folder.glob("*/config.json"))


def read_config(folder: Path, name: str) -> Any:
    """A model's configuration. Raises `MeasureError` for one that cannot be measured, before any weights are read."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # transformers raises many kinds here
        path = folder / "config.json"
        hint = "Restore the folder, or take a transformers that knows this model"
        if path.exists() and b"auto_map" in path.read_bytes():
            hint = "It needs code from its repository, which is never run here"
        what = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise MeasureError(f"the config of {name} could not be read from {folder}: {what} {hint}.") from error
    kinds = getattr(config, "architectures", None) or []
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
        raise MeasureError(f"the config of {name}: architectures is {kinds!r}, expected a list of names; mend it.")
    masked = next((kind for kind in kinds if kind.endswith(("ForMaskedLM", "ForPreTraining"))), None)
    if getattr(config, "is_encoder_decoder", False) or masked:
        what = f"an encoder ({masked})" if masked else f"an encoder-decoder ({config.model_type})"
        raise MeasureError(f"{name} is {what}; only decoders, which read from left to right, can be measured.")
    if getattr(config, "quantization_config", None):
        method = dict(config.quantization_config).get("quant_method", "unknown method")
        raise MeasureError(
            f"the weights of {name} are quantized ({method}), which moves distances visibly; take the checkpoint that "
            "it was made from."
        )
    return config


def _stored(name: str, folder: Path, precision: Precision, *, allow_pickle: bool) -> Any:
    from transformers import AutoModelForCausalLM

    pickled = allow_pickle and not list(folder.glob("*.safetensors"))
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


def read_own_config(name: str) -> Any:
    """The configuration of a catalog name, folder or hub id; takes no weights. Raises `MeasureError` without one."""
    reference = catalog.resolve(name)
    if reference.source != "hub":
        return read_config(local_folder(reference), name)
    revision = hub.nearest_revision(reference.location, reference.revision)
    return read_config(hub.fetch_file(reference.location, "config.json", revision=revision).parent, name)


def count_parameters(config: Any) -> int:
    """Parameters of the model that a configuration describes, tied ones once; takes no memory for them."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(config)
    return sum(parameter.numel() for parameter in network.parameters())


def _against_card(reference: catalog.Reference) -> str:
    """Whether a rung's weights file is the one its card was written for: what differs is drift, and is told as such."""
    folder = Path(reference.location)
    stated = {entry["revision"]: entry["sha256"] for entry in catalog.read_card(folder.parent)["revisions"]}
    found = known.hash_file(folder / "model.safetensors")
    if found == stated[reference.revision]:
        return "weights as the card says"
    return f"weights NOT as card.json says ({found[:12]} against {stated[reference.revision][:12]})"


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


def config_hash(network: Any) -> str:
    """sha256 over what the configuration says of the computation: same weights, other activation, other hash."""
    known = {k: v for k, v in network.config.to_dict().items() if k not in ("_name_or_path", "transformers_version")}
    known["attention"] = getattr(network.config, "_attn_implementation", None)
    if states := structure.adapter_states(network):
        known["adapters"] = states
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


def _shared_tokenizer(folder: Path) -> list[Path]:
    """A revision of the ladder lies in DIR/RUNG/REVISION; one tokenizer in DIR/tokenizer serves them all."""
    return [folder.parent.parent / "tokenizer"] if (folder.parent / "card.json").is_file() else []


# A training run's checkpoints, as the trainer of transformers names them.
_CHECKPOINT = re.compile(r"checkpoint-\d+")
# Files that a tokenizer's vocabulary is in; tokenizer_config.json alone has none.
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model")


def tokenizer_places(reference: catalog.Reference, folder: Path) -> list[Path]:
    """Where the tokenizer of a model whose files are in `folder` may be, the first that has one being it."""
    return [folder, *_shared_tokenizer(Path(reference.location)), *_trainers_root(reference)]


def _trainers_root(reference: catalog.Reference) -> list[Path]:
    """The folder of the training run that a checkpoint is in: trainers leave the tokenizer there, and once."""
    if reference.source != "folder":
        return []
    place, inside = Path(reference.location), Path(reference.revision).parts
    if inside and place.parts[-len(inside) :] == inside:
        return [place.parents[len(inside) - 1]]
    # A link may have another name.
    return [path.parent for path in (place, place.resolve()) if _CHECKPOINT.fullmatch(path.name)][:1]


def tokenizer_file(reference: catalog.Reference, folder: Path) -> Path | None:
    """The tokenizer.json of a model whose files are in `folder`; None where it has none."""
    for place in tokenizer_places(reference, folder):
        if any((place / name).is_file() for name in _VOCABULARIES):
            path = place / "tokenizer.json"
            return path if path.is_file() else None
    return None


@dataclass(frozen=True)
class _Tokenizer:
    """A tokenizer, and where it lies if not with its model; or None, and why there is none if anything is there."""

    held: Any = None
    place: str = ""
    missing: str = ""


def _tokenizer(reference: catalog.Reference, folder: Path) -> _Tokenizer:
    missing = ""
    for place in tokenizer_places(reference, folder):
        held, lacking = _tokenizer_in(place)
        missing = missing or lacking
        if held is not None:
            above = place in _trainers_root(reference) and place != folder
            return _Tokenizer(held, "in the folder above the checkpoint's" if above else "")
    return _Tokenizer(missing=missing)


def _tokenizer_in(place: Path) -> tuple[Any, str]:
    """The tokenizer in a folder, or None; and what is lacking where there are files of one."""
    from transformers import AutoTokenizer

    files = [name for name in (*_VOCABULARIES, "tokenizer_config.json") if (place / name).is_file()]
    if not files:
        return None, ""
    if files[0].endswith(".model") and find_spec("sentencepiece") is None:
        return None, (
            f"{place} holds its tokenizer as {files[0]}, which takes the package sentencepiece to read, and that is "
            "not installed (`pip install sentencepiece`, or save a tokenizer.json beside it)"
        )
    try:
        held = _unpacked_tokenizer(place)
        held = held or AutoTokenizer.from_pretrained(place, trust_remote_code=False, local_files_only=True)
        _give_memory_back()
        if not isinstance(held.model_max_length, int | float):
            raise TypeError(f"model_max_length is {held.model_max_length!r}, expected a number")
    except Exception as error:  # transformers and tokenizers each raise their own
        if files == ["tokenizer_config.json"]:
            return None, _NO_VOCABULARY.format(place)
        raise MeasureError(f"the tokenizer in {place} could not be loaded ({error}); restore its files.") from error
    # transformers makes one that knows its special tokens alone where the vocabulary is missing.
    empty = files == ["tokenizer_config.json"] and not set(held.get_vocab()) - set(held.all_special_tokens)
    return (None, _NO_VOCABULARY.format(place)) if empty else (held, "")


def _give_memory_back() -> None:
    """Let the C library give back what it holds and nobody uses: of a large vocabulary, 200 MB. Only glibc can."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _unpacked_tokenizer(folder: Path) -> Any:
    """The tokenizer unpacked from a GGUF file, as `AutoTokenizer` gives it in twice the memory; None: it is no such.

    transformers reads the file as JSON beside; a vocabulary of 262,000 words then takes 550 MB.
    """
    from transformers import PreTrainedTokenizerFast

    if not ((folder / gguf_files.CARD).is_file() and (folder / "tokenizer.json").is_file()):
        return None
    settings = json.loads((folder / "tokenizer_config.json").read_bytes())
    if settings.pop("tokenizer_class", None) not in ("TokenizersBackend", "PreTrainedTokenizerFast"):
        return None
    settings.pop("backend", None)
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), name_or_path=str(folder), **settings)


_NO_VOCABULARY = "{} holds a tokenizer_config.json and no vocabulary beside it (save a tokenizer.json there)"


def named_tokenizer(name: str) -> Any:
    """The tokenizer in a folder, in a tokenizer.json, or of a model by its catalog name or hub id.

    Raises `MeasureError` where there is none.
    """
    place = None if catalog.find(catalog.split(name)[0]) is not None else places.at(name)
    if place is not None and place.name in _VOCABULARIES and place.is_file():
        place = place.parent
    if place is None or (place / "config.json").is_file():
        try:
            reference = catalog.resolve(name if place is None else str(place))
            on_hub = reference.source == "hub"
            found = _tokenizer(reference, fetch(reference, weights=False).folder if on_hub else local_folder(reference))
        except MeasureError as error:
            raise type(error)(f"tokenizer={name!r}: {error}") from None
    else:
        held, lacking = _tokenizer_in(place)
        found = _Tokenizer(held, missing=lacking)
    if found.held is None:
        raise MeasureError(
            f"tokenizer={name!r}: {found.missing or 'there is no tokenizer'}; expected a folder with a tokenizer.json, "
            "a model's name, or a loaded tokenizer."
        )
    return found.held


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """No bar for a load or save that takes milliseconds; downloads keep theirs, which are huggingface_hub's."""
    from huggingface_hub import constants
    from transformers.utils import logging

    # Where the environment has switched them off for good, switching them on is warned of.
    shown = logging.is_progress_bar_enabled() and constants.HF_HUB_DISABLE_PROGRESS_BARS is None
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _switches(*, tf32: bool) -> list[tuple[Any, str, Any]]:
    """Every setting that lets torch round float32 products: (holder, attribute, the value wanted)."""
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        backends: Any = torch.backends
        exact = [(holder, "fp32_precision", "ieee") for holder in (backends.cudnn.conv, backends.mkldnn.matmul)]
        return [(backends.cuda.matmul, "fp32_precision", "tf32" if tf32 else "ieee"), *exact]
    return [(torch.backends.cuda.matmul, "allow_tf32", tf32), (torch.backends.cudnn, "allow_tf32", False)]


def keep_freed_memory() -> None:
    """Let the C library keep some 60 MB of what tensors leave, instead of giving it back and fetching it page by page.

    glibc keeps twice the largest block that it ever saw freed, up to 64 MB, and at first 128 kB: on a small model a
    third of the time went into pages. So it is shown a large block, which nobody ever touches. The process stays so.
    Other C libraries go their own ways, and so does glibc where its thresholds were set by hand.
    """
    # Where there is not even room to look, there is none to keep.
    with suppress(RuntimeError, MemoryError):
        torch.UntypedStorage(31 * 2**20, device="cpu")  # type: ignore[no-untyped-call]


@contextmanager
def as_measured(network: nn.Module, *, tf32: bool = False) -> Iterator[None]:
    """Evaluation mode, no gradients, no autocast, exact float32 unless `tf32`; all put back after, also on an error.

    What torch would compile runs as it is written.
    """
    keep_freed_memory()
    training = [module for module in network.modules() if module.training]
    wanted = _switches(tf32=tf32)
    before = [(holder, name, getattr(holder, name)) for holder, name, _ in wanted]
    compiled = any(structure.is_compiled(module) for module in network.modules())
    try:
        for module in training:
            module.training = False
        for holder, name, value in wanted:
            setattr(holder, name, value)
        device = next(network.parameters()).device.type
        eager = structure.run_eagerly() if compiled else nullcontext()
        with torch.no_grad(), eager, torch.autocast(device, enabled=False):
            yield
    finally:
        for holder, name, value in before:
            setattr(holder, name, value)
        for module in training:
            module.training = True
