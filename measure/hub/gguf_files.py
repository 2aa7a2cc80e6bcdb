"""Models in GGUF files: unpacked once, into a folder in the form that everything else here reads. Measures nothing.

A GGUF file holds one model whole: configuration, tokenizer, and weights that are mostly quantized. What they stand for
is exact in float32, so that is what they are unpacked to, and `gguf.json` in the folder says what they were. Families
are known by transformers, number formats by the package `gguf`. What a file says and would be left out is refused.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import shutil
import struct
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from measure.base import files
from measure.base.files import write_atomically
from measure.hub import checkpoints as hub
from measure.hub import known, packed
from measure.spec import MeasureError, NotMeasuredError

CARD = "gguf.json"
# Of what is unpacked: with another number, files are unpacked anew.
FORMAT = 2
INSTALL = "pip install 'stable-regions[gguf]'"
# Kept of the disk, and of the memory, for everything else.
SPARE = 2**28
# Numbers unpacked at a time where rows are independent of one another: 64 MB in float32.
_AT_ONCE = 2**24
_BY_ROWS = ("token_embd.weight", "output.weight")
_ENCODERS = ("bert", "t5", "wavtokenizer")
# Those that the tests hold against models in safetensors. None of them changes its embedding.
FAMILIES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3", "starcoder2", "gpt2")
# What a file may say without changing what is computed, where a value is given: if that is what it says.
_HARMLESS: Mapping[str, tuple[Any, ...]] = {
    "vocab_size": (),
    "rope.dimension_count": (),
    "attention.value_length": (),
    "attention.causal": (True,),
    "rope.scaling.type": ("none",),
    "rope.freq_base_swa": (10000.0,),
    "attention.sliding_window_pattern": (6,),
    "tensor_data_layout": (),
    "n_ctx_orig_yarn": (),
}
# What transformers passes over in some families, and we take over: the name in the configuration.
_TAKEN = {
    "attention.key_length": "head_dim",
    "rope.freq_base": "rope_theta",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
}
# Tokenizers of bytes whose text is cut before every digit, which transformers takes for GPT-2's.
_BY_DIGIT = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone")
_LIKE_GPT2 = ("gpt-2", "gpt2", "default", "olmo", "mpt", "phi-2", "bloom")

_log = logging.getLogger("measure")


def card(folder: Path) -> dict[str, Any] | None:
    """What an unpacked file was; None for a folder that was never one."""
    try:
        found: dict[str, Any] = files.read_json(folder / CARD)
    except MeasureError:
        return None
    if not isinstance(found, dict) or found.get("format") != FORMAT or not _is_whole(folder, found):
        return None
    return {name: value for name, value in found.items() if name not in ("files", "seal")}


def identity(sha256: str) -> str:
    """What a file of this hash is known by once it is unpacked."""
    return f"gguf {FORMAT} {sha256}"


def _is_whole(folder: Path, card: dict[str, Any]) -> bool:
    """Whether every file that was unpacked is as it was: one that is not is unpacked anew."""
    kept = card.get("files")
    if not isinstance(kept, dict) or card.get("seal") != _seal(card):
        return False
    try:
        return all(packed.file_hash(folder / name) == sha256 for name, sha256 in kept.items())
    except (OSError, ValueError):
        return False


def _seal(card: dict[str, Any]) -> str:
    """What tells that a card is as it was written."""
    return files.seal(CARD, json.dumps({**card, "seal": ""}, sort_keys=True))


def unpacked(path: Path) -> Path:
    """The folder that a GGUF file is unpacked in: config.json, tokenizer, float32 model.safetensors; made where needed.

    Raises `MeasureError` for a file that is damaged or that says what cannot be taken over, `NotMeasuredError` where
    the machine cannot hold it or a package is missing.
    """
    if not path.is_file():
        raise NotMeasuredError(f"{path} is not there; give the path of a GGUF file.")
    sha256 = packed.file_hash(path)
    folder = hub.memory() / "gguf" / sha256
    unpack(path, folder, sha256)
    return folder


def unpack(path: Path, folder: Path, sha256: str) -> None:
    """Unpack a file of this hash into `folder`, whole or not at all; nothing where that was done before."""
    if card(folder) is not None:
        return
    _check_start(path)
    with _told(path):
        family, taken = _check_all_said(path)
        reader = _reader(path)
        sources = _sources(path, reader)
        needed = 4 * sum(prod(source.shape) for source in sources)
        _check_room(path, folder, needed)
        _log.info("unpacking %s to float32 (%.2f GB), once", path.name, needed / 1e9)
        folder.parent.mkdir(parents=True, exist_ok=True)
        files.sweep_folders(folder.parent, r"\.(float32|[0-9a-f]{64})\.")
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as place:
            inside = Path(place) / "model"
            inside.mkdir()
            said = {
                "format": FORMAT,
                "file": path.name,
                "bytes": path.stat().st_size,
                "sha256": sha256,
                "family": family,
            }
            _write_all(path, reader, sources, inside, said, taken)
            _move(inside, folder)


def _move(made: Path, folder: Path) -> None:
    if folder.exists() and card(folder) is None:
        shutil.rmtree(folder)
    try:
        os.rename(made, folder)
    except OSError:
        # Another process may have been as fast.
        if card(folder) is None:
            raise


# What a file says


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Each failure in a sentence: readers raise whatever a damaged file makes them stumble over."""
    try:
        yield
    except (MeasureError, MemoryError):
        raise
    except ImportError as error:
        raise NotMeasuredError(f"{path.name}: reading GGUF files takes a package more ({error}): {INSTALL}.") from error
    except OSError:
        raise
    except NotImplementedError as error:
        raise MeasureError(
            f"{path.name} holds numbers in a format that is not unpacked here ({error}); take another file."
        ) from error
    except Exception as error:
        what = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise MeasureError(f"{path} is damaged or cut short ({what}); fetch it again.") from error


