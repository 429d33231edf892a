"""Bytes to captions, and captions to pictures. R5, R6, R7, R9."""

from pathlib import Path

import pyarrow.parquet
import pytest
from PIL import Image

from aquatint.data.captions import caption_of, decode, torn_words, words_of
from aquatint.data.matching import written_captions
from aquatint.data.records import BadData, Scan, scan
from aquatint.data.settings import Images
from aquatint.data.tree import list_files


def folder(root: Path, *pictures: str, **texts: str | bytes) -> Path:
    for number, name in enumerate(pictures):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (number, 0, 0)).save(path, "JPEG" if path.suffix.lower() == ".jpg" else "PNG")
    for name, content in texts.items():
        put(root, name, content=content)
    return root


def put(root: Path, name: str, *, content: str | bytes) -> None:
    (root / name).write_bytes(content.encode() if isinstance(content, str) else content)


def captions(found: Scan) -> dict[str, str]:
    return {record.name: record.caption for record in found.records}


def errors(root: Path, images: Images | None = None, **options: str | bool | None) -> str:
    with pytest.raises(BadData) as caught:
        scan(root, images or Images(), **options)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize(
    "content",
    ["жук – “ok”".encode(), b"\xef\xbb\xbf" + "жук – “ok”".encode(), *("жук – “ok”".encode(code) for code in ("utf-16", "utf-32"))],
)
def test_unicode_is_decoded_without_a_word(content: bytes) -> None:
    assert decode(content, "a.txt") == ("жук – “ok”", [])


@pytest.mark.parametrize("code", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark(code: str) -> None:
    assert decode("a red cat".encode(code), "a.txt") == ("a red cat", [])


def test_western_bytes_are_read_and_reported_with_their_offset() -> None:
    text, findings = decode(b"it doesn\x92t matter", "x/a.txt")
    assert text == "it doesn’t matter"
    assert findings[0].level == "warning"
    assert findings[0].file == "x/a.txt"
    assert "0x92 at offset 8" in findings[0].what


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"caf\x81", "0x81 at offset 3"), (b"a\0b", "zero byte at offset 1"), (b"\xff\xfea\0b", "UTF-16 at byte offset 4")],
)
def test_what_is_no_text_is_an_error(content: bytes, what: str) -> None:
    text, findings = decode(content, "a.txt")
    assert text is None
    assert findings[0].level == "error"
    assert what in findings[0].what


@pytest.mark.parametrize(
    ("caption", "trigger", "template", "expected"),
    [
        ("a dog on grass", None, None, "a dog on grass"),
        (None, "zwx", None, "a zwx"),
        (None, "a photo of zwx", None, "a photo of zwx"),
        (None, None, None, None),
        ("a dog on grass", "zwx", None, "zwx, a dog on grass"),
        ("a ZWX on grass", "zwx", None, "a zwx on grass"),
        ("a zwxy on grass", "zwx", None, "zwx, a zwxy on grass"),
        ("A Zwx on ZWX grass, zwxs", "zwx", None, "A zwx on zwx grass, zwxs"),
        ("on grass", "zwx", "{trigger} {caption}, {name}", "zwx on grass, my picture"),
        (None, "zwx", "{trigger} {caption}", None),
        ("{trigger} on {name}", "zwx", "{caption}!", "{trigger} on {name}!"),
    ],
)
def test_caption_of(caption: str | None, trigger: str | None, template: str | None, expected: str | None) -> None:
    assert caption_of(caption, name="x/my_picture_03.png", trigger=trigger, template=template) == expected


@pytest.mark.parametrize(
    ("captions", "expected"),
    [
        (["a zwx, zwx's hat", "ZWX."], []),
        (["two zwxs", "a ZWXS and two zwxs", "unzwx"], ["zwxs", "ZWXS", "unzwx"]),
        (["a zwx-like cat"], []),
    ],
)
def test_words_that_hold_the_trigger(captions: list[str], expected: list[str]) -> None:
    assert torn_words(captions, "zwx") == expected


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x/a_red_cat (3).png", "a red cat"),
        ("cat-12.jpg", "cat"),
        ("0001.png", ""),
        ("room 101 door.png", "room 101 door"),
        ("a.b.png", "a.b"),
        ("mp3.png", "mp3"),
    ],
)
def test_words_of_a_name(name: str, words: str) -> None:
    assert words_of(name) == words


