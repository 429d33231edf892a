"""What is alike among a hundred thousand pictures: fingerprints that differ in a few bits, corners that repeat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from aquatint.data.measures import CORNER_GRID, Measures, corner_map

NEAR_BITS = 6
"""Copies at half the size and JPEG quality 60 differ in 0 to 5 of 64 bits, most in one or none; those 15 % brighter too, but for a page
and a colour wheel whose whites clip (7). Among 6,555 pairs of different photographs and crops one came as near as 7, the next
14; the drawn pictures of the demo, white with a thing in the middle, come to 8."""
NEAR_TONES = 48
"""Of 255, in each of 4 x 4 mean colours: 15 % brighter is up to 38; the same drawing in another colour is more."""
BANDS = 4
"""Of 16 bits. Two fingerprints that differ in at most 7 bits differ in at most one bit in one of them (pigeonhole)."""
MAX_AT_ONCE = 2_000_000
"""Pairs that are compared at once, for memory's sake."""

SAMPLE = 2_000
"""Among so many pictures repeating corners are looked for; those found are then looked for in all."""
MARK_LIKENESS = 0.25
"""Cosine between a corner and the mean of the others with its mark. Corners without one: 0 +- 0.04."""
MARK_CELLS, LINE_SHARE = 16, 0.8
"""Cells that a mark needs in most of its corners, and how many of them may lie in two neighbouring rows or columns."""
FEWEST_MARKS = 4
"""Three pictures alike in a corner happen in a set of one place; four are a pattern."""
SEEDS, ROUNDS, MAX_MARKS = 24, 4, 3

_ONES = np.array([bin(value).count("1") for value in range(1 << 16)], np.uint8)


def close_pairs(fingerprints: NDArray[np.uint64], *, max_bits: int = NEAR_BITS) -> NDArray[np.int64]:
    """(num_pairs, 2): all pairs i < j whose fingerprints differ in at most `max_bits`, each once, in order.

    Only pairs that agree in one of four bands up to one bit are compared (multi-index hashing, Norouzi et al. 2012): for random
    fingerprints about one pair in a thousand. Raises ValueError for more than 7 bits, where that would miss some.
    """
    if max_bits >= 2 * BANDS:
        raise ValueError(f"{max_bits} bits: {BANDS} bands find pairs up to {2 * BANDS - 1}")
    found = [pairs[_num_apart(fingerprints, pairs) <= max_bits] for pairs in candidates(fingerprints)]
    return np.unique(np.concatenate([np.empty((0, 2), np.int64), *found]), axis=0)


