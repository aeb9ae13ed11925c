"""Panel: the data, declared once. The only place that decides row order."""

from spatial_agglo.panel.panel import Panel
from spatial_agglo.panel.periods import check_steps
from spatial_agglo.panel.rows import CROSS_SECTION, numeric
from spatial_agglo.panel.terms import as_term, columns_in, functions_of

__all__ = [
    "CROSS_SECTION",
    "Panel",
    "as_term",
    "check_steps",
    "columns_in",
    "functions_of",
    "numeric",
]