def test_a_sidecar_is_used_without_any_option(tmp_path: Path) -> None:
    folder(tmp_path, "a.png", "B.PNG", "x/a.jpg", "a.b.png")
    for name, text in {"a.txt": "first", "B.TXT": "second", "x/a.caption": "third\n", "a.b.txt": "fourth"}.items():
        put(tmp_path, name, content=text)
    found = scan(tmp_path, Images())
    assert captions(found) == {"a.png": "first", "B.PNG": "second", "x/a.jpg": "third", "a.b.png": "fourth"}
    assert not found.findings


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("metadata.csv", "file_name,text\na.png,one\nx/b.png,\"two, three\"\n"),
        ("metadata.csv", "\ufefffile_name;caption\r\na.png;one\r\nx/b.png;two, three\r\n"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": "one"}\n\n{"file_name": "./x\\\\b.png", "text": "two, three"}\n'),
        ("METADATA.JSONL", '{"file_name": "a.png", "prompt": "one"}\n{"file_name": "x/b.png", "prompt": "two, three"}'),
    ],
)
def test_tables(name: str, table: str, tmp_path: Path) -> None:
    folder(tmp_path, "a.png", "x/b.png")
    put(tmp_path, name, content=table)
    assert captions(scan(tmp_path, Images())) == {"a.png": "one", "x/b.png": "two, three"}


def test_a_parquet_table(tmp_path: Path) -> None:
    folder(tmp_path, "a.png", "x/b.png")
    columns = {"file_name": ["a.png", "x/b.png", "lost.png"], "text": ["one", "two", "three"], "image": [b"", b"", b""]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "metadata.parquet")
    found = scan(tmp_path, Images())
    assert captions(found) == {"a.png": "one", "x/b.png": "two"}
    assert "metadata.parquet, line 3 (lost.png)" in str(found.findings[0])
    (tmp_path / "metadata.parquet").write_bytes((tmp_path / "metadata.parquet").read_bytes()[:-9])
    assert "metadata.parquet, line 1: is not Parquet, or is damaged" in errors(tmp_path)


def test_a_table_in_a_subfolder_speaks_of_its_own_folder(tmp_path: Path) -> None:
    folder(tmp_path, "a.png", "x/a.png")
    put(tmp_path, "metadata.csv", content="file_name,text\na.png,outer\n")
    put(tmp_path, "x/metadata.csv", content="file_name,text\na.png,inner\n")
    assert captions(scan(tmp_path, Images())) == {"a.png": "outer", "x/a.png": "inner"}


def test_a_chosen_column_and_a_missing_one(tmp_path: Path) -> None:
    folder(tmp_path, "a.png")
    put(tmp_path, "metadata.csv", content="file_name,text,long\na.png,short,much longer\n")
    assert captions(scan(tmp_path, Images(caption_column="long"))) == {"a.png": "much longer"}
    assert "file_name, text, long" in errors(tmp_path, Images(caption_column="lonh"))
    put(tmp_path, "metadata.csv", content="file_name,title\na.png,x\n")
    assert "text, caption, prompt" in errors(tmp_path)


@pytest.mark.parametrize(
    ("name", "table", "what"),
    [
        ("metadata.csv", "file_name,text\na.png,one, two\n", "line 2: has 3 values for 2 columns"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": "x"}\n{"file_name": \n', "line 2: is not JSON"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": ["x"]}\n', "line 1: 'text' is [\"x\"], not a text"),
        ("metadata.csv", "name,text\na.png,one\n", "no column file_name"),
        ("metadata.csv", 'file_name,text\na.png,"one\n', "is not CSV"),
    ],
)
def test_damaged_tables_are_told_with_their_lines(name: str, table: str, what: str, tmp_path: Path) -> None:
    folder(tmp_path, "a.png")
    put(tmp_path, name, content=table)
    assert what in errors(tmp_path)


@pytest.mark.parametrize(("name", "table"), [("a.caption", "a dog"), ("metadata.csv", "file_name,text\na.png,a dog\n")])
def test_two_places_that_disagree_are_both_named(name: str, table: str, tmp_path: Path) -> None:
    folder(tmp_path, "a.png")
    put(tmp_path, "a.txt", content="a cat")
    put(tmp_path, name, content=table)
    message = errors(tmp_path)
    assert "'a cat' in a.txt" in message
    assert f"'a dog' in {name}" in message
    put(tmp_path, "a.txt", content="a  dog\n")
    assert captions(scan(tmp_path, Images())) == {"a.png": "a dog"}


def test_no_caption_at_all_names_the_two_ways_on(tmp_path: Path) -> None:
    folder(tmp_path, *(f"cat_{number}.png" for number in range(66)))
    message = errors(tmp_path)
    places = (".txt", ".caption", ".json", "metadata.csv", "metadata.jsonl", "metadata.parquet")
    for part in ("66 pictures and not one caption", *places, "trigger", "caption_from_name"):
        assert part in message
    assert set(captions(scan(tmp_path, Images(), trigger="zwx")).values()) == {"a zwx"}
    assert set(captions(scan(tmp_path, Images(caption_from_name=True))).values()) == {"cat"}
    free = scan(tmp_path, Images(), needs_captions=False)
    assert set(captions(free).values()) == {""}
    assert [finding.level for finding in free.findings] == ["warning"]


