"""Tiny models as files: safetensors and GGUF headers made by hand, config.json, wheels."""

import base64
import hashlib
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 40, "hidden_size": 16,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 24,
    "max_position_embeddings": 32, "tie_word_embeddings": True,
}  # fmt: skip
LLAMA_PARAMETERS = 40 * 16 + 16 * (16 + 8 + 8 + 16) + 3 * 16 * 24 + 3 * 16


def safetensors(path: Path, tensors: dict[str, tuple[int, ...]], dtype: str = "F32") -> None:
    """A file of zeros."""
    header, at = {}, 0
    for name, shape in tensors.items():
        size = 4
        for n in shape:
            size *= n
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))


def directory(path: Path, config: dict[str, Any] | None = None) -> Path:
    """A model directory whose weights are one tensor."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config or LLAMA), encoding="utf-8")
    safetensors(path / "model.safetensors", {"model.embed_tokens.weight": (40, 16)})
    return path


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf(metadata: dict[str, str | int]) -> bytes:
    """A GGUF file with one tensor of 4 x 8 numbers in F32."""
    keys = b"".join(
        _text(k) + (struct.pack("<I", 8) + _text(v) if isinstance(v, str) else struct.pack("<II", 4, v))
        for k, v in metadata.items()
    )
    tensor = _text("token_embd.weight") + struct.pack("<IQQIQ", 2, 8, 4, 0, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(metadata)) + keys + tensor
    return head + bytes(-len(head) % 32) + bytes(4 * 8 * 4)


METADATA = "Metadata-Version: 2.1\nName: tiny-talk\nVersion: 0.3\nLicense: Apache-2.0\n\n# Tiny\nLicense: none\n"


def wheel(
    path: Path, files: dict[str, bytes], *, metadata: str = METADATA, record: dict[str, str] | None = None
) -> Path:
    """A wheel with these files; record: rows of RECORD that are not as they should be."""
    info = "tiny_talk-0.3.dist-info"
    told = {name: hashlib.sha256(data).digest() for name, data in files.items()}
    rows = {name: "sha256=" + base64.urlsafe_b64encode(digest).decode().rstrip("=") for name, digest in told.items()}
    lines = [f"{name},{said},1" for name, said in (rows | (record or {})).items()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**files, f"{info}/METADATA": metadata.encode()}.items():
            archive.writestr(name, data)
        archive.writestr(f"{info}/RECORD", "\n".join(lines))
    return path
