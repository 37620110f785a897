"""MAA and the reference where numba's cache is damaged or missing; wtal-localize, of the same text, has more."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("numba", reason="numba is not installed")

CODE = """
import json, warnings
import torch, wtal_aggregators as wa
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from wtal_aggregators.reference import marginalized_average_reference
    answers = []
    for pool in (wa.marginalized_average, marginalized_average_reference) * 2:
        x, p = torch.tensor([[1.0], [3.0]]), torch.ones(2, requires_grad=True)
        pooled = pool(x, p)
        pooled.sum().backward()
        answers += [round(pooled.item(), 6), [round(x, 6) for x in p.grad.tolist()]]
print(json.dumps([answers, [f"{warning.category.__name__}: {warning.message}" for warning in caught]]))
"""
RIGHT = [2.0, [-1.0, 1.0]] * 4


def run(cache, before=""):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    return json.loads(subprocess.check_output([sys.executable, "-c", before + CODE], text=True, env=environment))


def test_a_damaged_cache_is_named_once_and_done_without(tmp_path):
    assert run(tmp_path) == [RIGHT, []]
    for suffix in ("nbc", "nbi"):
        files = list(tmp_path.rglob(f"*.{suffix}"))
        assert {file.name.partition("-")[0] for file in files} == {
            "_compiled.coefficients",
            "_compiled.gradient",
            "reference.algorithm_1",
            "reference.reverse_of_algorithm_1",
        }
        for file in files:
            file.write_bytes(file.read_bytes()[:9])
        answers, warned = run(tmp_path)
        assert answers == RIGHT
        (message,) = warned
        assert message.startswith("RuntimeWarning: numba's cache of ")
        assert f"Delete {files[0].parent}{os.sep}_compiled.*.nb[ic]" in message


def test_without_a_folder_for_the_cache(tmp_path):
    answers, warned = run(tmp_path, "from numba.core import caching; caching.CacheImpl._locator_classes = []\n")
    assert answers == RIGHT
    (message,) = warned
    assert message.startswith("RuntimeWarning: numba has no cache for algorithm_1, so it is compiled in every process")
