"""The path that leads to a model: questions, the evidence on each, the answers taken."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import indent
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Evidence:
    """A number that an answer rests on.

    Attributes
    ----------
    name : str
        Of a test, "LM lag", or of a candidate, "sdm".
    value : float
        The statistic, the information criterion or the probability.
    df : int or None
    p_value : float or None
        None where the evidence is not a test.
    """

    name: str
    value: float
    df: int | None = None
    p_value: float | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"

    @property
    def text(self) -> str:
        """The number as it is written."""
        if self.p_value is not None:
            return f"{self.value:.2f}, p {p_text(self.p_value)}"
        if 0.0 <= self.value <= 1.0:  # a probability
            return f"{self.value:.3f}" if self.value >= 0.001 else "< 0.001"
        return f"{self.value:.1f}"


@dataclass(frozen=True)
class Branch:
    """A possible answer, and the key of the question, or the model, that it leads to."""

    answer: str
    to: str


@dataclass(frozen=True)
class Question:
    """A node of a strategy's tree.

    Attributes
    ----------
    key : str
    text : str
    branches : tuple of Branch
    """

    key: str
    text: str
    branches: tuple[Branch, ...]

    def branch(self, to: str) -> Branch:
        """Return the branch that leads to a question or model."""
        return next(branch for branch in self.branches if branch.to == to)


@dataclass(frozen=True)
class Step:
    """A question that was asked.

    Attributes
    ----------
    question : Question
    evidence : tuple of Evidence
    taken : Branch
    sentences : tuple of str
        The answer in words.
    """

    question: Question
    evidence: tuple[Evidence, ...]
    taken: Branch
    sentences: tuple[str, ...]

    @property
    def answer(self) -> str:
        """The answer, in a word or two."""
        return self.taken.answer


@dataclass(frozen=True)
class DecisionPath:
    """How a strategy came to a model.

    Attributes
    ----------
    strategy : str
        "elhorst", "aic", "bic" or "posterior".
    title : str
        The strategy in words, with its source.
    tree : tuple of Question
        All questions of the strategy, asked or not, the first one first.
    steps : tuple of Step
        Those that were asked, in order.
    disagreements : tuple of str
        Where tests or criteria speak against one another or against the outcome.

    Examples
    --------
    >>> import spatial_agglo as sa
    >>> panel = sa.Panel(sa.datasets.cigarettes(), entity="state", time="year")
    >>> W = sa.datasets.weights("cigarettes_queen").standardize("row")
    >>> path = sa.choose_model("logc ~ logp + logy", panel, W).path
    >>> [step.answer for step in path.steps], path.chosen
    (['yes', 'no'], 'sdm')
    """

    strategy: str
    title: str
    tree: tuple[Question, ...]
    steps: tuple[Step, ...]
    disagreements: tuple[str, ...] = ()

    @property
    def chosen(self) -> str:
        """Name of the model."""
        return self.steps[-1].taken.to

    @property
    def sentences(self) -> tuple[str, ...]:
        """The path in words, ending in a model."""
        return tuple(sentence for step in self.steps for sentence in step.sentences)

    def question(self, key: str) -> Question | None:
        """Return the question of a key; None for a model."""
        return next((question for question in self.tree if question.key == key), None)

    def to_frame(self) -> pd.DataFrame:
        """Return the evidence as a table, a row for each number.

        Returns
        -------
        DataFrame
            Index (step, evidence), steps counted from 1; columns question, statistic, df,
            p_value, answer and next: what the answer leads to.
        """
        rows = {
            (number, item.name): (
                step.question.text,
                item.value,
                pd.NA if item.df is None else item.df,
                float("nan") if item.p_value is None else item.p_value,
                step.answer,
                self._next(step),
            )
            for number, step in enumerate(self.steps, start=1)
            for item in step.evidence
        }
        frame = pd.DataFrame.from_dict(
            rows,
            orient="index",
            columns=["question", "statistic", "df", "p_value", "answer", "next"],
        )
        frame.index = pd.MultiIndex.from_tuples(list(rows), names=["step", "evidence"])
        return frame.astype({"statistic": float, "df": "Int64", "p_value": float})

    def to_dict(self) -> dict[str, Any]:
        """Return the path in plain Python, ready for JSON."""
        return {
            "strategy": self.strategy,
            "title": self.title,
            "steps": [
                {
                    "question": step.question.text,
                    "evidence": [dict(vars(item)) for item in step.evidence],
                    "answer": step.answer,
                    "next": self._next(step),
                }
                for step in self.steps
            ],
            "disagreements": list(self.disagreements),
            "chosen": self.chosen,
            "verdict": " ".join(self.sentences),
        }

    def to_markdown(self) -> str:
        """Return the path as a numbered list in Markdown."""
        lines = [f"**{self.title}**", ""]
        for number, step in enumerate(self.steps, start=1):
            lines.append(f"{number}. {step.question.text} **{step.answer}**")
            lines += [f"   - {item}" for item in step.evidence]
        lines += ["", f"Chosen: **{self.chosen.upper()}**"]
        lines += [f"\nDisagreement: {text}" for text in self.disagreements]
        return "\n".join(lines)

    def __str__(self) -> str:
        lines = [self.title]
        for number, step in enumerate(self.steps, start=1):
            lines.append(f"{number}. {step.question.text}")
            lines.append(indent("\n".join(map(str, step.evidence)), "     "))
            lines.append(f"   {step.answer} -> {self._next(step)}")
        lines += [f"Disagreement: {text}" for text in self.disagreements]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _next(self, step: Step) -> str:
        found = self.question(step.taken.to)
        return step.taken.to.upper() if found is None else found.text


def p_text(value: float) -> str:
    """Write a p value with its sign of comparison.

    Examples
    --------
    >>> p_text(0.0234), p_text(1e-9), p_text(float("nan"))
    ('= 0.023', '< 0.001', 'not defined')
    """
    if value != value:
        return "not defined"
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
