"""The two proofs that a fine-tuning of the embedded model learns: a subject it has never seen, and a style."""

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL.Image import Image

from aquatint.core.family import Bundle
from aquatint.evaluation.ink import distance_from_ink, printed
from aquatint.evaluation.learning import Measures, Question, answer, kept_measures, questions, read_pictures, subject_measures
from aquatint.evaluation.world import World

NUM_SUBJECT, NUM_KEPT, NUM_STYLE = 64, 64, 48
SEED = 1000
SHOWN_PLACES = ("on the moon", "on a beach", "in the night sky", "in front of a brick wall", "on a pink background", "in the desert")
SHOWN_KEPT = ("fox", "red apple")


@dataclass(frozen=True)
class Subject:
    """Does a made-up word now mean the thing of the pictures, in places where it was never shown, and is the rest kept?"""

    world: World
    thing: str
    word: str
    pictures_dir: Path
    precision: torch.dtype

    def measure(self, bundle: Bundle) -> Measures:
        seen = "\n".join(path.read_text() for path in self.pictures_dir.glob("*.txt"))
        unseen = [place for place in self.world.places if place not in seen]
        asked = questions([(f"a {self.word}", self.thing)], unseen, num=NUM_SUBJECT, seed=SEED)
        others = questions([(phrase, thing) for thing, phrase in self.world.trained.items()], self.world.places, num=NUM_KEPT, seed=SEED)
        references, judge = list(read_pictures(self.pictures_dir)), self.world.judge
        drawn, kept = (answer(bundle, group, precision=self.precision) for group in (asked, others))
        about_subject = subject_measures(drawn, judge=judge, clip=self.world.clip, references=references)
        return {**about_subject, **kept_measures(kept, judge=judge)}

    def show(self, bundle: Bundle) -> list[Image]:
        """The subject in `SHOWN_PLACES`, then two unrelated prompts."""
        return list(answer(bundle, self.shown(), precision=self.precision).pictures)

    def shown(self) -> list[Question]:
        about = [Question(f"a {self.word} {place}", self.thing, place, SEED + i) for i, place in enumerate(SHOWN_PLACES)]
        kept = [Question(f"{self.world.trained[thing]} on a beach", thing, "on a beach", SEED + i) for i, thing in enumerate(SHOWN_KEPT)]
        return about + kept


@dataclass(frozen=True)
class Style:
    """Does `…, in the style of WORD` now print in one ink, and do other prompts stay in colour?"""

    world: World
    word: str
    pictures_dir: Path
    precision: torch.dtype

    def measure(self, bundle: Bundle) -> Measures:
        phrases = [(phrase, thing) for thing, phrase in self.world.trained.items()]
        asked = questions(phrases, self.world.places, num=NUM_STYLE, seed=SEED)
        styled = answer(bundle, [self._styled(q) for q in asked], precision=self.precision)
        plain = answer(bundle, asked, precision=self.precision)
        return {
            "in style": printed(styled.pictures),
            "ink distance": [distance_from_ink(picture) for picture in styled.pictures],
            "CLIP-image": self.world.clip.to_pictures(styled.pictures, list(read_pictures(self.pictures_dir))),
            "CLIP-text": self.world.clip.to_texts(styled.pictures, [q.prompt for q in asked]),
            "plain stays plain": [1.0 - value for value in printed(plain.pictures)],
            **kept_measures(plain, judge=self.world.judge),
        }

    def show(self, bundle: Bundle) -> list[Image]:
        return list(answer(bundle, self.shown(), precision=self.precision).pictures)

    def shown(self) -> list[Question]:
        pairs = [("panda", "in the desert"), ("rocket", "on the moon"), ("hamburger", "on a wooden table"), ("penguin", "on a beach")]
        pairs += [("sunflower", "on a purple background"), ("snail", "in a meadow")]
        asked = [Question(f"{self.world.trained[thing]} {place}", thing, place, SEED + i) for i, (thing, place) in enumerate(pairs)]
        return [self._styled(question) for question in asked] + asked[:2]

    def _styled(self, question: Question) -> Question:
        return Question(f"{question.prompt}, in the style of {self.word}", question.thing, question.place, question.seed)


Proof = Subject | Style