def test_a_few_missing_are_listed(tmp_path: Path) -> None:
    folder(tmp_path, *(f"{number}.png" for number in range(1, 6)))
    for number in (1, 2, 4):
        put(tmp_path, f"{number}.txt", content="x")
    put(tmp_path, "5.txt", content=" \n")
    message = errors(tmp_path)
    assert "2 pictures of 5 without a caption: 3.png, 5.png" in message
    allowed = scan(tmp_path, Images(allow_missing_captions=True))
    assert captions(allowed)["3.png"] == ""
    assert "3.png, 5.png" in allowed.findings[0].what
    with_trigger = scan(tmp_path, Images(), trigger="zwx")
    assert captions(with_trigger) == {"1.png": "zwx, x", "2.png": "zwx, x", "3.png": "a zwx", "4.png": "zwx, x", "5.png": "a zwx"}
    assert "3.png, 5.png" in with_trigger.findings[0].what


def test_orphans_are_warnings(tmp_path: Path) -> None:
    folder(tmp_path, "a.png")
    put(tmp_path, "a.txt", content="x")
    put(tmp_path, "gone.txt", content=b"\x81 is never even read")
    put(tmp_path, "metadata.csv", content="file_name,text\nlost.png,y\n")
    found = scan(tmp_path, Images())
    assert [finding.level for finding in found.findings] == ["warning"]
    assert "2 captions without a picture: gone.txt, metadata.csv, line 2 (lost.png)" in found.findings[0].what


def test_accents_stored_apart_match_those_stored_together(tmp_path: Path) -> None:
    folder(tmp_path, "cafe\u0301.png", "猫 кот.png")
    put(tmp_path, "caf\u00e9.txt", content="coffee")
    put(tmp_path, "metadata.csv", content="file_name,text\n猫 кот.png,cat\n")
    assert sorted(captions(scan(tmp_path, Images())).values()) == ["cat", "coffee"]


def test_all_bad_encodings_are_told_at_once(tmp_path: Path) -> None:
    folder(tmp_path, "a.png", "b.png", "c.png")
    for name in ("a.txt", "b.txt"):
        put(tmp_path, name, content=b"\x81")
    put(tmp_path, "c.txt", content="x")
    message = errors(tmp_path)
    assert "a.txt: is not UTF-8: byte 0x81 at offset 0" in message
    assert "b.txt: is not UTF-8" in message


def test_template_and_trigger_must_fit(tmp_path: Path) -> None:
    folder(tmp_path, "a.png")
    put(tmp_path, "a.txt", content="x")
    assert "would never be learned" in errors(tmp_path, Images(template="a photo, {caption}"), trigger="zwx")
    assert "none is given" in errors(tmp_path, Images(template="{trigger}, {caption}"))
    assert captions(scan(tmp_path, Images(template="art of {trigger}: {caption}"), trigger="zwx")) == {"a.png": "art of zwx: x"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"caption": "a  cat\\n"}', "a cat"),
        ('{"text": "one", "caption": "two"}', "one"),
        ('{"caption": null, "prompt": "a cat", "seed": 3}', "a cat"),
        ('{"caption": "a cat", "tags": "red, small"}', "a cat, red, small"),
        ('{"tags": ["red", "small "]}', "red, small"),
        ('"a cat"', "a cat"),
        ('["first", "second"]', "first"),
        ('{"caption": ["first", "second"], "tags": "red"}', "first, red"),
    ],
)
def test_json_beside_a_picture(content: str, expected: str, tmp_path: Path) -> None:
    folder(tmp_path, "a.png")
    put(tmp_path, "a.JSON", content=content)
    found = scan(tmp_path, Images())
    assert captions(found) == {"a.png": expected}
    assert [finding.level for finding in found.findings] == ["note"] * ("first" in content)


