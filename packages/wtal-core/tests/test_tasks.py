"""Tasks on several processors: a death, an exception, an interrupt, and who pays for it."""

import importlib
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from wtal_core.errors import ConfigError, Problems, RunError
from wtal_core.tasks import TRIES, Task, perform, pool, processes

WORK = Path(__file__).parent / "work"


@pytest.fixture
def work(monkeypatch, clean_modules):
    """Pieces of work, in a module that other processes find."""
    monkeypatch.syspath_prepend(str(WORK))
    return importlib.import_module("wtal_work")


def silent(_done, _note):
    pass


def done(*tasks, workers=2):
    told = []
    with processes(workers) as executor:
        return perform(tasks, executor, lambda count, name: told.append((count, name))), told


def test_results_come_by_name_in_the_order_of_the_tasks(tmp_path, work):
    tasks = [Task(f"square of {n}", work.squared, (n,)) for n in (3, 1, 2)]
    results, told = done(*tasks)
    assert list(results.items()) == [("square of 3", 9), ("square of 1", 1), ("square of 2", 4)]
    assert [count for count, _ in told] == [1, 2, 3]
    assert {name for _, name in told} == set(results)


def test_a_process_that_dies_costs_its_task_alone(tmp_path, work):
    results, _ = done(Task("b", work.deadly_once, (tmp_path,)), *(Task(str(n), work.squared, (n,)) for n in range(4)))
    assert results == {"b": "alive", "0": 0, "1": 1, "2": 4, "3": 9}


def test_a_task_that_keeps_killing_is_named_and_the_others_are_finished(tmp_path, work):
    marks = tmp_path / "marks"
    marks.mkdir()
    tasks = [Task("bad", work.deadly, (marks,)), *(Task(str(n), work.note, (tmp_path, n)) for n in range(4))]
    with pytest.raises(Problems) as raised:
        done(*tasks)
    assert str(raised.value) == (
        "bad: its process was killed 3 times while it ran; look for a lack of memory, or a crash in a plugin"
    )
    assert len(list(marks.iterdir())) == TRIES == 3
    assert sorted(path.name for path in tmp_path.glob("note-*")) == [f"note-{n}" for n in range(4)]


def test_all_failures_are_told_together_and_the_others_are_finished(tmp_path, work):
    tasks = [
        Task("one", work.failing, ("no file\nno key",)),
        Task("two", work.failing, ("no grid",)),
        Task("3", work.note, (tmp_path, 3)),
    ]
    with pytest.raises(Problems) as raised:
        done(*tasks)
    assert str(raised.value) == "one: no file\none: no key\ntwo: no grid"
    assert (tmp_path / "note-3").exists()


@pytest.mark.parametrize(
    ("function", "last"),
    [
        ("wrong", "ZeroDivisionError: a bug"),
        ("leaving", "SystemExit: enough"),
        ("strange", "wtal_work.StrangeError: 1 2"),
    ],
)
def test_a_bug_comes_with_its_traceback(work, function, last):
    with pytest.raises(RuntimeError, match=r"^one: no key\nodd: Traceback") as raised:
        done(Task("odd", getattr(work, function)), Task("one", work.failing, ("no key",)))
    assert str(raised.value).splitlines()[-1] == last


def test_warnings_of_a_task_are_told_once_by_the_caller(tmp_path, work):
    with pytest.warns(UserWarning, match="careful") as caught:
        done(Task("1", work.warning, ("careful",)), Task("2", work.warning, ("careful",)))
    assert [str(one.message) for one in caught] == ["careful"]


def test_an_interrupt_ends_the_processes_at_once(tmp_path, work):
    def interrupt(_count, _name):
        while not list(tmp_path.iterdir()):
            time.sleep(0.01)
        raise KeyboardInterrupt

    long, later = (Task(name, work.lasting, (tmp_path,)) for name in ("long", "later"))
    tasks = [long, Task("short", work.squared, (2,)), later]
    with pytest.raises(KeyboardInterrupt), processes(2) as executor:
        perform(tasks, executor, interrupt)
    for path in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)


class Blaming(ThreadPoolExecutor):
    """As a Dask scheduler does, gives up every task that was near the deadly one."""

    def __init__(self):
        super().__init__(1)
        self.given = []

    def submit(self, function, /, *arguments):
        self.given.append(arguments)
        near = len(self.given) <= 3
        if near or arguments[0].__name__ == "wrong":
            return super().submit(self.kill, arguments[0])
        return super().submit(function, *arguments)

    @staticmethod
    def kill(_function):
        raise OSError("all those workers died")


def test_tasks_that_were_given_up_together_are_given_again_alone(work):
    tasks = [Task("a", work.squared, (2,)), Task("bad", work.wrong), Task("b", work.squared, (3,))]
    told = []
    with Blaming() as executor, pytest.raises(Problems) as raised:
        perform(tasks, executor, lambda count, name: told.append(count))
    assert str(raised.value) == "bad: OSError: all those workers died"
    assert len(executor.given) == 6
    assert told == [0, 0, 0, 1, 1, 2]


def test_a_task_that_was_given_up_alone_is_not_given_again(work):
    with Blaming() as executor, pytest.raises(Problems, match=r"^bad: OSError: all those workers died$"):
        perform([Task("bad", work.wrong)], executor, silent)
    assert len(executor.given) == 1


def test_workers_and_dask_exclude_each_other():
    message = "--workers counts processes on this machine, and --dask computes elsewhere; give one of them"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"), pool(2, "tcp://127.0.0.1:1", 3):
        pass


def test_dask_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    message = "--dask needs the package distributed: pip install 'wtal-core[cluster]'"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"), pool(None, "tcp://127.0.0.1:1", 3):
        pass


def test_dask_that_does_not_answer():
    dask = pytest.importorskip("dask")
    pytest.importorskip("distributed")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "500ms"}),
        pytest.raises(RunError, match=r"^--dask tcp://127\.0\.0\.1:1: no Dask scheduler answers there \(OSError: "),
        pool(None, "tcp://127.0.0.1:1", 3),
    ):
        pass


def test_dask_gives_up_what_kills_its_workers_and_finishes_the_rest(tmp_path, work):
    distributed = pytest.importorskip("distributed")
    from wtal_core.tasks import dask

    tasks = [
        Task("bad", work.deadly, (str(tmp_path),)),
        *(Task(str(n), work.note, (str(tmp_path), n)) for n in range(3)),
    ]
    cluster = distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with (
        cluster,
        pytest.raises(Problems, match=r"^bad: KilledWorker: Attempted to run task .*$"),
        dask(cluster.scheduler_address) as executor,
    ):
        perform(tasks, executor, silent)
    assert sorted(path.name for path in tmp_path.glob("note-*")) == [f"note-{n}" for n in range(3)]
