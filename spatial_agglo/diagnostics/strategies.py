"""The strategies that lead from tests, criteria or probabilities to a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from spatial_agglo.diagnostics.path import (
    Branch,
    DecisionPath,
    Evidence,
    Question,
    Step,
    p_text,
)
from spatial_agglo.models.specification import ModelSpec
from spatial_agglo.models.workspace import Workspace

STRATEGIES = ("elhorst", "aic", "bic", "posterior")
#: Title, question and what is said of the best, by strategy.
RANKINGS = {
    "aic": ("Akaike's information criterion", "Which model has the lowest AIC?", "Lowest AIC"),
    "bic": ("Schwarz's information criterion", "Which model has the lowest BIC?", "Lowest BIC"),
    "posterior": (
        "Posterior model probabilities (LeSage & Parent 2007; LeSage 2014)",
        "Which model has the highest posterior probability?",
        "Highest posterior probability",
    ),
}
#: A difference in a criterion below this says little (Burnham & Anderson 2002, section 2.6); so
#: does a ratio of probabilities below 3 (Kass & Raftery 1995).
CLOSE, ODDS = 2.0, 3.0
WEAK = (
    "The parameters of the GNS are only weakly identified (Elhorst 2014, section 2.2): look at "
    "fit.profile()."
)

DEPENDENCE = "Is there spatial dependence in the residuals?"
PROCESS = "Which process do the robust LM tests point to?"
LAGGED = Question(
    "lagged",
    "Do lagged regressors matter all the same?",
    (Branch("no", "ols"), Branch("yes", "outcome")),
)
OUTCOME = Question(
    "outcome",
    "Beside them, does the outcome spill over (ρ ≠ 0)?",
    (Branch("no", "slx"), Branch("yes", "sdm")),
)
#: The tree where the SDM nests the SEM.
NESTED = (
    Question("dependence", DEPENDENCE, (Branch("no", "lagged"), Branch("yes", "simplify"))),
    LAGGED,
    OUTCOME,
    Question(
        "simplify",
        "Does the SDM simplify, to SAR (θ = 0) or SEM (θ + ρβ = 0)?",
        (Branch("no", "sdm"), Branch("yes", "process")),
    ),
    Question(
        "process",
        "Which of these do the robust LM tests point to?",
        (Branch("SAR", "sar"), Branch("SEM", "sem"), Branch("neither", "sdm")),
    ),
)
#: The tree where it does not: with or without the SEM among the candidates.
NOT_NESTED = {
    candidate: (
        Question("dependence", DEPENDENCE, (Branch("no", "lagged"), Branch("yes", "process"))),
        LAGGED,
        OUTCOME,
        Question("process", PROCESS, (Branch("lag", "theta"), *error)),
        Question(
            "theta",
            "Does the SDM simplify to the SAR (θ = 0)?",
            (Branch("yes", "sar"), Branch("no", "sdm")),
        ),
        *criterion,
    )
    for candidate, error, criterion in (
        (False, (Branch("otherwise", "sdm"),), ()),
        (
            True,
            (Branch("error", "criterion"), Branch("neither", "sdm")),
            (
                Question(
                    "criterion",
                    "SEM or SDM, which are not nested: which has the lower AIC?",
                    (Branch("SEM", "sem"), Branch("SDM", "sdm")),
                ),
            ),
        ),
    )
}


@dataclass(frozen=True)
class Case:
    """What Elhorst's path is walked with.

    Attributes
    ----------
    tests : DataFrame
        ``statistic``, ``df``, ``p_value``; rows "Moran's I", the LM tests, "LR SDM/SAR" and the
        like, "LR SLX/OLS", "LR SDM/SLX" and "Wald SDM/SLX".
    criteria : DataFrame
        ``aic`` and ``bic`` of the candidates.
    alpha : float
    nested : bool
        Whether the SEM is a special case of the SDM.
    why_not : str
        The reason where it is not, a sentence.
    """

    tests: pd.DataFrame
    criteria: pd.DataFrame
    alpha: float
    nested: bool = True
    why_not: str = ""

    @property
    def tree(self) -> tuple[Question, ...]:
        """The questions."""
        return NESTED if self.nested else NOT_NESTED["sem" in self.criteria.index]

    def p(self, name: str) -> float:
        """Return a p value, NaN for a test that is not there."""
        return float(self.tests["p_value"].get(name, float("nan")))

    def rejects(self, name: str) -> bool:
        """Whether a test rejects its null."""
        return self.p(name) < self.alpha

    def says(self, *names: str) -> str:
        """Name tests with their p values."""
        return ", ".join(f"{name}: p {p_text(self.p(name))}" for name in names)


@dataclass(frozen=True)
class Answer:
    """An answer: where it leads, on what evidence, in which words, against which other evidence."""

    to: str
    evidence: Sequence[str]
    sentences: Sequence[str]
    against: Sequence[str] = ()


def elhorst(case: Case) -> DecisionPath:
    """Follow the strategy of Elhorst (2014, section 3.4)."""
    questions = {question.key: question for question in case.tree}
    steps: list[Step] = []
    against: list[str] = []
    key = case.tree[0].key
    while key in questions:
        question, answer = questions[key], ANSWERS[key](case)
        remarks = () if answer.to in questions else _against(case, answer.to)
        *before, last = answer.sentences
        sentences = (*before, *remarks, last)
        evidence = tuple(_evidence(case, name) for name in answer.evidence)
        steps.append(Step(question, evidence, question.branch(answer.to), sentences))
        against += [*answer.against, *remarks]
        key = answer.to
    title = f"Elhorst's strategy (2014, section 3.4), tests at {100.0 * case.alpha:g}%"
    return DecisionPath("elhorst", title, case.tree, tuple(steps), tuple(against))


def ranked(
    criteria: pd.DataFrame, strategy: str, others: Mapping[str, str], left_out: Sequence[str]
) -> DecisionPath:
    """Take the model with the lowest criterion, or the highest probability.

    Parameters
    ----------
    criteria : DataFrame
        ``aic``, ``bic`` and, for "posterior", ``probability`` by model.
    strategy : {"aic", "bic", "posterior"}
    others : mapping of str to str
        What other ways of choosing lead to: name and model.
    left_out : sequence of str
        Candidates that could not be estimated.
    """
    title, text, best = RANKINGS[strategy]
    probable = strategy == "posterior"
    values = criteria["probability" if probable else strategy].sort_values(ascending=not probable)
    shown = [f"{value:.3f}" if probable else f"{value:.1f}" for value in values]
    names = [str(name) for name in values.index]
    branches = tuple(Branch(name.upper(), name) for name in names)
    question = Question("ranking", text, branches)
    chosen, top = names[0], float(values.iloc[0])
    sentences = []
    if left_out:
        sentences.append(f"Not estimated, and left out: {', '.join(map(str.upper, left_out))}.")
    rest = [
        f"the {name.upper()} ({value:.3f})"
        if probable
        else f"the {name.upper()} (+{value - top:.1f})"
        for name, value in list(values.items())[1:3]
    ]
    what = "The posterior probability is highest" if probable else f"{strategy.upper()} is lowest"
    then = f", then {' and '.join(rest)}" if rest else ""
    sentences.append(f"{what} for the {chosen.upper()} ({shown[0]}){then}.")
    against = []
    close = [
        name.upper()
        for name, value in list(values.items())[1:]
        if (top < ODDS * value if probable else value - top < CLOSE)
    ]
    if close:
        limit = "has more than a third of that" if probable else f"is within {CLOSE:g} of it"
        against.append(f"The {' and the '.join(close)} {limit}, hardly a difference.")
    against += preferring(others, chosen)
    sentences += against
    if chosen == "gns":
        sentences.append(WEAK)
    sentences.append(f"{best}: {chosen.upper()}.")
    evidence = tuple(
        Evidence(name.upper(), float(value)) for name, value in zip(names, values, strict=True)
    )
    step = Step(question, evidence, question.branches[0], tuple(sentences))
    return DecisionPath(strategy, title, (question,), (step,), tuple(against))


def preferring(others: Mapping[str, str], chosen: str) -> list[str]:
    """Say which other ways of choosing lead elsewhere.

    Examples
    --------
    >>> preferring({"AIC": "sdm", "BIC": "sem"}, "sdm"), preferring({"AIC": "sdm"}, "sdm")
    (['By BIC it would be the SEM.'], [])
    """
    elsewhere: dict[str, list[str]] = {}
    for name, model in others.items():
        if model != chosen:
            elsewhere.setdefault(model, []).append(name)
    return [
        f"By {' and '.join(names)} it would be the {model.upper()}."
        for model, names in elsewhere.items()
    ]


def why_not_nested(spec: ModelSpec, space: Workspace) -> str:
    """Say why the SDM does not nest the SEM, in case it does not.

    See :func:`spatial_agglo.diagnostics.wald.nests_sem`.
    """
    why = "there are period effects and W is not row-standardised"
    if space.has_intercept(spec.effects):
        why = "there is an intercept and W is not row-standardised"
    if len(spec.lagged(space.data)) < len(space.data.regressors):
        why = "not all regressors are lagged"
    return f"The SEM is not nested in the SDM: {why}."


def _against(case: Case, chosen: str) -> tuple[str, ...]:
    """Say what speaks against the outcome of Elhorst's path."""
    remarks = []
    names = ("LR SDM/SLX", "Wald SDM/SLX")
    if chosen == "sdm" and not any(case.rejects(name) for name in names):
        remarks.append(f"In the SDM rho is not significant ({case.says(*names)}).")
    best = {name.upper(): str(case.criteria[name].idxmin()) for name in ("aic", "bic")}
    return (*remarks, *preferring(best, chosen))