def _check_start(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(8)
    if start[:4] != b"GGUF":
        raise MeasureError(f"{path} is no GGUF file, whatever its name: it begins with {start[:4]!r}, not b'GGUF'.")
    if len(start) == 8 and struct.unpack("<I", start[4:])[0] > 2**16:
        raise MeasureError(
            f"{path} is written for machines of the other byte order; take the usual little-endian file."
        )


def _reader(path: Path) -> Any:
    from gguf import GGUFReader

    return GGUFReader(path)


@contextmanager
def _read_once(reader: Any) -> Iterator[None]:
    """Within it, whoever opens the file gets the reader at hand: reading a large vocabulary takes ten seconds."""
    package: Any = importlib.import_module("gguf")
    whole = package.GGUFReader
    package.GGUFReader = lambda *_, **__: reader
    try:
        yield
    finally:
        package.GGUFReader = whole


def _check_room(path: Path, folder: Path, needed: int) -> None:
    memory, disk = machine_bytes(), shutil.disk_usage(_existing(folder)).free
    for what, there in (("memory", memory), ("free disk", disk)):
        if needed + SPARE > there:
            raise NotMeasuredError(
                f"{path.name}: in float32 its weights take {needed / 1e9:.1f} GB, and this machine has "
                f"{there / 1e9:.1f} GB of {what} for them; take a smaller model or a larger machine"
                f"{', or set HF_HOME to a larger disk' if what == 'free disk' else ''}."
            )


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def machine_bytes() -> int:
    """Memory of this machine, or of the group of processes that this one is confined to."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    confined = limit.read_text().strip() if limit.is_file() else "max"
    return min(physical, int(confined)) if confined.isdigit() else physical


def _check_all_said(path: Path) -> tuple[str, dict[str, Any]]:
    """The family, and what of the configuration transformers passes over and can be taken over.

    Raises `MeasureError` for a family that is not read, and for what cannot be taken over.
    """
    from transformers import modeling_gguf_pytorch_utils as reading
    from transformers.integrations.gguf import read_gguf_metadata

    metadata, _ = read_gguf_metadata(str(path))
    family = str(metadata["general.architecture"])
    if any(word in family for word in _ENCODERS):
        raise MeasureError(
            f"{path.name} is an encoder ({family}); only decoders, which read from left to right, can be measured."
        )
    if family not in FAMILIES or family not in reading.GGUF_SUPPORTED_ARCHITECTURES:
        raise MeasureError(
            f"{path.name} is of family {family!r}, which is not read from GGUF; these are: {', '.join(FAMILIES)}. Take "
            "the checkpoint in safetensors."
        )
    known_keys, taken = reading.GGUF_CONFIG_MAPPING[family], {}
    for name, value in metadata.items():
        kind, _, key = name.partition(".")
        if kind != family or known_keys.get(key) is not None:
            continue
        allowed = _HARMLESS.get(key)
        if key in _TAKEN:
            taken[_TAKEN[key]] = value
        elif allowed is None or (allowed and value not in allowed):
            raise MeasureError(
                f"{path.name} says {name} = {str(value)[:60]}, which transformers does not take over from GGUF; its "
                "numbers would be wrong. Take the checkpoint in safetensors."
            )
    return family, taken


def _config(path: Path, reader: Any, sources: list[_Source], taken: dict[str, Any]) -> dict[str, Any]:
    """The configuration as transformers reads it, and `taken`; the vocabulary as large as the embedding."""
    from transformers import modeling_gguf_pytorch_utils as reading

    with _read_once(reader):
        config: dict[str, Any] = reading.load_gguf_checkpoint(str(path))["config"]
    embedding = next((source for source in sources if source.name == "token_embd.weight"), None)
    return config | taken | ({"vocab_size": embedding.shape[0]} if embedding is not None else {})


# Weights


@dataclass(frozen=True)
class _Source:
    """One tensor of the file, in the number format that it is kept in; `rows` are read as they are asked for."""

    name: str
    shape: tuple[int, ...]
    kind: Any
    blocks: np.ndarray

    def values(self) -> np.ndarray:
        """Float32 values, all at once."""
        from gguf import dequantize

        return np.asarray(dequantize(self.blocks, self.kind), np.float32).reshape(self.shape)

    def parts(self) -> Iterator[np.ndarray]:
        """Float32 values, some rows at a time."""
        from gguf import dequantize

        step = max(1, _AT_ONCE // prod(self.shape[1:]))
        for start in range(0, len(self.blocks), step):
            yield np.asarray(dequantize(self.blocks[start : start + step], self.kind), np.float32)


def _sources(path: Path, reader: Any) -> list[_Source]:
    """The file's tensors, none of them unpacked yet; shapes in torch's order."""
    found = [
        _Source(str(one.name), tuple(map(int, reversed(one.shape))), one.tensor_type, one.data)
        for one in reader.tensors
    ]
    twice = next((name for name, count in Counter(source.name for source in found).items() if count > 1), None)
    if twice or not found:
        raise MeasureError(f"{path} holds {f'tensor {twice} twice' if twice else 'no tensor'}; fetch it again.")
    return found


def _write_all(
    path: Path, reader: Any, sources: list[_Source], folder: Path, said: dict[str, Any], taken: dict[str, Any]
) -> None:
    from transformers import AutoConfig

    values = _config(path, reader, sources, taken)
    config = AutoConfig.for_model(**{key: value for key, value in values.items() if not key.startswith("_")})
    network = _skeleton(config)
    config.architectures, config.dtype = [type(network).__name__], "float32"
    _write_weights(path, network, said["family"], values, sources, folder / "model.safetensors")
    config.save_pretrained(folder)
    notes = _write_tokenizer(path, folder)
    types = Counter(source.kind.name for source in sources)
    # Last: with it the folder is whole.
    hashes = {one.name: known.hash_file(one) for one in sorted(folder.iterdir()) if one.is_file()}
    card = {**said, "types": dict(sorted(types.items())), "dequantized": "float32", **notes, "files": hashes}
    card["seal"] = _seal(card)
    write_atomically(folder / CARD, json.dumps(card, indent=1).encode())


def _skeleton(config: Any) -> Any:
    """The model without weights."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def _write_weights(
    path: Path, network: Any, family: str, values: dict[str, Any], sources: list[_Source], target: Path
) -> None:
    """Write float32 weights in the layout of transformers, a tensor at a time."""
    from transformers import modeling_gguf_pytorch_utils as reading

    # By the file's own family: transformers calls some files of it otherwise, and then leaves their layout as it is.
    processor = reading.TENSOR_PROCESSORS.get(family, reading.TensorProcessor)(config=values)
    names = reading.get_gguf_hf_weights_map(network, processor, model_type=family)
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    _check_complete(path, network, wanted, {source.name: names.get(source.name) for source in sources})

    def parts(source: _Source) -> Iterator[np.ndarray]:
        if source.name in _BY_ROWS:
            yield from source.parts()
        else:
            yield np.asarray(processor.process(weights=source.values(), name=source.name).weights, np.float32)

    by_name = {names[source.name]: source for source in sources}
    _write_safetensors(target, {name: wanted[name] for name in by_name}, lambda name: parts(by_name[name]))


