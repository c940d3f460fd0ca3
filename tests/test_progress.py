"""What residuals say of runs that converge, stall, diverge, or run out of digits."""

import numpy as np
import pytest

from sknettrim.solvers._progress import PATIENCE, REST, RETRY, WARM_UP, Progress

TOL = 1e-3


def run(errors, *, strict=True, every=5, dtype=np.float32):
    progress = Progress(TOL, strict, dtype)
    for error in errors:
        progress.add(every, error)
    return progress


def falling(rate, n_checks, first=1.0, every=5):
    """Residuals that fall by this rate in each iteration."""
    return first * np.exp(-rate * every * np.arange(n_checks))


@pytest.mark.parametrize("strict", [True, False])
def test_a_proof_is_tried_once_residuals_are_near_the_tolerance(strict):
    assert not run([0.1, 0.01], strict=strict).promising
    assert run([0.1, 0.5 * TOL], strict=strict).promising
    # Others than strict layers are mended before they are proven.
    assert run([0.1, 1.5 * TOL], strict=strict).promising is not strict


@pytest.mark.parametrize(("proven", "enough"), [(4, 0.1), (1000, 0.99 * RETRY * 0.5)])
def test_after_a_proof_that_failed_residuals_have_to_fall_in_proportion(proven, enough):
    """But by no more than some factor: what is proven may be far off for other reasons."""
    progress = run([0.1, 0.5 * TOL])
    assert not progress.note_failure(proven * TOL)
    progress.add(5, 0.4 * TOL)
    assert not progress.promising
    progress.add(5, enough * TOL)
    assert progress.promising


def test_what_is_proven_no_longer_falls_with_the_residuals():
    """Each time a little less, even."""
    errors, proven = TOL / 2 ** np.arange(1, 6), TOL * np.array([4.0, 3.0, 2.5, 2.2, 2.1])
    for dtype, lost in ((np.float32, [False, False, True, True]), (np.float64, [False] * 4)):
        progress = run([0.1, errors[0]], dtype=dtype)
        assert not progress.note_failure(proven[0])
        told = []
        for error, left in zip(errors[1:], proven[1:], strict=True):
            progress.add(5, error)
            told.append(progress.note_failure(left))
        assert told == lost


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_residuals_that_no_longer_fall_are_rounding_errors_if_they_can_be(dtype):
    """Long before a rate is measured that does not depend on the first iterations."""
    progress = run([0.1, 0.5 * TOL], dtype=dtype)
    assert not progress.note_failure(1e12 * TOL)
    for _ in range(REST + 1):
        progress.add(5, 0.2 * TOL)
    assert progress.hopeless(progress.n_iter) == (dtype == np.float32)
    for _ in range(REST + 1):
        progress.add(5, 100 * np.finfo(dtype).eps)
    assert progress.hopeless(progress.n_iter)


def test_residuals_of_zero_that_prove_nothing_are_hopeless():
    progress = run(np.zeros(WARM_UP // 5))
    assert not progress.note_failure(2 * TOL)
    assert progress.hopeless(WARM_UP)


@pytest.mark.parametrize("errors", [[1e-6, 10.0], [1.0, np.nan], [1.0, np.inf]])
def test_divergence(errors):
    assert not run(errors[:1]).diverged
    assert run(errors).diverged


def test_a_rate_that_promises_too_many_iterations_is_hopeless():
    """Once it says anything."""
    n_checks = WARM_UP // 5
    needed = np.log(1 / (0.7 * TOL))
    slow, fast = (falling(needed / n_iter, n_checks) for n_iter in (1.1 * PATIENCE, 0.9 * PATIENCE))
    assert run(slow).hopeless(WARM_UP)
    assert not run(fast).hopeless(WARM_UP)
    assert not run(slow[:-1]).hopeless(WARM_UP - 5)


def test_a_proof_tells_how_many_iterations_are_left():
    """At the present rate; before it, the shape of the inputs."""
    progress = run(falling(0.1, 12))
    assert progress.left((4000, 100), warm=True) > progress.left((1000, 100), warm=True)
    before = progress.left((4000, 100), warm=True)
    progress.note_failure(progress.error * 2)
    assert progress.left((4000, 100), warm=True) < before


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_the_rate_of_other_layers_tells_how_many_iterations_are_left(rate):
    progress = run(falling(rate, 9), strict=False)
    to_go = np.log(progress.error / progress.goal) / rate
    expected = min(2 * to_go, 1.3 * progress.n_iter)
    assert progress.left((1000, 10), False) == pytest.approx(max(expected, 0))


def test_what_takes_longer_than_usual_may_take_longer_still():
    shape = 400, 100
    early, late, later = (run(falling(0.1, n_checks)) for n_checks in (4, 20, 40))
    usual, of_four_times_the_rows = (
        early.n_iter + early.left((n_rows, 100), warm=True) for n_rows in (400, 1600)
    )
    assert of_four_times_the_rows == pytest.approx(2 * usual)
    assert late.n_iter + late.left(shape, warm=True) > usual
    assert later.left(shape, warm=True) == pytest.approx(2 * late.left(shape, warm=True))


def test_early_on_little_is_known_unless_there_was_a_start():
    shape = 4000, 100
    early, late = run(falling(0.1, 12)), run(falling(0.1, 20))
    assert early.n_iter < early.left(shape, warm=False) < early.left(shape, warm=True) / 2
    assert late.left(shape, warm=False) == late.left(shape, warm=True)


def test_each_proof_that_fails_makes_promises_less_believable():
    """At the same rate and the same distance."""
    shape = 4000, 100
    once, twice = run(falling(0.1, 12)), run(falling(0.1, 12))
    for progress, n_failures in ((once, 1), (twice, 2)):
        for _ in range(n_failures):
            progress.note_failure(progress.error * 2)
    assert once.goal == twice.goal
    assert (
        once.left(shape, warm=True)
        < twice.left(shape, warm=True)
        < run(falling(0.1, 12)).left(shape, warm=True)
    )
