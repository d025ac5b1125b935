"""Engine, end to end on a tiny checkpoint."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from tiny import KINDS, TINY, Scripted, Spy, finish_of, random_ids, text_of, tiny_model

from engine.api import Engine, load_engine
from engine.checkpoint import save_checkpoint
from engine.errors import ContextOverflow, TemplateError, UsageError
from engine.events import PrefillProgress, StreamEvent, TextDelta, TokenEvent
from engine.naive import naive_logits
from engine.params import SamplingParams
from engine.template import TFM, Message

ASK = [Message("system", "Be brief."), Message("user", "What is the answer?")]
TEN = SamplingParams(seed=5, max_new_tokens=10, min_new_tokens=10, temperature=1.5)


def tokens_of(items: list[StreamEvent]) -> list[TokenEvent]:
    return [t for i in items if isinstance(i, TextDelta) for t in i.tokens]


def script(engine: Engine, ids: list[int]) -> None:
    """From now on the engine's model answers these ids, then its end token."""
    engine.model = Scripted(engine.model, [*ids, 2])  # type: ignore[assignment]


def run(engine: Engine, entry: str, params: SamplingParams, **options: Any) -> list[StreamEvent]:
    return list(
        engine.chat(ASK, params, **options) if entry == "chat" else engine.generate("What is", params, **options)
    )


# Events.


@pytest.mark.parametrize("entry", ["chat", "generate"])
def test_progress_then_text_then_exactly_one_finish(entry: str, engine: Engine) -> None:
    items = run(engine, entry, TEN)
    end = finish_of(items)  # checks the order
    assert isinstance(items[0], PrefillProgress) and items[0].done == items[0].total == end.usage.prompt_tokens
    assert tuple(t.id for t in tokens_of(items)) == end.ids and len(end.ids) == 10
    assert text_of(items) == engine.tokenizer.decode(end.ids)
    assert (end.reason, end.stop, end.seed) == ("length", None, 5)
    assert (end.usage.completion_tokens, end.usage.cached_tokens) == (10, 0)
    assert sum(end.prefill_splits) == end.usage.prompt_tokens
    assert min(end.timings.prefill, end.timings.first_token, end.timings.decode) >= 0


@pytest.mark.parametrize("entry", ["chat", "generate"])
def test_zero_tokens_are_one_finish_and_no_text(entry: str, engine: Engine) -> None:
    items = run(engine, entry, SamplingParams(max_new_tokens=0))
    assert text_of(items) == "" and finish_of(items).ids == () and finish_of(items).reason == "length"


def test_an_answer_that_ends_at_once_is_one_finish(engine: Engine) -> None:
    script(engine, [])
    items = list(engine.chat(ASK, SamplingParams(greedy=True)))
    assert text_of(items) == "" and (finish_of(items).ids, finish_of(items).reason) == ((), "eos")


def test_a_consumer_that_leaves_gets_no_finish_and_harms_nothing(engine: Engine) -> None:
    events = engine.chat(ASK, TEN)
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert finish_of(run(engine, "chat", TEN)).ids == finish_of(run(engine, "chat", TEN)).ids


def test_what_the_model_was_given_is_reported(engine: Engine) -> None:
    assert finish_of(run(engine, "chat", TEN)).prompt_ids == tuple(engine.prompt_ids(ASK))


# Raw text.


def test_an_empty_raw_prompt_starts_from_bos(engine: Engine) -> None:
    end = finish_of(list(engine.generate("", TEN)))
    assert end.prompt_ids == (engine.config.bos_id,) and len(end.ids) == 10


def test_a_raw_prompt_has_bos_once_and_first(engine: Engine) -> None:
    """T1: whatever the text says."""
    for text in ("hello", "<s>hello", "<s>"):
        ids = finish_of(list(engine.generate(text, TEN))).prompt_ids
        assert ids == (1, *engine.tokenize(text)) and ids.count(1) == 1


def test_ids_are_taken_as_they_are(engine: Engine) -> None:
    assert finish_of(list(engine.generate([5, 6, 7], TEN))).prompt_ids == (5, 6, 7)


def test_nothing_to_continue_is_an_error_and_not_a_crash(engine: Engine, engine_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to continue"):
        list(engine.generate([], TEN))
    copied = tmp_path / "without-bos"
    shutil.copytree(engine_dir, copied)
    raw = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(raw | {"bos_token_id": None}))
    without = load_engine(copied, dtype="float32")
    with pytest.raises(UsageError, match="no BOS token"):
        list(without.generate("", TEN))
    assert finish_of(list(without.generate("a", TEN))).prompt_ids == tuple(without.tokenize("a"))


