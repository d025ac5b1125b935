"""A Jinja template from a stranger, compiled and rendered so that it can do no harm.

The language is that of transformers (trim_blocks, lstrip_blocks, loop controls, `generation`, raise_exception,
strftime_now, tojson), in jinja2's ImmutableSandboxedEnvironment: no attributes that begin with an underscore, no
changes to what it was given, no files (there is no loader), range at most 100,000. On top of that, here:
- every turn of a loop, call of a macro and item of `map` looks at the clock; after SECONDS it ends;
- powers and products of numbers and texts, and formats with a width, are kept small;
- the process may not grow by more than MEMORY_BYTES meanwhile, compiling included (where the system can say so);
- nothing is computed while compiling, and filters that may take long on a long text are not there.
Needs jinja2 (the extra [hf]); import this module only when there is a template to run. Torch-free.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from engine.errors import TemplateError

SECONDS = 5.0
MEMORY_BYTES = 256 << 20
LONGEST_PRODUCT = 1 << 20  # characters or elements
LARGEST_BITS = 256
LONGEST_SOURCE = 1 << 20  # characters; the longest known template has 20,000
SLOW_FILTERS = ("urlize", "wordwrap", "striptags", "pprint", "xmlattr")
# Whatever a template's own code may raise. SecurityError and syntax errors are jinja2.TemplateError.
FAILURES = (
    jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RuntimeError,
    MemoryError, AssertionError,
)  # fmt: skip


class Refused(jinja2.TemplateError):
    """The template itself said no: raise_exception."""


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of one template."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[Watch, loopcontrols], optimized=False, cache_size=0
        )
        self._deadline = 0.0
        self.filters["tojson"] = _tojson
        for name in SLOW_FILTERS:
            self.filters.pop(name, None)
        self.globals = {
            "range": self.globals["range"], "cycler": self.globals["cycler"], "joiner": self.globals["joiner"],
            "dict": _new_dict, "namespace": PlainNamespace, "raise_exception": _refuse,
            "strftime_now": lambda form: datetime.now().strftime(form),
        }  # fmt: skip

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """While this is open, time and memory are limited."""
        self._deadline = time.monotonic() + SECONDS
        with _limited_memory():
            yield

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """The syntax tree with a look at the clock at the start of each loop and macro body."""
        tree = super()._parse(source, name, filename)
        watch = self.extensions[Watch.identifier]
        for block in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
            assert isinstance(block, nodes.For | nodes.Macro | nodes.CallBlock)
            block.body.insert(0, nodes.ExprStmt(watch.call_method("look")).set_lineno(block.lineno))
            if isinstance(block, nodes.For) and block.test is not None:  # may be false for each of its many items
                block.test = nodes.And(nodes.Not(watch.call_method("look")), block.test).set_lineno(block.lineno)
        return tree

    def look(self) -> None:
        """Look at the clock. Raises SecurityError when the template has run for too long."""
        if time.monotonic() > self._deadline:
            raise SecurityError(f"it took more than {SECONDS:.0f} seconds")

    def call_filter(self, *args: Any, **options: Any) -> Any:
        """One item of `map` and its like."""
        self.look()
        return super().call_filter(*args, **options)

    def call_test(self, *args: Any, **options: Any) -> Any:
        """One item of `select` and its like."""
        self.look()
        return super().call_test(*args, **options)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """The product, power or remainder, unless it would be huge."""
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if numbers:
            bits = [int(abs(n)).bit_length() for n in (left, right) if isinstance(n, int)]
            large = bits and (max(bits) > LARGEST_BITS or (operator == "**" and max(bits) > 16))
        elif operator == "*":
            sized, times = (right, left) if isinstance(left, int) else (left, right)
            large = isinstance(times, int) and times * max(len(sized), 1) > LONGEST_PRODUCT
        else:
            large = _wide(left)
        if large:
            raise SecurityError(f"the result of {operator} would be too large")
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, obj: Any, *args: Any, **options: Any) -> Any:
        """A call, unless it is a method of a text that would make it huge."""
        text = getattr(getattr(obj, "__wrapped__", obj), "__self__", None)  # jinja2 wraps str.format
        if isinstance(text, str):
            padded = any(isinstance(a, int) and not isinstance(a, bool) and a > LONGEST_PRODUCT for a in args)
            if padded or (obj.__name__ in ("format", "format_map") and _wide(text)):
                raise SecurityError(f"the result of {obj.__name__} would be too large")
        return super().call(context, obj, *args, **options)


def _wide(form: Any) -> bool:
    """Whether a format asks for a width of many digits, or takes it from its arguments."""
    return isinstance(form, str) and bool(re.search(r"\d{5}|%[^a-zA-Z%]*\*|:[^}]*\{", form))


class Watch(Extension):
    """The clock; and `{% generation %}`, which marks the assistant's words for training: here its body is all."""

    tags = {"generation"}  # noqa: RUF012  (jinja2's own way of declaring it)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The statements between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def look(self) -> None:
        """Look at the clock."""
        assert isinstance(self.environment, Sandbox)
        self.environment.look()


class PlainNamespace(Namespace):
    """jinja2's namespace without names that begin with an underscore."""

    def __init__(*args: Any, **options: Any) -> None:
        self, *rest = args
        values = dict(*rest, **options)
        if any(str(name).startswith("_") for name in values):
            raise SecurityError("a namespace has no names that begin with an underscore")
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        if str(name).startswith("_"):
            raise SecurityError("a namespace has no names that begin with an underscore")
        super().__setitem__(name, value)


def _new_dict(*args: Any, **options: Any) -> dict[Any, Any]:
    return dict(*args, **options)


def _refuse(message: Any) -> None:
    raise Refused(str(message))


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """JSON as transformers writes it; jinja2's own filter would escape HTML."""
    if isinstance(indent, int) and indent > 100:
        raise SecurityError("the result of tojson would be too large")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


@contextmanager
def _limited_memory() -> Iterator[None]:
    """The process cannot grow by more than MEMORY_BYTES while this is open, on systems that can say so."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = pages * resource.getpagesize() + MEMORY_BYTES
        before = soft
        if soft == resource.RLIM_INFINITY or limit < soft:
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    except (ImportError, OSError, ValueError):
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))


class Program:
    """One template, compiled. Raises TemplateError, with jinja2's reason, when it is none."""

    def __init__(self, source: str) -> None:
        if len(source) > LONGEST_SOURCE:
            raise TemplateError(f"The Jinja template has {len(source)} characters, which is too long.")
        self._sandbox = Sandbox()
        with _as_template_error("cannot be read"), self._sandbox.guarded():
            tree = self._sandbox.parse(source)
            self.constants = _constants(tree)
            self._template = self._sandbox.from_string(source)

    def render(self, variables: Mapping[str, Any]) -> str:
        """The text for these variables, which must be plain values. Raises TemplateError with the reason."""
        with _as_template_error("cannot be used"), self._sandbox.guarded():
            return self._template.render(dict(variables))


@contextmanager
def _as_template_error(what: str) -> Iterator[None]:
    try:
        yield
    except Refused as e:
        raise TemplateError(f"The template refuses this conversation: {_plain(e)}.") from e
    except FAILURES as e:
        raise TemplateError(f"The Jinja template {what}: {_plain(e)}.") from e


def _plain(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:300].rstrip(".")


def _constants(tree: nodes.Template) -> frozenset[str]:
    """The texts that stand in the template's expressions: what it may look for in a message."""
    return frozenset(n.value for n in tree.find_all(nodes.Const) if isinstance(n.value, str))
