"""The end of a run: write the file, prove it, draw from it, and explain the run to whoever opens its folder."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from aquatint.core.family import Bundle, ModelFamily
from aquatint.core.rounding import held, hold, roundable
from aquatint.data.pictures import open_picture
from aquatint.data.records import ImageRecord
from aquatint.evaluation import proof
from aquatint.evaluation.report import write_readme, write_report
from aquatint.export.modelspec import of_architecture
from aquatint.families._quantised import quantised
from aquatint.families._sources import resolve
from aquatint.generation.drawing import draw
from aquatint.generation.sheet import sheet
from aquatint.training.exports import Answers, architecture, write_kohya
from aquatint.training.folder import RunFolder
from aquatint.training.objectives import end_in_noise, scheduler_lines
from aquatint.training.samples import Sampler
from aquatint.training.settings import Train

PACKAGES = ("aquatint", "torch", "diffusers", "transformers", "peft")
MAX_COLUMNS = 6


def in_place_of(bundle: Bundle, *, load: Callable[[], Bundle]) -> Bundle:
    """What `load` returns, on the device that `bundle` has left for the CPU before."""
    device = bundle.device
    bundle.to("cpu")
    return load().to(device)


def _asking(bundle: Bundle, prompt: str) -> dict[str, Any]:
    """What a program must know to ask the model for a picture."""
    pipeline, scheduler = (type(part).__name__ for part in (bundle.pipeline, bundle.pipeline.scheduler))
    network: Any = bundle.denoiser
    known = {"told": bundle.told, "sample_prompt": prompt, "pipeline": pipeline, "scheduler": scheduler}
    if bundle.told != "classes":
        return known
    (label,) = bundle.family.encode_prompts(bundle, [prompt])["class_labels"].tolist()
    return {**known, "label": label, "shape": [1, network.config.in_channels, bundle.resolution_px, bundle.resolution_px]}


@dataclass(frozen=True)
class Results:
    config: Train
    folder: RunFolder
    family: ModelFamily
    records: Sequence[ImageRecord]
    base_answer: Tensor
    """`proof.outputs` of the base, asked `proof.question`."""

    def write(self, bundle: Bundle, sampler: Sampler, *, step: int, facts: Mapping[str, Any]) -> proof.Proof:
        """`bundle` holds the weights to save, and is on the CPU afterwards.

        The device never holds two models: its peak is that of drawing samples between two steps. The CPU's memory does.
        Raises `Unproven`, with the file written, when it does not do what it should.
        """
        config, prompt = self.config, proof.question(bundle, self.config.trigger)
        trained = proof.outputs(bundle, self.family, prompt=prompt)
        saved = config.method.save(bundle, self.folder.path, facts=self._metadata(step, bundle))
        fresh = in_place_of(bundle, load=lambda: self._loaded(saved, bundle=bundle))
        loaded = proof.outputs(fresh, self.family, prompt=prompt)
        proven = proof.compare(saved, loaded=loaded, base=self.base_answer, trained=trained)
        after = list(draw(fresh, sampler.requests, batch_size=len(sampler.requests), precision=sampler.precision))
        sampler.keep(step, after)
        self._before_after(sampler, after)
        lines = config.method.loading_lines(type(fresh.pipeline).__name__, str(resolve(config.base)), saved=str(saved.resolve()))
        if config.loss.zero_terminal_snr:
            lines += scheduler_lines(fresh)
        more = {**_asking(fresh, sampler.requests[0].prompt), "loading_lines": lines}
        self.folder.write_facts(self._facts(saved, proven, more={**facts, **more}))
        try:
            if "kohya" in config.export:
                again = lambda file: proof.outputs(self._loaded(file, bundle=bundle), self.family, prompt=prompt)  # noqa: E731
                write_kohya(config, saved, bundle=bundle, answers=Answers(self.base_answer, trained, again))
        finally:
            self.pages()
        return proven

    def _loaded(self, saved: Path, *, bundle: Bundle) -> Bundle:
        """The file on a fresh base, held as `bundle` is: its weights are rounded after it is loaded, or the file's would be too."""
        with quantised(self.config.quantise):
            fresh = replace(self.family.load(self.config.base).freeze(), windows=bundle.windows)
        if self.config.loss.zero_terminal_snr:
            end_in_noise(fresh)
        layers = roundable(fresh.denoiser) if held(bundle.denoiser) else []
        self.config.method.load(fresh, saved)
        hold(layers)
        return fresh

    def pages(self) -> None:
        """`report.html` and `README.md`, from what lies in the folder."""
        write_report(self.folder.path)
        write_readme(self.folder.path)

    def _before_after(self, sampler: Sampler, after: Sequence[Image.Image]) -> None:
        first = sorted(self.folder.samples(0).glob("*.png"))
        if not first:
            return
        before = [Image.open(path) for path in first]
        pictures = [open_picture(record.place, matte=self.config.images.matte) for record in self.records[:MAX_COLUMNS]]
        rows: list[list[Image.Image]] = [pictures, [*before[:MAX_COLUMNS]], list(after[:MAX_COLUMNS])]
        titles = [request.prompt for request in sampler.requests[:MAX_COLUMNS]]
        sheet(rows, row_titles=["your pictures", "before", "after"], column_titles=titles).save(self.folder.before_after)

    def _metadata(self, step: int, bundle: Bundle) -> dict[str, str]:
        config = self.config
        side = (*config.images.resolutions, bundle.resolution_px)[0]
        own = {
            "ss_base_model_version": config.family, "ss_sd_model_name": config.base, "ss_steps": str(step),
            "ss_num_train_images": str(len(self.records)), "ss_network_module": f"aquatint.{config.method.kind}",
            "modelspec.title": self.folder.path.name, "modelspec.resolution": f"{side}x{side}",
            "modelspec.trigger_phrase": config.trigger or "", "modelspec.date": time.strftime("%Y-%m-%d"),
            "modelspec.implementation": f"aquatint {version('aquatint')}",
        }  # fmt: skip
        return own | of_architecture(architecture(config, bundle), own, is_v_prediction=bundle.objective.prediction == "v_prediction")

    def _facts(self, saved: Path, proven: proof.Proof, *, more: Mapping[str, Any]) -> dict[str, Any]:
        config = self.config
        num_bytes = sum(path.stat().st_size for path in config.method.files(saved))
        return {
            "base": config.base, "family": config.family, "method": config.method.kind, "num_pictures": len(self.records),
            "trigger": config.trigger, "file": saved.name, "file_bytes": num_bytes, "proof": asdict(proven),
            "versions": {package: version(package) for package in PACKAGES},
            **more,
        }  # fmt: skip
