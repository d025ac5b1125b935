"""How an answer was made, as plain values: what a record needs so that `tfm replay` can make it again. Torch-free.

Conditions are known before the first token, the outcome after the last. `tfm run --json` writes both, the store keeps
both, and an export gives them back under the same names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chat.repl.conversation import Turn
from chat.sessions.fingerprint import fingerprint
from chat.sessions.kept import Generation
from chat.sessions.store import Outcome, Question
from chat.settings import SETTINGS, Rank, Settings, Value, check
from engine.events import Finish
from engine.params import SamplingParams

if TYPE_CHECKING:
    from chat.backend import Backend

# Settings that a session takes up again when it goes on; its system prompt stands among its messages.
RESUMED_TABLES = ("model", "sampling", "context")
NOT_RESUMED = ("system", "system_file", "preset", "offline")
PATHS = ("model", "adapter", "template")
ON_A_SERVER = "server"  # in place of a hash


class Source:
    """Where the answers of one process come from: the engine and the directory of its model, which a server keeps to
    itself (None)."""

    def __init__(self, engine: "Backend", directory: Path | None) -> None:
        self._engine, self._directory = engine, directory

    @cached_property
    def hashes(self) -> dict[str, str]:
        """What tells whether the model and its template are the same as then."""
        if self._directory is None:
            return {"model_hash": ON_A_SERVER, "template_hash": ""}
        adapter = [self._engine.info.adapter] if self._engine.info.adapter else []
        template = self._engine.template.digest if self._engine.template is not None else ""
        return {"model_hash": fingerprint(self._directory, *adapter), "template_hash": template}

    def conditions(self, params: SamplingParams, overflow: str) -> dict[str, Any]:
        """Everything that was loaded and set."""
        info = self._engine.info
        if self._directory is None:
            told = {"model": info.name, "server": info.path, "context": self._engine.context or None}
            return {**told, "overflow": overflow, "sampling": params.as_dict(), **self.hashes}
        return {
            "model": info.name, "model_path": str(self._directory.absolute()), "adapter": info.adapter or None,
            "template": info.template, "dtype": info.dtype, "device": info.device, "threads": info.threads,
            "kv": info.kv, "quant": info.quant, "quantisation": info.quantisation or None,
            "context": self._engine.context, "overflow": overflow,
            "sampling": params.as_dict(), **self.hashes,
        }  # fmt: skip

    def question(
        self, turn: Turn, system: str, params: SamplingParams, settings: Settings, *, overflow: str, raw: bool = False,
        text: str = "", ids: Sequence[int] = (), by: str = "chat",
    ) -> Question:  # fmt: skip
        """A turn as the store takes it, before its answer. text, ids: how the answer was made to begin. by: the
        command that asks, "chat" or "run".

        An answer that is there already and has no ids came from a file: the hashes are empty, as this model did not
        make it.
        """
        held = self.conditions(params, overflow) | {"raw": raw, "by": by, "chosen": chosen(settings)}
        hashes = held.pop("model_hash"), held.pop("template_hash")
        if turn.answer is not None and turn.answer.ids is None:
            hashes = "", ""
        found = {"examples": turn.found.records(), "why": turn.found.why}
        dropped = asdict(turn.dropped) if turn.dropped is not None else None
        return Question(turn.prompt, system, self._engine.info.name, held, *hashes, found, dropped, text, ids)


def outcome(finish: Finish) -> dict[str, Any]:
    """Everything that the engine told at the end."""
    return {
        "finish": {"reason": finish.reason, "stop": finish.stop}, "prompt_ids": list(finish.prompt_ids),
        "ids": list(finish.ids), "seed": finish.seed, "usage": asdict(finish.usage), "timings": asdict(finish.timings),
        **splits_of(finish),
    }  # fmt: skip


def splits_of(finish: Finish) -> dict[str, Any]:
    """In which passes the context was read."""
    return {
        "cached_splits": [list(split) for split in finish.cached_splits],
        "prefill_splits": list(finish.prefill_splits),
        "keep": finish.keep,
    }


def stored_outcome(finish: Finish, logprobs: tuple[float, ...]) -> Outcome:
    """The same for the store. draws: one number for each token, and one for the token that ended the answer."""
    return Outcome(
        finish.ids, finish.prompt_ids, splits_of(finish), finish.seed, len(finish.ids) + (finish.reason == "eos"),
        {"usage": asdict(finish.usage), "timings": asdict(finish.timings)}, finish.reason, finish.stop, logprobs,
    )  # fmt: skip


def record(generation: Generation) -> dict[str, Any]:
    """A stored generation under the names of `tfm run --json`. One that was killed has no seed and no splits."""
    settings = {key: value for key, value in generation.settings.items() if key != "chosen"}
    counts = generation.counts or {}
    return {
        **settings, "model_hash": generation.model_hash, "template_hash": generation.template_hash,
        "finish": {"reason": generation.reason, "stop": generation.stop}, "prompt_ids": list(generation.prompt_ids),
        "ids": list(generation.ids), "seed": generation.seed, "draws": generation.draws,
        "token_logprobs": [round(value, 6) for value in generation.logprobs],
        **counts, **(generation.splits or {}),
    }  # fmt: skip


def chosen(settings: Settings) -> dict[str, Any]:
    """What a person had set, of the settings that a session takes up again; paths do not depend on the directory."""
    taken: dict[str, Any] = {}
    for name, setting in SETTINGS.items():
        value = settings.values[name]
        if setting.table not in RESUMED_TABLES or name in NOT_RESUMED:
            continue
        if value.rank > Rank.FILE or name in ("model", "server"):
            held = list(value.value) if isinstance(value.value, tuple) else value.value
            if name == "server":
                held = held or ""  # none, and so it stays: TFM_SERVER does not take over what was said here
            elif name in PATHS and not settings["server"] and isinstance(held, str) and Path(held).exists():
                held = str(Path(held).absolute())
            taken[name] = held
    return taken


def with_chosen(settings: Settings, taken: Mapping[str, Any], session: str) -> Settings:
    """The settings of a session, under the flags of now."""
    source = f"session {session}"
    known = {name: value for name, value in taken.items() if name in SETTINGS and value is not None}
    return settings.over({n: Value(check(n, v, source), source, Rank.ENVIRONMENT) for n, v in known.items()})