@pytest.mark.parametrize("token", [416, -1, 10**9])
@pytest.mark.parametrize("entry", ["chat", "generate"])
def test_a_bias_outside_the_vocabulary_is_refused_with_its_size(token: int, entry: str, engine: Engine) -> None:
    with pytest.raises(UsageError, match=f"--logit-bias {token} is outside the vocabulary of 416"):
        run(engine, entry, SamplingParams(logit_bias={token: 1.0}))


@pytest.mark.parametrize("token", [416, -1])
def test_an_id_outside_the_vocabulary_is_refused_with_its_size(token: int, engine: Engine) -> None:
    with pytest.raises(UsageError, match=f"{token} is outside the vocabulary of 416"):
        list(engine.generate([5, token], TEN))


# Conversations.


def test_a_given_beginning_is_read_and_not_repeated(engine: Engine) -> None:
    items = list(engine.chat(ASK, TEN, prefill="The answer"))
    end = finish_of(items)
    assert end.prompt_ids == (*engine.prompt_ids(ASK), *engine.tokenize("The answer"))
    assert text_of(items) == engine.tokenizer.decode(end.ids)
    again = list(engine.generate(list(end.prompt_ids), TEN))
    assert finish_of(again).ids == end.ids


def test_the_system_prompt_is_read_by_every_path(engine: Engine) -> None:
    """T3"""
    marker = engine.tokenize("Ada of Lovelace")
    messages = [Message("system", "Ada of Lovelace"), ASK[1]]
    for overflow in ("error", "drop-oldest", "shift"):
        ids = finish_of(list(engine.chat(messages, TEN, overflow=overflow, prefill="x"))).prompt_ids
        assert any(list(ids[n : n + len(marker)]) == marker for n in range(len(ids)))


def test_a_model_without_a_template_says_so_and_still_continues_text(engine_dir: Path, tmp_path: Path) -> None:
    """T4"""
    copied = tmp_path / "bare"
    shutil.copytree(engine_dir, copied)
    (copied / "tokenizer_config.json").unlink()
    engine = load_engine(copied, dtype="float32")
    with pytest.raises(TemplateError, match="--raw"):
        list(engine.chat(ASK, TEN))
    assert len(finish_of(list(engine.generate("a", TEN))).ids) == 10


def test_the_template_in_use_can_be_seen(engine: Engine, make_engine: Callable[..., Engine]) -> None:
    """T6"""
    assert (engine.info.template, engine.info.template_source) == ("tfm", "the model")
    assert (lambda i: (i.template, i.template_source))(make_engine(template="plain").info) == ("plain", "--template")


def test_a_separate_template_file_counts_before_the_tokenizers(engine_dir: Path, tmp_path: Path) -> None:
    copied = tmp_path / "model"
    shutil.copytree(engine_dir, copied)
    (copied / "chat_template.jinja").write_text("{{ something else }}")
    assert load_engine(copied, dtype="float32").template is None
    (copied / "chat_template.jinja").write_text(TFM.jinja)
    assert load_engine(copied, dtype="float32").template is TFM


@pytest.mark.parametrize("content", ["{", "[]", "5", "[" * 100_000])
def test_a_damaged_template_is_an_error_and_never_another_one(content: str, engine_dir: Path, tmp_path: Path) -> None:
    """T4"""
    from engine.errors import ModelError

    copied = tmp_path / "model"
    shutil.copytree(engine_dir, copied)
    (copied / "tokenizer_config.json").write_text(content)
    with pytest.raises(ModelError, match=r"tokenizer_config\.json"):
        load_engine(copied, dtype="float32")


def test_a_model_that_never_learned_to_chat_stops_at_the_next_question(make_engine: Callable[..., Engine]) -> None:
    """P4, P6: the stop string of the template stands in the prompt too, and does not end the answer there."""
    engine = make_engine(template="plain")
    script(engine, engine.tokenize(" Sure.\nUser: more"))
    items = list(engine.chat(ASK, SamplingParams(greedy=True)))
    assert text_of(items) == " Sure." and finish_of(items).stop == "\nUser:"


# Ends.


