"""One caption as written, a few ways to tell it: weights, orders, what is kept, and what is no wildcard at all."""

from collections import Counter
from itertools import permutations, product
from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquatint.data.captions import caption_of, words_of_folder
from aquatint.data.renditions import renditions
from aquatint.data.settings import Images

NUM_PICTURES = 1500
TAGS = st.lists(st.text("ab 1:'-(", min_size=1, max_size=6).map(lambda tag: " ".join(tag.split())).filter(bool), min_size=1, max_size=8)


def told(written: str | None, *, name: str = "a.png", trigger: str | None = None, seed: int = 0, **images: object) -> tuple[str, ...]:
    return renditions(written, Images(**images), name=name, trigger=trigger, seed=seed)


def frequencies(written: str, **images: object) -> dict[str, float]:
    """Share of each text over many pictures, every picture counting once."""
    counts: Counter[str] = Counter()
    for number in range(NUM_PICTURES):
        texts = told(written, name=f"{number}.png", **images)
        for text in texts:
            counts[text] += 1 / len(texts)
    return {text: count / NUM_PICTURES for text, count in counts.items()}


def assert_close(found: dict[str, float], expected: dict[str, float]) -> None:
    """Within four standard errors of as many independent draws as there are pictures, which is more than the truth allows."""
    assert set(found) == {text for text, share in expected.items() if share}
    for text, share in expected.items():
        assert abs(found.get(text, 0) - share) <= 4 * sqrt(share * (1 - share) / NUM_PICTURES) + 1e-9, text


def test_a_plain_caption_is_told_in_one_way_as_ever() -> None:
    assert told("a  dog\n on grass, 1,000 leaves ") == ("a dog on grass, 1,000 leaves",)
    assert told("a dog", trigger="zwx", template="{trigger}: {caption}") == ("zwx: a dog",)
    assert told(None, trigger="zwx") == ("a zwx",)
    assert told(None) == told("") == ("",)
    assert told(None, trigger="zwx", template="{trigger} {caption}") == ("",)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("a {red|green} cat", {"a red cat": 1 / 2, "a green cat": 1 / 2}),
        ("a {3::red|green} cat", {"a red cat": 3 / 4, "a green cat": 1 / 4}),
        ("{0.5::a|.5::b|2::c}", {"a": 1 / 6, "b": 1 / 6, "c": 4 / 6}),
        ("{a|{3::b|c}}", {"a": 1 / 2, "b": 3 / 8, "c": 1 / 8}),
        ("{2::{a|b}|c}{x|y}", {"ax": 1 / 6, "ay": 1 / 6, "bx": 1 / 6, "by": 1 / 6, "cx": 1 / 6, "cy": 1 / 6}),
        ("a {big|} cat, {red|}, ok", {"a big cat, red, ok": 1 / 4, "a cat, red, ok": 1 / 4, "a big cat, ok": 1 / 4, "a cat, ok": 1 / 4}),
        ("{0::a|b}", {"b": 1}),
        ("{0::a|0::b}", {"a": 1 / 2, "b": 1 / 2}),
        ("{ 2 ::a|b}", {"a": 2 / 3, "b": 1 / 3}),
    ],
)
@pytest.mark.parametrize("variants", [1, 3, 8])
def test_wildcards_come_as_often_as_their_weights_say(written: str, expected: dict[str, float], variants: int) -> None:
    assert_close(frequencies(written, caption_variants=variants), expected)


def test_lines_are_alternatives_when_chosen_and_one_text_when_not() -> None:
    written = "a cat\n\n 3::a {tom|queen}\n"
    assert told(written, caption_variants=1)[0] in {"a cat 3::a tom", "a cat 3::a queen"}
    assert_close(frequencies(written, caption_lines="choose"), {"a cat": 1 / 4, "a tom": 3 / 8, "a queen": 3 / 8})
    assert told("2::a cat\n", caption_lines="choose") == ("a cat",)


def test_as_many_combinations_as_variants_are_all_there() -> None:
    expected = Counter(" ".join(words) for words in product("ab", "cd", "ef"))
    for number in range(50):
        assert Counter(told("{a|b} {c|d} {e|f}", name=str(number))) == expected
    uneven = Counter(told("{3::a|b}", caption_variants=4))
    assert uneven == {"a": 3, "b": 1}
    assert {count for number in range(50) for count in Counter(told("{a|b|c}", name=str(number))).values()} == {2, 3}


def test_more_combinations_than_a_table_holds() -> None:
    written = " ".join(["{3::a|b}"] * 20)
    texts = [text for number in range(300) for text in told(written, name=str(number))]
    assert len(texts) == 2400
    share = sum(text.count("a") for text in texts) / (20 * len(texts))
    assert abs(share - 0.75) < 4 * sqrt(0.75 * 0.25 / (20 * len(texts)))


def test_the_first_rendition_is_a_fair_draw_too() -> None:
    first = Counter(told("{3::a|b}", name=str(number))[0] for number in range(NUM_PICTURES))
    assert abs(first["a"] / NUM_PICTURES - 0.75) < 4 * sqrt(0.75 * 0.25 / NUM_PICTURES)


@pytest.mark.parametrize(
    "written",
    ["a { cat", "a } cat", "a | cat", "{red} cat", "{caption} {name}", "{{retro style}}", "{a|b", "a|b}", "}{", "{", "", "{2::a}", "{{a}"],
)
def test_braces_that_are_no_wildcards_are_text(written: str) -> None:
    assert told(written) == (written,)


