"""Text in, summary out, with a BART or T5 in Hugging Face's layout. A long text is summed up in parts."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from engine.checkpoint import read_json
from engine.errors import CheckpointError, UsageError
from engine.sampler import TokenRules
from weights.models.decoding import Search, beam_search
from weights.models.hf_checkpoint import HFCheckpoint, load_hf
from weights.models.hf_tokenizers import unsayable
from weights.models.kinds import architecture, wrong_kind
from weights.models.routes import plain_route
from weights.models.translate import SENTENCE_END, WIDEST_BEAM, WORD_END, cut_after

SUMMARISERS = ("BartForConditionalGeneration", "T5ForConditionalGeneration")
TASK = "summarization"  # as task_specific_params calls it
MAX_NEW_TOKENS = 128  # where neither a person nor the checkpoint says


@dataclass(frozen=True)
class SummaryOptions:
    """How to sum up. None: as the checkpoint wants it."""

    beam: int | None = None
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.beam is not None and not 1 <= self.beam <= WIDEST_BEAM:
            raise UsageError(f"--beam must be between 1 and {WIDEST_BEAM}, not {self.beam}.")
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise UsageError(f"--max-new-tokens must be at least 1, not {self.max_new_tokens}.")


@dataclass(frozen=True)
class Summary:
    """A summary. logprob: of all its tokens; n_parts: how many pieces of the text were summed up one by one."""

    text: str
    logprob: float
    n_tokens: int
    n_parts: int


class Summarizer:
    """A checkpoint that sums up.

    prefix: what T5 reads before a text; None takes what the checkpoint says. Raises CheckpointError for a T5 that says
    nothing: without a prefix it would answer another question.
    """

    def __init__(self, checkpoint: HFCheckpoint, prefix: str | None = None) -> None:
        self.model, self.tokenizer, self.generation = checkpoint.model, checkpoint.tokenizer, checkpoint.generation
        route = plain_route(checkpoint.raw, self.model.config, self.generation)
        self._route = route if prefix is None else replace(route, text=prefix)
        if checkpoint.raw["architectures"][0] == SUMMARISERS[1] and prefix is None and not route.text:
            raise CheckpointError(
                "config.json has no prefix for summaries in task_specific_params.", 'Give it: --prefix "summarize: ".'
            )
        config = self.model.config
        never = [*unsayable(self.tokenizer, config.vocab_size), *self.generation.never]
        self._rules = TokenRules.of(config.vocab_size, [config.eos_id], never)

    @classmethod
    def load(cls, directory: Path, prefix: str | None = None) -> "Summarizer":
        """The summariser in a directory. Raises CheckpointError or TokenizerError for one that cannot be used."""
        raw = read_json(directory / "config.json")
        if architecture(directory) not in SUMMARISERS:
            hint = f"One that does is a {' or a '.join(SUMMARISERS)}."
            raise wrong_kind(directory, architecture(directory), "does not sum up", hint)
        return cls(load_hf(directory, raw, TASK), prefix)

    @torch.no_grad()
    def summarize(self, text: str, options: SummaryOptions = SummaryOptions()) -> Summary:
        """The summary of a text; of the parts of a text that is longer than the model reads, joined.

        Raises UsageError for a text without a word.
        """
        rows = [self._route.source(self.tokenizer, part, self.model.config.max_positions) for part in self._parts(text)]
        if not any(rows):
            raise UsageError("There is nothing to sum up.")
        search = self._search(options)
        best = [beam_search(self.model, torch.tensor([row]), search)[0][0] for row in rows if row]
        texts = [self.tokenizer.decode(h.ids).strip() for h in best]
        return Summary(
            " ".join(t for t in texts if t), sum(h.logprob for h in best), sum(len(h.ids) for h in best), len(best)
        )

    def _search(self, options: SummaryOptions) -> Search:
        config, wanted = self.model.config, self.generation
        room = config.max_positions - len(self._route.forced)
        limit = min(options.max_new_tokens or wanted.max_new_tokens or MAX_NEW_TOKENS, room)
        return Search(
            self._route.start, config.eos_id, self._rules, limit, options.beam or max(wanted.beam, 1),
            wanted.length_penalty, min(wanted.min_new_tokens, limit), self._route.forced, wanted.no_repeat,
        )  # fmt: skip

    def _parts(self, text: str) -> Iterator[str]:
        """The text in parts that the model can read: as many sentences as fit, or words of a sentence that does not."""
        route = self._route
        most = self.model.config.max_positions - len(route.before) - len(route.after)

        def fits(part: str) -> bool:
            return len(self.tokenizer.encode(route.text + part.strip())) <= most

        packed = ""
        for sentence in cut_after(text.strip(), SENTENCE_END):
            for piece in [sentence] if fits(sentence) else cut_after(sentence, WORD_END):
                if packed and not fits(packed + piece):
                    yield packed.strip()
                    packed = ""
                packed += piece
        yield packed.strip()