@pytest.mark.parametrize("entry", ["chat", "generate"])
def test_a_stop_string_ends_is_named_and_is_not_shown(entry: str, engine: Engine) -> None:
    """P1, P2, P7"""
    ids = engine.tokenize("Yes 😀 and no STOP never shown")
    for stop, shown in (("STOP", "Yes 😀 and no "), ("😀", "Yes "), ("Yes", ""), ("d no S", "Yes 😀 an")):
        engine_model = engine.model
        script(engine, ids)
        items = run(engine, entry, SamplingParams(greedy=True, stop=("absent", stop)))
        end = finish_of(items)
        assert (text_of(items), end.reason, end.stop) == (shown, "stop", stop)
        assert end.ids == tuple(ids[: len(end.ids)]) and len(end.ids) < len(ids)
        assert engine.model.passes == len(end.ids)  # type: ignore[attr-defined]
        engine.model = engine_model


def test_a_stop_string_in_the_prompt_does_not_end_the_answer(engine: Engine) -> None:
    """P6"""
    script(engine, engine.tokenize("fine"))
    items = list(engine.generate("STOP STOP", SamplingParams(greedy=True, stop=("STOP",))))
    assert (text_of(items), finish_of(items).reason) == ("fine", "eos")


def test_every_limit_of_tokens_gives_valid_text(engine: Engine) -> None:
    """U2: the limit may fall inside a character."""
    text = "Grüße 👩‍👩‍👧 日本 😀"
    ids = engine.tokenize(text)
    model = engine.model
    for limit in range(1, len(ids) + 1):
        script(engine, ids)
        items = list(engine.generate("x", SamplingParams(greedy=True, max_new_tokens=limit)))
        shown = text_of(items)
        shown.encode()
        assert text.startswith(shown.rstrip("\ufffd")) and finish_of(items).reason == "length"
        assert shown == engine.tokenizer.decode(ids[:limit])
        engine.model = model


def test_text_of_a_llama_2_tokenizer_keeps_its_spaces(llama2_path: Path, tmp_path: Path) -> None:
    """U3: a continuation keeps its space, an answer loses the tokenizer's own."""
    save_checkpoint(
        tmp_path / "model", tiny_model(replace(TINY, vocab_size=380)), tokenizer_path=llama2_path, dtype=torch.float32
    )
    engine = load_engine(tmp_path / "model", dtype="float32")
    ids = engine.tokenize("two words")
    for prompt, shown in (("x", " two words"), ("", "two words")):
        model = engine.model
        script(engine, ids)
        assert text_of(list(engine.generate(prompt, SamplingParams(greedy=True)))) == shown
        engine.model = model


@pytest.mark.parametrize("entry", ["chat", "generate"])
@pytest.mark.parametrize("after", range(8))
def test_cancelled_at_any_point_it_ends_as_interrupted_and_all_is_well(
    entry: str, after: int, make_engine: Callable[..., Engine]
) -> None:
    """R1, K11"""
    engine = make_engine()
    whole = run(make_engine(), entry, TEN)
    calls = iter(range(99))
    items = run(engine, entry, TEN, cancelled=lambda: next(calls) >= after)
    end = finish_of(items)
    assert end.reason == "interrupted" and end.ids == finish_of(whole).ids[: len(end.ids)] and len(end.ids) == after
    assert text_of(whole).startswith(text_of(items).rstrip("\ufffd"))
    assert finish_of(run(engine, entry, TEN)).ids == finish_of(whole).ids
    assert text_of(run(engine, entry, TEN)) == text_of(whole)


# Seeds.


@pytest.mark.parametrize("entry", ["chat", "generate"])
def test_a_seed_that_was_not_given_is_drawn_reported_and_reproduces(entry: str, engine: Engine) -> None:
    """S9"""
    free = replace(TEN, seed=None)
    runs = [finish_of(run(engine, entry, free)) for _ in range(4)]
    assert len({end.seed for end in runs}) == 4 and len({end.ids for end in runs}) == 4
    for end in runs:
        assert finish_of(run(engine, entry, replace(TEN, seed=end.seed))).ids == end.ids


def test_a_fixed_seed_repeats_in_the_second_turn_too(make_engine: Callable[..., Engine]) -> None:
    """S9: the seed belongs to the request, not to the load."""

    def two_turns() -> list[tuple[int, ...]]:
        engine = make_engine()
        first = finish_of(run(engine, "chat", TEN))
        following = [*ASK, Message("assistant", "", ids=first.ids), Message("user", "And?")]
        return [first.ids, finish_of(list(engine.chat(following, TEN))).ids]

    assert two_turns() == two_turns()


# Settings.

