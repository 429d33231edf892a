"""Recognise what a picture of the embedded model's world shows, for measuring only. B pictures, T things, P places."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

CONFIG, WEIGHTS = "config.json", "model.safetensors"
SIDE_PX = 64


class Judge(nn.Module):
    """A small residual network with one head for the thing and one for the place."""

    def __init__(self, *, things: Sequence[str], places: Sequence[str], widths: Sequence[int] = (32, 64, 96, 160)):
        super().__init__()
        self.things, self.places, self.widths = tuple(things), tuple(places), tuple(widths)
        stages: list[nn.Module] = []
        for width_in, width in zip((3, *widths), widths, strict=False):
            stages += [nn.Conv2d(width_in, width, 3, stride=2, padding=1), _Residual(width)]
        self.stages = nn.Sequential(*stages, nn.GroupNorm(8, widths[-1]), nn.SiLU())
        self.thing_head = nn.Linear(widths[-1], len(self.things))
        self.place_head = nn.Linear(widths[-1], len(self.places))

    def forward(self, pixels_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels in [-1, 1], 64 on each side, to logits of things (B, T) and places (B, P)."""
        features = self.stages(pixels_BCHW).mean((2, 3))
        return self.thing_head(features), self.place_head(features)

    @torch.no_grad()
    def classify(self, pixels_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """`forward` for any number of pictures of any size, without gradients, in float32."""
        device = self.thing_head.weight.device
        parts = [self(_resized(part.to(device, torch.float32))) for part in torch.split(pixels_BCHW, 256)]
        return torch.cat([thing for thing, _ in parts]), torch.cat([place for _, place in parts])

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config = {"things": self.things, "places": self.places, "widths": self.widths}
        (folder / CONFIG).write_text(json.dumps(config, indent=1))
        save_file({name: value.contiguous() for name, value in self.state_dict().items()}, folder / WEIGHTS)


def load_judge(folder: Path) -> Judge:
    """Raises `OSError` when the folder does not hold a judge."""
    judge = Judge(**json.loads((folder / CONFIG).read_text()))
    judge.load_state_dict(load_file(folder / WEIGHTS))
    return judge.eval()


def right(judge: Judge, pixels_BCHW: Tensor, *, things: Sequence[str], places: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Whether the judge sees the named thing and the named place first, two boolean tensors (B,)."""
    thing, place = (logits.argmax(1).cpu() for logits in judge.classify(pixels_BCHW))
    wanted_things = torch.tensor([judge.things.index(name) for name in things])
    wanted_places = torch.tensor([judge.places.index(name) for name in places])
    return thing == wanted_things, place == wanted_places


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        layers = [[nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)] for _ in range(2)]
        self.layers = nn.Sequential(*layers[0], *layers[1])

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = features + self.layers(features)
        return out


def _resized(pixels: Tensor) -> Tensor:
    if pixels.shape[-2:] == (SIDE_PX, SIDE_PX):
        return pixels
    return interpolate(pixels, size=(SIDE_PX, SIDE_PX), mode="bilinear", antialias=True, align_corners=False)
