"""A training step of the embedded model's network with freed memory kept and without: `python benchmarks/memory.py [ROUNDS]`.

Each child process does one of the two; they take turns, so that a machine that grows busy slows both.
"""

import subprocess
import sys
import time
from statistics import median

import record

NUM_STEPS, BATCH_SIZE = 30, 8


def main(num_rounds: int) -> None:
    record.warn_if_busy()
    found: dict[str, list[float]] = {"kept": [], "given back": []}
    for _ in range(num_rounds):
        for how, seconds in found.items():
            said = subprocess.run([sys.executable, __file__, "--child", how], check=True, capture_output=True, text=True).stdout
            seconds.append(float(said.split()[-1]))
            print(f"{how:<10} {seconds[-1] * 1e3:.0f} ms a step", flush=True)
    ratio = median(found["given back"]) / median(found["kept"])
    print(f"{ratio:.2f} times as fast with freed memory kept")
    print(record.write("memory", {"seconds_per_step": found, "ratio": ratio}))


def child(how: str) -> None:
    import torch

    from aquatint.core.memory import keep_freed_memory
    from aquatint.methods.lora import LoRA
    from aquatint.registry import families

    if how == "kept" and not keep_freed_memory():
        raise SystemExit("this C library has no mallopt")
    bundle = families["sd"].load("pocket").freeze()
    trained = list(LoRA().attach(bundle, families["sd"]).values())
    unet = bundle.denoiser
    x, t = torch.randn(BATCH_SIZE, unet.config.in_channels, 16, 16), torch.arange(BATCH_SIZE)
    told, seconds = torch.randn(BATCH_SIZE, 32, unet.config.cross_attention_dim), []
    for _ in range(NUM_STEPS):
        begun = time.perf_counter()
        unet(x, t, encoder_hidden_states=told, return_dict=False)[0].square().mean().backward()
        for parameter in trained:
            parameter.grad = None
        seconds.append(time.perf_counter() - begun)
    print(median(seconds[5:]))


if __name__ == "__main__":
    child(sys.argv[2]) if sys.argv[1:2] == ["--child"] else main(int(sys.argv[1]) if sys.argv[1:] else 3)