CHANGES: list[dict[str, Any]] = [
    {"greedy": True},
    {"temperature": 0.0},
    {"temperature": 0.2},
    {"top_k": 2},
    {"top_p": 0.1},
    {"min_p": 0.6},
    {"typical_p": 0.05},
    {"repetition_penalty": 50.0},
    {"presence_penalty": 50.0},
    {"frequency_penalty": 50.0},
    {"logit_bias": {300: 50.0}},
    {"max_new_tokens": 12},
    {"seed": 6},
    {"stop": ("e", "a", "i", " ", "t", "o", "n", "r", "s")},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("entry", ["chat", "generate"])
def test_every_setting_changes_the_answer_through_every_entry(
    entry: str, change: dict[str, Any], engine: Engine
) -> None:
    """S7: none is accepted and then ignored."""
    base: dict[str, Any] = {"seed": 5, "temperature": 1.5, "max_new_tokens": 30}
    plain = finish_of(run(engine, entry, SamplingParams(**base)))
    assert finish_of(run(engine, entry, SamplingParams(**(base | change)))).ids != plain.ids


@pytest.mark.parametrize("entry", ["chat", "generate"])
def test_a_minimum_of_tokens_is_kept_through_every_entry(entry: str, engine: Engine) -> None:
    """S7"""
    engine.model = Scripted(engine.model, [2])  # type: ignore[assignment]
    for minimum in (0, 3):
        end = finish_of(run(engine, entry, SamplingParams(greedy=True, min_new_tokens=minimum)))
        assert len(end.ids) == minimum and end.reason == "eos"


def test_near_zero_and_zero_temperature_and_greedy_agree(engine: Engine) -> None:
    """S1: with penalties and bias on."""
    base: dict[str, Any] = {
        "max_new_tokens": 20,
        "min_new_tokens": 20,
        "repetition_penalty": 1.3,
        "frequency_penalty": 0.2,
        "logit_bias": {300: 1.0},
        "seed": 1,
    }
    answers = {
        finish_of(run(engine, "chat", SamplingParams(**base, **t))).ids
        for t in ({"greedy": True}, {"temperature": 0.0}, {"temperature": 1e-8})
    }
    assert len(answers) == 1


def test_the_two_sampler_orders_are_both_in_use(engine: Engine) -> None:
    """S7, S8"""
    base: dict[str, Any] = {"seed": 5, "max_new_tokens": 60, "min_new_tokens": 60, "temperature": 3.0, "top_p": 0.9}
    answers = [
        finish_of(run(engine, "chat", SamplingParams(**base, sampler_order=o))).ids
        for o in ("transformers", "llama.cpp")
    ]
    assert answers[0] != answers[1]


def test_logprobs_come_with_every_token(engine: Engine) -> None:
    items = run(engine, "chat", replace(TEN, logprobs=4))
    for token in tokens_of(items):
        assert token.logprob <= 0 and len(token.top) == 4
        assert [x for _, x in token.top] == sorted((x for _, x in token.top), reverse=True)
        if token.id in dict(token.top):
            assert dict(token.top)[token.id] == pytest.approx(token.logprob)


def test_control_tokens_and_rows_without_a_piece_are_never_said(engine: Engine) -> None:
    """X10, L3: also when a bias asks for them."""
    padded = dict.fromkeys(range(400, 416), 80.0)
    for names in (("<|user|>", "<s>"), ("<|system|>", "<|assistant|>")):
        ids = [i for n in names if (i := engine.tokenizer.control_id(n)) is not None]
        bias = padded | dict.fromkeys(ids, 80.0)
        end = finish_of(run(engine, "chat", replace(TEN, logit_bias=bias)))
        assert len(end.ids) == 10 and not set(end.ids) & bias.keys()


def test_the_end_of_a_turn_ends_though_no_file_declares_it(engine_dir: Path, tmp_path: Path) -> None:
    """P5: the end tokens of config, tokenizer and template, all of them."""
    copied = tmp_path / "model"
    shutil.copytree(engine_dir, copied)
    for file in ("config.json", "generation_config.json"):
        raw = json.loads((copied / file).read_text())
        (copied / file).write_text(json.dumps(raw | {"eos_token_id": 7}))
    engine = load_engine(copied, dtype="float32")
    for end in (7, engine.tokenizer.control_id("</s>"), engine.tokenizer.control_id("<|end|>")):
        model = engine.model
        engine.model = Scripted(model, [9, end, 10])  # type: ignore[assignment, list-item]
        finish = finish_of(list(engine.chat(ASK, SamplingParams(greedy=True))))
        assert (finish.reason, finish.ids) == ("eos", (9,))
        engine.model = model


# Loading and logits.


def test_defaults_are_those_of_the_model(engine: Engine) -> None:
    assert engine.defaults == {"temperature": 0.8, "top_k": 40}


def test_what_is_loaded_can_be_seen(make_engine: Callable[..., Engine], engine_dir: Path) -> None:
    info = make_engine(dtype="bfloat16").info
    assert (info.name, info.path, info.dtype, info.device) == ("tiny", str(engine_dir), "bfloat16", "cpu")
    assert info.parameters == sum(p.numel() for p in make_engine().model.parameters())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dtype": "int3"}, "--dtype"),
        ({"device": "nowhere"}, "--device"),
        ({"context": 0}, "--context"),
        ({"context": -5}, "--context"),
        ({"threads": 0}, "--threads"),
        ({"threads": -1}, "--threads"),
    ],
)
def test_an_option_without_meaning_is_refused_by_name(
    options: dict[str, Any], says: str, make_engine: Callable[..., Engine]
) -> None:
    with pytest.raises(UsageError, match=says):
        make_engine(**options)


