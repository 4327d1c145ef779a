"""Any bytes at all are answered with a policy or with problems, and soon."""

from __future__ import annotations

import datetime
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagegate import shipped
from imagegate.engine.policy import SETTINGS, STANCES, Policy, digest
from imagegate.policyfile import MAX_BYTES, Checked, check_policy
from imagegate.policyfile.sections import TOP

TODAY = datetime.date(2026, 12, 1)
SECONDS = 15
"""Far above what is needed, which is two: other machines are slow."""
GOOD = [
    *(folder.joinpath("policy.yaml") for folder in shipped.policies().values()),
    *sorted(Path(__file__).with_name("organisations").glob("*.yaml")),
]
HEAD = "version: 1\nname: p\nowner: o\nmode: enforce\n"


def check(data: bytes) -> Checked:
    """Check a file, and that the answer can be used whatever it is."""
    checked = check_policy(data, catalogue=shipped.catalogue(), today=TODAY)

    if checked.policy is None:
        assert checked.errors
    else:
        assert isinstance(checked.policy, Policy)
        assert checked.errors == ()
        assert len(digest(checked.policy)) == 64
    lines = data.decode("utf-8", errors="replace").splitlines()
    for problem in checked.problems:
        assert problem.message
        assert problem.text.isprintable()
        assert 0 <= problem.line <= len(lines) + 1
    return checked


@given(st.binary())
@example(b"\xef\xbb\xbf")
@example(b"\xff\xfea\x00")
@example(b"a: !<%ff> b")
@example(b'a: "\\ud800"')
@example(b"%TAG ! tag:x,2000:\n---\n!a b")
@example(b"? ? ? a\n: b\n")
@example(b"- - - - a")
@example(b"a:\n\x85b: c")
def test_any_bytes(data: bytes) -> None:
    check(data)


@given(st.text())
@example("\u2028a: b\u2029")
@example("a: |9\n b")
@example("--- !!binary x\n... \n%")
def test_any_text(text: str) -> None:
    check(text.encode(errors="surrogatepass"))


WORDS = [
    *TOP,
    *sorted({step for path in (*SETTINGS, *STANCES) for step in path.split(".")}),
    *["allow", "max", "min", "default", "otherwise", "allow_auto", "use", "do"],
    *["mode", "reason", "loosens", "match", "id", "for", "set", "until", "team"],
    *["approved_by", "tools", "images_api_n", "block", "lower", "raise", "clamp"],
    *["strip", "pass", "refuse", "seen", "observe", "enforce", "low", "medium"],
    *["high", "auto", "true", "no", "~", "png", "gif", "0", "1", "99", "1024x1024"],
    *["512x512", "2027-01-31", "2020-01-31", "settings.size.max", "gpt-image-2"],
    *["models.gpt-image-2.quality.max", "gpt-image-1-mini", "gpt-image-1"],
    *["dall-e-3", "gpt-image-9"],
]
MARKS = ["{", "}", "[", "]", ": ", ", ", "\n", "\n  ", "\n    ", "- ", "&a ", "*a", '"']


@given(st.lists(st.sampled_from([*WORDS, *MARKS]), max_size=60))
def test_any_text_of_the_vocabulary(pieces: list[str]) -> None:
    check((HEAD + "".join(pieces)).encode())


SCALARS = st.sampled_from(WORDS)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(SCALARS, inner, max_size=5).map(
            lambda pairs: (
                f"{{ {', '.join(f'{key}: {value}' for key, value in pairs.items())} }}"
            )
        )
    ),
    max_leaves=25,
)


@given(st.dictionaries(st.sampled_from(TOP[4:]), TREES, max_size=6))
def test_any_tree_of_the_vocabulary(sections: dict[str, str]) -> None:
    check((HEAD + "".join(f"{k}: {v}\n" for k, v in sections.items())).encode())


@given(st.data())
def test_any_change_of_a_good_file(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(GOOD)).read_text()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(at, min(len(text), at + 40)))
        new = data.draw(st.sampled_from([*WORDS, *MARKS, "", text[at:end] * 2]))
        text = text[:at] + new + text[end:]

    check(text.encode())


@given(st.data())
def test_any_good_file_with_other_words(data: st.DataObject) -> None:
    words = data.draw(st.sampled_from(GOOD)).read_text().split(" ")
    for _ in range(data.draw(st.integers(1, 3))):
        words[data.draw(st.integers(0, len(words) - 1))] = data.draw(SCALARS)

    check(" ".join(words).encode())


def fill(unit: str, head: str = HEAD, tail: str = "", times: int = MAX_BYTES) -> bytes:
    """Repeat a text up to the largest size; `{n}` counts."""
    parts, size = [head], len(head) + len(tail)
    for number in range(times):
        parts.append(unit.replace("{n}", f"{number:06}"))
        size += len(parts[-1])
        if size > MAX_BYTES:
            return ("".join(parts[:-1]) + tail).encode()
    return ("".join(parts) + tail).encode()


