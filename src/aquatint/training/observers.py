"""What happens beside the loop: samples and measurements, woven into the stream of events as events of their own."""

from collections.abc import Callable, Iterator
from contextlib import closing

from aquatint.training.events import Event, Started, Stepped

Due = Callable[[int], bool]


def regularly(every: int, num_steps: int, *, ends: bool = True) -> Due:
    """At step 0 and every `every` steps; at the last step if it `ends` so; never when `every` is 0."""
    return lambda step: every > 0 and (ends if step == num_steps else step % every == 0)


def interleaved(events: Iterator[Event], act: Callable[[int], Event], *, due: Due) -> Iterator[Event]:
    """Pass events on, and after the first one and after each step that is due, what `act(step)` returns."""
    with closing(events):  # type: ignore[type-var]  # every stream of events is a generator
        for event in events:
            yield event
            is_fresh = isinstance(event, Started) and event.step == 0
            if (is_fresh or isinstance(event, Stepped)) and due(event.step):
                yield act(event.step)
