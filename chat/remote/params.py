"""The settings of the sampler as a request of the OpenAI API: what it has words for, and what it has none for.

What nobody set is not sent, so that the server's own defaults hold, as those of a model's generation_config.json do
here. Torch-free.
"""

from dataclasses import dataclass
from typing import Any

from engine.params import SamplingParams

# What the API has no word for. Some servers know some of them under names of their own; none tells which.
UNKNOWN = ("top_k", "min_p", "typical_p", "repetition_penalty", "min_new_tokens", "sampler_order")
AS_THEY_ARE = ("top_p", "presence_penalty", "frequency_penalty")
ALWAYS = ("max_new_tokens", "stop", "seed")


@dataclass(frozen=True)
class RequestParams(SamplingParams):
    """Settings of which only those in `given` count: a person set them."""

    given: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Only what was asked for: a record says nothing of what the server chose."""
        told = super().as_dict()
        return {name: told[name] for name in told if name in (*ALWAYS, *self.given) and name not in UNKNOWN}

    @property
    def left_out(self) -> tuple[str, ...]:
        """What a person set and cannot be asked for."""
        return tuple(name for name in UNKNOWN if name in self.given)


def request_of(params: SamplingParams, seed: int) -> dict[str, Any]:
    """The settings as fields of a request. Stop strings are no part of it: they are looked for here, because a server
    does not tell which it met."""
    given = params.given if isinstance(params, RequestParams) else ()
    body: dict[str, Any] = {"max_tokens": params.max_new_tokens, "seed": seed}
    if params.is_greedy and ("greedy" in given or "temperature" in given):
        body["temperature"] = 0.0
    elif "temperature" in given:
        body["temperature"] = params.temperature
    body |= {name: getattr(params, name) for name in AS_THEY_ARE if name in given}
    if params.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in params.logit_bias.items()}
    return body
