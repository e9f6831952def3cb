"""The shared types. `P` players, `A` actions, `B` batch, `T` time, `K` members."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

PyTree = Any
Array = Any  # jax.Array or numpy.ndarray
Key = Any  # a jax PRNG key
Params = Any


class TimeStep(NamedTuple):
    """What the players may know at one decision point, and what the last step paid."""

    obs: PyTree  # leading axis [P]: only what that player may know
    legal: Array  # bool[P, A], never an empty row: an inactive seat is one-hot on action 0
    active: Array  # bool[P]
    reward: Array  # f32[P]
    terminated: Array  # bool[]
    truncated: Array  # bool[]


class Segments(NamedTuple):
    """How a policy with a memory plays segments of `length` frames and is learnt from them.

    `begin`, then `frame` `length` times is what `Policy.apply` does; `unroll` is all of it in one pass.
    """

    length: int
    begin: Callable[[Params, PyTree], PyTree]  # (params, carry) -> carry
    frame: Callable[..., tuple[Array, Array, PyTree]]  # as `Policy.apply`
    memory: Callable[[PyTree], PyTree]  # (carry between two segments) -> what `unroll` starts from
    unroll: Callable[..., tuple[Array, Array]]
    # (params, obs[T, B, ...], legal bool[T, B, A], memory, reset bool[T, B]) -> (heads, values f32[T, B])
    attention: Callable[..., dict[str, Array]] | None = None
    # (params, obs, memory, reset) -> arrays [T, B, ...], what `unroll` looks at; None where it has none


class Policy(NamedTuple):
    """A neural policy as pure functions. `head` is masked logits f32[B, A] for `Categorical` actions."""

    init: Callable[[Key], Params]
    initial_carry: Callable[[int], PyTree]  # (B) -> carry; () when feed-forward
    apply: Callable[..., tuple[Array, Array, PyTree]]
    # (params, obs[B, ...], legal bool[B, A], carry, reset bool[B]) -> (head, value f32[B], carry)
    segments: Segments | None = None  # None: there is no carry


class PolicySpec(NamedTuple):
    """What rebuilds a `Policy` without the script that made it; JSON-able."""

    name: str  # key into jaxnash.policies.spec.REGISTRY
    kwargs: dict[str, Any]
    layout: str  # hash of the observation layout the policy reads, "" where it has none
    actions: str  # "categorical:9", "buttons:10"


class Neural(NamedTuple):
    """A member that plays by a network."""

    name: str
    policy: Policy
    params: Params
    spec: PolicySpec | None = None
    greedy: bool = False  # argmax instead of sampling


class Scripted(NamedTuple):
    """A member that plays by rule."""

    name: str
    choose: Callable[..., Any]  # (battle record or time step, rng) -> action
    sees_state: bool = False  # in a scan: `choose(step, rng, state, *, seat)`, with the game's whole state


class External(NamedTuple):
    """A member that is somebody on a server."""

    name: str
    user_name: str


Member = Neural | Scripted | External


class Trajectory(NamedTuple):
    """Experience. Every leaf is [T, B, P, ...]; several episodes are packed one after another in a row.

    `reward[t]` is what action t earned. `terminated[t]` / `truncated[t]` say that the episode ended with
    step t. `reset[t]` says that step t is the first of its episode. `valid` is False on padding.
    """

    obs: PyTree
    legal: Array  # bool[T, B, P, A]
    active: Array  # bool[T, B, P]
    action: Array  # i32[T, B, P]
    log_prob: Array  # f32[T, B, P], of the behaviour policy; 0 for scripted members
    value: Array  # f32[T, B, P], 0 for scripted members
    reward: Array  # f32[T, B, P]
    terminated: Array  # bool[T, B, P]
    truncated: Array  # bool[T, B, P]
    reset: Array  # bool[T, B, P]
    first_carry: PyTree  # leading axis [B, P]
    bootstrap_value: Array  # f32[B, P], value after the last step of a row (0 if it ended there)
    member: Array  # i32[T, B, P], index of the member in the seat
    episode_id: Array  # i32[T, B, P], -1 on padding
    valid: Array  # bool[T, B, P]


class Learner(NamedTuple):
    """A pure learner; factories take an `optax.GradientTransformation`."""

    init: Callable[[Key], Any]
    update: Callable[[Key, Any, Any], tuple[Any, dict[str, Array]]]  # (key, S, data) -> (S, metrics)
    behaviour: Callable[[Any], Params]  # what rollouts play
    policy: Callable[[Any], Params]  # what evaluation plays


class MetaSolution(NamedTuple):
    """An equilibrium of a zero-sum matrix for the row player (maximiser)."""

    row: Array  # f64[m]
    col: Array  # f64[n]
    value: float
    gap: float  # max_i (M col)_i - min_j (row M)_j, recomputed from the matrix


class MetaSolver(Protocol):
    def __call__(self, payoffs: Array) -> MetaSolution: ...


class JaxnashError(Exception):
    """An error of the user's input or surroundings: one clear line, exit code 2 at the command line."""
