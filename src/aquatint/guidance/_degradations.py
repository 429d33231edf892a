"""What was done to a picture before it was measured: settings that read what is left of it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from zipfile import BadZipFile
from zlib import error as ZlibError

from pydantic import Field, PositiveFloat

from aquatint.config import Choice
from aquatint.errors import BadFile, BadSetting, why

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from aquatint.core.operators import Operator

K_SPACE = (".npy", ".npz")
LITTLE = 1e-3
"""Variance beside that of the picture: waves that a blur has taken away would else be nothing but noise."""
MOST_ASKEW = 0.1
"""Share of the k-space's energy by which it may differ from that of a real picture."""


@dataclass(frozen=True)
class Given:
    """A measurement, and the size of the picture that it is of."""

    operator: Operator
    y: Tensor
    """(1, 3, H, W) in [-1, 1], or complex (1, 1, H, W)."""
    size_px: tuple[int, int]
    """Width and height."""

    @property
    def simple(self) -> Tensor:
        """(1, C, H, W): what the measurement shows without a model, A* (A A* + s)^-1 y with little s; what it does not show is grey."""
        return self.operator.adjoint(self.operator.solve(self.y, signal=1.0, noise=LITTLE))


class Degradation(Choice, default_kind="denoise"):
    """What is known of how a picture was spoiled."""

    default_noise: ClassVar[float] = 0.0

    @abstractmethod
    def given(self, picture: Image) -> Given:
        """`picture` is what is left. Raises `BadSetting` for options that do not fit it."""

    def given_file(self, path: Path) -> Given:
        from aquatint.data.pictures import open_picture

        return self.given(open_picture(path))

    def fitted(self, picture: Image, side_px: int) -> Given:
        """Scaled and cropped first, so that the whole picture is a square of that side."""
        return self.given(_square(picture, side_px))


class Denoise(Degradation, kind="denoise"):
    """Noise, and nothing else: say how much by `noise`."""

    default_noise: ClassVar = 0.1

    def given(self, picture: Image) -> Given:
        import torch

        from aquatint.core.operators import Masked

        return Given(Masked(torch.ones(1, 1, picture.height, picture.width)), _pixels(picture), picture.size)


class Inpaint(Degradation, kind="inpaint"):
    """Places without a picture."""

    mask: Path
    """A picture of the same size: white where something is missing."""

    def given(self, picture: Image) -> Given:
        from aquatint.data.pictures import open_picture

        mask = open_picture(self.mask)
        self._check(mask, picture)
        return self._around(picture, mask)

    def fitted(self, picture: Image, side_px: int) -> Given:
        from aquatint.data.pictures import open_picture

        mask = open_picture(self.mask)
        self._check(mask, picture)
        return self._around(_square(picture, side_px), _square(mask, side_px))

    def _check(self, mask: Image, picture: Image) -> None:
        if mask.size != picture.size:
            raise BadSetting(f"operator.mask={self.mask}: it has {_by(mask.size)} px and the picture {_by(picture.size)}; they must agree")

    def _around(self, picture: Image, mask: Image) -> Given:
        from aquatint.core.operators import Masked

        known = (_pixels(mask)[:, :1] < 0).float()
        return Given(Masked(known), _pixels(picture) * known, picture.size)