def test_logits_are_those_of_the_definition(engine: Engine) -> None:
    ids = random_ids(60, vocab_size=400)
    logits = engine.logits(ids)
    assert logits.shape == (60, 416) and logits.dtype == torch.float32
    assert torch.allclose(logits, naive_logits(engine.model, ids), atol=1e-4)


def test_logits_beyond_the_models_positions_are_refused_with_the_counts(engine: Engine) -> None:
    """C5"""
    engine.logits([5] * 512)
    with pytest.raises(ContextOverflow, match=r"513 tokens .* 512 positions"):
        engine.logits([5] * 513)


def test_a_model_with_dynamic_positions_reads_beyond_its_maximum(tmp_path: Path, tokenizer_path: Path) -> None:
    config = replace(KINDS["dynamic"], vocab_size=416, max_positions=32)
    save_checkpoint(
        tmp_path / "model", tiny_model(config), tokenizer_path=tokenizer_path, template=TFM, dtype=torch.float32
    )
    engine = load_engine(tmp_path / "model", dtype="float32")
    ids = random_ids(60)
    assert torch.allclose(engine.logits(ids), naive_logits(engine.model, ids), atol=1e-4)


def test_tokenize_is_plain_text(engine: Engine) -> None:
    """N5: the ids that are shown are the ids that are run; no BOS, no control tokens."""
    assert engine.tokenize("<s>hi") == engine.tokenizer.encode("<s>hi") and engine.tokenize("") == []


def test_a_turn_tokenizes_its_new_text_only(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """C9: however long the history is."""
    seen: list[str] = []
    encode = type(engine.tokenizer).encode
    monkeypatch.setattr(type(engine.tokenizer), "encode", lambda self, text: seen.append(text) or encode(self, text))
    messages, costs = list(ASK), []
    for turn in range(6):
        seen.clear()
        items = list(engine.chat(messages, TEN))
        costs.append(sum(map(len, seen)))
        new = f"question number {turn} of six"
        messages += [Message("assistant", text_of(items), ids=finish_of(items).ids), Message("user", new)]
    assert costs[1:] == [len(new)] * 5


def test_a_prompt_is_read_in_one_place_only(engine: Engine) -> None:
    """N5, T1: what prompt_ids says is what the model reads."""
    spy = Spy(engine.model)
    engine.model = spy  # type: ignore[assignment]
    list(engine.chat(ASK, replace(TEN, max_new_tokens=1, min_new_tokens=1)))
    assert [i for ids in spy.read for i in ids] == engine.prompt_ids(ASK)


def test_raw_greedy_text_continues_as_the_reference_does(engine_dir: Path, engine: Engine) -> None:
    """Done when 4: SentencePiece itself makes the ids and the text, transformers' generate the tokens between."""
    transformers = pytest.importorskip("transformers")
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(engine_dir / "tokenizer.model"))
    reference = transformers.LlamaForCausalLM.from_pretrained(engine_dir, dtype=torch.float32).eval()
    never = [i for i in range(pieces.get_piece_size()) if pieces.is_control(i)] + list(range(400, 416))
    for prompt in ("The quick brown", "tar -xf", "  indented\n", "😀 你好", ""):
        ids = [1, *pieces.encode(prompt)]
        told = reference.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            generation_config=transformers.GenerationConfig(max_new_tokens=30, do_sample=False, pad_token_id=0),
            suppress_tokens=never,
        )[0, len(ids) :].tolist()
        items = list(engine.generate(prompt, SamplingParams(greedy=True, max_new_tokens=30, min_new_tokens=30)))
        assert list(finish_of(items).ids) == told
        assert text_of(items) == b"".join(map(engine.tokenizer.token_bytes, told)).decode("utf-8", "replace")
