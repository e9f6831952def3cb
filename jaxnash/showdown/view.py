"""`View`: Showdown's Gen 1 protocol, read line by line into the rows of an observation.

A Pokémon's row *is* its state: handlers write its columns, so an observation is the rows joined. Hidden facts
cannot enter: the only inputs are the lines and requests sent to one side.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

from jaxnash.games.gen1.layout import BOOSTS, IDS, MOVE_TABLE, TEAM
from jaxnash.showdown.pokemon import MAX_PP, MOVES, STAT_RUN, C, Pokemon, move_id, to_id
from jaxnash.showdown.request import Request

_TYPES, _STATUS = IDS["type"], IDS["status"]
_CHARGE = frozenset(i for i, flag in enumerate(MOVE_TABLE["charge"]) if flag)
_TRAP = frozenset(i for i, flag in enumerate(MOVE_TABLE["trap"]) if flag)
_REPEATED = _TRAP | {i for i, flag in enumerate(MOVE_TABLE["recharge"]) if flag}
_FRENZY = frozenset((MOVES["thrash"], MOVES["petaldance"]))
_RAGE, _DIG, _FLY, _STRUGGLE = (MOVES[id] for id in ("rage", "dig", "fly", "struggle"))
_SLEEP, _FREEZE, _TOXIC = _STATUS["slp"], _STATUS["frz"], _STATUS["tox"]
_BOOST = {name: C[f"boost_{name}"] for name in BOOSTS} | {
    "spa": C["boost_spc"],  # Showdown announces Special twice; spd repeats spa
    "accuracy": C["boost_acc"],
    "evasion": C["boost_eva"],
}
_BOOST_RUN = slice(C["boost_atk"], C["boost_eva"] + 1)
_NO_BOOSTS = array("h", bytes(12))
_TRANSFORMED = [
    slice(C["species"], C["species"] + 1),
    slice(C["type1"], C["type2"] + 1),
    _BOOST_RUN,
    STAT_RUN,
]
_HP, _FAINTED, _STAT = C["hp"], C["fainted"], C["status"]
_EFFECTS = {
    "Substitute": C["substitute"],
    "Reflect": C["reflect"],
    "Light Screen": C["lightscreen"],
    "Mist": C["mist"],
    "move: Focus Energy": C["focusenergy"],
    "confusion": C["confusion"],
    "move: Leech Seed": C["leechseed"],
    "Bide": C["bide"],
    "Disable": C["disabled"],
}


class View:
    """Everything one side knows. `side` is 0 or 1; index 0 of the pairs below is p1, not "own"."""

    def __init__(self, side: int):
        self.side = side
        self.turn = 0
        self.team_size = [TEAM, TEAM]
        self.teams: tuple[dict[str, Pokemon], dict[str, Pokemon]] = ({}, {})
        self.active: list[Pokemon | None] = [None, None]
        self.order: list[list[array]] | None = None  # rows of both sides as observed; None: to be rebuilt
        self._started_rage = False
        self._dizzy: Pokemon | None = None  # acts in spite of confusion, or hits itself: the next line tells
        self._thawed: list[Pokemon] = []  # in this turn
        self._only = 0  # the one move that the last request offered; of Recharge what it would repeat

    @staticmethod
    def handlers() -> dict[str, Callable[[View, list[str]], None]]:
        """Message type -> handler; types not listed carry nothing an observation holds."""
        return {
            "move": View._move,
            "switch": View._switch,
            "drag": View._switch,
            "-damage": View._damage,
            "-heal": View._heal,
            "faint": View._faint,
            "cant": View._cant,
            "-status": View._status,
            "-curestatus": View._curestatus,
            "-boost": View._boost,
            "-unboost": View._boost,
            "-clearallboost": View._clearallboost,
            "-start": View._start,
            "-end": View._end,
            "-activate": View._activate,
            "-mustrecharge": View._mustrecharge,
            "-prepare": View._prepare,
            "-transform": View._transform,
            "-immune": View._immune,
            "turn": View._turn,
            "teamsize": View._teamsize,
        }

    def rows(self) -> list[list[array]]:
        """The known rows of the own side and of the opponent: active first, then the bench by species."""
        if self.order is None:
            self.order = []
            for side in (self.side, 1 - self.side):
                active = self.active[side]
                bench = sorted(
                    (p for p in self.teams[side].values() if p is not active), key=lambda p: p.species
                )
                self.order.append([p.row for p in ([active] if active else []) + bench])
        return self.order

    # -- requests: exact facts about the own side

    def on_request(self, asked: Request) -> None:
        only = asked.offered[0]["id"] if asked.single else ""
        self._only = move_id("hyperbeam" if only == "recharge" else only)
        for shown in asked.data["side"]["pokemon"]:
            pokemon = self._find(self.side, shown["details"])
            if not pokemon.max_hp:
                self._introduce(pokemon, shown)
            if pokemon.condition != shown["condition"]:
                self._condition(pokemon, shown["condition"], own=True)
        active = self.active[self.side]
        if active is not None and not active.row[_FAINTED]:
            self._own_moves(active, asked)

    def _introduce(self, pokemon: Pokemon, shown: dict) -> None:
        stats = shown["stats"]
        pokemon.max_hp = int(shown["condition"].split("/")[1].split()[0])
        pokemon.stats = array("h", [stats["atk"], stats["def"], stats["spa"], stats["spe"]])
        pokemon.row[STAT_RUN] = pokemon.stats
        pokemon.row[C["stat_hp"]] = pokemon.max_hp
        pokemon.moves[:] = [MOVES[id] for id in shown["moves"]]
        pokemon.pps[:] = [MAX_PP[move] for move in pokemon.moves]
        pokemon.write_moves()

    def _own_moves(self, active: Pokemon, asked: Request) -> None:
        """The active's moves and PP as the request has them; a request without PP leaves what uses imply."""
        shown = next(one for one in asked.data["side"]["pokemon"] if one["active"])["moves"]
        moves = [MOVES[id] for id in shown]
        if moves != active.moves:  # Transform; or Mimic where the protocol did not tell the slot
            if active.row[C["transformed"]]:
                active.pps = [5] * len(moves)
            active.moves = moves
            active.write_moves()
        if asked.offered and not asked.single:
            pps = [move["pp"] for move in asked.offered]
            if pps != active.pps:
                active.pps[:] = pps
                active.write_moves()

    # -- lines

    def _find(self, side: int, details: str) -> Pokemon:
        """The Pokémon with these details ("Tauros, L74"), made when first seen. Species Clause: one each."""
        species = to_id(details.split(",", 1)[0])
        found = self.teams[side].get(species)
        if found is None:
            found = self.teams[side][species] = Pokemon(details)
            self.order = None
        return found

    def _condition(self, pokemon: Pokemon, condition: str, *, own: bool = False) -> None:
        """Take "353/353 par", "54/100" or "0 fnt"; hp is in ceiled 1000ths."""
        if own:
            pokemon.condition = condition
        row = pokemon.row
        hp, _, status = condition.partition(" ")
        if status == "fnt":
            self._wipe(pokemon)
            return
        left, _, most = hp.partition("/")
        row[_HP] = -(-1000 * int(left) // int(most))
        if row[_STAT] != _STATUS[status]:
            self._set_status(pokemon, _STATUS[status])

    def _wipe(self, pokemon: Pokemon) -> None:
        """A fainted Pokémon keeps what it is and knows, nothing else."""
        row = pokemon.row
        row[_HP], row[_STAT], row[_FAINTED] = 0, 0, 1
        row[C["sleep_turns"]] = row[C["resting"]] = 0
        pokemon.settle()

    def _set_status(self, pokemon: Pokemon, status: int) -> None:
        row = pokemon.row
        row[_STAT] = status
        row[C["sleep_turns"]] = row[C["resting"]] = 0

    def _switch(self, line: list[str]) -> None:
        side = 0 if line[2][1] == "1" else 1
        old, foe = self.active[side], self.active[1 - side]
        new = self._find(side, line[3])
        if old is not None:
            old.settle()
            old.row[C["active"]] = 0
        new.settle()
        new.row[C["active"]] = new.row[C["revealed"]] = 1
        if foe is not None:
            foe.row[C["trapping"]] = foe.row[C["trapped"]] = 0
        self.active[side] = new
        self.order = None
        self._condition(new, line[4])

    def _of(self, line: list[str]) -> tuple[Pokemon, Pokemon | None]:
        """The active Pokémon that a line names, and its foe."""
        side = 0 if line[2][1] == "1" else 1
        return self.active[side], self.active[1 - side]  # type: ignore[return-value]

    def _move(self, line: list[str]) -> None:
        user, foe = self._of(line)
        if self._dizzy is not user:
            self._hit_itself()
        self._dizzy = None
        side, row = int(user is self.active[1]), user.row
        move = move_id(line[3])
        source = ""
        for tag in line[5:]:
            if tag.startswith("[from]"):
                source = to_id(tag[6:])
        called = source in ("metronome", "mirrormove")
        goes_on = not called and source != ""
        missed = "[miss]" in line
        again = not called and not goes_on and self._again(user, move)
        charging_up = move in _CHARGE and not goes_on

        # not chosen: what its side chose last, or Fissure
        foreign = user in self._thawed and move not in user.moves
        if foreign:
            if side == self.side and user.slot < 0:
                user.slot = 0
        elif not called and not goes_on and move != _STRUGGLE and not again:
            user.slot = user.learn(move)
        if called:
            if charging_up:
                user.spend(-1)
            if row[C["transformed"]] and side == self.side and user.slot < len(user.base_pps):
                user.base_pps[user.slot] = (user.base_pps[user.slot] + 1) & 63  # the bench's slot gains one
        elif goes_on == (move in _CHARGE) and move != _STRUGGLE:
            user.spend(1)
        user.write_moves()

        locks = move in _TRAP or move in _FRENZY or move == _RAGE
        held = row[C["trapping"]] or row[C["locked"]] or row[C["rage"]]
        row[C["lock_turns"]] = 0 if not locks else min(row[C["lock_turns"]] + 1, 5) if held else 1
        row[C["recharge"]] = 0
        row[C["last_move"]] = move
        user.called = called or again or foreign or (goes_on and user.called)
        if row[C["charging"]] and goes_on:
            row[C["charging"]] = row[C["invulnerable"]] = 0
        self._trap(user, foe, move in _TRAP and not missed)
        if move in _TRAP and foe is not None:
            foe.row[C["recharge"]] = 0  # these moves undo it, hit or miss
        elif move in _FRENZY and "[notarget]" not in line:
            row[C["locked"]] = 1
        elif move == _RAGE and not missed:
            self._started_rage = not row[C["rage"]]
            row[C["rage"]] = 1

    def _again(self, user: Pokemon, move: int) -> bool:
        """A move called before, or another's, that it did not choose: a trapping move goes on against who is
        there instead, Hyper Beam is repeated where a trapping move took the recharge away. Where it has that
        move itself, only its own side can tell."""
        if not (move in _REPEATED and user.called and user.row[C["last_move"]] == move):
            return False
        return move not in user.moves or (user is self.active[self.side] and move == self._only)

    def _trap(self, user: Pokemon, foe: Pokemon | None, on: bool) -> None:
        user.row[C["trapping"]] = on
        if foe is not None:
            foe.row[C["trapped"]] = on

    def _damage(self, line: list[str]) -> None:
        pokemon, foe = self._of(line)
        self._condition(pokemon, line[3])
        if len(line) > 4:
            row, source = pokemon.row, line[4]
            if source in ("[from] psn", "[from] brn", "[from] Leech Seed"):
                if pokemon.badly_poisoned:
                    row[C["toxic_turns"]] = min(row[C["toxic_turns"]] + 1, 15)
            elif source == "[from] confusion":
                row[C["invulnerable"]] = 0
                self._stop(pokemon, foe)
                self._dizzy = None

    def _hit_itself(self) -> None:
        """Someone in its confusion did, behind a substitute, so that no damage was shown."""
        if self._dizzy is not None:
            self._dizzy.row[C["invulnerable"]] = 0
            self._stop(self._dizzy, self.active[0 if self._dizzy is self.active[1] else 1])
        self._dizzy = None

    def _stop(self, pokemon: Pokemon, foe: Pokemon | None) -> None:
        """Full paralysis or a self-hit breaks off what it was in the middle of."""
        row = pokemon.row
        row[C["bide"]] = row[C["charging"]] = row[C["locked"]] = row[C["lock_turns"]] = 0
        self._trap(pokemon, foe, False)

    def _heal(self, line: list[str]) -> None:
        self._condition(self._of(line)[0], line[3])

    def _faint(self, line: list[str]) -> None:
        pokemon, foe = self._of(line)
        self._wipe(pokemon)
        if foe is not None:
            foe.row[C["trapping"]] = foe.row[C["trapped"]] = 0

    def _cant(self, line: list[str]) -> None:
        pokemon, foe = self._of(line)
        row, why = pokemon.row, line[3]
        if self._dizzy is pokemon:
            self._dizzy = None
        if why == "slp":
            row[C["sleep_turns"]] = min(row[C["sleep_turns"]] + 1, 7)
        elif why == "par":
            self._stop(pokemon, foe)
        elif why in ("recharge", "flinch"):
            row[C["recharge"]] = 0
        elif why == "Disable":
            row[C["charging"]] = 0
        self._trap(pokemon, foe, False)

    def _status(self, line: list[str]) -> None:
        pokemon, _ = self._of(line)
        row, status = pokemon.row, _STATUS[line[3]]
        self._set_status(pokemon, status)
        if status == _SLEEP:
            row[C["recharge"]] = 0
            row[C["resting"]] = "[from] move: Rest" in line
        elif status == _TOXIC:
            pokemon.badly_poisoned = True
            row[C["toxic_turns"]] = 0

    def _curestatus(self, line: list[str]) -> None:
        pokemon = self._of(line)[0]
        if pokemon.row[_STAT] == _FREEZE:
            self._thawed.append(pokemon)
        self._set_status(pokemon, 0)

    def _boost(self, line: list[str]) -> None:
        column = _BOOST.get(line[3])
        if column is not None:
            row = self._of(line)[0].row
            by = int(line[4]) if line[1] == "-boost" else -int(line[4])
            row[column] = max(-6, min(6, row[column] + by))

    def _clearallboost(self, _line: list[str]) -> None:
        for pokemon in self.active:
            if pokemon is not None:
                pokemon.row[_BOOST_RUN] = _NO_BOOSTS

    def _start(self, line: list[str]) -> None:
        pokemon, _ = self._of(line)
        row, effect = pokemon.row, line[3]
        column = _EFFECTS.get(effect)
        if column is not None:
            row[column] = 1
        if effect == "Substitute":
            row[C["substitute_hits"]] = 0
        elif effect == "confusion":
            row[C["confusion_turns"]] = 0
            if "[silent]" in line:  # tired out by Thrash or Petal Dance
                row[C["locked"]] = row[C["lock_turns"]] = 0
        elif effect == "Disable":
            row[C["disabled"]] = move_id(line[4])
            row[C["disable_turns"]] = 0
            pokemon.learn(row[C["disabled"]])
            pokemon.write_moves()
        elif effect == "Mimic" and 0 <= pokemon.slot < len(pokemon.moves):
            pokemon.moves = list(pokemon.moves)  # PP stay shared with the slot on the bench
            pokemon.moves[pokemon.slot] = move_id(line[4])
            pokemon.write_moves()
        elif effect == "typechange":
            types = [_TYPES.get(to_id(name), 0) for name in line[4].split("/")]
            row[C["type1"]], row[C["type2"]] = (*types, 0)[:2]

    def _end(self, line: list[str]) -> None:
        pokemon, foe = self._of(line)
        row, effect = pokemon.row, line[3]
        column = _EFFECTS.get(effect)
        if column is not None:
            row[column] = 0
        if effect == "Substitute":
            row[C["substitute_hits"]] = 0
            self._rage_failed(foe)
        elif effect == "Bide":
            self._dizzy = None
            row[C["lock_turns"]] = 0
        elif effect == "confusion":
            row[C["confusion_turns"]] = 0
        elif effect == "Disable":
            row[C["disable_turns"]] = 0
        elif effect == "Toxic counter":
            pokemon.badly_poisoned = False
            row[C["toxic_turns"]] = 0
        elif "[partiallytrapped]" in line and foe is not None:  # by making a substitute
            self._trap(foe, pokemon, False)

    def _activate(self, line: list[str]) -> None:
        pokemon = self._of(line)[0]
        row, effect = pokemon.row, line[3]
        if effect == "confusion":
            self._dizzy = pokemon
            row[C["confusion_turns"]] = min(row[C["confusion_turns"]] + 1, 7)
        elif effect == "Bide":
            self._dizzy = None
            row[C["lock_turns"]] = min(row[C["lock_turns"]] + 1, 5)
        elif effect == "Substitute":
            row[C["substitute_hits"]] = min(row[C["substitute_hits"]] + 1, 5)

    def _mustrecharge(self, line: list[str]) -> None:
        self._of(line)[0].row[C["recharge"]] = 1

    def _prepare(self, line: list[str]) -> None:
        row = self._of(line)[0].row
        row[C["charging"]] = 1
        if move_id(line[3]) in (_DIG, _FLY):
            row[C["invulnerable"]] = 1

    def _transform(self, line: list[str]) -> None:
        pokemon, foe = self._of(line)
        if foe is None:
            return
        row = pokemon.row
        for run in _TRANSFORMED:
            row[run] = foe.row[run]
        row[C["transformed"]] = 1
        # An opponent takes our moves, which we know; ours takes moves that the next request lists.
        pokemon.moves = list(foe.moves)
        pokemon.pps = [5] * len(foe.moves)
        pokemon.write_moves()

    def _immune(self, line: list[str]) -> None:
        self._rage_failed(self._of(line)[1])

    def _rage_failed(self, user: Pokemon | None) -> None:
        """Rage starts only when its first use takes effect."""
        if user is not None and self._started_rage and user.row[C["rage"]]:
            user.row[C["rage"]] = 0
            self._started_rage = False

    def _turn(self, line: list[str]) -> None:
        self.turn = int(line[2])
        self._thawed.clear()
        self._hit_itself()
        for pokemon in self.active:
            if pokemon is not None:
                row = pokemon.row
                row[C["turns_in"]] = min(row[C["turns_in"]] + 1, 10)
                if row[C["disabled"]]:
                    row[C["disable_turns"]] = min(row[C["disable_turns"]] + 1, 7)

    def _teamsize(self, line: list[str]) -> None:
        self.team_size[0 if line[2] == "p1" else 1] = int(line[3])
