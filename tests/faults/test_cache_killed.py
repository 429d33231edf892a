"""Caching that is killed at any moment goes on where it was, and ends with the same cache, to the bit. R19."""

import json
import subprocess
import sys
from pathlib import Path

NUM_KILLS = 20
PROGRAM = """
import json, os, random, signal, sys, time
from pathlib import Path

root, data, base = (Path(name) for name in sys.argv[1:4])
num_kills = int(sys.argv[4])

from aquatint.commands import cache
from aquatint.data import cache as caching
from aquatint.data.shards import keys_of, read_entries
from aquatint.training import encoding
from aquatint.registry import families
from aquatint.training import session

families["sd"].load(base)  # everything is imported once, before any of the forks
SHOWN = ["images.flip=true", "images.buckets=false", "images.crop=random", "images.crops=20"]
caching.FLUSH_ENTRIES, encoding.PICTURES_AT_ONCE, encoding.PROMPTS_AT_ONCE = 6, 3, 5

def start(folder):
    os.environ["AQUATINT_CACHE"] = str(folder)
    if pid := os.fork():
        return pid
    settings = [f"data={data}", f"base={base}", "resolution=16", *SHOWN, "prior.num=0", "precision=fp32", "cpu=true"]
    for _ in cache.run(cache.Cache.read([*settings, f"out={folder}-out"])):
        pass
    os._exit(0)

def finish(folder):
    begun = time.perf_counter()
    _, status = os.waitpid(start(folder), 0)
    assert status == 0, status
    return time.perf_counter() - begun

def content(folder):
    found = {}
    for shard in folder.glob("*.safetensors"):
        for key, entry in read_entries(shard, keys_of(shard)).items():
            found[key] = {name: tensor.numpy().tobytes() for name, tensor in entry.items()}
    return found

seconds = finish(root / "unbroken")
expected, rng, kept = content(root / "unbroken"), random.Random(0), []
for index in range(num_kills):
    folder = root / str(index)
    pid = start(folder)
    time.sleep(seconds * rng.random())
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    kept.append(len(content(folder)))
    finish(folder)
    assert content(folder) == expected, index
print(json.dumps({"entries": len(expected), "kept": kept}))
"""


def test_killed_at_twenty_moments_the_cache_becomes_the_same(photos: Path, tiny_sd: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(photos), str(tiny_sd), str(NUM_KILLS)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    found = json.loads(said.stdout.splitlines()[-1])
    assert len(found["kept"]) == NUM_KILLS
    assert sum(0 < kept < found["entries"] for kept in found["kept"]) >= 3  # some were killed in the midst of it
