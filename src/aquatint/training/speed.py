"""How fast a run went, counted from its own events."""

from dataclasses import dataclass

from aquatint.training.events import Event, Stepped


@dataclass
class Speed:
    num_steps: int = 0
    num_images: int = 0
    seconds: float = 0.0
    """Spent in steps; the rest of a run draws samples, measures and saves."""

    def take(self, event: Event) -> None:
        if isinstance(event, Stepped):
            self.num_steps += 1
            self.num_images += event.num_images
            self.seconds += event.seconds

    def measures(self, all_seconds: float, peak_gib: float) -> dict[str, float]:
        """Of this process's part of the run; empty when it made no step."""
        if not self.num_steps:
            return {}
        return {
            "images/s": self.num_images / self.seconds,
            "s/step": self.seconds / self.num_steps,
            "% beside steps": 100 * (1 - self.seconds / all_seconds),
            "peak GiB": peak_gib,
        }
