"""`ModelInfo`: what is loaded, as plain values. Torch-free, so that a terminal can speak of a model without one."""

from dataclasses import dataclass

from engine.memory import KVKind, QuantKind


@dataclass(frozen=True)
class ModelInfo:
    """What is loaded, and how."""

    name: str
    path: str
    parameters: int
    dtype: str
    device: str
    threads: int
    template: str  # its name, or why there is none
    template_source: str
    adapter: str = ""  # the directory of the adapter that was merged in
    tokenizer: str = ""  # the file that it is read from
    quantisation: str = ""  # types of a GGUF file's tensors, and whether they were kept; or what --quant saved
    quant: QuantKind = "none"  # how float weights were quantised as they were read
    kv: KVKind = "auto"  # the form in which keys and values are cached (engine/kv_buffers.py)
