"""What people read holds no secret: those that were loaded, and what looks like one."""

import io
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.service.redaction import RedactingFormatter, Redactor

SECRET = "7f3c-do-not-show"


def test_what_was_learned_is_shown_nowhere_in_a_line():
    redact = Redactor()
    redact.learn(SECRET)
    event = {
        "event": f"failed with {SECRET}", "deep": {"a": [f"x{SECRET}y", 1]}, "pair": (SECRET,),
        "error": ValueError(SECRET), "n": 3, "none": None, "bytes": SECRET.encode(),
    }  # fmt: skip
    shown = str(redact(None, "", event))
    assert SECRET not in shown
    assert "failed with ***" in shown
    assert event["n"] == 3


def test_what_is_no_secret_is_left_as_it_is():
    redact = Redactor()
    redact.learn(SECRET)
    value = ValueError("harmless")
    event = {"event": "order.sent", "units": "100", "error": value, "list": ["a"]}
    assert redact(None, "", dict(event)) == event


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:p4ss@h/db down", "postgresql://***@h/db down"),
        ("redis://:p4ss@h", "redis://***@h"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("token eyJhbGciOi.eyJzdWIi.c2ln!", "token ***!"),
        ("hvs.CAESIJlongenoughtoken now", "*** now"),
        ("0123456789abcdef0123456789abcdef-fedcba9876543210fedcba9876543210", "***"),
        ("https://host/path and 10:30@noon", "https://host/path and 10:30@noon"),
    ],
)
def test_what_looks_like_a_secret_is_hidden_unlearned(text: str, shown: str):
    assert Redactor().clean(text) == shown


def test_a_secret_within_a_longer_one_does_not_leave_its_rest():
    redact = Redactor()
    redact.learn("abcdef", "abcdefghij")
    assert redact.clean("abcdefghij abcdef") == "*** ***"


def test_short_words_are_not_hidden_and_old_secrets_give_way():
    redact = Redactor()
    redact.learn("pass", "")
    assert redact.clean("pass") == "pass"
    for number in range(1_200):
        redact.learn(f"secret-{number}")
    assert redact.clean("secret-1199") == "***"
    assert redact.clean("secret-0") == "secret-0"


@given(st.text(min_size=6, max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_a_learned_secret_never_stays_in_a_text(secret: str, before: str, after: str):
    redact = Redactor()
    redact.learn(secret)
    assert secret not in redact.clean(before + secret + after) or secret in "***"


def test_libraries_lines_and_their_stacks_are_cleaned():
    redact = Redactor()
    redact.learn(SECRET)
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(RedactingFormatter(redact))
    logger = logging.getLogger("a library")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        {}[SECRET]
    except KeyError:
        logger.exception("failed with %s", SECRET)
    assert "KeyError" in lines.getvalue()
    assert SECRET not in lines.getvalue()
