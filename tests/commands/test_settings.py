"""The one gate of all settings: every spelling, every mistake answered (R27)."""

from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import yaml
from pydantic import Field, PositiveFloat, model_validator

from aquatint.config import Choice, Config, SettingsError
from aquatint.explanation import explain_fields


class Method(Choice, default_kind="lora"):
    pass


class LoRA(Method, kind="lora"):
    rank: int = Field(16, ge=1)
    """Rank of the update."""
    targets: tuple[str, ...] = ()


class Full(Method, kind="full"):
    text_encoder: bool = False
    """Train the text encoder too."""


class Images(Config):
    flip: bool = False
    """Mirror."""
    sizes: tuple[int, ...] = (512,)
    crop: Literal["centre", "random"] = "random"


class Run(Config):
    data: Path
    """Folder of pictures."""
    base: str = "pocket"
    method: Method = Field(default="lora", validate_default=True)
    """What is trained."""
    images: Images = Images()
    lr: PositiveFloat | Literal["auto"] = 1e-4
    steps: int = Field(100, ge=1)
    trigger: str | None = None
    prompts: tuple[str, ...] = ()
    precision: Literal["fp32", "no"] = "fp32"
    resume: bool = False
    ema: float | None = None
    extra: dict[str, Any] = {}  # noqa: RUF012

    main: ClassVar = ("data", "method.rank")
    positional: ClassVar = ("data", "prompts")
    aliases: ClassVar = {
        "train_data_dir": "data",
        "max_train_steps": "steps",
        "rank": "method.rank",
        "random_flip": "images.flip",
        "center_crop": "images.crop=centre",
    }

    @model_validator(mode="after")
    def _resumes_with_steps(self) -> "Run":
        if self.resume and self.steps == 13:
            raise ValueError("thirteen steps cannot be resumed")
        return self


def read(*arguments: str) -> Run:
    return Run.read(["pics", *arguments])


