"""The tree on a real model: the cache follows, a switch costs what comes after the fork, and warm equals cold."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from chat.repl.commands import dispatch
from chat.repl.input import Lines
from chat.repl.loop import converse
from chat.repl.state import Chat
from chat.screen import Screen
from chat.settings import gather
from engine.api import Engine, load_engine
from engine.checkpoint import save_checkpoint
from engine.config import ModelConfig
from engine.decoder import DecoderLM
from engine.events import Finish, StreamEvent
from engine.template import TFM, Message
from weights.data.vocabulary import train_tokenizer

TEXTS = ["The cat sees the dog.", "The dog sees no bird, and the bird sees the cat.", "Who sees whom?"] * 4


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights so large that its greedy answers differ by more than roundings."""
    where = tmp_path_factory.mktemp("models")
    train_tokenizer(TEXTS, 380, where / "t.model", threads=1)
    model = DecoderLM(ModelConfig(396, 32, 2, 4, 2, 8, 48, max_positions=512))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * (0.5 if p.dim() > 1 else 1.0))
    save_checkpoint(where / "chat", model, tokenizer_path=where / "t.model", template=TFM, dtype=torch.float32)
    return where / "chat"


class Talk:
    """A chat with a real engine; how each generation ended is noted."""

    def __init__(self, directory: Path, **flags: Any) -> None:
        self.engine: Engine = load_engine(directory, dtype="float32", context=flags.get("context"))
        self.ends: list[Finish] = []
        self.out, self.err = io.StringIO(), io.StringIO()
        chat, given = self.engine.chat, {"greedy": True, "max_new_tokens": "12", "min_new_tokens": "12"} | flags
        given = {name: str(value) if name == "context" else value for name, value in given.items()}

        def noted(*args: Any, **options: Any) -> Iterator[StreamEvent]:
            for event in chat(*args, **options):
                if isinstance(event, Finish):
                    self.ends.append(event)
                yield event

        self.engine.chat = noted  # type: ignore[method-assign]
        self.chat = Chat(self.engine, gather(given, {}), Screen(self.out, self.err), "Be brief.")

    def feed(self, *lines: str) -> str:
        stdin = io.TextIOWrapper(io.BytesIO("".join(line + "\n" for line in lines).encode()))
        converse(self.chat, Lines(stdin), interactive=False)
        return self.err.getvalue()

    def new(self, index: int = -1) -> int:
        """How many prompt tokens a generation had to read."""
        return self.ends[index].usage.prompt_tokens - self.ends[index].usage.cached_tokens


def test_a_switch_back_costs_only_what_comes_after_the_fork(directory: Path) -> None:
    talk = Talk(directory)
    talk.feed("Who sees the dog?", "And the cat?", "/edit 2 And the bird?", "And whom?")
    own = {text: len(talk.engine.prompt_ids([Message("user", text)])) for text in ("Why?", "How?")}
    frame = len(talk.engine.prompt_ids([]))
    for name, text in (("b", "Why?"), ("d", "How?"), ("b", "Why?")):  # and back again
        talk.feed(f"/switch {name}", text)
        # The last token of the answer before (it was sampled, and never read), its end, the question, the opening.
        assert talk.new() == 2 + own[text] - frame + 1


def test_regen_reads_one_token_and_an_edit_from_the_edit_on(directory: Path) -> None:
    talk = Talk(directory, greedy=False, seed="5")
    talk.feed("Who sees the dog?", "And the cat?", "/regen")
    assert talk.new() == 1
    talk.feed("/edit 1 Who sees the bird?")
    shared = len(talk.engine.tokenize("Who sees the"))
    assert talk.ends[-1].usage.cached_tokens >= shared + len(talk.engine.tokenize("Be brief."))


def test_after_any_switch_the_answers_are_those_of_a_fresh_engine(directory: Path) -> None:
    """Warm equals cold: greedy ids equal, log-probabilities within the tolerance of any split (1e-4)."""
    warm = Talk(directory)
    warm.feed(
        "Who sees the dog?", "And the cat?", "/regen", "/edit 1 The bird?", "Why?", "/switch b", "How?", "/branch 1",
        "Whom?", "/switch c", "/undo", "And?", "/switch e", "No.",
    )  # fmt: skip
    for end in warm.ends:
        cold = load_engine(directory, dtype="float32")
        params = warm.chat.settings.sampling(cold)
        again = list(cold.generate(end.prompt_ids, params))[-1]
        assert isinstance(again, Finish) and again.usage.cached_tokens == 0
        assert again.ids == end.ids
    assert sum(end.usage.cached_tokens > 20 for end in warm.ends) >= 6, "and most of it was warm"
    ids = [*warm.ends[-1].prompt_ids, *warm.ends[-1].ids]
    cache = warm.engine._prefixes.take(ids)
    with torch.inference_mode():
        logits = warm.engine.model(torch.tensor([ids[cache.length :]]), cache, last_only=True)[0, -1]
    assert torch.allclose(logits, cold.logits(ids)[-1], atol=1e-4)


