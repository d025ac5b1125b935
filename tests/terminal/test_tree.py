"""Going back, branching and going on, on a real terminal with real keys and signals."""

from pathlib import Path

import pytest
from emulator import Terminal


def chat(home: Path, *arguments: str, **options: object) -> Terminal:
    return Terminal(home, "chat", *arguments, **options)  # type: ignore[arg-type]


def tree(terminal: Terminal) -> list[str]:
    """The lines of the tree, as /tree draws it now."""
    terminal.say("/tree")
    lines = terminal.lines
    start = max(n for n, line in enumerate(lines) if line == "> /tree")
    return lines[start + 1 : -1]


def test_an_earlier_turn_is_edited_in_the_input_line_and_the_old_one_stays(home: Path) -> None:
    engine = {"answers": ["first", "second", "third", "fourth"]}
    with chat(home, engine=engine) as terminal:
        terminal.say("one")
        terminal.say("two")
        terminal.ready()
        terminal.type("/edit 1\r")
        terminal.see("> /edit 1 one")
        terminal.type(" more\r")
        terminal.see("third")
        terminal.ready()
        assert tree(terminal) == [
            "   |- a  one -> first (5 tokens)",
            "   |  b  two -> second (6 tokens)",
            ">  `- c  one more -> third (5 tokens)",
        ]
        terminal.type("/edit 1\r")
        terminal.see("> /edit 1 one more", 2)
        terminal.type("\x03")  # given up: the line is emptied, and nothing is asked
        terminal.say("/switch b")
        terminal.see("-> second")
        terminal.say("three")
        assert tree(terminal)[1:3] == ["*  |  b  two -> second (6 tokens)", ">  |  d  three -> fourth (6 tokens)"]


def test_a_prompt_of_several_lines_is_edited_as_it_was(home: Path) -> None:
    with chat(home, engine={"answers": ["first", "second"]}) as terminal:
        terminal.ready()
        terminal.type("def f():\x1b\r    pass\r")
        terminal.see("first")
        terminal.ready()
        terminal.type("/edit 1\r")
        terminal.see("    pass", 2)
        terminal.type("  # none\r")
        terminal.see("second")
        assert tree(terminal)[1] == ">  `- b  def f(): pass # none -> second (6 tokens)"


def test_branches_are_gone_between_and_each_continues_from_its_own_turns(home: Path) -> None:
    engine = {"answers": ["A", "B", "C", "D"]}
    with chat(home, "--stats", engine=engine) as terminal:
        terminal.say("one")
        terminal.say("two")
        terminal.say("/branch 1")
        terminal.see("The next prompt follows turn 1, beside 1 branch: one")
        terminal.say("three")
        terminal.say("/switch b")
        terminal.see("Turn 2 (b): two")
        terminal.say("four")
        assert tree(terminal) == [
            "*  a  one -> A (1 token)",
            "*  |- b  two -> B (1 token)",
            ">  |  d  four -> D (1 token)",
            "   `- c  three -> C (1 token)",
        ]
        terminal.say("/undo")
        terminal.see("Took back: four (/switch d returns)")
        terminal.say("/switch nowhere")
        terminal.see("There is no turn with the id 'nowhere'.")


@pytest.mark.parametrize("arguments", [[], ["--plain"]])
def test_an_answer_cut_by_ctrl_c_goes_on_in_the_same_turn(arguments: list[str], home: Path) -> None:
    engine = {"answers": ["counting " * 99, "to the end"], "delay": 0.02}
    with chat(home, *arguments, engine=engine) as terminal:
        terminal.ready()
        terminal.type("hello\r")
        terminal.see("counting c")
        terminal.type("\x03")
        terminal.see("(cut); /continue goes on")
        terminal.say("/continue")
        terminal.see("to the end")
        [line] = tree(terminal)
        assert line.startswith(">  a  hello -> counting") and "cut" not in line
        terminal.say("/continue")
        terminal.see("The last answer is complete.")


def test_what_goes_out_of_a_full_context_is_told_before_the_answer_and_found_again(home: Path) -> None:
    answers = ["x" * 20, "y" * 20, "z" * 20]
    with chat(home, "--context", "80", engine={"answers": answers}) as terminal:
        for line in ("one", "two", "three"):
            terminal.say(line)
        seen = " ".join(terminal.lines)
        told = seen.index("Turn 1 is no longer in the context (27 tokens), to make room (overflow drop-oldest).")
        assert told < seen.index("z" * 20)
        terminal.say("/context")
        terminal.see("Before turn 3, turn 1 went out (27 tokens).")
        terminal.say("/branch 1")
        terminal.say("/context")
        terminal.see("1 turn; when it is full")


def test_the_policy_of_error_refuses_with_the_counts_and_the_chat_goes_on(home: Path) -> None:
    with chat(home, "--context", "60", "--overflow", "error", engine={"answers": ["x" * 20] * 4}) as terminal:
        terminal.say("one")
        terminal.say("two")
        terminal.say("three")
        terminal.see("The prompt has 63 tokens and the context 60 positions.")
        terminal.see("by /set overflow drop-oldest.")
        terminal.say("/set overflow drop-oldest")
        terminal.say("three")
        terminal.see("no longer in the context")


def test_a_comparison_stands_in_columns_and_ctrl_c_ends_it(home: Path) -> None:
    engine = {"answers": ["A", "-", "left side", "right side", "-", "word " * 200, "never"], "delay": 0.005}
    with chat(home, engine=engine) as terminal:
        terminal.say("hello")
        terminal.say("/compare top_k=1 top_k=2")
        assert any("left side" in line and "right side" in line for line in terminal.lines)
        terminal.say("/compare take 2")
        terminal.see("Answer 2 (top_k=2) is turn 1 now.")
        terminal.ready()
        terminal.type("/compare top_k=1 top_k=2\r")
        terminal.see("answer 1 of 2")
        terminal.type("\x03")
        terminal.see("no token")
        terminal.ready()
        assert "never" not in terminal.text


def test_the_tree_fits_twenty_columns(home: Path) -> None:
    with chat(home, engine={"answers": ["first", "second", "日本語の答え"]}, size=(24, 20)) as terminal:
        terminal.say("What is tar?")
        terminal.say("/regen")
        terminal.say("And 日本語?")
        assert tree(terminal) == ["  |-a What is t.. 5", "* `-b -> second 6", ">   c And 日本語? 6"]
