"""Progress of long loops."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

#: Loops of fewer steps never show a bar; the others do after DELAY seconds.
STEPS = 50
DELAY = 3.0


def progress(steps: Sequence[int], what: str) -> Iterable[int]:
    """Go through the steps, with a bar that shows when it takes long.

    Examples
    --------
    >>> list(progress(range(3), "units"))
    [0, 1, 2]
    """
    if len(steps) < STEPS:
        return steps
    from tqdm import tqdm

    bar: Iterable[int] = tqdm(steps, desc=what, delay=DELAY, leave=False)
    return bar