@pytest.mark.parametrize(
    ("written", "expected"),
    [(r"\{a|b\}", {"{a|b}"}), (r"{a\|b|c\}}", {"a|b", "c}"}), (r"smile \(a\) \o", {r"smile \(a\) \o"}), ("{x{a|b}", {"{xa", "{xb"})],
)
def test_escapes_and_wildcards_within_text(written: str, expected: set[str]) -> None:
    assert set(told(written)) == expected


def test_hostile_captions_end_soon() -> None:
    deep = "{a|" * 5000 + "b" + "}" * 5000
    assert told(deep) == (deep,)
    assert told("{0::a|" * 30 + "b" + "}" * 30) == ("b",)
    assert len(told("{a|b}" * 20_000)) == 8
    assert told("{" * 100_000) == ("{" * 100_000,)


@settings(deadline=None, max_examples=60)
@given(tags=TAGS, keep=st.integers(0, 9), seed=st.integers(0, 5))
def test_kept_tags_stay_and_the_others_are_only_reordered(tags: list[str], keep: int, seed: int) -> None:
    written = ", ".join(tags)
    before = [tag.strip() for tag in written.split(",")]
    texts = told(written, seed=seed, caption_shuffle=True, caption_keep=keep)
    for text in texts:
        after = text.split(", ")
        assert after[:keep] == before[:keep]
        assert Counter(after) == Counter(before)
    assert texts == told(written, seed=seed, caption_shuffle=True, caption_keep=keep)


def test_every_order_comes_equally_often() -> None:
    orders = {", ".join(["first", *order]): 1 / 6 for order in permutations("abc")}
    assert_close(frequencies("first, a, b, c", caption_shuffle=True), orders)


def test_separators_say_what_stays_and_go_in_any_case() -> None:
    written = "one, two ||| a, b, c ||| last, of all"
    ends = {(text.split(", ")[:2] == ["one", "two"], text.endswith(", last, of all")) for text in told(written, caption_shuffle=True)}
    assert ends == {(True, True)}
    middles = {tuple(text.split(", ")[2:5]) for n in range(99) for text in told(written, name=str(n), caption_shuffle=True)}
    assert middles == set(permutations("abc"))
    assert told(written) == ("one, two, a, b, c, last, of all",)


@pytest.mark.parametrize("trigger", ["zwx", "zwx, the {old|new} cat", "a, b, c"])
def test_the_trigger_is_whole_and_stays_in_front(trigger: str) -> None:
    texts = told("grass, sun, {sky|clouds}, evening", trigger=trigger, caption_shuffle=True)
    assert len(set(texts)) > 1
    assert {text[: len(trigger) + 2] for text in texts} == {f"{trigger}, "}
    free = told("grass, sun, sky, evening", trigger=trigger, caption_shuffle=True, caption_keep=0)
    assert all(trigger in text for text in free)


def test_a_trigger_in_one_alternative_alone_is_added_to_the_other() -> None:
    expected = {"a zwx on grass", "zwx, a cat on grass"}
    assert set(told("a {ZWX|cat} on grass", trigger="zwx")) == expected
    assert set(told("a Zwx on grass\na cat on grass", trigger="zwx", caption_lines="choose")) == expected
    assert set(told("{a zwx|}", trigger="zwx")) == {"a zwx"}


def test_a_template_is_filled_before_the_order_is_drawn() -> None:
    texts = told("a, {b|c}", name="x{1|2}.png", trigger="zwx", template="photo of {trigger}, {caption}, {name}", caption_shuffle=True)
    assert {text.split(", ")[0] for text in texts} == {"photo of zwx"}
    assert {tag for text in texts for tag in text.split(", ")[1:]} == {"a", "b", "c", "x{1|2}"}


def test_pictures_are_independent_and_seeds_differ() -> None:
    written = "{a|b|c|d} {e|f|g|h}, x, y, z"
    many = {name: told(written, name=name, caption_shuffle=True) for name in map(str, range(40))}
    assert len(set(many.values())) == 40
    assert many["7"] == told(written, name="7", caption_shuffle=True)
    assert told(written, name="7", caption_shuffle=True, seed=1) != many["7"]
    assert len(told(written, caption_variants=3)) == 3


def test_equal_renditions_become_one_only_if_all_are_equal() -> None:
    assert told("single tag", caption_shuffle=True) == ("single tag",)
    assert Counter(told("{3::a|b}")) == {"a": 6, "b": 2}


@settings(deadline=None, max_examples=200)
@given(written=st.text("ab,|{}:2\\ \n", max_size=40), trigger=st.sampled_from([None, "ab"]), lines=st.sampled_from(["join", "choose"]))
def test_any_text_has_renditions(written: str, trigger: str | None, lines: str) -> None:
    for shuffle in (False, True):
        texts = told(written, trigger=trigger, caption_lines=lines, caption_shuffle=shuffle)
        assert 1 <= len(texts) <= 8
        assert trigger is None or all(trigger in text for text in texts)
    if not set("{|\\\n") & set(written) and not (lines == "choose" and "::" in written):
        plain = " ".join(written.split()) or None
        assert told(written, trigger=trigger) == (caption_of(plain, name="a.png", trigger=trigger) or "",)


@pytest.mark.parametrize(
    ("name", "words"),
    [("cats/10_tabby_cat/1.png", "tabby cat"), ("tabby/a.png", "tabby"), ("a.png", ""), ("class 2/1.png", "class 2"), ("v1.5/a", "v1.5")],
)
def test_words_of_a_folder(name: str, words: str) -> None:
    assert words_of_folder(name) == words
