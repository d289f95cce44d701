"""A map and its futures under a progress bar: the total is known where the inputs have a length."""

from __future__ import annotations

import io
from concurrent.futures import as_completed

import pytest
from tqdm import tqdm

from bounded_executor import BoundedProcessPoolExecutor

# tqdm makes a lock for all bars, which stays. Where forkserver is the default it has a file in /dev/shm.
tqdm.get_lock()


@pytest.mark.parametrize("unordered", [False, True])
def test_tqdm_finds_the_total_of_a_map(unordered: bool) -> None:
    with BoundedProcessPoolExecutor(2) as executor:
        with tqdm(executor.map(abs, range(50), unordered=unordered), file=io.StringIO()) as bar:
            assert bar.total == 50
            assert sorted(bar) == list(range(50))
        with tqdm(executor.map(abs, (n for n in range(5))), file=io.StringIO()) as bar:
            assert bar.total is None
            assert list(bar) == list(range(5))
        futures = [executor.submit(abs, n) for n in range(5)]
        assert len(list(tqdm(as_completed(futures), total=len(futures), file=io.StringIO()))) == 5


def test_the_length_of_a_map_is_what_is_still_to_come() -> None:
    with BoundedProcessPoolExecutor(1) as executor:
        results = executor.map(pow, range(5), [2] * 3)
        assert [len(results), next(results), len(results), next(results)] == [3, 0, 2, 1]
        results.close()  # type: ignore[attr-defined]
        assert len(results) == 0
        endless = executor.map(abs, iter([1]))
        assert endless
        with pytest.raises(TypeError, match="have no length"):
            len(endless)
        # One map over another's results, whose length nobody knows.
        assert list(executor.map(abs, endless)) == [1]
        assert len(executor.map(abs)) == 0