LENIENT = HEAD + "fields: { unknown_values: pass }\n"
CAPPED = "settings: { quality: { max: high, default: high } }\n"
SOME = ", ".join(f"m{number}: {{}}" for number in range(40))
HOSTILE = {
    "five-thousand-brackets": b"[" * 5000 + b"]" * 5000,
    "five-thousand-braces": b"{" * 5000,
    "five-thousand-keys": b"a: {" * 5000,
    "five-thousand-dashes": b"- " * 5000 + b"a",
    "questions": b"? " * 5000,
    "brackets-only": b"[" * MAX_BYTES,
    "flow-pairs": fill("{a: b}, ", head="locked: ["),
    "flow-words": fill("a,", head="locked: ["),
    "flow-keys": fill("k{n}: 1, ", head="{"),
    "flow-colons": fill("a: [b: {c: d}], ", head="{"),
    "one-long-word": b"x" * MAX_BYTES,
    "one-long-key": b"? " + b"x" * (MAX_BYTES - 20) + b"\n: y",
    "quotes": fill('"a" ', head="a: "),
    "unclosed-quote": b'a: "' + b"\\x41" * 60_000,
    "hidden": "\u200b".encode() * 80_000,
    "hidden-lines": "\u200b\n".encode() * 60_000,
    "no-policy": fill("# a\n", head="version: 1\n"),
    "unknown-keys": fill("k{n}: 1\n"),
    "anchors": fill("- &a{n} b\n", head=""),
    "duplicates": fill("a: b\n"),
}  # fmt: skip

# As many words and brackets as a file may have, and little else wrong.
COSTLY = {
    "models": fill(
        "  gpt-{n}: {}\n", LENIENT + "models:\n", "  default: gpt-000000\n", 2400
    ),
    "rules": fill(
        "  gpt-{n}: { quality: { max: low } }\n",
        LENIENT + CAPPED + "models:\n",
        "  default: gpt-000000\n",
        400,
    ),
    "teams": fill(
        "  t{n}: { match: { team: a }, settings: { quality: { max: low } } }\n",
        HEAD + CAPPED + "teams:\n",
        times=400,
    ),
    "teams-and-rules": fill(
        "  t{n}: { match: { team: a }, settings: { quality: { max: low } } }\n",
        fill("  gpt-{n}: { quality: { max: low } }\n", LENIENT + "models:\n", "", 350)
        .decode() + f"  default: gpt-000000\n{CAPPED}teams:\n",
        times=200,
    ),
    "teams-with-models": fill(
        f"  t{{n}}: {{ match: {{ team: a }}, models: {{ {SOME} }} }}\n",
        LENIENT + "teams:\n",
        times=55,
    ),
    "expired-exceptions": fill(
        "  - { id: E{n}, for: { team: a }, set: { settings.quality.max: low }, "
        "until: 2020-01-01, approved_by: x }\n",
        HEAD + CAPPED + "exceptions:\n",
        times=300,
    ),
    "exceptions": fill(
        "  - { id: E{n}, for: { team: a }, set: { settings.quality.max: low }, "
        "until: 2030-01-01, approved_by: x }\n",
        HEAD + CAPPED + "exceptions:\n",
        times=300,
    ),
    "sizes": fill(
        "1{n}x999, ",
        HEAD + "settings: { size: { default: 1024x1024, allow: [",
        "1024x1024] } }\n",
        4900,
    ).replace(b"10", b"1"),
    "matches": fill("w{n}, ", HEAD + "teams: { t: { match: { team: [", "w] } } }\n",
                    4900),
    "deployments": fill("  d{n}: gpt-image-2\n", HEAD + "deployments:\n", "", 2400),
    "locks": fill("- a{n}\n", HEAD + "locked:\n", "", 4900),
}  # fmt: skip


def check_soon(data: bytes) -> Checked:
    assert len(data) <= MAX_BYTES
    started = time.process_time()
    checked = check(data)

    assert time.process_time() - started < SECONDS
    return checked


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_gives_few_problems_in_bounded_time(name: str) -> None:
    checked = check_soon(HOSTILE[name])

    assert 1 <= len(checked.problems) <= 101


@pytest.mark.parametrize("name", COSTLY)
def test_a_file_as_large_as_can_be_is_checked_in_bounded_time(name: str) -> None:
    checked = check_soon(COSTLY[name])

    assert "too-large" not in {each.id for each in checked.problems}


@pytest.mark.parametrize("size", [MAX_BYTES, MAX_BYTES + 1])
def test_the_largest_file_is_read_and_a_larger_one_is_not(size: int) -> None:
    data = HEAD.encode().ljust(size, b"\n")

    assert (check(data).policy is None) == (size > MAX_BYTES)
