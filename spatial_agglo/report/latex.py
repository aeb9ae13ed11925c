"""A table as LaTeX that needs no package but booktabs."""

from __future__ import annotations

import re

from spatial_agglo.report.formats import split
from spatial_agglo.report.layout import Layout

#: Labels of rows that are shown as a symbol.
SYMBOLS = {
    "rho": r"$\rho$",
    "lambda": r"$\lambda$",
    "phi": r"$\phi$",
    "sigma2": r"$\sigma^2$",
    "R2": r"$R^2$",
    "R2 within": r"$R^2$ within",
}
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "×": r"$\times$",
    "−": "$-$",
    "±": r"$\pm$",
}
_SPECIAL = re.compile("[" + re.escape("".join(_ESCAPES)) + "]")
_MINUS = re.compile(r"-(?=\d)")
_OPENING = re.compile(r"(?<!\w)'(?=\w)")
_LAG = re.compile(r"^W\*|(?<=: )W\*")
_BEFORE = "(t-1)"


def render(layout: Layout, label: str) -> str:
    r"""Return a ``table`` environment with caption, label and notes.

    Parameters
    ----------
    layout : Layout
    label : str
        Name to refer to.

    Returns
    -------
    str

    Examples
    --------
    >>> import pandas as pd
    >>> body = pd.DataFrame({"SDM": ["-1.00***"]}, index=["log_p"])
    >>> code = render(Layout.of("Estimates", body, (), ""), "tab:sdm")
    >>> print(code.splitlines()[8])
    log\_p & $-$1.00\rlap{\textsuperscript{***}} \\
    """
    # Room to the right of every column, where stars and brackets hang.
    columns = "l" + r"r@{\hspace{2em}}" * len(layout.heads)
    out = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{escape(layout.title)}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *_heads(layout),
        r"\midrule",
        *_body(layout),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    if layout.notes:
        notes = " ".join(escape(note) for note in layout.notes)
        out += ["", r"\smallskip", r"\begin{minipage}{\linewidth}", r"\footnotesize"]
        out += [rf"\textit{{Notes:}} {notes}", r"\end{minipage}"]
    out.append(r"\end{table}")
    return "\n".join(out) + "\n"


def escape(text: str) -> str:
    r"""Write text so that LaTeX sets it as it is.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> print(escape("log_gdp & 5%"))
    log\_gdp \& 5\%
    """
    return _OPENING.sub("`", _SPECIAL.sub(lambda match: _ESCAPES[match.group()], text))


def row_label(label: str) -> str:
    r"""Write a row's label: ``rho`` as a symbol, ``W*x`` with a times sign, ``y(t-1)`` below.

    Parameters
    ----------
    label : str

    Returns
    -------
    str

    Examples
    --------
    >>> print(row_label("W*log_p"), row_label("sigma2"), row_label("y(t-1)"))
    $W{\times}$log\_p $\sigma^2$ y$_{t-1}$
    """
    if label in SYMBOLS:
        return SYMBOLS[label]
    parts = [escape(part) for part in _LAG.split(label.removesuffix(_BEFORE))]
    return r"$W{\times}$".join(parts) + r"$_{t-1}$" * label.endswith(_BEFORE)


def cell(text: str) -> str:
    r"""Write a cell: a true minus; stars and a closing bracket take no room.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> print(cell("(-2.51)"), cell("0.30**"))
    ($-$2.51\rlap{)} 0.30\rlap{\textsuperscript{**}}
    """
    core, tail = split(text)
    core = "$-$".join(escape(part) for part in _MINUS.split(core))
    if not tail:
        return core
    hanging = escape(tail) if tail[-1] in ")]}" else rf"\textsuperscript{{{tail}}}"
    return rf"{core}\rlap{{{hanging}}}"


def _heads(layout: Layout) -> list[str]:
    out = []
    if layout.spans:
        cells, rules, end = [], [], 1
        for text, count in layout.spans:
            cells.append(rf"\multicolumn{{{count}}}{{c}}{{{escape(text)}}}")
            if text:
                rules.append(rf"\cmidrule(lr){{{end + 1}-{end + count}}}")
            end += count
        out = [" & ".join(["", *cells]).strip() + r" \\", *["".join(rules)][: len(rules)]]
    return [*out, _row(escape(layout.corner), [escape(head) for head in layout.heads])]


def _body(layout: Layout) -> list[str]:
    out: list[str] = []
    for line in layout.lines:
        if not line.cells:
            out += [r"\addlinespace"] * bool(out)
            width = len(layout.heads) + 1
            out.append(rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escape(line.label)}}}}} \\")
            continue
        out += [r"\midrule"] * (line.ruled and bool(out))
        indent = r"\quad " if line.indented and line.label else ""
        out.append(_row(indent + row_label(line.label), [cell(text) for text in line.cells]))
    return out


def _row(label: str, cells: list[str]) -> str:
    # A row must not begin with what the \\ before it would take for its star or option.
    guard = "{}" if label[:1] in ("[", "*") else ""
    return " & ".join([guard + label, *cells]).strip() + r" \\"