def _check_complete(
    path: Path, network: Any, wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, str | None]
) -> None:
    """Raise `MeasureError` unless the file holds each tensor of the model and no other."""
    tied = set(network._tied_weights_keys or ()) if network.config.tie_word_embeddings else set()
    missing = sorted(set(wanted) - set(found.values()) - tied)
    unknown = sorted(name for name, target in found.items() if target not in wanted)
    if missing:
        raise MeasureError(f"{path.name} lacks tensors of its model: {_some(missing)}; fetch it again.")
    if unknown:
        raise MeasureError(
            f"{path.name} holds tensors that transformers has no place for: {_some(unknown)}; without them its numbers "
            "would be wrong. Take the checkpoint in safetensors."
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _write_safetensors(
    target: Path, shapes: Mapping[str, tuple[int, ...]], parts: Callable[[str], Iterator[np.ndarray]]
) -> None:
    """Write tensors in turn, so that one alone is in memory: the library's writer takes them all at once."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with target.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            _write_parts(file, name, 4 * prod(shape), parts(name))
        file.flush()
        os.fsync(file.fileno())


def _write_parts(file: IO[bytes], name: str, size: int, parts: Iterator[np.ndarray]) -> None:
    start = file.tell()
    for values in parts:
        if not np.isfinite(values).all():
            raise MeasureError(f"tensor {name} holds NaN or infinity; fetch the file again.")
        file.write(np.ascontiguousarray(values, "<f4").data)
    if file.tell() - start != size:
        raise MeasureError(f"tensor {name} has {(file.tell() - start) // 4:,} numbers, and its model {size // 4:,}.")


# Tokenizer


def _write_tokenizer(path: Path, folder: Path) -> dict[str, str]:
    """Write the file's tokenizer; returns what is to be noted of it."""
    from tokenizers import pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from transformers.integrations.gguf import convert_gguf_tokenizer, get_gguf_tokenizer
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    family, tokenizer, settings = get_gguf_tokenizer(str(path))
    backend, more = convert_gguf_tokenizer(family, tokenizer)
    cut = tokenizer.get("pre_tokenizer_type")
    if cut in _BY_DIGIT:
        digits = pre_tokenizers.Digits(individual_digits=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    known_cut = tokenizer.get("tokenizer_type") != "gpt2" or cut in (
        *GGUF_PRE_TOKENIZER_SPLITS,
        *_BY_DIGIT,
        *_LIKE_GPT2,
    )
    settings.pop("chat_template", None)
    PreTrainedTokenizerFast(tokenizer_object=backend, **settings, **more).save_pretrained(folder)
    return {} if known_cut else {"tokenizer": f"cuts text as {cut!r}, which is not known and was taken for GPT-2's"}
