"""Captions for pictures without one, from an image-to-text model; they are kept in the cache and never written beside the pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aquatint.data.findings import Finding, counted
from aquatint.data.places import Entry, state_of
from aquatint.errors import AquatintError, why

if TYPE_CHECKING:
    from PIL.Image import Image

    from aquatint.data.cache import TensorCache

MAX_TOKENS = 60
AT_ONCE = 8
QUESTION = "Describe this picture in one short sentence."
"""Put to a model that talks; one that only describes is asked nothing."""
SHOWN = 3


class BadCaptioner(AquatintError):
    """The captioner cannot be found, or is not a model that describes pictures."""


@dataclass(frozen=True)
class Captioner:
    """A transformers image-to-text model: a folder, or a Hub id."""

    source: str
    prompt: str = ""
    """What the caption begins with, or what a model that talks is asked; default: nothing, or `QUESTION`."""
    device: str = "cpu"

    def identity(self) -> str:
        """Changes when the model may have changed: the state of a folder's files, or the commit of a Hub id. Raises BadCaptioner."""
        folder = Path(self.source).expanduser()
        if folder.is_dir():
            return "+".join(state_of(file) for file in sorted(folder.iterdir()) if file.is_file())
        from transformers import AutoConfig

        return f"{self.source}@{getattr(self._loaded(AutoConfig), '_commit_hash', None)}"

    def captions(self, hashes: Sequence[str], opened: Callable[[int], Image], *, cache: TensorCache | None = None) -> list[str]:
        """What each picture shows, on one line, perhaps nothing; `hashes` tell the pictures apart.

        `opened(i)` is called only for pictures that the cache does not know; without any of these the model is not even loaded.
        The most likely word is taken each time, so a picture has one caption. Raises BadCaptioner.
        """
        import torch

        from aquatint.data.cache import TensorCache, entry_key
        from aquatint.data.kept import default_root

        about = ("caption", self.identity(), self.prompt, str(MAX_TOKENS))
        ask: list[Callable[[list[Image]], list[str]]] = []

        def compute(indices: Sequence[int]) -> list[dict[str, torch.Tensor]]:
            if not ask:
                ask.append(self._model())
            told = ask[0]([opened(index).convert("RGB") for index in indices])
            return [{"utf8": torch.tensor(list(text.encode()), dtype=torch.uint8)} for text in told]

        kept = cache or TensorCache(default_root())
        entries = kept.get_many([entry_key(*about, content) for content in hashes], compute, chunk=AT_ONCE)
        return [bytes(entry["utf8"].tolist()).decode() for entry in entries]

    def _model(self) -> Callable[[list[Image]], list[str]]:
        """Pictures -> their captions."""
        import torch
        from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

        from aquatint.core.memory import unswept

        with unswept():
            model = self._loaded(AutoModelForImageTextToText, dtype=torch.float32, use_safetensors=True).eval().to(self.device)
            processor = self._loaded(AutoProcessor)
            is_whole = hasattr(processor, "image_processor") and hasattr(processor, "tokenizer")
            words = processor.tokenizer if is_whole else self._loaded(AutoTokenizer)
            see = processor if is_whole else self._loaded(AutoImageProcessor)
        prompt, can_talk = self.prompt, bool(getattr(processor, "chat_template", None))

        def inputs(pictures: list[Image]) -> Any:
            if can_talk:
                content = [{"type": "image", "image": pictures[0]}, {"type": "text", "text": prompt or QUESTION}]
                how = {"tokenize": True, "return_dict": True, "add_generation_prompt": True}
                return see.apply_chat_template([{"role": "user", "content": content}], return_tensors="pt", **how)
            if not prompt:
                return see(images=pictures, return_tensors="pt")
            if is_whole:
                return see(images=pictures, text=[prompt] * len(pictures), return_tensors="pt")
            begun = words([prompt] * len(pictures), return_tensors="pt", add_special_tokens=False)
            return {**see(images=pictures, return_tensors="pt"), "decoder_input_ids": begun["input_ids"]}

        def ask(pictures: list[Image]) -> list[str]:
            given = {name: value.to(self.device) for name, value in inputs(pictures).items()}
            with torch.no_grad():
                tokens = model.generate(**given, max_new_tokens=MAX_TOKENS, do_sample=False)
            answer = tokens[:, given["input_ids"].shape[1] :] if can_talk else tokens
            return [" ".join(text.split()) for text in words.batch_decode(answer, skip_special_tokens=True)]

        return (lambda pictures: [text for picture in pictures for text in ask([picture])]) if can_talk else ask

    def _loaded(self, kind: Any, **options: Any) -> Any:
        """A part of the model, without bars and notices. Raises BadCaptioner."""
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        source = str(Path(self.source).expanduser()) if self.source.startswith("~") else self.source
        try:
            return kind.from_pretrained(source, trust_remote_code=False, **options)
        except Exception as error:  # transformers, safetensors and the Hub each have error classes of their own
            raise BadCaptioner(f"images.captioner={self.source}: {why(error)}") from error


def fill(
    entries: Sequence[Entry],
    captioner: Captioner,
    *,
    hashes: Sequence[str],
    opened: Callable[[Entry], Image],
    cache: TensorCache | None = None,
) -> tuple[list[Entry], list[Finding]]:
    """The entries, those without a caption with the captioner's, and a note of how many; `hashes` are of the pictures' content.

    `opened` decodes a picture; it is called for those alone that the cache does not know. Raises BadCaptioner.
    """
    bare = [index for index, entry in enumerate(entries) if not (entry.caption or "").strip()]
    if not bare:
        return list(entries), []
    texts = captioner.captions([hashes[index] for index in bare], lambda index: opened(entries[bare[index]]), cache=cache)
    told = {index: text for index, text in zip(bare, texts, strict=True) if text}
    filled = [replace(entry, caption=told.get(index, entry.caption)) for index, entry in enumerate(entries)]
    examples = "; ".join(f"{entries[index].name}: {text}" for index, text in list(told.items())[:SHOWN])
    what = f"described {counted(len(told), 'picture')} of {len(bare):,} without a caption, such as {examples or 'none'}"
    return filled, [Finding("note" if len(told) == len(bare) else "warning", captioner.source, what)]
