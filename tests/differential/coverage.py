"""How often battles reached each move and each row of the checklist of mechanics, counted from their records.

A row is counted where a line of the protocol, a draw, a request or a change of the state shows it. Records
must hold their lines (`lines=True` in the job).
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from jaxnash.games.gen1.layout import VOCABULARIES
from jaxnash.games.gen1.sites import SITES
from jaxnash.showdown.pokemon import to_id

MOVES = VOCABULARIES["move"][1:-2]  # all 165
_HARD_LOCKS = ("lockedmove", "rage", "twoturnmove", "mustrecharge")

# Rows seen in one line of the protocol; hints are Showdown's own remarks on what only this generation does.
_LINES: dict[str, str] = {
    "cant: frozen": r"\|cant\|.*\|frz",
    "cant: asleep": r"\|cant\|.*\|slp",
    "cant: partially trapped": r"\|cant\|.*\|partiallytrapped",
    "cant: flinch": r"\|cant\|.*\|flinch",
    "cant: recharge": r"\|cant\|.*\|recharge",
    "cant: disabled": r"\|cant\|.*\|Disable",
    "cant: fully paralysed": r"\|cant\|.*\|par",
    "woke up": r"\|-curestatus\|.*\|slp\|\[msg\]",
    "thawed by fire": r"\|-curestatus\|.*\|frz\|\[msg\]",
    "confusion ended": r"\|-end\|.*\|confusion$",
    "hurt itself": r"\|-damage\|.*\[from\] confusion",
    "paralysed while invulnerable": r"will remain semi-invulnerable",
    "missed 1 in 256": r"can still miss 1/256",
    "missed": r"\|-miss\|",
    "target invulnerable": r"can't be hit while invulnerable",
    "OHKO against a faster one": r"\|-immune\|.*\[ohko\]",
    "OHKO hit": r"\|-ohko",
    "immune": r"\|-immune\|[^|\n]*$",
    "critical hit": r"\|-crit\|",
    "super effective": r"\|-supereffective\|",
    "resisted": r"\|-resisted\|",
    "stat of 1024 or more": r"a stat will roll over",
    "defence rounded up to 1": r"avoids division by zero",
    "recoil": r"\|-damage\|.*\[from\] Recoil",
    "drain": r"\|-heal\|.*\[from\] drain",
    "multiple hits": r"\|-hitcount\|",
    "burned": r"\|-status\|.*\|brn",
    "frozen": r"\|-status\|.*\|frz",
    "paralysed": r"\|-status\|.*\|par",
    "poisoned": r"\|-status\|.*\|psn",
    "badly poisoned": r"\|-status\|.*\|tox",
    "fell asleep": r"\|-status\|.*\|slp\|\[from\] move: (?!Rest)",
    "rested": r"\|-status\|.*\|slp\|\[from\] move: Rest",
    "status failed: has one": r"\|-fail\|[^|\n]*\|(brn|frz|par|psn|slp|tox)$",
    "Sleep Clause": r"Sleep Clause Mod activated",
    "Freeze Clause": r"Freeze Clause activated",
    "slept while recharging": r"has yet to recharge is targeted with a sleep",
    "trapping ended a recharge": r"negate the recharge turn of Hyper Beam",
    "substitute made": r"\|-start\|.*\|Substitute",
    "substitute cost the last hp": r"\|-start\|(p[12]a).*\|Substitute\n\|-damage\|\1.*\|0 fnt",
    "substitute: too weak": r"\|move: Substitute\|\[weak\]",
    "substitute took damage": r"\|-activate\|.*\|Substitute\|\[damage\]",
    "substitute broke": r"\|-end\|.*\|Substitute",
    "confused through a substitute": r"can confuse targets with a Substitute",
    "self-hit struck the foe's substitute": r"the target's Substitute takes the damage",
    "self-hit, only own substitute": r"does not have a Substitute there is no damage",
    "exploded on a substitute": r"will not take damage if it breaks a Substitute",
    "stat at 999 bounced": r"boosting a stat at 999",
    "stat at 1 bounced": r"dropping a stat at 1",
    "stat raised": r"\|-boost\|",
    "stat lowered": r"\|-unboost\|",
    "Mist held": r"\|-activate\|.*move: Mist",
    "Bide began": r"\|-start\|.*\|Bide",
    "Bide ended": r"\|-end\|.*\|Bide",
    "Rage built": r"\|-boost\|.*\[from\] Rage",
    "Rage built on Explosion or Disable": r"causes the target to build Rage",
    "Mimic": r"\|-start\|.*\|Mimic\|",
    "Transform": r"\|-transform\|",
    "Disable": r"\|-start\|.*\|Disable\|",
    "Disable ended": r"\|-end\|.*\|Disable$",
    "Haze": r"\|-clearallboost",
    "Haze cured": r"\|-curestatus\|.*\[silent\]",
    "cannotmove: trapped, then asleep": r"switches to a Pokémon that is asleep",
    "cannotmove: Haze in a hard lock": r"will become soft-locked",
    "cannotmove: Haze in Bide": r"the move execution will never resolve",
    "nomove after a thaw": r"no move has been selected yet",
    "recovery failed at 255 or 511": r"recovery moves fail if",
    "Conversion": r"\|typechange\|",
    "Leech Seed sown": r"\|-start\|.*move: Leech Seed",
    "Leech Seed drained": r"\|-damage\|.*\[from\] Leech Seed",
    "Leech Seed with Toxic's counter": r"Leech Seed's damage is affected by Toxic's counter",
    "Toxic's counter on psn or brn": r"Toxic's counter is retained",
    "hurt by burn": r"\|-damage\|.*\[from\] brn",
    "hurt by poison": r"\|-damage\|.*\[from\] psn",
    "PP fell below 0": r"the move will underflow to have 63 PP",
    "Psywave failed at level 1": r"uses Psywave, the game softlocks",
    "desync clause": r"Desync Clause Mod activated",
    "two-turn move charged": r"\|-prepare\|",
    "Focus Energy": r"\|-start\|.*move: Focus Energy",
    "Reflect": r"\|-start\|.*\|Reflect",
    "Light Screen": r"\|-start\|.*\|Light Screen",
    "called by Metronome": r"\|move\|.*\[from\] Metronome",
    "called by Mirror Move": r"\|move\|.*\[from\] Mirror Move",
    "Metronome called a two-turn move": r"\|move\|.*\[from\] Metronome.*\n\|-prepare\|",
    "Mirror Move called a two-turn move": r"\|move\|.*\[from\] Mirror Move.*\n\|-prepare\|",
    "Counter failed": r"\|move\|.*\|Counter\|.*\n\|-fail\|",
    "crashed from a jump": r"\|move\|.*(Jump Kick|High Jump Kick)\|.*\[miss\]",
    "fainted": r"\|faint\|",
    "endless battle": r"Endless Battle Clause activated",
    "turn limit": r"You have hit the turn limit",
    "tie": r"\|tie$",
    "won": r"\|win\|",
}
_PATTERNS = {row: re.compile(pattern, re.MULTILINE) for row, pattern in _LINES.items()}
_MOVE = re.compile(r"\|move\|(p[12])a: [^|]*\|([^|]*)\|")

_STATES = (
    *("ask: Fight, asleep", "ask: Fight, frozen", "ask: Fight, trapped", "ask: maybeLocked", "ask: Struggle"),
    *("ask: recharge", "ask: hard lock", "ask: semi-lock, may switch", "ask: cannot switch", "ask: disabled"),
    *("ask: two replacements", "maybeLocked, another move", "semi-lock left by switching", "both switch"),
    *("trapping against a switch", "hurt on switching in", "fainted on switching in", "tox became psn"),
    *("locked accuracy below 255", "virtual slot used", "virtual slot by Mimic used", "base PP went up"),
    *("both fainted in a turn", "a faint cancelled an action", "Toxic's counter above 1", "63 PP"),
    *("volatile: " + name for name in ("fakepartiallytrapped", "invulnerability", "flinch", "residualdmg")),
    *("reflect or light screen held", "asleep on the bench"),
    *("boost while paralysed or burned", "crit, boosted", "one-sided team", "level below 100"),
)
ROWS = (*_LINES, *_STATES, *(f"draw: {site.name}" for site in SITES))


def count(record: dict[str, Any]) -> Counter[str]:
    """Rows of `ROWS` and "move: <id>" reached in one record, by how often."""
    rows: Counter[str] = Counter()
    rows.update(f"draw: {site}" for site, *_ in record["draws"])
    decisions = record["decisions"]
    teams = [side["pokemon"] for side in decisions[0]["state"]["sides"]] if decisions else []
    rows["one-sided team"] += len({len(team) for team in teams}) > 1
    rows["level below 100"] += any(one["level"] < 100 for team in teams for one in team)
    after = [*(decision["state"] for decision in decisions[1:]), record["state"]]
    for decision, then in zip(decisions, after):
        rows.update(f"draw: {site}" for site, *_ in decision["draws"])
        _count_lines(rows, decision["lines"])
        _count_asked(rows, decision)
        if then is not None:
            _count_change(rows, decision, then)
    return rows


def _count_lines(rows: Counter[str], lines: list[str]) -> None:
    # One side's copy of what both see: "2|..." repeats "1|..." with hp in per cent.
    shown = [line for line in lines if line[:1] != "2"]
    text = "\n".join(line.lstrip("1") for line in shown)
    for row, pattern in _PATTERNS.items():
        rows[row] += len(pattern.findall(text))
    rows.update(f"move: {to_id(name)}" for _, name in _MOVE.findall(text))


def _count_asked(rows: Counter[str], decision: dict[str, Any]) -> None:
    state, requests = decision["state"], decision["requests"]
    rows["ask: two replacements"] += all(request["kind"] == "switch" for request in requests)
    rows["both switch"] += all(
        request["kind"] == "move" and action >= 4 for request, action in zip(requests, decision["choices"])
    )
    for side, request, action in zip(state["sides"], requests, decision["choices"]):
        on = side["on"]
        if request["kind"] != "move":
            continue
        held, first = on["volatiles"], request["moves"][0]
        status = side["pokemon"][side["active"]]["status"]
        if first == "fight":
            why = {"slp": "asleep", "frz": "frozen"}.get(status, "trapped")
            rows[f"ask: Fight, {why}"] += 1
        semi = "bide" in held or "partialtrappinglock" in held
        rows["ask: Struggle"] += first == "struggle"
        rows["ask: recharge"] += first == "recharge"
        rows["ask: hard lock"] += request["single"] and any(name in held for name in _HARD_LOCKS)
        rows["ask: semi-lock, may switch"] += semi and not request["trapped"]
        rows["ask: cannot switch"] += request["trapped"]
        rows["ask: maybeLocked"] += request["maybeLocked"]
        rows["ask: disabled"] += not request["single"] and not all(request["legal"][: len(request["moves"])])
        rows["semi-lock left by switching"] += semi and action >= 4
        for name in ("fakepartiallytrapped", "invulnerability", "flinch", "residualdmg"):
            rows[f"volatile: {name}"] += name in held
        rows["Toxic's counter above 1"] += held.get("residualdmg", {}).get("counter", 0) > 1
        rows["reflect or light screen held"] += "reflect" in held or "lightscreen" in held
        rows["asleep on the bench"] += any(one["sleep"] for one in side["pokemon"]) and status != "slp"
        for name in ("lockedmove", "rage"):
            rows["locked accuracy below 255"] += held.get(name, {}).get("accuracy", 255) not in (255, True)
        rows["63 PP"] += any(pp == 63 for _, pp, _ in on["moves"])
        if request["maybeLocked"] and action < 4:
            locked = held.get("partialtrappinglock", {}).get("move")
            rows["maybeLocked, another move"] += "partiallytrapped" in held or (
                locked is not None and locked != request["moves"][action]
            )


def _count_change(rows: Counter[str], decision: dict[str, Any], then: dict[str, Any]) -> None:
    before = decision["state"]
    fell, text = 0, "\n".join(decision["lines"])
    for n, (old, new) in enumerate(zip(before["sides"], then["sides"])):
        action, foe = decision["choices"][n], before["sides"][1 - n]
        fell += old["left"] > new["left"]
        came = new["pokemon"][new["active"]]
        was = old["pokemon"][new["active"]]
        if action is not None and action >= 4:
            switched = f"|switch|p{n + 1}a"
            at = text.find(switched)
            hurt = re.search(rf"\|-damage\|p{n + 1}a[^|]*\|[^|]*\|\[from\] (psn|brn)", text[at:])
            calm = not re.search(rf"\|move\|p{n + 1}a", text[at:])
            rows["hurt on switching in"] += hurt is not None and calm
            rows["fainted on switching in"] += hurt is not None and calm and came["fainted"]
            on = foe["on"]
            rows["trapping against a switch"] += bool(on and "partialtrappinglock" in on["volatiles"])
        for one, other in zip(old["pokemon"], new["pokemon"]):
            rows["tox became psn"] += one["status"] == "tox" and other["status"] == "psn"
        a, b = old["on"], new["on"]
        if a and b and old["active"] == new["active"] and len(a["moves"]) == len(b["moves"]):
            for (id, pp, virtual), (other, left, _) in zip(a["moves"], b["moves"]):
                used = id == other and virtual and left < pp
                rows["virtual slot used"] += used
                rows["virtual slot by Mimic used"] += used and not a["transformed"]
            weak = was["status"] in ("par", "brn") and was["status"] == came["status"]
            rows["boost while paralysed or burned"] += weak and a["boosts"] != b["boosts"]
            rows["crit, boosted"] += any(a["boosts"]) and f"|-crit|p{2 - n}a" in text
            rows["base PP went up"] += any(
                left > pp for (_, pp), (_, left) in zip(was["moves"], came["moves"]) if left != 63
            )
    rows["both fainted in a turn"] += fell == 2
    chose = [action is not None and action < 4 for action in decision["choices"]]
    if all(chose) and fell:
        acted = {side for side, _ in _MOVE.findall(text)}
        rows["a faint cancelled an action"] += len(acted) < 2


def table(reached: Counter[str]) -> str:
    """Two columns, a row and how often it was reached: the checklist first, then the moves, rarest first."""
    rows = [f"{reached[row]:>10,}  {row}" for row in ROWS]
    moves = sorted(MOVES, key=lambda move: reached[f"move: {move}"])
    rows += [f"{reached[f'move: {move}']:>10,}  move: {move}" for move in moves]
    return "\n".join(rows)