def candidates(fingerprints: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """(num_pairs, 2) by portions: pairs i < j that agree in a band up to one bit; a pair may come several times."""
    for band in range(BANDS):
        keys = (fingerprints >> np.uint64(16 * band)).astype(np.int64) & 0xFFFF
        order = np.argsort(keys, kind="stable")
        starts = np.concatenate([[0], np.bincount(keys, minlength=1 << 16).cumsum()])
        for flipped in (0, *(1 << bit for bit in range(16))):
            wanted = keys ^ flipped
            counts = starts[wanted + 1] - starts[wanted]
            for portion in _portions(counts):
                total, firsts = counts[portion], starts[wanted[portion]]
                left = np.repeat(np.arange(portion.start, portion.stop), total)
                within = np.arange(len(left)) - np.repeat(total.cumsum() - total, total)
                right = order[np.repeat(firsts, total) + within]
                yield np.stack([left, right], axis=1)[left < right]


def groups_of(measures: Sequence[Measures]) -> list[list[int]]:
    """Indices of pictures that look alike, directly or through others, two or more in a group, in order."""
    fingerprints, first, place = np.unique(
        np.array([one.fingerprint for one in measures], np.uint64), return_index=True, return_inverse=True
    )  # fmt: skip
    tones = np.frombuffer(b"".join(one.tones.to_bytes(48, "big") for one in measures), np.uint8).reshape(-1, 48).astype(np.int16)
    by_tone = np.lexsort((tones.sum(axis=1), place.ravel()))  # equal fingerprints stand side by side: each is compared with the next
    beside = np.stack([by_tone[:-1], by_tone[1:]], axis=1)
    same = beside[place.ravel()[beside[:, 0]] == place.ravel()[beside[:, 1]]]
    pairs = np.concatenate([same, first[close_pairs(fingerprints)]])
    return joined_up(pairs[np.abs(tones[pairs[:, 0]] - tones[pairs[:, 1]]).max(axis=1) <= NEAR_TONES], num=len(measures))


def joined_up(pairs: Iterable[Sequence[int]] | NDArray[np.int64], *, num: int) -> list[list[int]]:
    """The connected groups of two or more among `num` things, in order."""
    parent = list(range(num))

    def root(one: int) -> int:
        while parent[one] != one:
            parent[one] = one = parent[parent[one]]
        return one

    for left, right in pairs.tolist() if isinstance(pairs, np.ndarray) else pairs:
        low, high = sorted((root(left), root(right)))
        parent[high] = low
    groups: dict[int, list[int]] = {}
    for one in range(num):
        groups.setdefault(root(one), []).append(one)
    return [group for group in groups.values() if len(group) > 1]


def num_bits_apart(left: int, right: int) -> int:
    return bin(left ^ right).count("1")


def marks(corners: Sequence[int]) -> list[list[int]]:
    """Groups of four or more pictures that show the same in one corner, given that corner of each.

    A mark on many grounds: the mean of the corners that have it shows the mark alone, and finds the others. The pictures should be
    different ones, for what is alike as a whole is alike in its corners.
    """
    found: list[list[int]] = []
    places = np.flatnonzero([corner != 0 for corner in corners])
    while len(places) >= FEWEST_MARKS and len(found) < MAX_MARKS:
        sample = places[np.unique(np.linspace(0, len(places) - 1, SAMPLE).astype(np.int64))]
        cells = _cells(corners, sample)
        if not len(members := _mark(cells)):
            break
        mark = _maps(cells)[members].mean(axis=0)
        mark /= np.linalg.norm(mark)
        portions = np.array_split(places, 1 + len(places) // SAMPLE)
        alike = np.concatenate([_maps(_cells(corners, portion)) @ mark > MARK_LIKENESS for portion in portions])
        group = np.union1d(sample[members], np.setdiff1d(places[alike], sample))
        found.append(group.tolist())
        places = np.setdiff1d(places, group)
    return found


def _cells(corners: Sequence[int], places: NDArray[np.int64]) -> NDArray[np.uint8]:
    return np.stack([corner_map(corners[place]) for place in places.tolist()])


def _maps(cells: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Centred and of length 1: their products are cosines."""
    maps = cells - cells.mean(axis=1, keepdims=True, dtype=np.float32)
    normed: NDArray[np.float32] = maps / np.linalg.norm(maps, axis=1, keepdims=True)
    return normed


def _mark(cells: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The largest group among (num_corners, num_cells) that shares a mark; empty if there is none."""
    maps, best = _maps(cells), np.empty(0, np.int64)
    alike = maps @ maps.T
    np.fill_diagonal(alike, -1)
    promise = np.partition(alike, 1 - FEWEST_MARKS, axis=1)[:, 1 - FEWEST_MARKS]
    for seed in np.argsort(-promise)[:SEEDS]:
        members = _settled(maps, np.append(np.argsort(-alike[seed])[: FEWEST_MARKS - 1], seed))
        if len(members) > len(best) and _is_mark(cells[members]):
            best = members
    return best


def _settled(maps: NDArray[np.float32], members: NDArray[np.int64]) -> NDArray[np.int64]:
    """The members of a mark that begins with some, each held against the mean of the others; empty if too few remain."""
    for _ in range(ROUNDS):
        is_member = np.zeros((len(maps), 1), np.float32)
        is_member[members] = 1
        others = maps[members].sum(axis=0) - maps * is_member
        likeness = (maps * others).sum(axis=1) / np.maximum(np.linalg.norm(others, axis=1), 1e-6)
        members = np.flatnonzero(likeness > MARK_LIKENESS)
        if len(members) < FEWEST_MARKS:
            return members[:0]
    return members


def _is_mark(cells: NDArray[np.uint8]) -> bool:
    """Whether most members agree on enough cells, and these are more than a line along a border."""
    agreed = (cells.mean(axis=0) >= 0.5).reshape(CORNER_GRID[1], CORNER_GRID[0])
    lines = [np.convolve(agreed.sum(axis=axis), (1, 1)).max() for axis in (0, 1)]
    return bool(agreed.sum() >= MARK_CELLS and max(lines) <= LINE_SHARE * agreed.sum())


def _num_apart(fingerprints: NDArray[np.uint64], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    differing = fingerprints[pairs[:, 0]] ^ fingerprints[pairs[:, 1]]
    counts: NDArray[np.int64] = _ONES[differing.view(np.uint16).reshape(-1, 4)].sum(axis=1, dtype=np.int64)
    return counts


def _portions(counts: NDArray[np.int64]) -> Iterator[slice]:
    """Stretches whose counts sum to about `MAX_AT_ONCE`."""
    upto, start = counts.cumsum(), 0
    while start < len(counts):
        before = upto[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(upto, before + MAX_AT_ONCE, side="right")))
        yield slice(start, stop)
        start = stop
