"""`SamplingParams`: how a completion is drawn. Validated once, here; the sampler does not check again.

Torch-free: the command line needs the defaults and the bounds before any model is loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from engine.errors import UsageError

SamplerOrder = Literal["transformers", "llama.cpp"]
SAMPLER_ORDERS: tuple[SamplerOrder, ...] = ("transformers", "llama.cpp")
MAX_LOGPROBS = 20


@dataclass(frozen=True)
class SamplingParams:
    """Every setting of the sampler. The defaults switch each stage off: they sample from the model itself.

    Raises UsageError that names the flag when a value is out of range.
    """

    greedy: bool = False
    temperature: float = 1.0  # 0 means greedy
    top_k: int = 0  # 0 is off
    top_p: float = 1.0  # 1 is off
    min_p: float = 0.0  # 0 is off; share of the highest probability
    typical_p: float = 1.0  # 1 is off
    repetition_penalty: float = 1.0  # 1 is off; over prompt and completion
    presence_penalty: float = 0.0  # completion only
    frequency_penalty: float = 0.0  # completion only, times the count
    logit_bias: Mapping[int, float] = field(default_factory=dict)  # token id -> added to its logit
    stop: tuple[str, ...] = ()
    max_new_tokens: int = 256
    min_new_tokens: int = 0
    seed: int | None = None  # None: drawn, used and reported
    logprobs: int = 0  # how many alternatives to report for each token
    sampler_order: SamplerOrder = "transformers"

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", tuple(self.stop))  # a record holds a list
        _require(self.temperature, "--temperature", 0.0, 100.0)
        _require(self.top_k, "--top-k", 0, None)
        _require(self.top_p, "--top-p", 0.0, 1.0, open_low=True)
        _require(self.min_p, "--min-p", 0.0, 1.0)
        _require(self.typical_p, "--typical-p", 0.0, 1.0, open_low=True)
        _require(self.repetition_penalty, "--repetition-penalty", 0.0, 100.0, open_low=True)
        _require(self.presence_penalty, "--presence-penalty", -100.0, 100.0)
        _require(self.frequency_penalty, "--frequency-penalty", -100.0, 100.0)
        _require(self.max_new_tokens, "--max-new-tokens", 0, None)
        _require(self.min_new_tokens, "--min-new-tokens", 0, None)
        _require(self.logprobs, "--logprobs", 0, MAX_LOGPROBS)
        if self.seed is not None:
            _require(self.seed, "--seed", 0, 2**63 - 1)
        if self.min_new_tokens > self.max_new_tokens:
            raise UsageError(
                f"--min-new-tokens {self.min_new_tokens} is more than --max-new-tokens {self.max_new_tokens}."
            )
        for token, bias in self.logit_bias.items():
            _require(bias, f"--logit-bias {token}", -1e6, 1e6)
        if any(not text for text in self.stop):
            raise UsageError("--stop needs a text of at least one character.")
        if self.sampler_order not in SAMPLER_ORDERS:
            raise UsageError(f"--sampler-order must be one of {', '.join(SAMPLER_ORDERS)}, not {self.sampler_order!r}.")

    @property
    def is_greedy(self) -> bool:
        """Whether the highest logit is taken and nothing is drawn."""
        return self.greedy or self.temperature == 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for records and --json; `SamplingParams(**d)` gives the same settings back."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return values | {"logit_bias": dict(self.logit_bias), "stop": list(self.stop)}


def _require(value: float, flag: str, low: float, high: float | None, *, open_low: bool = False) -> None:
    """Raise UsageError unless low <= value <= high (low excluded when open_low). NaN is never inside."""
    kinds = int if isinstance(low, int) else int | float  # a bound that is a whole number asks for one
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise UsageError(f"{flag} must be a {'whole ' if kinds is int else ''}number, not {value!r}.")
    inside = (value > low if open_low else value >= low) and (high is None or value <= high)
    if not inside:
        bounds = f"more than {low:g}" if open_low else f"at least {low:g}"
        if high is not None:
            bounds += f" and at most {high if isinstance(high, int) else format(high, 'g')}"
        raise UsageError(f"{flag} must be {bounds}, not {value:g}.")
