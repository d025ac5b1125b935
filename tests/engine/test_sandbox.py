"""A template from a stranger: the language that templates expect, and nothing that harms."""

from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest

from engine import sandbox
from engine.errors import TemplateError
from engine.sandbox import Program


def rendered(source: str, **variables: Any) -> str:
    return Program(source).render(variables)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% if true %}\n  {% set x = 1 %}\nline\n{% endif %}", "line\n"),  # trim_blocks, lstrip_blocks
        ("{% for i in [1, 2, 3] %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}{% endfor %}", "13"),
        ("{% for i in [1, 2, 3] %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "1"),
        ("{% for i in [1, 2, 3] if i != 2 %}{{ loop.index0 }}{% endfor %}", "01"),
        ("{% for i in [] %}{% else %}none{% endfor %}", "none"),
        ("a{% generation %}b{{ 1 }}{% endgeneration %}c", "ab1c"),
        ("{{ {'a': 'é<'} | tojson }}", '{"a": "é<"}'),
        ("{{ {'a': 1} | tojson(indent=2) }}", '{\n  "a": 1\n}'),
        ("{% set ns = namespace(x=1) %}{% for i in range(3) %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}", "4"),
        ("{{ nothing }}{{ nothing is defined }}{{ m.nothing }}", "False"),
        ("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(1) }}{{ f('a') }}", "<1><a>"),
        ("{{ ' a ' | trim }}{{ 'b,c'.split(',')[1] }}{{ ['x', 'y'][::-1] | join }}{{ dict(a=1).a }}", "acyx1"),
        ("{{ '%s-%02d' % ('a', 7) }}{{ 'ab' * 3 }}{{ 7 * 7 }}{{ 2 ** 10 }}{{ '{}'.format(5) }}", "a-07ababab4910245"),
        ("{{ ['a', 'b'] | map('upper') | list }}{{ [1, 2] | select('odd') | list }}", "['A', 'B'][1]"),
    ],
)
def test_the_language_of_templates(source: str, text: str) -> None:
    assert rendered(source, m={}) == text


def test_the_date_of_today() -> None:
    assert rendered("{{ strftime_now('%Y') }}") == str(datetime.now().year)


HOSTILE = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.system('touch /tmp/harm') }}",
    "{{ m.append.__self__ }}",
    "{% include '/etc/passwd' %}",
    "{% extends '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{{ m.append(1) }}",
    "{{ m.clear() }}",
    "{% set ns = namespace(__class__=1) %}",
    "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
    "{{ lipsum.__globals__ }}",
    "{% for i in range(10 ** 12) %}{% endfor %}",
    "{{ 'a' * 10 ** 12 }}",
    "{{ 10 ** 12 * 'a' }}",
    "{{ [0] * 10 ** 10 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '%*d' % (999999999, 1) }}",
    "{{ '{:>999999999}'.format(1) }}",
    "{{ '{:{}}'.format(1, 999999999) }}",
    "{{ 'a'.rjust(10 ** 10) }}",
    "{{ 'a' | center(10 ** 10) }}",
    "{{ [1] | tojson(indent=10 ** 9) }}",
    "{{ 'a' | urlize }}",
    "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "{% set x = 'aaaaaaaa' %}" + "{% set x %}{{ x }}{{ x }}{{ x }}{{ x }}{% endset %}" * 30 + "{{ x | length }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{% for a in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
    "{{ 1 / 0 }}",
    "{{ 'a' + 1 }}",
    "{{ m[5].x.y }}",
    "{{ raise_exception('no') }}",
    "{% if",
    "{{ 'a' | nothing }}",
    "{{ undefined_function() }}",
    "a" * (sandbox.LONGEST_SOURCE + 1),
]


@pytest.mark.parametrize("source", HOSTILE, ids=range(len(HOSTILE)))
def test_what_a_template_may_not_do_is_an_error_with_its_reason(source: str) -> None:
    """X7: refused, in bounded memory, with one sentence."""
    given = [1, 2]
    with pytest.raises(TemplateError) as error:
        rendered(source, m=given)
    assert "emplate" in error.value.message and "\n" not in error.value.message and len(error.value.message) < 400
    assert given == [1, 2]


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) if range(99999) | sum < 0 %}x{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% for i in range(99999) %}{{ range(99999) | map('string') | join | length }}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% continue %}{% endfor %}{% endfor %}",
    ],
)
def test_an_endless_template_is_ended(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """X7: each would run for minutes or years."""
    monkeypatch.setattr(sandbox, "SECONDS", 0.2)
    with pytest.raises(TemplateError, match="took more than"):
        rendered(source)


def test_the_clock_cannot_be_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "SECONDS", 0.2)
    loop = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    for shadow in ("{% set environment = 1 %}", "{% set look = 1 %}", "{% macro look() %}{% endmacro %}"):
        with pytest.raises(TemplateError, match="took more than"):
            rendered(shadow + loop)


def test_the_process_may_grow_again_afterwards() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_AS)
    for source in ("{{ 1 }}", "{{ raise_exception('x') }}", "{{ 'a' | center(10 ** 10) }}"):
        with suppress(TemplateError):
            rendered(source)
        assert resource.getrlimit(resource.RLIMIT_AS) == before