def _evidence(case: Case, name: str) -> Evidence:
    if name.startswith("AIC "):
        return Evidence(name, float(case.criteria.loc[name.split()[-1].lower(), "aic"]))
    value, df = float(case.tests.at[name, "statistic"]), case.tests.at[name, "df"]
    return Evidence(name, value, None if pd.isna(df) else int(df), case.p(name))


# --- the answers of Elhorst's path ----------------------------------------------------------


def _dependence(case: Case) -> Answer:
    names = ("LM lag", "LM error")
    dependent = any(case.rejects(name) for name in names)
    said = (
        "The residuals are spatially dependent"
        if dependent
        else ("No spatial dependence in the residuals")
    )
    sentences, against = [f"{said} ({case.says(*names)})."], []
    moran = "Moran's I"
    if moran in case.tests.index and case.rejects(moran) != dependent:
        against.append(f"{moran} says otherwise (p {p_text(case.p(moran))}).")
    following = ("simplify" if case.nested else "process") if dependent else "lagged"
    return Answer(following, names, [*sentences, *against], against)


def _lagged(case: Case) -> Answer:
    name = "LR SLX/OLS"
    p = p_text(case.p(name))
    if case.rejects(name):
        return Answer("outcome", [name], [f"Lagged regressors matter ({name}: p {p})."])
    return Answer("ols", [name], [f"Lagged regressors do not matter either (p {p}): OLS."])


