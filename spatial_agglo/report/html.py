"""A table, or a page of them, as HTML that carries its own style."""

from __future__ import annotations

import html
import re

from spatial_agglo.report.formats import split
from spatial_agglo.report.layout import Layout

#: Labels of rows that are shown as a symbol.
SYMBOLS = {"rho": "ρ", "lambda": "λ", "phi": "φ", "sigma2": "σ²", "R2": "R²"}
_MINUS = re.compile(r"-(?=\d)")
_LAG = re.compile(r"^W\*|(?<=: )W\*")
_BEFORE = "(t-1)"

STYLE = """\
.sa-table{display:inline-block;max-width:100%;overflow-x:auto;margin:1em 0;
 font:14px/1.35 Georgia,'Times New Roman',serif}
.sa-table table{border-collapse:collapse;margin:0;border:0;border-top:1.5px solid currentColor;
 border-bottom:1.5px solid currentColor;font-variant-numeric:tabular-nums lining-nums}
.sa-table caption{caption-side:top;padding:0 0 6px;text-align:left;font-weight:bold;color:inherit}
.sa-table tr,.sa-table tbody tr:nth-child(odd),.sa-table tbody tr:hover{background:none}
.sa-table th,.sa-table td{padding:1px 34px 1px 0;border:0;background:none;text-align:right;
 font-weight:normal;white-space:nowrap;vertical-align:baseline}
.sa-table tbody th,.sa-table thead th:first-child{text-align:left}
.sa-table thead tr:first-child>*{padding-top:4px}
.sa-table thead tr:last-child>*{padding-bottom:4px;border-bottom:.75px solid currentColor}
.sa-table thead th.span{padding-right:0;text-align:center}
.sa-table thead th.span i{display:block;margin:0 34px 0 8px;font-style:normal;
 border-bottom:.75px solid currentColor}
.sa-table tr.head th{padding-top:7px;font-style:italic}
.sa-table tr.rule>*{padding-top:4px;border-top:.75px solid currentColor}
.sa-table tbody tr:first-child>*{padding-top:4px}
.sa-table tbody tr:last-child>*{padding-bottom:4px}
.sa-table tr.in th{padding-left:1em}
.sa-table td span{display:inline-block;width:0}
.sa-table sub{font-size:75%;line-height:0}
.sa-table p{width:0;min-width:max(100%,28em);margin:5px 0 0;font-size:12px;white-space:normal}
"""


def render(layout: Layout) -> str:
    """Return a table as HTML, without its style.

    Parameters
    ----------
    layout : Layout

    Returns
    -------
    str

    Examples
    --------
    >>> import pandas as pd
    >>> body = pd.DataFrame({"SDM": ["-1.00***"]}, index=["W*logp"])
    >>> print(render(Layout.of("", body, (), "")).splitlines()[6])
    <tr><th scope="row"><i>W</i>×logp</th><td>−1.00<span>***</span></td></tr>
    """
    out = ['<div class="sa-table">', "<table>"]
    out += [f"<caption>{html.escape(layout.title)}</caption>"] * bool(layout.title)
    out.append("<thead>")
    if layout.spans:
        spans = (
            f'<th class="span" colspan="{count}" scope="colgroup"><i>{html.escape(text)}</i></th>'
            if text
            else f'<th colspan="{count}"></th>'
            for text, count in layout.spans
        )
        out.append(f"<tr><th></th>{''.join(spans)}</tr>")
    heads = "".join(f'<th scope="col">{html.escape(head)}</th>' for head in layout.heads)
    out += [f"<tr><th>{html.escape(layout.corner)}</th>{heads}</tr>", "</thead>", "<tbody>"]
    for i, line in enumerate(layout.lines):
        label = row_label(line.label)
        if not line.cells:
            width = len(layout.heads) + 1
            out.append(f'<tr class="head"><th colspan="{width}" scope="rowgroup">{label}</th></tr>')
            continue
        kind = "rule" if line.ruled and i else "in" if line.indented else ""
        opening = f'<tr class="{kind}">' if kind else "<tr>"
        cells = "".join(f"<td>{cell(text)}</td>" for text in line.cells)
        out.append(f'{opening}<th scope="row">{label}</th>{cells}</tr>')
    out += ["</tbody>", "</table>"]
    out += [f"<p>{html.escape(note)}</p>" for note in layout.notes]
    out.append("</div>")
    return "\n".join(out)


def styled(fragment: str) -> str:
    r"""Return HTML of tables with the style in front, to be put into any page.

    Parameters
    ----------
    fragment : str

    Returns
    -------
    str

    Examples
    --------
    >>> styled("<p>x</p>").endswith("</style>\n<p>x</p>")
    True
    """
    return f"<style>\n{STYLE}</style>\n{fragment}"


def page(title: str, content: str, style: str = "") -> str:
    """Return a complete page around some HTML.

    Parameters
    ----------
    title : str
    content : str
    style : str
        CSS, besides that of tables.

    Returns
    -------
    str

    Examples
    --------
    >>> page("A & B", "<p>x</p>").splitlines()[5]
    '<title>A &amp; B</title>'
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n"
        f"<style>\nbody{{margin:2em;background:#fff;color:#111}}\n{STYLE}{style}</style>\n"
        f"</head>\n<body>\n{content}\n</body>\n</html>\n"
    )


def row_label(label: str) -> str:
    """Write a row's label: ``rho`` as a symbol, ``W*x`` with a times sign, ``y(t-1)`` below.

    Parameters
    ----------
    label : str

    Returns
    -------
    str

    Examples
    --------
    >>> row_label("W*logp"), row_label("rho"), row_label("y(t-1)")
    ('<i>W</i>×logp', '<i>ρ</i>', 'y<sub><i>t</i>−1</sub>')
    """
    if label in SYMBOLS:
        return f"<i>{SYMBOLS[label]}</i>"
    if label == "R2 within":
        return f"<i>{SYMBOLS['R2']}</i> within"
    parts = [html.escape(part) for part in _LAG.split(label.removesuffix(_BEFORE))]
    below = "<sub><i>t</i>−1</sub>" * label.endswith(_BEFORE)
    return "<i>W</i>×".join(parts) + below


def cell(text: str) -> str:
    """Write a cell: a true minus; stars and a closing bracket take no room.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> cell("-1.02***")
    '−1.02<span>***</span>'
    """
    core, tail = split(text)
    core = _MINUS.sub("−", html.escape(core))
    return f"{core}<span>{tail}</span>" if tail else core
