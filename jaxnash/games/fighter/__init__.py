"""A platform fighter: two players, ten buttons, thousands of matches in one jitted program."""

from jaxnash.games.fighter.game import fighter
from jaxnash.games.fighter.rewards import REWARDS, Terms, Weights, terms
from jaxnash.games.fighter.scripted import SCRIPTS, based, constant
from jaxnash.games.fighter.state import Fighter, Stage, State, over, stage
from jaxnash.games.fighter.table import digest

__all__ = [
    "REWARDS",
    "SCRIPTS",
    "Fighter",
    "Stage",
    "State",
    "Terms",
    "Weights",
    "based",
    "constant",
    "digest",
    "fighter",
    "over",
    "stage",
    "terms",
]
