"""What stands for something that runs cannot be copied or pickled, and says so."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cloudpickle
import pytest
import tasks
from helpers import PATIENCE, assert_all_free

from bounded_executor import BoundedExecutor, BoundedProcessPoolExecutor

WAYS = [copy.copy, copy.deepcopy, cloudpickle.dumps] + [
    lambda obj, protocol=protocol: pickle.dumps(obj, protocol)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
]


@pytest.mark.parametrize("way", WAYS)
def test_an_executor_a_future_and_a_map_cannot_be_copied(way: Callable[[Any], Any]) -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        results = ex.map(tasks.double, range(3))
        future = ex.submit(tasks.double, 4)
        with pytest.raises(TypeError, match="a BoundedProcessPoolExecutor cannot be copied or pickled"):
            way(ex)
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            way({"held": ex} if way is not copy.copy else ex)
        with pytest.raises(TypeError, match="a future cannot be copied or pickled"):
            way(future)
        with pytest.raises(TypeError, match="the results of a map cannot be copied or pickled"):
            way(results)
        # None of that has touched them.
        assert list(results) == [0, 2, 4]
        assert future.result(PATIENCE) == 8
        assert_all_free(ex)


def test_one_over_another_executor_cannot_be_copied_either() -> None:
    with ThreadPoolExecutor(1) as below, BoundedExecutor(below) as ex:
        with pytest.raises(TypeError, match="a BoundedExecutor cannot be copied"):
            copy.copy(ex)
        assert ex.submit(tasks.double, 1).result(PATIENCE) == 2


class Holder:
    def __init__(self) -> None:
        self.executor = BoundedProcessPoolExecutor(1)

    def work(self) -> int:
        return 1


def test_a_method_of_an_object_that_has_the_executor_says_why_it_cannot_be_sent() -> None:
    holder = Holder()
    with holder.executor as ex:
        error = ex.submit(holder.work).exception(PATIENCE)
        assert isinstance(error, TypeError)
        assert "cannot be copied or pickled" in str(error) and "__getstate__" in str(error)
        assert_all_free(ex)
