"""How a checkpoint in Hugging Face's layout asks to be decoded: keys of config.json and generation_config.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import CheckpointError

# HF key -> field of Generation. HF counts the start token in its lengths.
_COUNTS = {"num_beams": "beam", "no_repeat_ngram_size": "no_repeat", "max_new_tokens": "max_new_tokens",
           "min_new_tokens": "min_new_tokens"}  # fmt: skip
_LENGTHS = {"max_length": "max_new_tokens", "min_length": "min_new_tokens"}
# Read elsewhere, or changing nothing here: an end is not forced at the limit (a text that is cut has none), and a
# beam stops by its own rule.
_READ = {
    "length_penalty", "forced_bos_token_id", "forced_eos_token_id", "bad_words_ids", "early_stopping",
    "force_bos_token_to_be_generated", "decoder_start_token_id", "task_specific_params",
}  # fmt: skip
GENERATION_KEYS = frozenset(_READ | set(_COUNTS) | set(_LENGTHS))
_HARMLESS = {
    "_from_model_config", "bos_token_id", "eos_token_id", "pad_token_id", "transformers_version", "use_cache",
    "output_attentions", "output_hidden_states", "output_scores", "return_dict_in_generate", "do_sample",
    "renormalize_logits", "temperature", "top_k", "top_p", "max_matching_ngram_size",
}  # fmt: skip


@dataclass(frozen=True)
class Generation:
    """What a checkpoint wants of a search, where nobody says otherwise; lengths in target tokens, None is unsaid.

    forced_bos: the token that every target begins with. never: tokens that may not occur. prefix: text before a
    source. length_penalty is the exponent; it is used as weights/models/decoding.py has it.
    """

    beam: int = 1
    length_penalty: float = 1.0
    max_new_tokens: int | None = None
    min_new_tokens: int = 1
    no_repeat: int = 0
    forced_bos: int | None = None
    never: tuple[int, ...] = ()
    prefix: str = ""


def read_generation(raw: Mapping[str, Any], more: Mapping[str, Any], task: str = "") -> Generation:
    """The settings of a config.json (raw) and a generation_config.json (more), the latter's before the former's.

    task: the entry of task_specific_params that goes before both. Raises CheckpointError that names what would change
    the result and is not done here.
    """
    for key, value in more.items():
        if key not in GENERATION_KEYS | _HARMLESS and value is not None:
            raise CheckpointError(f"generation_config.json: {key} = {value!r} is not supported.")
    special = task_params(raw).get(task, {})
    for key in special:
        if key not in GENERATION_KEYS | {"prefix"}:
            raise CheckpointError(f"config.json: task_specific_params: {key} = {special[key]!r} is not supported.")
    told = {k: v for part in (raw, more, special) for k, v in part.items() if v is not None}
    values: dict[str, Any] = {}
    for key, ours in _LENGTHS.items():
        if key in told:
            values[ours] = max(_count(key, told[key]) - 1, 1)
    for key, ours in _COUNTS.items():
        if key in told:
            values[ours] = _count(key, told[key])
    values["min_new_tokens"] = max(values.get("min_new_tokens", 1), 1)
    penalty, prefix, forced = (told.get(k) for k in ("length_penalty", "prefix", "forced_bos_token_id"))
    if penalty is not None and (not isinstance(penalty, int | float) or not 0 <= penalty <= 10):
        raise CheckpointError(f"config.json: length_penalty must be between 0 and 10, not {penalty!r}.")
    for key, value, kind in (("prefix", prefix, str), ("forced_bos_token_id", forced, int)):
        if value is not None and not isinstance(value, kind):
            raise CheckpointError(f"config.json: {key} = {value!r} is not supported.")
    return Generation(
        **values, length_penalty=1.0 if penalty is None else penalty, forced_bos=forced,
        never=_never(told.get("bad_words_ids")), prefix=prefix or "",
    )  # fmt: skip


def task_params(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Task -> its settings, from a config.json. Raises CheckpointError when that is no table of tables."""
    tasks = raw.get("task_specific_params") or {}
    if not isinstance(tasks, dict) or not all(isinstance(t, dict) for t in tasks.values()):
        raise CheckpointError("config.json: task_specific_params is no table of tasks.")
    return tasks


def _count(key: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise CheckpointError(f"config.json: {key} must be a whole number of at least 0, not {value!r}.")
    return value


def _never(words: Any) -> tuple[int, ...]:
    """The ids of bad_words_ids, which here are single tokens."""
    if words is None:
        return ()
    if not isinstance(words, list) or not all(isinstance(w, list) and len(w) == 1 for w in words):
        raise CheckpointError(f"config.json: bad_words_ids {words!r} is not supported; single tokens are.")
    return tuple(int(w[0]) for w in words)
