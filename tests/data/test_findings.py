"""What is said of many files alike is said once."""

from aquatint.data.findings import BadData, Finding, folded


def test_the_same_of_many_files_is_one_line_where_the_first_was() -> None:
    same = [Finding("warning", f"{index}.png", "is blurred", "find another") for index in range(6)]
    other, few = Finding("error", "x.png", "is empty"), [Finding("note", name, "is grey") for name in "abc"]
    said = [str(one) for one in folded([*same[:2], other, *same[2:], *few])]
    assert said == [
        "0.png, 1.png, 2.png and 3 more: is blurred -> find another", "x.png: is empty", "a: is grey", "b: is grey", "c: is grey",
    ]  # fmt: skip
    assert len(folded([*same, Finding("error", "7.png", "is blurred", "find another")])) == 2  # another level
    errors = [Finding("error", f"{index}.png", "is empty") for index in range(50)]
    assert folded(errors) == errors
    assert all(f"{index}.png" in str(BadData("set", errors)) for index in range(50))
