"""A fighter run's tables as CSV, made from metrics.jsonl, so that a resumed run has them whole."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jaxnash.games.fighter import table
from jaxnash.runs.files import TIMING, read_jsonl, write_bytes

Row = dict[str, Any]


def write_tables(run_dir: str | Path) -> None:
    """monitor.csv, reward_breakdown.csv, behavior_metrics.csv and evaluation_results.csv, whole each time."""
    path = Path(run_dir)
    metrics = path / "metrics.jsonl"
    rows = read_jsonl(metrics) if metrics.exists() else []  # stopped before the first update
    tables = {
        "monitor": monitor(rows),
        "reward_breakdown": reward_breakdown(rows),
        "behavior_metrics": behavior_metrics(rows),
        "evaluation_results": evaluation_results(rows),
    }
    for name, lines in tables.items():
        write_bytes(path / f"{name}.csv", _csv(lines))


def monitor(rows: list[Row]) -> list[Row]:
    """A match each: its number, the run's frames by then, reward, length in frames, seconds of training."""
    lines, seconds = [], 0.0
    for row in rows:
        seconds += row[TIMING]["phases"]["train"]
        for match in row["matches"]:
            line = {"episode": len(lines), "step": row["frames"], "reward": match["reward"]}
            lines.append(line | {"length": match["frames"], "seconds": seconds})
    return lines


def reward_breakdown(rows: list[Row]) -> list[Row]:
    """An update each: what was paid, by terms, and in how many frames each term was not 0."""
    return [
        {"step": row["frames"], "total_reward": row["reward"]}
        | row["terms"]
        | {f"signal_{name}": count for name, count in row["signals"].items()}
        for row in rows
    ]


def behavior_metrics(rows: list[Row]) -> list[Row]:
    """A match each."""
    return [
        _behavior(number, match)
        for number, match in enumerate(each for row in rows for each in row["matches"])
    ]


def _behavior(number: int, match: Row) -> Row:
    frames = match["frames"]
    return {
        "episode": number,
        "damage_dealt": match["dealt"],
        "damage_taken": match["taken"],
        "damage_ratio": match["dealt"] / match["taken"] if match["taken"] else "",
        "knockouts_dealt": match["knock_outs"],
        "knockouts_taken": match["knocked_out"],
        "danger_zone_pct": 100 * match["danger"] / frames,
        "weapons_picked_up": match["picked"],
        "attacks_attempted": match["attacks"],
        "attack_rate": match["attacks"] * table.FPS / frames,
        "survival_time": frames / table.FPS,
        "won": int(match["result"] > 0),
    }


def evaluation_results(rows: list[Row]) -> list[Row]:
    """An evaluation against an opponent each, with the 99 % interval of its win rate."""
    return [
        {
            "timestep": row["frames"],
            "opponent": name,
            "matches": found["matches"],
            "win_rate": found["win_rate"],
            "win_rate_low": found["win_rate_interval"][0],
            "win_rate_high": found["win_rate_interval"][1],
            "avg_damage_dealt": found["damage_dealt"],
            "avg_damage_taken": found["damage_taken"],
            "avg_knockouts": (found["knock_outs_by_hit"] + found["knock_outs_alone"]) / found["matches"],
            "avg_survival_time": found["survival_seconds"],
            "evaluation_time_sec": row[TIMING]["phases"]["evaluate"],
        }
        for row in rows
        for name, found in row.get("evaluation", {}).items()
    ]


def _csv(lines: Iterable[Row]) -> bytes:
    lines, text = list(lines), io.StringIO()
    if lines:
        writer = csv.DictWriter(text, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    return text.getvalue().encode()
