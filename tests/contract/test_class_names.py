"""Names and numbers of classes: how a prompt says one, where a base keeps them, and that they survive a run."""

import json

import pytest
import torch

from aquatint.errors import BadBase, BadSetting
from aquatint.families import ddpm, dit
from aquatint.families._labelled import in_order, number_of
from aquatint.recognition import recognise

BIRDS = ("tench, Tinca tinca", "Great  Heron", "crane", "crane", "7", "stork, wood stork, 0")
MANY = tuple(f"thing {index}, object {index}" for index in range(500))


@pytest.mark.parametrize(
    ("prompt", "number"),
    [
        ("tench, Tinca tinca", 0), ("Tinca tinca", 0), ("TENCH", 0), (" great heron ", 1), ("wood  stork", 5), ("7", 4), ("1", 1), ("0", 5),
        ("5", 5),
    ],
)  # fmt: skip
def test_a_class_is_known_by_its_name_and_by_its_number(prompt: str, number: int) -> None:
    assert number_of(prompt, BIRDS) == number


@pytest.mark.parametrize(
    ("prompt", "labels", "why"),
    [
        ("crane", BIRDS, "'crane' is the name of the classes 2 and 3; say the number"),
        ("tensh", ("tench", "heron"), "there is no class 'tensh'; did you mean 'tench'?"),
        ("6", BIRDS, "there is no class '6'"),
        ("-1", BIRDS, "there is no class '-1'"),
        ("", BIRDS, "every picture of this base is of a class; name one: tench"),
        ("", MANY, "thing 0, object 0, thing 1, object 1"),
        ("objekt 77", MANY, "there is no class 'objekt 77'; did you mean 'object 77'?"),
        ("qqqqqqqq", MANY, "there is no class 'qqqqqqqq'; there are 500, from thing 0, object 0 to thing 499, object 499"),
    ],
)
def test_what_names_no_class_is_refused(prompt: str, labels: tuple[str, ...], why: str) -> None:
    with pytest.raises(BadSetting) as refused:
        number_of(prompt, labels)
    assert why in str(refused.value)
    assert len(str(refused.value)) < 500


def test_no_class_is_the_spare_one_where_there_is_one() -> None:
    assert number_of("", BIRDS, null_class=6) == number_of("  ", BIRDS, null_class=6) == 6


def test_names_come_in_the_order_of_their_numbers() -> None:
    assert in_order(["a", "b"]) == in_order({"1": "b", "0": "a"}) == ("a", "b")
    with pytest.raises(LookupError):
        in_order({"0": "a", "2": "c"})


@pytest.fixture
def labelled(tmp_path):
    """(content of `labels.json`) -> a base with three classes."""

    def make(content):
        torch.manual_seed(0)
        ddpm.tiny("classes").pipeline.save_pretrained(tmp_path)
        if content is not None:
            (tmp_path / "labels.json").write_text(content)
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("content", "labels", "null_class"),
    [
        (None, ("0", "1", "2"), None),
        ('["cat", "dog", "owl"]', ("cat", "dog", "owl"), None),
        ('{"2": "owl", "0": "cat", "1": "dog"}', ("cat", "dog", "owl"), None),
        ('["cat", "dog"]', ("cat", "dog"), 2),
    ],
)
def test_a_unet_finds_its_names_beside_its_index(labelled, content, labels, null_class):
    base = labelled(content)
    bundle = ddpm.load(base)
    assert recognise(str(base)).told == bundle.told == "classes"
    assert (bundle.labels, bundle.null_class, bundle.knows_empty) == (labels, null_class, null_class is not None)
    told = ddpm.encode_prompts(bundle, [labels[1], *([""] if null_class else [])])["class_labels"]
    assert told.tolist() == [1, *([null_class] if null_class else [])]


@pytest.mark.parametrize(("content", "why"), [("{", "no list of names"), ("3", "no list of names"), ('["a"]', "names 1 classes")])
def test_names_that_do_not_fit_are_refused(labelled, content, why):
    with pytest.raises(BadBase, match=why):
        ddpm.load(labelled(content))


def test_a_transformers_names_are_those_of_its_index_and_stay_there(tmp_path):
    base, again = tmp_path / "base", tmp_path / "again"
    dit.tiny().pipeline.save_pretrained(base)
    index = json.loads((base / "model_index.json").read_text())
    named = {str(number): name for number, name in enumerate(["tench, Tinca tinca", "goldfish"])}
    (base / "model_index.json").write_text(json.dumps({**index, "id2label": named}))
    bundle = dit.load(base)
    assert bundle.labels[:3] == ("tench, Tinca tinca", "goldfish", "2")
    assert dit.encode_prompts(bundle, ["Goldfish", "Tinca tinca", "2", ""])["class_labels"].tolist() == [1, 0, 2, 1000]
    bundle.pipeline.save_pretrained(again)
    assert dit.load(again).labels == bundle.labels
    assert type(bundle.pipeline).from_pretrained(again).labels == {"Tinca tinca": 0, "goldfish": 1, "tench": 0}
