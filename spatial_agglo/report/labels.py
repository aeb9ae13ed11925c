"""Labels in a scatter plot that hide neither points nor one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spatial_agglo.report.style import root_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

#: Directions (degrees) in which a label is tried, the most readable first; distances in points.
DIRECTIONS = (0, 180, 90, 270, 45, 135, 315, 225, 22, 158, 338, 202, 67, 113, 247, 293)
DISTANCES = (4.0, 7.0, 11.0, 16.0, 22.0)
#: Distance of a label from the edge of the axes, and from a point, in points.
EDGE, GAP = 3.0, 1.5
#: Radius of a point with its rim.
MARKER = 2.4
_CORNERS = {
    "ur": ((1, 1), "right", "top"),
    "ul": ((0, 1), "left", "top"),
    "ll": ((0, 0), "left", "bottom"),
    "lr": ((1, 0), "right", "bottom"),
}


class Labeller:
    """Writes labels one after another, each where it collides least with what is there.

    Parameters
    ----------
    ax : Axes
        Its limits are final.
    x, y : ndarray
        The points.
    line : (x, y)
        Ends of a line to be kept clear.
    """

    def __init__(self, ax: Axes, x: NDArray, y: NDArray, line: tuple[NDArray, NDArray]) -> None:
        self.ax = ax
        self.x, self.y = x, y
        self.figure = root_figure(ax)
        # The layout moves the axes; labels are placed where they will be drawn.
        self.figure.draw_without_rendering()
        self.points = ax.transData.transform(np.column_stack([x, y]))
        self.centre = ax.transData.transform((0.0, 0.0))
        t = np.linspace(0.0, 1.0, 200)
        ends = ax.transData.transform(np.column_stack(line))
        self.line = ends[0] + t[:, None] * (ends[1] - ends[0])
        self.boxes: dict[str, Bbox] = {}

    @property
    def pixel(self) -> float:
        """Pixels per point."""
        return float(self.figure.dpi) / 72.0

    def corner(
        self,
        where: str,
        text: str,
        *,
        color: str,
        size: float,
        weight: str = "normal",
        below: str = "",
    ) -> None:
        """Write into a corner ("ur", "ul", "ll", "lr"), beside a label that is there."""
        at, ha, va = _CORNERS[where]
        inward = (1 - 2 * at[0], 1 - 2 * at[1])
        shift = 0.0
        if below in self.boxes:
            shift = (self.boxes[below].height / self.pixel + 2 * GAP) * inward[1]
        note = self.ax.annotate(
            text,
            at,
            xycoords="axes fraction",
            xytext=(EDGE * inward[0], EDGE * inward[1] + shift),
            textcoords="offset points",
            ha=ha,
            va=va,
            color=color,
            fontsize=size,
            fontweight=weight,
            zorder=4,
        )
        self.boxes[text] = self._box(note)

    def point(self, i: int, text: str, *, color: str, size: float) -> None:
        """Write the label of point i near it; a thin line leads to it from farther away."""
        from matplotlib.patheffects import withStroke

        best: tuple[float, float, int] | None = None
        note = self.ax.annotate(
            text,
            (self.x[i], self.y[i]),
            xytext=(0.0, 0.0),
            textcoords="offset points",
            color=color,
            fontsize=size,
            zorder=4,
            path_effects=[withStroke(linewidth=1.6, foreground="white")],
        )
        for distance in DISTANCES:
            for direction in DIRECTIONS:
                self._move(note, direction, distance)
                cost = self._cost(self._box(note), i) + 0.02 * distance
                if best is None or cost < best[0]:
                    best = (cost, distance, direction)
            if best is not None and best[0] < 0.5:
                break
        assert best is not None
        _, distance, direction = best
        self._move(note, direction, distance)
        self.boxes[f"point {i}"] = self._box(note)
        if distance > DISTANCES[1]:
            self._lead(i, self.boxes[f"point {i}"], color)

    def _move(self, note: Annotation, direction: int, distance: float) -> None:
        """Put a label beside its point; above and below, slide it into the axes."""
        dx, dy = np.cos(np.radians(direction)), np.sin(np.radians(direction))
        note.xyann = (dx * distance, dy * distance)
        note.set_horizontalalignment("left" if dx > 0.3 else "right" if dx < -0.3 else "center")
        note.set_verticalalignment("bottom" if dy > 0.3 else "top" if dy < -0.3 else "center")
        if abs(dy) > 0.3:
            box, frame = self._box(note), self.ax.get_window_extent()
            slide = max(frame.x0 + self.pixel - box.x0, 0.0)
            slide += min(frame.x1 - self.pixel - box.x1, 0.0)
            note.xyann = (dx * distance + slide / self.pixel, dy * distance)

    def _box(self, note: Annotation) -> Bbox:
        return note.get_window_extent()

    def _cost(self, box: Bbox, own: int) -> float:
        """Count what a label would hide; leaving the axes costs most."""
        pad = GAP * self.pixel
        frame = self.ax.get_window_extent()
        outside = not (
            box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 and box.y1 <= frame.y1
        )
        labels = sum(box.padded(pad).overlaps(other) for other in self.boxes.values())
        covered = _inside(box.padded(2.0 * pad), self.points)
        # A label may come nearer to its own point than to others, and not onto it.
        covered[own] = _inside(box.padded(MARKER * self.pixel), self.points[[own]])[0]
        line = _inside(box.padded(0.5 * pad), self.line).any()
        across = (box.x0 < self.centre[0] < box.x1) or (box.y0 < self.centre[1] < box.y1)
        hidden = 4.0 * float(covered.sum()) + 3.0 * float(line) + 0.3 * across
        return 20.0 * outside + 10.0 * labels + hidden

    def _lead(self, i: int, box: Bbox, color: str) -> None:
        x, y = self.points[i]
        end = (float(np.clip(x, box.x0, box.x1)), float(np.clip(y, box.y0, box.y1)))
        ends = self.ax.transData.inverted().transform([(x, y), end])
        self.ax.plot(ends[:, 0], ends[:, 1], color=color, lw=0.4, zorder=2.5)


def _inside(box: Bbox, points: NDArray) -> NDArray:
    """Tell which points lie in a box."""
    x, y = points.T
    inside: NDArray = (x > box.x0) & (x < box.x1) & (y > box.y0) & (y < box.y1)
    return inside
