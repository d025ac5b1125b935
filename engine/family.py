"""What describes a family of checkpoints: its keys, its tensors, and how both lie against ours. Torch-free.

The families themselves are in engine/family_rows.py; engine/families.py reads and writes with them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.config import ModelConfig

# Keys that describe the file, its training or another program's habits, and change no logit.
HARMLESS = frozenset({
    "_name_or_path", "_attn_implementation", "_attn_implementation_autoset", "architectures", "attention_dropout",
    "auto_map", "bos_token_id", "dtype", "eos_token_id", "hidden_dropout", "initializer_range", "is_llama_config",
    "max_length", "model_type", "pad_token_id", "problem_type", "return_dict", "torch_dtype", "transformers_version",
    "unk_token_id", "use_cache", "use_return_dict", "output_attentions", "output_hidden_states", "id2label",
    "label2id", "tokenizer_class", "task_specific_params", "finetuning_task", "chunk_size_feed_forward",
    "rope_interleaved", "output_router_logits", "router_jitter_noise",
})  # fmt: skip

Told = Mapping[str, Any]  # a config.json, with what its family assumes where it says nothing
Form = Literal["same", "transposed", "interleaved"]


@dataclass(frozen=True)
class TensorRule:
    """One HF tensor and the rows of ours that it is; part indexes the rows of a fused matrix.

    `{i}` is the layer, `{e}` the expert, whose matrix is one of those that ours holds. form: transposed, as GPT-2's
    matrices are; interleaved, with the rows of queries, keys and values head by head.
    """

    theirs: str
    ours: str
    part: tuple[str, int] | None = None  # ("qkv", 0) is the first part of the rows in ModelConfig.qkv_rows
    of: Literal["any", "dense", "experts", "shared", "shared_gate"] = "any"  # feed-forward parts that have it
    form: Form = "same"


@dataclass(frozen=True)
class Placement:
    """A concrete tensor: HF's name, ours, and the rows of ours that it fills (None: all of them).

    skip: rows of HF's that are left out, from the first. transposed, interleaved (a number of heads): see TensorRule.
    """

    theirs: str
    ours: str
    rows: slice | tuple[int, slice] | None  # with the number of an expert before them
    skip: int = 0
    transposed: bool = False
    interleaved: int = 0


@dataclass(frozen=True)
class KeyGroup:
    """Keys that say fields of a ModelConfig together.

    read: from the config.json and the fields that are known before. write: the other way; what no key can say is left
    out, and the reader of it will notice.
    """

    keys: frozenset[str]
    read: Callable[[Told, Mapping[str, Any]], dict[str, Any]]
    write: Callable[[ModelConfig], dict[str, Any]]


@dataclass(frozen=True)
class Family:
    """How one HF architecture is read and written."""

    architecture: str
    model_type: str
    fields: dict[str, str]  # HF key -> ModelConfig field
    required: dict[str, tuple[Any, ...]]  # HF key -> the values that the engine computes
    tensors: tuple[TensorRule, ...]
    groups: tuple[KeyGroup, ...] = ()
    constants: dict[str, Any] = field(default_factory=dict)  # ModelConfig fields that all its models share
    defaults: dict[str, Any] = field(default_factory=dict)  # what HF assumes when its config does not say
    aliases: dict[str, str] = field(default_factory=dict)  # another name of a key -> the key
    harmless: frozenset[str] = frozenset()  # keys, beside HARMLESS
    prefix: str = ""  # of tensors' names, which some files leave out
    spare: tuple[str, ...] = ()  # how names of tensors end that are stored and not used

    @property
    def known(self) -> frozenset[str]:
        """The keys that change nothing, or are read or checked."""
        read = {key for group in self.groups for key in group.keys}
        return HARMLESS | self.harmless | read | self.fields.keys() | self.required.keys()