class Superres(Degradation, kind="superres"):
    """A picture of fewer pixels, each the mean of a square."""

    factor: int = Field(4, ge=2, le=16)
    """How many times longer the sides become."""

    def given(self, picture: Image) -> Given:
        from aquatint.core.operators import Averaged

        return Given(Averaged(self.factor), _pixels(picture), (picture.width * self.factor, picture.height * self.factor))

    def fitted(self, picture: Image, side_px: int) -> Given:
        return super().fitted(picture, max(1, side_px // self.factor))


class Deblur(Degradation, kind="deblur"):
    """A blurred picture; beyond its edges it is taken to go on with the opposite side."""

    std_px: PositiveFloat | None = None
    """Of a Gaussian blur, in pixels. Not given, nor a kernel: 2."""
    kernel: Path | None = None
    """A small picture of what a point became."""

    def given(self, picture: Image) -> Given:
        from aquatint.core.operators import Blurred

        return Given(Blurred(self._kernel()), _pixels(picture), picture.size)

    def _kernel(self) -> Tensor:
        from aquatint.core.operators import gaussian_kernel
        from aquatint.data.pictures import open_picture

        if self.kernel is None:
            return gaussian_kernel(self.std_px or 2.0)
        if self.std_px:
            raise BadSetting("operator.std_px says nothing beside operator.kernel; leave one of them out")
        spot = (_pixels(open_picture(self.kernel)).mean(1)[0] + 1) / 2
        if not float(spot.sum()):
            raise BadSetting(f"operator.kernel={self.kernel}: all of it is black")
        if not all(side % 2 for side in spot.shape):
            raise BadSetting(f"operator.kernel={self.kernel}: its sides are even, so it has no middle; make them odd")
        return spot / spot.sum()


class Mri(Degradation, kind="mri"):
    """A Cartesian scan of few lines: k-space from a file, or simulated from a picture or scan."""

    acceleration: float = Field(4.0, ge=1, le=64)
    """Of a simulated scan: one line in so many is measured. A file tells by its zeros."""
    centre: float = Field(0.08, ge=0, le=1)
    """Share of the lines around the lowest frequency that are all measured."""
    lines_seed: int = Field(0, ge=0)
    """Which of the others are."""

    def given(self, picture: Image) -> Given:
        from aquatint.core.operators import Sampled, lines

        grey = _pixels(picture).mean(1, keepdim=True)
        shape = (picture.height, picture.width)
        operator = Sampled(lines(shape, acceleration=self.acceleration, centre=self.centre, seed=self.lines_seed))
        return Given(operator, operator.forward(grey), picture.size)

    def given_file(self, path: Path) -> Given:
        return self._of_k_space(path) if path.suffix.lower() in K_SPACE else super().given_file(path)

    def _of_k_space(self, path: Path) -> Given:
        import numpy as np
        import torch

        from aquatint.core.operators import Sampled, mirrored

        if idle := self.model_fields_set & {"acceleration", "centre", "lines_seed"}:
            raise BadSetting(f"operator.{min(idle)} says nothing of k-space that was measured already: {path} tells by its zeros")
        data = torch.fft.ifftshift(_k_space(path))
        both, mask = mirrored(data, (data.abs() > 0).float())
        missing = float(((both * (data.abs() > 0)) - data).abs().square().sum() / data.abs().square().sum())
        if missing > MOST_ASKEW:
            reason = f"{missing:.0%} of its energy is not that of a real picture"
            raise BadFile(f"{path}: {reason}, so the picture has a phase; take that out first (k-space of one coil's magnitude)")
        operator = Sampled(mask)
        shown = operator.adjoint(both[None, None])
        scale = 1 / max(float(np.quantile(shown.abs().numpy(), 0.995)), 1e-12)
        y = 2 * scale * both[None, None] - operator.forward(torch.ones_like(shown))  # of a picture in [-1, 1]
        return Given(operator, y, (data.shape[1], data.shape[0]))


def _k_space(path: Path) -> Tensor:
    """(H, W) complex, zero frequency in the middle, as scanners' files have it. Raises `BadFile`."""
    import numpy as np
    import torch

    try:
        found = np.load(path, allow_pickle=False)
        found = found[found.files[0]] if hasattr(found, "files") else found
    except (OSError, ValueError, IndexError, EOFError, BadZipFile, ZlibError) as error:
        raise BadFile(f"{path}: this is no array that can be read ({why(error)})") from None
    if found.ndim != 2 or not np.iscomplexobj(found):
        raise BadFile(f"{path}: k-space is a complex array (rows, columns), and this is {found.dtype} {list(found.shape)}")
    if not np.isfinite(found).all() or not np.any(found):
        raise BadFile(f"{path}: it holds {'numbers that are not finite' if np.any(found) else 'nothing but zeros'}")
    return torch.from_numpy(found.astype("complex64"))


def _pixels(picture: Image) -> Tensor:
    from aquatint.data.transforms import to_tensor

    return to_tensor(picture)[None]


def _square(picture: Image, side_px: int) -> Image:
    """As training crops."""
    from aquatint.data.transforms import View, fit

    return fit(picture, View((side_px, side_px)))[0]


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
