"""How long PSRO on Gen 1 OU takes, from the sizes alone."""

from __future__ import annotations

from jaxnash.runs.knobs import Knobs, trains_on_engine

PPO_EPOCHS = 3  # no knob, but it takes time
DECISIONS_A_BATTLE = 36  # one seat's, about; sizes buffers and estimates, never results
# Measured on two ordinary cores; used for the estimate alone.
BATTLES_A_SECOND, SAMPLES_A_SECOND, STARTUP_SECONDS = 40.0, 5000.0, 30.0
ENGINE_BATTLES_A_SECOND, ENGINE_COMPILING_SECONDS = 200.0, 45.0


def training_seconds(knobs: Knobs, epochs: int, decisions: float) -> float:
    """About how long cloning, PPO and its validations take on two ordinary cores."""
    validations = 1 + -(-knobs.oracle_updates // knobs.validate_every)
    rate = ENGINE_BATTLES_A_SECOND if knobs.backend == "engine" else BATTLES_A_SECOND
    fresh = knobs.oracle_updates * knobs.oracle_battles
    samples = epochs * decisions + PPO_EPOCHS * fresh * DECISIONS_A_BATTLE
    seconds = fresh / rate + validations * knobs.validation_battles / BATTLES_A_SECOND
    return seconds + samples / SAMPLES_A_SECOND


def estimate(knobs: Knobs, members: int) -> float:
    """Seconds of the whole run on two ordinary cores, from the sizes alone."""
    seconds, recorded, population = STARTUP_SECONDS, 0, 1 if knobs.opponent else members
    if trains_on_engine(knobs):
        seconds += ENGINE_COMPILING_SECONDS
    battles = knobs.final_battles * len(knobs.members)
    for iteration in range(1 + (1 if knobs.opponent else knobs.iterations)):
        new = population if iteration else population * (population - 1) // 2
        if iteration:
            fresh = iteration == 1 and not knobs.init_checkpoint
            epochs = knobs.oracle_epochs if fresh else knobs.finetune_epochs
            battles += knobs.collection_battles + knobs.test_battles
            decisions = (
                (min(recorded, knobs.replay_battles) + knobs.collection_battles) * 2 * DECISIONS_A_BATTLE
            )
            seconds += training_seconds(knobs, epochs, decisions)
            population += 1
            recorded += knobs.collection_battles
        battles += new * knobs.battles_per_matchup
        recorded += new * knobs.battles_per_matchup
    return seconds + battles / BATTLES_A_SECOND
