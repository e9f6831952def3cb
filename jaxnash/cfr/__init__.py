"""The exact core: games as trees, CFR and its relatives, best responses, linear programmes."""

from jaxnash.cfr.best_response import (
    BestResponse,
    best_response,
    exploitability,
    game_value,
    nash_conv,
    uniform_policy,
)
from jaxnash.cfr.compile import compile_tree
from jaxnash.cfr.minimizers import (
    CFR,
    RECIPES,
    Averager,
    RegretMinimizer,
    cfr,
    cfr_plus,
    dcfr,
    dcfr_plus,
    discount,
    floor_at_zero,
    hs_dcfr,
    hs_pcfr_plus,
    hyperbolic,
    last_iterate,
    linear,
    linear_cfr,
    pcfr_plus,
    pdcfr_plus,
    power,
    predictive,
    regret_matching,
    sapcfr_plus,
    uniform,
)
from jaxnash.cfr.public import public_form
from jaxnash.cfr.sequence import Tree
from jaxnash.cfr.solve import Progress, Result, State, init, iterate, solve

__all__ = [n for n in dir() if not n.startswith("_")]
