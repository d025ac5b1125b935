"""What runs a model. Importing this, an error or SamplingParams loads no torch; load_engine does."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.api import Engine, load_engine
    from engine.context import Fit
    from engine.errors import TfmError
    from engine.events import Finish, PrefillProgress, StreamEvent, TextDelta, Timings, TokenEvent, Usage
    from engine.info import ModelInfo
    from engine.params import SamplingParams
    from engine.template import ChatTemplate, Message

_HOME = {
    "Engine": "engine.api", "ModelInfo": "engine.info", "load_engine": "engine.api", "Fit": "engine.context",
    "TfmError": "engine.errors", "Finish": "engine.events", "PrefillProgress": "engine.events",
    "StreamEvent": "engine.events", "TextDelta": "engine.events", "Timings": "engine.events",
    "TokenEvent": "engine.events", "Usage": "engine.events", "SamplingParams": "engine.params",
    "ChatTemplate": "engine.template", "Message": "engine.template",
}  # fmt: skip
__all__ = [
    "ChatTemplate", "Engine", "Finish", "Fit", "Message", "ModelInfo", "PrefillProgress", "SamplingParams",
    "StreamEvent", "TextDelta", "TfmError", "Timings", "TokenEvent", "Usage", "load_engine",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