def _outcome(case: Case) -> Answer:
    names = ("LR SDM/SLX", "Wald SDM/SLX")
    found, text = [case.rejects(name) for name in names], case.says(*names)
    if not any(found):
        return Answer("slx", names, [f"The outcome itself does not spill over ({text}): SLX."])
    if all(found):
        return Answer("sdm", names, [f"The outcome itself spills over as well ({text}): SDM."])
    split = f"LR and Wald disagree on rho = 0 ({text})"
    return Answer("sdm", names, [f"{split}; the model that nests both stays: SDM."], [f"{split}."])


def _simplify(case: Case) -> Answer:
    names = [f"{test} SDM/{name}" for name in ("SAR", "SEM") for test in ("LR", "Wald")]
    (sar, lag_open, one), (sem, error_open, two) = (_restricted(case, m) for m in ("SAR", "SEM"))
    against = [*one, *two]
    if lag_open or error_open:
        return Answer("process", names, [sar, sem], against)
    return Answer("sdm", names, [sar, sem, "Both simplifications fail: SDM."], against)


def _process(case: Case) -> Answer:
    names = ("robust LM lag", "robust LM error")
    significant = [name for name in names if case.rejects(name)]
    best = max(significant, key=lambda name: float(case.tests.loc[name, "statistic"]), default="")
    points = best.rpartition(" ")[2]
    what = f"a spatial {points}" if points else "neither process"
    why = f"The robust LM tests point to {what} ({case.says(*names)})"
    if not case.nested:
        following = {"lag": "theta", "error": "criterion", "": "sdm"}[points]
        against: list[str] = []
        if following == "criterion" and "sem" not in case.criteria.index:
            following = "sdm"
            why = f"{why}, but the SEM cannot be estimated"
            against.append(f"{why}.")
        end = ": SDM." if following == "sdm" else "."
        return Answer(following, names, [case.why_not, f"{why}{end}"], against)
    free = {name.lower(): _restricted(case, name)[1] for name in ("SAR", "SEM")}
    model = {"lag": "sar", "error": "sem", "": "sdm"}[points]
    if free.get(model):
        return Answer(model, names, [f"{why}: {model.upper()}."])
    simpler = " or the ".join(name.upper() for name, is_free in free.items() if is_free)
    text = f"{why}, so the tests disagree and the model that nests both stays: SDM."
    split = f"{why}, though the SDM can be simplified to the {simpler}."
    return Answer("sdm", names, [text], [split])


def _theta(case: Case) -> Answer:
    names = ("LR SDM/SAR", "Wald SDM/SAR")
    sentence, is_free, against = _restricted(case, "SAR")
    if is_free:
        return Answer("sar", names, [f"{sentence.removesuffix('.')}: SAR."])
    return Answer("sdm", names, [sentence, "The simplification fails: SDM."], against)


def _criterion(case: Case) -> Answer:
    aic = case.criteria["aic"]
    best = min(("sem", "sdm"), key=lambda name: float(aic[name]))
    values = f"AIC: {aic['sem']:.1f} for the SEM, {aic['sdm']:.1f} for the SDM"
    return Answer(best, ("AIC of the SEM", "AIC of the SDM"), [f"{values}: {best.upper()}."])


def _restricted(case: Case, name: str) -> tuple[str, bool, list[str]]:
    """Say whether the SDM can be simplified to a model; whether it can; what disagrees."""
    tests = (f"LR SDM/{name}", f"Wald SDM/{name}")
    found, text = [case.rejects(test) for test in tests], case.says(*tests)
    if all(found):
        return f"The SDM does not simplify to the {name} ({text}).", False, []
    if any(found):
        split = f"LR and Wald disagree on simplifying the SDM to the {name} ({text})."
        return split, False, [split]
    return f"The SDM can be simplified to the {name} ({text}).", True, []


ANSWERS: Mapping[str, Callable[[Case], Answer]] = {
    "dependence": _dependence,
    "lagged": _lagged,
    "outcome": _outcome,
    "simplify": _simplify,
    "process": _process,
    "theta": _theta,
    "criterion": _criterion,
}
