"""`tfm train compare-attention`, `tfm train compare-positions` and `tfm bench attention`. Imports no torch at start."""

from pathlib import Path
from typing import Annotated

import typer

from weights.compare_commands import OutOption, SeedsOption, TokensOption
from weights.options import CorpusOption, ThreadsOption, begin_run


def compare_attention(
    out: OutOption,
    corpus: Annotated[Path | None, typer.Option("--corpus", help="A corpus with text/*.train.jsonl files.")] = None,
    seeds: SeedsOption = 3,
    tokens: TokensOption = 200_000,
    softmax_only: Annotated[
        bool, typer.Option("--softmax-only", help="Only how sharp a softmax is against d_k: no training, no corpus.")
    ] = False,
    threads: ThreadsOption = None,
) -> None:
    """Score functions, groups of heads and low-rank values: the same small model with each. And why √d_k."""
    from engine.errors import UsageError

    if corpus is None and not softmax_only:
        raise UsageError("compare-attention needs a corpus to train on.", "Give --corpus DIR, or --softmax-only.")
    begin_run(out, threads)
    from weights.sharpness import report_sharpness

    typer.echo(report_sharpness(out, range(seeds)))
    if corpus is not None and not softmax_only:
        from weights.compare.attention import compare_attention as compare

        typer.echo(compare(corpus, out, seeds=seeds, tokens=tokens))


def compare_positions(
    corpus: CorpusOption,
    out: OutOption,
    seeds: SeedsOption = 3,
    tokens: TokensOption = 600_000,
    length: Annotated[int, typer.Option("--length", min=2, help="Tokens in a row of training.")] = 128,
    threads: ThreadsOption = None,
) -> None:
    """Kinds of positions: the same small model with each, trained at one length and read at 1, 2, 4 and 8 times it."""
    begin_run(out, threads)
    from weights.compare.positions import compare_positions as compare

    typer.echo(compare(corpus, out, seeds=seeds, tokens=tokens, length=length))


def bench_attention(
    lengths: Annotated[str, typer.Option("--lengths", metavar="N,N", help="Lengths, with commas between.")] = "",
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each is measured.")] = 7,
    out: Annotated[Path | None, typer.Option("--out", help="Write table, figure and numbers here too.")] = None,
    threads: ThreadsOption = None,
) -> None:
    """Attention: time and memory against length, fused, plain, and from the KV cache."""
    from engine.errors import UsageError

    chosen = lengths.replace(" ", "").split(",") if lengths else []
    if any(not n.isdecimal() or int(n) < 2 for n in chosen):
        raise UsageError(f"--lengths {lengths}: a list such as 128,1024 is wanted, of lengths of at least 2.")
    begin_run(out or Path(), threads)
    from weights import bench_attention as measure

    typer.echo(measure.bench_attention([int(n) for n in chosen] or measure.LENGTHS, rounds, out))
