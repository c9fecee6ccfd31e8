"""Workflows of the load that are nested: made from dice, with what each of their runs must bring.

Pure. A tree is what ``programs/torture_app.py`` makes a workflow of, as plain lists, so that it can
travel as JSON: ``["work", step, id]`` gives number + step, ``["follow", step, id]`` one more than
what it gets, ``["chain", trees]``, ``["group", trees]``, ``["chord", trees, step, id]`` the sum of
its header. Steps are counted from 0; the run of step 0 is one that begins at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

Tree: TypeAlias = list[Any]


def make_tree(dice: random.Random, kind: str, new_id: Callable[[int], str]) -> Tree:
    """Return a ``group``, or something ``nested``, two to four levels deep."""
    maker = _Maker(dice, new_id)
    if kind == "group":
        return ["group", [maker.work() for _ in range(dice.randint(2, 6))]]
    return dice.choice((maker.chord, maker.chain, maker.group))(dice.randint(2, 3))


class _Maker:
    def __init__(self, dice: random.Random, new_id: Callable[[int], str]) -> None:
        self._dice = dice
        self._new_id = new_id
        self._steps = 0

    def _step(self) -> tuple[int, str]:
        step = self._steps
        self._steps += 1
        return step, self._new_id(step)

    def work(self) -> Tree:
        return ["work", *self._step()]

    def single(self, depth: int) -> Tree:
        """Return what gives one number."""
        if depth <= 0:
            return self.work()
        return self._dice.choice((self.chord, self.chain))(depth)

    def chain(self, depth: int) -> Tree:
        steps = [self.single(depth - 1)]
        steps += [["follow", *self._step()] for _ in range(self._dice.randint(1, 2))]
        if self._dice.random() < 0.4:
            # What comes after a step begins when it has ended, and not before.
            steps.append(self.single(depth - 1))
        return ["chain", steps]

    def chord(self, depth: int) -> Tree:
        width = self._dice.randint(1, 4)
        header = [self.single(depth - self._dice.randint(1, 2)) for _ in range(width)]
        return ["chord", header, *self._step()]

    def group(self, depth: int) -> Tree:
        return ["group", [self.single(depth - 1) for _ in range(self._dice.randint(2, 4))]]


def value_of(tree: Tree, number: int, before: int = 0) -> Any:
    """Return what who waits for it must get: a number, or the list of a group."""
    match tree:
        case ["work", step, _]:
            return number + step
        case ["follow", _, _]:
            return before + 1
        case ["chain", steps]:
            for one in steps:
                before = value_of(one, number, before)
            return before
        case ["group", members]:
            return [value_of(one, number) for one in members]
        case ["chord", header, _, _]:
            return sum(value_of(one, number) for one in header)
    raise AssertionError(tree)


def runs_of(tree: Tree, number: int, before: int = 0) -> Iterator[tuple[int, str, int]]:
    """Walk the runs: their step, their id, and the value each must have."""
    match tree:
        case ["chain", steps]:
            for one in steps:
                yield from runs_of(one, number, before)
                before = value_of(one, number, before)
        case ["group", members]:
            for one in members:
                yield from runs_of(one, number)
        case ["chord", header, step, task_id]:
            for one in header:
                yield from runs_of(one, number)
            yield step, task_id, value_of(tree, number)
        case [_, step, task_id]:
            yield step, task_id, value_of(tree, number, before)
