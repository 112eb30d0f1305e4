"""Key, generation and epoch, with the numbers that Airflow 3.3 was seen to give."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from moulin_provider.task_identity import TaskIdentity


def identity(try_number: int, max_tries: int, retries: int | None = 2, map_index: int | None = -1) -> TaskIdentity:
    ti = SimpleNamespace(
        dag_id="d", run_id="r", task_id="t", map_index=map_index, try_number=try_number, max_tries=max_tries
    )
    return TaskIdentity.of(ti, retries)


@pytest.mark.parametrize(
    ("try_number", "max_tries", "generation"),
    [
        pytest.param(1, 2, 0, id="first try"),
        pytest.param(3, 2, 0, id="second retry"),
        pytest.param(2, 3, 1, id="cleared after one try"),
        pytest.param(4, 5, 3, id="cleared after three tries"),
        pytest.param(5, 5, 3, id="retry of a cleared task"),
        pytest.param(1, 5, 0, id="retries were five when the run began and are two now"),
        pytest.param(2, 1, 0, id="retries were one when the run began and are two now"),
    ],
)
def test_only_a_clear_makes_a_new_generation(try_number, max_tries, generation):
    assert identity(try_number, max_tries).generation == generation


def test_a_mapped_task_has_a_key_for_each_of_its_instances():
    assert identity(1, 2, map_index=3).key != identity(1, 2, map_index=4).key
    assert identity(1, 2, map_index=None).key.map_index == -1


def test_the_key_stays_and_the_epoch_grows_over_tries():
    first, second = identity(1, 2), identity(2, 2)
    assert (first.key, first.generation) == (second.key, second.generation)
    assert (first.epoch, second.epoch) == (1, 2)


def test_a_clear_names_a_generation_that_no_try_before_it_asked_for():
    third = identity(3, 2)
    assert third.asked_generation(durable=True) == 0
    cleared_after_it = identity(4, 3 + 2)
    assert cleared_after_it.generation == 3


def test_without_durable_every_try_has_a_generation_of_its_own():
    seen = [identity(n, 2).asked_generation(durable=False) for n in (1, 2, 3)]
    assert seen == [0, 1, 2]
