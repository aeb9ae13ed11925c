"""Panel: the data, declared once. The only place that decides row order."""

from spatial_agglo.panel.panel import Panel
from spatial_agglo.panel.periods import check_steps
from spatial_agglo.panel.rows import CROSS_SECTION, numeric

__all__ = ["CROSS_SECTION", "Panel", "check_steps", "numeric"]
