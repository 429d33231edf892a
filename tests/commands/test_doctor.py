"""`aquatint doctor`: a line an item, a fix a failure, an exit code (R2)."""

import os
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from aquatint import cli
from aquatint.commands.doctor import (
    CHECKS,
    OPTIONAL,
    Doctor,
    Finding,
    NotReady,
    check_disk,
    check_network,
    check_packages,
    is_supported,
    run,
)


def findings(check, **settings) -> dict[str, Finding]:
    return {finding.item: finding for finding in check(Doctor(**settings))}


def test_every_item_has_its_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("AQUATINT_CACHE", str(tmp_path / "cache"))
    lines = list(run(Doctor(out=tmp_path, min_disk_gib=0, min_memory_gib=0)))
    items = [line[6:22].strip() for line in lines[:-1]]
    for item in ("python", "torch", "torch build", "CPU", "memory", "run folder", "cache", "hub cache", "hub", *OPTIONAL):
        assert items.count(item) == 1, item
    assert any(item.startswith("GPU") for item in items)
    assert f"torch            {version('torch')}" in "\n".join(lines)
    assert len(CHECKS) == 7
    assert not list(tmp_path.iterdir())  # nothing is left behind


def test_failures_come_with_a_fix_and_a_non_zero_exit(tmp_path):
    stream, lines = run(Doctor(out=tmp_path, min_disk_gib=1e9)), []
    with pytest.raises(NotReady, match="run folder") as caught:
        lines.extend(stream)
    assert caught.value.exit_code == 1
    with pytest.raises(SystemExit) as left:
        cli.main(["doctor", str(tmp_path), "min_disk_gib=1e9"])
    assert left.value.code == 1


def test_a_folder_that_cannot_be_written_is_found(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("AQUATINT_CACHE", str(tmp_path / "file" / "cache"))
    found = findings(check_disk, out=tmp_path, min_disk_gib=0)
    assert found["run folder"].status == "ok"
    assert found["cache"].status == "FAIL"
    assert "AQUATINT_CACHE" in found["cache"].fix


@pytest.mark.skipif(sys.platform != "linux", reason="/proc refuses files even to root")
def test_a_folder_that_refuses_files_is_found():
    assert findings(check_disk, out=Path("/proc/nowhere"), min_disk_gib=0)["run folder"].status == "FAIL"


def test_versions_are_those_installed_and_asked_for(tmp_path, monkeypatch):
    assert findings(check_packages)["diffusers"] == Finding("ok", "diffusers", version("diffusers"))
    info = tmp_path / "aquatint-9.dist-info"
    info.mkdir()
    needs = ["pydantic>=99", "not-on-this-machine>1", "pillow", "gradio; extra == 'studio'"]
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: aquatint\nVersion: 9\n" + "".join(f"Requires-Dist: {n}\n" for n in needs))
    monkeypatch.syspath_prepend(tmp_path)
    found = findings(check_packages)
    assert {name for name, f in found.items() if f.status == "FAIL"} == {"pydantic", "not-on-this-machine"}
    assert {name for name, f in found.items() if f.status == "ok"} == {"aquatint", "pillow"}
    assert found["not-on-this-machine"].fix == "python -m pip install 'not-on-this-machine>1'"


@pytest.mark.parametrize(("value", "expected"), [("1", "offline"), ("0", "online"), ("", "online")])
def test_the_offline_flag_is_told(monkeypatch, value, expected):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert findings(check_network)["hub"].text.startswith(expected)


@pytest.mark.parametrize(
    ("capability", "architectures", "expected"),
    [
        ((9, 0), ["sm_80", "sm_90"], True),
        ((8, 9), ["sm_80", "sm_90"], True),
        ((8, 0), ["sm_86", "sm_90a"], False),
        ((6, 1), ["sm_75", "sm_80"], False),
        ((12, 0), ["sm_90", "compute_90"], True),
        ((12, 0), ["sm_90", "sm_100"], False),
        ((12, 1), ["sm_120"], True),
    ],
)
def test_device_capability_against_the_build(capability, architectures, expected):
    assert is_supported(capability, architectures) is expected


def test_paths_of_the_hub_follow_its_variables(monkeypatch, tmp_path):
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert str(tmp_path / "hub") + "," in findings(check_disk, min_disk_gib=0)["hub cache"].text
    assert os.environ["HF_HOME"] == str(tmp_path)
