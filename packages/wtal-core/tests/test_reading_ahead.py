"""Reading ahead: one iteration early, in a thread, told in turn."""

import threading

import pytest
from wtal_core.training.reading import read_ahead


def test_iterations_come_in_order_each_begun_by_the_caller_and_read_while_it_works_on_the_one_before():
    main, events, at_work = threading.current_thread(), [], threading.Event()

    def begin(number):
        assert threading.current_thread() is main
        events.append(number)

        def read():
            assert threading.current_thread() is not main
            if number > 1:
                assert at_work.wait(60)  # the caller has the one before and has not asked for this one
                at_work.clear()
            return number * 10

        return read

    seen = []
    for number in read_ahead(range(1, 5), begin):
        seen.append(number)
        assert events == list(range(1, min(len(seen) + 2, 5)))
        at_work.set()
    assert seen == [10, 20, 30, 40]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("features")]


def test_nothing_is_read_where_no_iteration_is_left():
    assert list(read_ahead(range(0), lambda number: 1 / 0)) == []


@pytest.mark.parametrize("early", [True, False])
def test_what_fails_is_raised_when_the_iteration_has_its_turn(early):
    def fail():
        raise ValueError("broken")

    def begin(number):
        if number == 3 and early:
            fail()
        return fail if number == 3 else lambda: number

    reading = read_ahead(range(1, 5), begin)
    assert [next(reading), next(reading)] == [1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(reading)


def test_ctrl_c_is_not_put_off():
    def begin(number):
        if number == 2:
            raise KeyboardInterrupt
        return lambda: number

    with pytest.raises(KeyboardInterrupt):
        next(read_ahead(range(1, 5), begin))
