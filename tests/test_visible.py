"""What may steer a terminal or hide text is spelled out; what people write in any language is left as it is."""

import pytest

from cuetune.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b2J", r"\x9b2J"),
        ("one\rtwo\x08\x7f\x00", r"one\rtwo\x08\x7f\x00"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\u202egnp.exe\u2066", r"\u202egnp.exe\u2066"),
        ("\u2028\u2029\ufeff\u200b\xad", r"\u2028\u2029\ufeff\u200b\xad"),
        ("\ud800\udcff", r"\ud800\udcff"),
        ("\U000e0041", r"\U000e0041"),
        ("pos\u200ditive\u200c", r"pos\u200ditive\u200c"),
    ],
)
def test_hidden_characters_are_spelled_out(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "plain [/b] \\x1b",
        "Crème brûlée – 5 €",
        "好的　酒店",
        "فندق جيد",
        "می‌خواهم",
        "अच्छा क्‍ष होटल",
        "👩‍💻 ❤️ 👍🏽 🇫🇷",
        "a\xa0b",
    ],
)
def test_what_people_write_is_left_as_it_is(text):
    assert visible(text) == text


def test_a_layout_may_keep_tabs_and_line_ends():
    assert visible("a\nb\tc\r", keep="\n\t") == "a\nb\tc\\r"