def refusal(*arguments: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        Run.read(arguments)
    return caught.value


@pytest.mark.parametrize(
    "arguments",
    [
        ["method.rank=8"], ["--method.rank", "8"], ["--method.rank=8"], ["--rank", "8"], ["rank=8"],
        ["method={kind: lora, rank: 8}"], ["--method", "lora", "rank=8"],
    ],
)
def test_all_spellings_are_equal(arguments):
    assert read(*arguments) == Run(data=Path("pics"), method=LoRA(rank=8))


@pytest.mark.parametrize("spelling", ["--train_data_dir", "--train-data-dir", "--data"])
def test_a_path_is_never_taken_for_yaml(spelling):
    for text in ("no", "2024-01-01", "012", "null_", "[x]", "a: b", "#fff"):
        assert Run.read([spelling, text]).data == Path(text)


PROMPTS = ["a: b", "[x]", "#fff", "no", "1e-4", "012", "{a}", "- x", "*", "&a", "!x", "", " x ", "it's", "a=b", "--", "true", "a\nb", "~"]


@pytest.mark.parametrize("text", PROMPTS)
def test_a_prompt_is_kept_to_the_letter(text, tmp_path):
    config = read(f"trigger={text}", f"--base={text}", f"extra.note={text}x")
    assert (config.trigger, config.base, config.extra) == (text, text, {"note": f"{text}x"})
    assert read(f"--prompts={text}").prompts == (("x",) if text == "[x]" else (text,))  # a list where one is asked for
    config.write(tmp_path / "run.yaml")
    assert Run.read(file=tmp_path / "run.yaml") == config


def test_numbers_switches_and_null():
    config = read("lr=1e-4", "steps=1e3", "ema=null", "--images.sizes", "512", "768", "images.flip=yes", "extra.eps=1e-8", "precision=no")
    assert (config.lr, config.steps, config.ema, config.images.sizes, config.images.flip) == (1e-4, 1000, None, (512, 768), True)
    assert (config.extra, config.precision, read("trigger=null").trigger) == ({"eps": 1e-8}, "no", None)
    assert read("images.sizes=512,768").images.sizes == read("images.sizes=[512, 768]").images.sizes == (512, 768)
    assert read("lr=auto").lr == "auto"
    assert read("extra.note='1e-4'").extra == {"note": "'1e-4'"}


def test_bare_switches():
    config = read("--resume", "--random_flip", "--center_crop", "steps=7")
    assert (config.resume, config.images.flip, config.images.crop, config.steps) == (True, True, "centre", 7)
    assert read("--random_flip", "false", "--center-crop=false").images == Images()


def test_bare_words_fill_the_positional_settings():
    assert Run.read(["pics", "a cat", "a dog"]).prompts == ("a cat", "a dog")
    assert Run.read(["pics", "a cat"]).prompts == ("a cat",)
    assert Run.read(["--prompts", "a cat", "no", "--data", "pics"]).prompts == ("a cat", "no")


def test_a_file_is_the_base_and_the_command_line_is_above_it(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yml"
    first.write_text("train_data_dir: 2024-01-01\nmethod:\n  rank: 4\n  targets: [no, to_q]\nlr: 1e-5\nprecision: no\nimages: {flip: on}\n")
    second.write_text("lr: 2e-5\nextra: {a: 1, b: 'x'}\n")
    config = Run.read([str(first), str(second), "images.sizes=64"])
    assert (config.data, config.lr, config.precision, config.extra) == (Path("2024-01-01"), 2e-5, "no", {"a": 1, "b": "x"})
    assert config.images == Images(flip=True, sizes=(64,))
    assert config.method == LoRA(rank=4, targets=("no", "to_q"))
    assert Run.read([str(first), "method=full"]).method == Full()  # the other kind's settings go with it
    assert Run.read([str(first), "method=lora"]).method == LoRA(rank=4, targets=("no", "to_q"))
    assert Run.read([str(first), "rank=5"]).method == LoRA(rank=5, targets=("no", "to_q"))


def test_every_problem_is_reported_at_once():
    bad = ["--train_data_dri", "x", "method.rank=0", "-x", "ema=null"]
    error = refusal("pics", "stesp=3", "method.rnak=3", "lr=fast", "images.flip=maybe", *bad)
    text = str(error)
    assert {p.path for p in error.problems} == {"stesp", "method.rnak", "lr", "images.flip", "train_data_dri", "method.rank", ""}
    assert text.startswith("7 problems in the settings")
    assert "stesp: unknown setting; did you mean steps? (given 3)" in text
    assert "method.rnak: unknown setting; did you mean method.rank? (given 3)" in text
    assert "did you mean train_data_dir?" in text
    assert "'fast'" in text
    assert "'maybe'" in text
    assert "'-x' is not an option" in text
    assert error.exit_code == 2


def test_contradictions_name_both_spellings(tmp_path):
    assert "rank=3 and --method.rank=4" in str(refusal("pics", "rank=3", "--method.rank", "4"))
    assert "steps=1 and steps=2" in str(refusal("pics", "steps=1", "steps=2"))
    assert read("lr=1e-4", "--lr", "0.0001").lr == 1e-4
    file = tmp_path / "run.yaml"
    file.write_text("data: x\nsteps: 5\nmax_train_steps: 6\n")
    assert "steps=5 and max_train_steps=6" in str(refusal(str(file)))
    assert "whole section" in str(refusal("pics", "images=3", "images.flip=true"))


def test_setting_of_another_kind_says_where_it_belongs():
    assert "it belongs to method=lora" in str(refusal("pics", "method=full", "rank=3"))
    assert "unknown kind 'ful'; did you mean 'full'?" in str(refusal("pics", "method=ful"))


def test_missing_values_and_settings():
    assert "data: is required: Folder of pictures. Write data=…" in str(refusal())
    assert "--steps needs a value" in str(refusal("pics", "--steps"))
    assert "data: " in str(refusal("data="))  # an unset shell variable is not the current folder
    assert "thirteen" in str(refusal("pics", "--resume", "steps=13"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("steps: 1\ndata: x\nsteps: 2\n", "'steps' is given twice, on lines 1 and 3"),
        ("data: x\nimages:\n  flip: on\n  flip: off\n", "'flip' is given twice, on lines 3 and 4"),
        ("data: [x\n", "is not YAML"),
        ("- a\n", "holds a list"),
        ("data: x\nrnak: 3\n", "rnak: unknown setting; did you mean method.rank?"),
        ("data: !!python/object:os.system x\n", "is not YAML"),
    ],
)
def test_bad_files(tmp_path, content, expected):
    (tmp_path / "run.yaml").write_text(content)
    assert expected in str(refusal(str(tmp_path / "run.yaml")))


def test_a_file_that_is_not_there():
    assert "cannot read nowhere.yaml: No such file" in str(refusal("nowhere.yaml"))


def test_written_settings_read_back_equal(tmp_path):
    config = read("method=full", "method.text_encoder=true", "lr=3e-7", "trigger=1e-4", "extra={a: [1, x], b: '1e-4', c: yes}")
    assert config.extra == {"a": [1, "x"], "b": "1e-4", "c": "yes"}
    config.write(tmp_path / "run.yaml")
    assert Run.read([str(tmp_path / "run.yaml")]) == config
    assert yaml.safe_load((tmp_path / "run.yaml").read_text())["method"] == {"kind": "full", "text_encoder": True}


def test_settings_are_frozen_and_closed():
    config = read()
    with pytest.raises(ValueError, match="frozen"):
        config.steps = 3
    with pytest.raises(SettingsError, match="did you mean steps"):
        Run.from_tree({"data": "x", "step": 3})


def test_explained_fields_carry_help_default_aliases_and_kinds():
    rows = {row.path: row for row in explain_fields(Run)}
    assert rows["data"].default == "required"
    assert (rows["method.rank"].help, rows["method.rank"].default, rows["method.rank"].kinds) == ("Rank of the update.", "16", ("lora",))
    assert (rows["method.rank"].aliases, rows["method.rank"].is_main, rows["steps"].is_main) == (("rank",), True, False)
    assert (rows["method"].values, rows["images.crop"].aliases) == (("full", "lora"), ("center_crop",))


def test_json_schema_offers_every_kind():
    kinds = Run.model_json_schema()["properties"]["method"]["oneOf"]
    assert [kind["properties"]["kind"]["const"] for kind in kinds] == ["full", "lora"]


def test_two_kinds_of_one_name_are_refused():
    with pytest.raises(TypeError, match="'lora' is taken"):

        class Other(Method, kind="lora"):
            pass
