"""Games: simulators and enumerable trees."""

from jaxnash._lazy import submodules
from jaxnash.games.fighter import fighter
from jaxnash.games.gen1.game import gen1
from jaxnash.games.goofspiel import goofspiel
from jaxnash.games.holdem import holdem, holdem_setup
from jaxnash.games.holdem_subgame import holdem_subgame
from jaxnash.games.kuhn import kuhn
from jaxnash.games.leduc import leduc
from jaxnash.games.liars_dice import liars_dice
from jaxnash.games.matrix import matrix
from jaxnash.games.openspiel import from_openspiel

__all__ = [
    "fighter",
    "from_openspiel",
    "gen1",
    "goofspiel",
    "holdem",
    "holdem_setup",
    "holdem_subgame",
    "kuhn",
    "leduc",
    "liars_dice",
    "matrix",
]

__getattr__ = submodules(__name__)