def test_branches_that_are_kept_warm_stay_within_their_bytes_and_the_oldest_goes_first(directory: Path) -> None:
    talk = Talk(directory)
    talk.feed("Who sees the dog?")
    one = talk.engine.kept.nbytes
    talk.engine._prefixes._max_bytes = 3 * one
    for number in range(4):
        talk.feed("/branch 0", f"{number} {number} sees the cat")
        assert talk.engine.kept.nbytes <= 3 * one
    assert 1 < talk.engine.kept.caches <= 3
    talk.feed("/switch d", "/regen")  # one of the last ways
    assert talk.new() == 1
    talk.feed("/switch a", "/regen")  # the first
    assert talk.new() > 1
    assert f"kept warm: {talk.engine.kept.caches} branches, " in talk.feed("/stats")


def test_an_answer_that_goes_on_is_the_answer_that_was_not_cut(directory: Path) -> None:
    whole = Talk(directory, max_new_tokens="30", min_new_tokens="30")
    whole.feed("Who sees the dog?")
    cut = Talk(directory, max_new_tokens="10", min_new_tokens="10")
    cut.feed("Who sees the dog?", "/continue", "/continue")
    [expected], [turn] = whole.chat.conversation.path(), cut.chat.conversation.path()
    assert turn.answer == expected.answer
    assert [len(run.finish.ids) for run in turn.runs if run.finish] == [10, 10, 10]
    assert [cut.new(n) for n in (1, 2)] == [1, 1], "nothing is read again"


def test_compare_reads_the_prompt_once_and_equal_settings_give_equal_answers(directory: Path) -> None:
    talk = Talk(directory, greedy=False, seed="3", temperature="1.5")
    talk.feed("Who sees the dog?", "/compare top_k=20 top_k=3 top_k=20 -- And who sees the bird and the cat?")
    reading, *answers = talk.ends[1:]
    assert talk.new(1) > 10 and reading.usage.completion_tokens == 1
    assert [end.usage.prompt_tokens - end.usage.cached_tokens for end in answers] == [1, 1, 1]
    assert {end.seed for end in answers} == {3} and len({end.prompt_ids for end in talk.ends[1:]}) == 1
    assert answers[0].ids == answers[2].ids != answers[1].ids
    talk.feed("/compare take 2", "Why?")
    assert talk.ends[-1].prompt_ids[: len(reading.prompt_ids)] == reading.prompt_ids
    assert talk.new() < 12, "what was taken is warm"


def test_turns_that_do_not_fit_go_in_blocks_and_the_ledger_has_them(directory: Path) -> None:
    talk = Talk(directory, context=120)
    talk.feed(*(f"Who sees dog {n}?" for n in range(8)))
    ledger = [turn.dropped for turn in talk.chat.conversation.path()]
    entered = [dropped for dropped in ledger if dropped]
    assert 1 <= len(entered) < 4, "not at each turn"
    assert all(end.usage.prompt_tokens + 12 <= 120 for end in talk.ends)
    for index, dropped in enumerate(ledger):
        if dropped:
            assert talk.ends[index].usage.prompt_tokens <= 90, "down to three quarters"
    numbers = [n for dropped in entered for n in range(dropped.first, dropped.last + 1)]
    assert numbers == list(range(1, talk.chat.conversation.forgotten + 1)), "each turn goes once"


def test_an_answer_longer_than_the_context_moves_on_by_shift_and_says_so(directory: Path) -> None:
    talk = Talk(directory, context=64, max_new_tokens="90", min_new_tokens="90", overflow="shift")
    told = talk.feed("Who sees the dog?")
    assert talk.ends[0].usage.completion_tokens == 90
    assert f"{talk.ends[0].usage.shifted_tokens} tokens of what came before went" in told
    dispatch(talk.chat, "/context")
