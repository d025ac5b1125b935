"""`Classifier`: an encoder with a linear head that names the class of a text (Devlin 2019, section 4.1)."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.checkpoint import SINGLE, complete_directory, write_json
from engine.errors import CheckpointError
from engine.layers.linear import Linear
from engine.tokenizer import SentencePieceTokenizer
from weights.models.checkpoint import fill_model
from weights.models.encoder import Encoder, pool
from weights.models.encoder_checkpoint import read_encoder_config
from weights.models.reading import Reader, bundles

CLASSIFIER = "TfmClassifier"


class Classifier(nn.Module):
    """Scores of each label: a matrix on the mean of an encoder's hidden states."""

    def __init__(self, encoder: Encoder, labels: Sequence[str]) -> None:
        super().__init__()
        self.encoder, self.labels, self.config = encoder, tuple(labels), encoder.config
        self.label_head = Linear(encoder.config.d_model, len(labels), bias=True)

    @property
    def blocks(self) -> nn.ModuleList:
        """The encoder's blocks: what the trainer may recompute."""
        return self.encoder.blocks

    def forward(self, ids: Tensor, dropout: float = 0.0) -> Tensor:
        """Logits B labels of padded ids (B T)."""
        hidden = self.encoder.hidden(ids, dropout=dropout)
        return self.label_head(pool(hidden, ids, self.config.pad_id))  # type: ignore[no-any-return]

    def warm(self, length: int) -> None:
        """Compute the angles of `length` positions now."""
        self.encoder.warm(length)

    @torch.no_grad()
    def init_head(self) -> None:
        """A head that says nothing yet: all classes are as likely."""
        for parameter in self.label_head.parameters():
            parameter.zero_()


class Labeller:
    """A classifier and its tokenizer: text in, probabilities out."""

    def __init__(self, model: Classifier, tokenizer: SentencePieceTokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.reader = Reader(tokenizer, model.config)

    @classmethod
    def load(cls, directory: Path) -> "Labeller":
        """The labeller in a directory. Raises CheckpointError or TokenizerError for one that cannot be used."""
        hint = "`tfm train classify` makes one."
        config, labels = read_encoder_config(directory, CLASSIFIER, "names no classes", hint)
        if not isinstance(labels, list) or len(labels) < 2 or not all(isinstance(x, str) for x in labels):
            raise CheckpointError(f"{directory}: config.json names no labels.")
        model = Classifier(Encoder(config), labels)
        fill_model(model, directory / SINGLE)
        tokenizer = SentencePieceTokenizer(directory / "tokenizer.model")
        return cls(model.eval().requires_grad_(False), tokenizer)

    def save(self, directory: Path) -> None:
        """Write a model directory (bf16), with the tokenizer; an old one of that name is replaced."""
        told = {"architectures": [CLASSIFIER], "torch_dtype": "bfloat16", "labels": list(self.model.labels)}
        weights = {n: p.detach().to("cpu", torch.bfloat16).contiguous() for n, p in self.model.named_parameters()}
        with complete_directory(directory) as half_written:
            write_json(half_written / "config.json", told | asdict(self.model.config))
            save_file(weights, half_written / SINGLE, {"format": "pt"})
            shutil.copyfile(self.tokenizer.path, half_written / "tokenizer.model")

    @torch.no_grad()
    def probs(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """The probability of each label, for each text. Raises UsageError for a text beyond the model's positions."""
        rows = [self.reader.ids(text) for text in texts]
        found = torch.zeros(len(rows), len(self.model.labels))
        for bundle in bundles(rows):
            found[bundle] = self.model(self.reader.pad([rows[i] for i in bundle])).float().softmax(-1)
        return [dict(zip(self.model.labels, row, strict=True)) for row in found.tolist()]