def test_lists_and_lines_are_alternatives_where_asked_for(tmp_path: Path) -> None:
    folder(tmp_path, "a.png", "b.png", "c.png")
    put(tmp_path, "a.json", content='{"caption": ["a cat", "2::a tom", " "], "tags": "red"}')
    put(tmp_path, "b.txt", content="a dog\r\n\r\n  a  hound \n")
    put(tmp_path, "metadata.csv", content='file_name,text\nc.png,"a bird\na crow"\n')
    written, findings = written_captions(tmp_path, list_files(tmp_path), images=Images(caption_lines="choose"))
    assert written == {"a.png": "a cat, red\n2::a tom, red", "b.png": "a dog\na hound", "c.png": "a bird\na crow"}
    assert not findings
    joined, _ = written_captions(tmp_path, list_files(tmp_path), images=Images())
    assert joined == {"a.png": "a cat, red", "b.png": "a dog a hound", "c.png": "a bird a crow"}
    chosen = captions(scan(tmp_path, Images(caption_lines="choose"), trigger="zwx"))
    assert chosen["b.png"] in {"zwx, a dog", "zwx, a hound"}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ('{"caption": ', "a.json: is not JSON"),
        ("[" * 100_000, "a.json: is not JSON"),
        ('{"caption": 5}', "a.json: 'caption' is 5, not a text"),
        ('{"caption": ["x", {}]}', "a.json: 'caption' is {}, not a text"),
        ('{"tags": {"red": 0.9}}', "a.json: 'tags' is {\"red\": 0.9}, not a text"),
        ('"half \\ud83d"', "a.json: it holds \\ud83d at character 5"),
        (b'{"caption": "\x81"}', "a.json: is not UTF-8"),
    ],
)
def test_damaged_json_is_told_with_its_file(content: str | bytes, what: str, tmp_path: Path) -> None:
    folder(tmp_path, "a.png")
    put(tmp_path, "a.json", content=content)
    assert what in errors(tmp_path)


@pytest.mark.parametrize("content", ['{"seed": 3, "steps": 20}', "[]", "3", '[{"bbox": [1, 2]}]', "null", '{"caption": null}'])
def test_json_that_holds_something_else_is_left_aside(content: str, tmp_path: Path) -> None:
    folder(tmp_path, "a.png", "b.png")
    put(tmp_path, "a.json", content=content)
    found = scan(tmp_path, Images(), trigger="zwx")
    assert captions(found) == {"a.png": "a zwx", "b.png": "a zwx"}
    told = [(finding.level, finding.what) for finding in found.findings]
    assert len(told) == (content != "[]")
    assert all(level == "warning" and "1 .json file without a caption (text, caption, prompt, tags)" in what for level, what in told)


def test_json_is_asked_only_where_nothing_else_says(tmp_path: Path) -> None:
    folder(tmp_path, "a.png", "b.png", "c.png", "d.png")
    for name, content in {"a.txt": "a cat", "a.json": '{"prompt": "no cat"}', "b.json": "{broken", "meta.json": "{}"}.items():
        put(tmp_path, name, content=content)
    put(tmp_path, "c.txt", content=" ")
    put(tmp_path, "c.json", content='"a crow"')
    put(tmp_path, "metadata.csv", content="file_name,text\nb.png,a bird\nd.png,a dog\n")
    found = scan(tmp_path, Images())
    assert captions(found) == {"a.png": "a cat", "b.png": "a bird", "c.png": "a crow", "d.png": "a dog"}
    assert [finding.level for finding in found.findings] == ["note"]
    assert found.findings[0].what.endswith("left aside: a.json, b.json, meta.json")


def test_a_chosen_key_of_json_is_the_only_one(tmp_path: Path) -> None:
    folder(tmp_path, "a.png")
    put(tmp_path, "a.json", content='{"caption": "short", "long": "much longer", "tags": "red"}')
    assert captions(scan(tmp_path, Images(caption_column="long"))) == {"a.png": "much longer"}
    assert captions(scan(tmp_path, Images(caption_column="tags"))) == {"a.png": "red"}
    assert "1 picture and not one caption" in errors(tmp_path, Images(caption_column="lonh"))


def test_captions_from_folders_and_names(tmp_path: Path) -> None:
    folder(tmp_path, "cats/10_tabby_cat/1.png", "cats/2.png", "dogs/red_hound_3.png", "dogs/4.png")
    put(tmp_path, "dogs/4.txt", content="written")
    by_folder = {"cats/2.png": "cats", "cats/10_tabby_cat/1.png": "tabby cat", "dogs/red_hound_3.png": "dogs", "dogs/4.png": "written"}
    assert captions(scan(tmp_path, Images(caption_from_folder=True))) == by_folder
    both = captions(scan(tmp_path, Images(caption_from_folder=True, caption_from_name=True)))
    assert both == by_folder | {"dogs/red_hound_3.png": "red hound"}


def test_half_a_letter_in_a_table_is_told(tmp_path: Path) -> None:
    folder(tmp_path, "a.png")
    put(tmp_path, "metadata.jsonl", content='{"file_name": "a.png", "text": "\\ud83d"}')
    assert "metadata.jsonl, line 1: 'text' holds \\ud83d at character 0" in errors(tmp_path)
