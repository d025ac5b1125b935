"""What a model's generation_config.json recommends for sampling, as settings of the sampler here. Torch-free."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from engine.errors import CheckpointError, UsageError
from engine.params import SamplingParams

# Keys that mean the same under the same name.
SAMPLING_KEYS = frozenset(f.name for f in fields(SamplingParams)) - {"seed", "stop", "logit_bias", "logprobs", "greedy"}


def sampling_defaults(generation: Mapping[str, Any]) -> dict[str, Any]:
    """The sampling settings in a generation_config.json. Raises CheckpointError when one is out of range."""
    values = {k: v for k, v in generation.items() if k in SAMPLING_KEYS and v is not None}
    if generation.get("do_sample") is False:
        values = {k: v for k, v in values.items() if k in ("repetition_penalty", "max_new_tokens", "min_new_tokens")}
        values["greedy"] = True
    try:
        SamplingParams(**values)
    except UsageError as e:
        raise CheckpointError(f"generation_config.json: {e}") from e
    return values
