"""The pictures show the numbers they were given, say what these are, and leave nothing open."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import date
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from cases import Case
from conftest import make
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.figure import Figure

import rnnx
from rnnx import plots
from rnnx.plots.drawing import FILES_ONLY

HISTORY = {
    "epoch": [1, 2, 3, 4],
    "loss": [4.0, 2.0, 0.3, 0.1],
    "validation_loss": [5.0, 1.0, 2.0, np.nan],
    "validation_accuracy": [0.1, 0.5, 0.7, 0.6],
}
STATES = np.random.default_rng(0).standard_normal((6, 3, 4))
NORMS = {"h_l0": [1e-6, 1e-3, 1.0], "h_l0_reverse": [8.0, 4.0, 2.0]}
CALLS: dict[str, Callable[..., Axes]] = {
    "learning_curves": lambda **options: plots.learning_curves(HISTORY, **options),
    "hidden_states": lambda **options: plots.hidden_states(STATES, **options),
    "gradient_norms": lambda **options: plots.gradient_norms(NORMS, **options),
    "eigenvalues": lambda **options: plots.eigenvalues([[0.5]], **options),
    "forecast": lambda **options: plots.forecast(
        past=[1, 2, 3], truth=[4], predicted=[3.5], **options
    ),
}


@pytest.fixture(autouse=True)
def without_a_display() -> Iterator[None]:
    """Draw with Agg, and close what pyplot holds."""
    pyplot.switch_backend("Agg")
    yield
    pyplot.close("all")


def lines(ax: Axes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return x and y of every line by its label."""
    found = [(str(line.get_label()), *line.get_data()) for line in ax.lines]
    return {label: (np.asarray(x), np.asarray(y)) for label, x, y in found}


def legend(ax: Axes) -> list[str]:
    """Return the legend's texts."""
    box = ax.get_legend()
    return [] if box is None else [text.get_text() for text in box.get_texts()]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_picture_is_drawn_and_labelled(call: Callable[..., Axes]) -> None:
    """In the Axes given or one of its own: a title, both labels; it renders without a warning."""
    own, given = Figure(), call()
    ax = own.subplots()
    assert call(ax=ax) is ax
    for axes in (ax, given):
        assert axes.get_title()
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        axes.figure.canvas.draw()


@pytest.mark.parametrize("name", CALLS)
def test_figures_do_not_pile_up(name: str) -> None:
    """Without a display pyplot holds the last figure of a function; earlier ones still draw."""
    before = len(pyplot.get_fignums())
    first = CALLS[name]()
    for _ in range(25):
        last = CALLS[name]()
    assert len(pyplot.get_fignums()) == before + 1
    assert pyplot.gcf() is last.figure
    first.figure.canvas.draw()
    assert first.figure is not last.figure
    CALLS[name](ax=first.figure.add_subplot())
    assert len(pyplot.get_fignums()) == before + 1


def test_where_figures_are_shown_each_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook two calls in one cell are two pictures."""
    monkeypatch.setattr(pyplot, "get_backend", lambda: "inline")
    axes = [CALLS["eigenvalues"]() for _ in range(2)]
    assert [pyplot.figure(n) for n in pyplot.get_fignums()] == [ax.figure for ax in axes]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_without_matplotlib_the_error_says_what_to_install(
    call: Callable[..., Axes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ImportError with the command."""
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    with pytest.raises(ImportError, match=r"needs Matplotlib: pip install 'rnnx\[plots\]'"):
        call()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_is_not_an_axes_is_refused(call: Callable[..., Axes]) -> None:
    """The array that pyplot.subplots returns for two."""
    with pytest.raises(TypeError, match="ax must be one Matplotlib Axes, got ndarray"):
        call(ax=Figure().subplots(2))


@pytest.mark.parametrize("backend", ["torch", "jax", "array_api_strict"])
def test_arrays_of_device_libraries_are_refused(backend: str) -> None:
    """By name, with what to do; a figure is not made."""
    xp = make(Case(backend, None, "float32")).xp
    ones, square = xp.ones((3,)), xp.ones((3, 3))
    wrong: dict[str, Callable[[], Axes]] = {
        r"history\['loss'\]": lambda: plots.learning_curves({"loss": ones}),
        "states": lambda: plots.hidden_states(square),
        r"norms\['h'\]": lambda: plots.gradient_norms({"h": ones}),
        "layer": lambda: plots.eigenvalues(square),
        "past": lambda: plots.forecast(past=ones, predicted=[1.0]),
    }
    for name, call in wrong.items():
        with pytest.raises(TypeError, match=f"^{name}: expected an array of NumPy.*rnnx.convert"):
            call()
    assert not pyplot.get_fignums()


def twin(ax: Axes) -> Axes:
    """Return the axes of the metrics beside those of the losses."""
    (other,) = {other for other in ax.figure.axes if other is not ax}
    return other


def test_learning_curves_are_the_history() -> None:
    """Both losses and the metric beside them, the epoch of the least validation loss."""
    ax = plots.learning_curves(HISTORY)
    found, metrics = lines(ax), lines(twin(ax))
    assert list(found) == ["loss", "validation loss", "best epoch: 2"]
    assert list(metrics) == ["validation accuracy"]
    assert legend(ax) == [*found, *metrics]
    np.testing.assert_array_equal(found["loss"], [HISTORY["epoch"], HISTORY["loss"]])
    np.testing.assert_array_equal(found["validation loss"][1], HISTORY["validation_loss"])
    np.testing.assert_array_equal(found["best epoch: 2"][0], [2, 2])
    np.testing.assert_array_equal(metrics["validation accuracy"][1], HISTORY["validation_accuracy"])
    assert (ax.get_yscale(), ax.get_xlabel(), ax.get_ylabel()) == ("log", "epoch", "loss")
    assert (twin(ax).get_yscale(), twin(ax).get_ylabel()) == ("linear", "accuracy")
    assert {tick % 1 for tick in ax.get_xticks()} == {0}


def test_curves_are_told_apart() -> None:
    """A colour for each quantity; training is dashed where there is validation beside it."""
    history = HISTORY | {"accuracy": [0.2, 0.6, 0.8, 0.9], "mae": [4, 3, 2, 1]}
    ax = plots.learning_curves(history)
    drawn = {line.get_label(): line for line in [*ax.lines, *twin(ax).lines]}
    colours = {label: line.get_color() for label, line in drawn.items()}
    assert colours["loss"] == colours["validation loss"]
    assert colours["accuracy"] == colours["validation accuracy"]
    assert len({colours[label] for label in ("loss", "accuracy", "mae")}) == 3
    dashed = {label for label, line in drawn.items() if line.get_linestyle() == "--"}
    assert dashed == {"loss", "accuracy"}
    assert twin(ax).get_ylabel() == "accuracy, mae"


def test_nothing_is_best_where_nothing_was_validated() -> None:
    """Curves of the training alone; what is no result of it is not drawn."""
    beside = {"epoch": [1, 2, 3], "step": [4, 8, 12], "learning_rate": [0.1] * 3}
    history = beside | {"grad_norm": [1.0] * 3, "seconds": [0.5] * 3, "loss": [3.0, 1.0, 2.0]}
    ax = plots.learning_curves(history)
    assert list(lines(ax)) == ["loss"]
    assert ax.figure.axes == [ax]


def test_names_choose_the_curves() -> None:
    """Metrics alone have the left axis; the best epoch is still that of the validation loss."""
    ax = plots.learning_curves(HISTORY, names=["validation_accuracy"])
    assert list(lines(ax)) == ["validation accuracy", "best epoch: 2"]
    assert (ax.get_yscale(), ax.get_ylabel()) == ("linear", "accuracy")
    assert ax.figure.axes == [ax]
    found = lines(plots.learning_curves({"loss": [3.0, 1.0, 2.0]}))
    np.testing.assert_array_equal(found["loss"][0], [1, 2, 3])
    both = plots.learning_curves(HISTORY | {"seconds": [1, 1, 1, 1]}, names=("loss", "seconds"))
    assert (both.get_ylabel(), twin(both).get_ylabel()) == ("loss", "seconds")


@pytest.mark.parametrize(
    ("losses", "scale"),
    [([1.0, 0.5], "linear"), ([1.0, 0.01], "log"), ([1.0, -0.1], "linear"), ([0.0, 9.0], "linear")],
)
def test_the_axis_is_logarithmic_where_it_can_be(losses: list[float], scale: str) -> None:
    """More than a factor of 10, and nothing at or below zero."""
    assert plots.learning_curves({"loss": losses}).get_yscale() == scale


def test_a_history_without_a_number_is_drawn() -> None:
    """All NaN: curves, but no best epoch, and no warning."""
    ax = plots.learning_curves({"loss": [np.nan, np.nan]})
    assert list(lines(ax)) == ["loss"]
    ax.figure.canvas.draw()


def test_wrong_histories_are_refused() -> None:
    """Unknown names, none, other lengths, no epochs."""
    with pytest.raises(ValueError, match=r"names must be some of \['epoch', .*got \['los'\]"):
        plots.learning_curves(HISTORY, names=["los"])
    with pytest.raises(ValueError, match=r"names must be some of \['seconds'\], got \[\]"):
        plots.learning_curves({"seconds": [1.0]})
    with pytest.raises(ValueError, match=r"history\['epoch'\] must have shape \(1,\), got \(2,\)"):
        plots.learning_curves({"epoch": [1, 2], "loss": [1.0]})
    with pytest.raises(ValueError, match=r"history\['loss'\] must have shape \(n,\) with n at"):
        plots.learning_curves({"loss": []})


def test_hidden_states_are_a_map_centred_on_zero() -> None:
    """Units up, time to the right, zero in the middle of the colours."""
    for states, row, title in ((STATES, 2, ", row 2 of the batch"), (STATES[:, 1], 0, "")):
        ax = plots.hidden_states(states, row=row)
        (image,) = ax.images
        drawn = states[:, row].T if states.ndim == 3 else states.T
        np.testing.assert_array_equal(np.asarray(image.get_array()), drawn)
        low, high = image.get_clim()
        assert -low == high == np.abs(drawn).max()
        assert ax.get_title() == f"Hidden states{title}"
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("time step", "hidden unit")
        bottom, top = ax.get_ylim()
        assert bottom < top
        assert image.colorbar is not None
        assert image.colorbar.ax.get_ylabel() == "state"


def test_states_of_zeros_and_of_a_diverged_run_are_drawn() -> None:
    """No number to scale the colours by."""
    for value in (0.0, np.nan, np.inf):
        ax = plots.hidden_states(np.full((3, 2), value))
        ax.figure.canvas.draw()
        assert ax.images[0].get_clim() == (-1, 1)


def test_wrong_states_are_refused() -> None:
    """One axis, none, a row that is not there."""
    for shape in ((5,), (0, 3), (1, 2, 3, 4)):
        with pytest.raises(ValueError, match=r"states must have shape \(T, B, H\) or \(T, H\)"):
            plots.hidden_states(np.ones(shape))
    for row in (3, -1, 0.5, True):
        with pytest.raises(ValueError, match="row must be an integer from 0 to 2"):
            plots.hidden_states(STATES, row=row)


def test_gradient_norms_are_lines_on_a_logarithmic_axis() -> None:
    """Their data, and in the legend the factor from the step read last to that read first."""
    ax = plots.gradient_norms(NORMS)
    found = lines(ax)
    assert list(found) == legend(ax)
    assert list(found) == [
        "h_l0: × 1e-06 from step 2 to 0",
        "h_l0_reverse: × 0.25 from step 0 to 2",
    ]
    for (_, norms), expected in zip(found.values(), NORMS.values(), strict=True):
        np.testing.assert_array_equal(norms, expected)
    assert (ax.get_yscale(), ax.get_ylabel()) == ("log", "norm of dL/dh")


def test_a_gradient_that_is_zero_somewhere_is_told() -> None:
    """After the step whose loss it is, before it vanished, at all but one step, everywhere."""
    norms = {"a": [1, 2, 4, 0], "b": [0, 0, 2, 4], "c": [5, 0, 0, 0], "d": [0, 0, 0, 0]}
    ax = plots.gradient_norms({**norms, "c_reverse": [0, 0, 0, 5]})
    told = ["× 0.25 from step 2 to 0", "× 0 from step 3 to 0", "at step 0 only", "zero"]
    names = [f"{name}: {text}" for name, text in zip(norms, told, strict=True)]
    assert legend(ax) == [*names, "c_reverse: at step 3 only"]
    ax.figure.canvas.draw()
    assert plots.gradient_norms({"d": [0, 0]}).get_yscale() == "linear"


def test_wrong_norms_are_refused() -> None:
    """None, negative, of two axes."""
    with pytest.raises(ValueError, match="norms must hold at least one line"):
        plots.gradient_norms({})
    with pytest.raises(ValueError, match=r"norms\['h'\] must be at least 0, got -1"):
        plots.gradient_norms({"h": [1, -1]})
    with pytest.raises(ValueError, match=r"norms\['h'\] must have shape \(n,\).*got \(1, 2\)"):
        plots.gradient_norms({"h": [[1, 1]]})


def test_eigenvalues_lie_beside_the_unit_circle() -> None:
    """The circle's radius is 1, the points are the eigenvalues, the legend has their radius."""
    ax = plots.eigenvalues([[0.0, -2.0], [2.0, 0.0]])
    found = lines(ax)
    assert list(found) == legend(ax) == ["unit circle", "matrix: ρ = 2.000"]
    np.testing.assert_allclose(np.hypot(*found["unit circle"]), 1)
    real, imaginary = found["matrix: ρ = 2.000"]
    np.testing.assert_allclose(real, 0, atol=1e-12)
    np.testing.assert_allclose(sorted(imaginary), [-2, 2])
    assert ax.get_aspect() == 1
    for low, high in (ax.get_xlim(), ax.get_ylim()):
        assert low <= -2
        assert high >= 2


def test_eigenvalues_of_layers_have_a_line_for_each_matrix() -> None:
    """Those of a chain with a GRU in both directions, and of a SimpleRNN."""
    gru = rnnx.GRU(1, 3, bidirectional=True, dtype="float64", seed=0)
    model = rnnx.Sequential(gru, rnnx.Linear(6, 1, dtype="float64"))
    _, *found = lines(plots.eigenvalues(model)).items()
    names = [f"0.l0{way} {gate}" for way in ("", "_reverse") for gate in "rzn"]
    assert [label.partition(":")[0] for label, _ in found] == names
    values = np.linalg.eigvals(gru.params["weight_hh_l0_reverse"][3:6])
    label, (real, imaginary) = found[4]
    assert label == f"0.l0_reverse z: ρ = {np.abs(values).max():.3f}"
    np.testing.assert_allclose(real + 1j * imaginary, values)
    assert "Whh: ρ" in legend(plots.eigenvalues(rnnx.SimpleRNN(1, 3, 1, seed=0)))[1]


def test_two_networks_fit_in_one_picture() -> None:
    """A second call does not cut off what the first has drawn."""
    ax = plots.eigenvalues([[3.0]])
    plots.eigenvalues([[0.5]], ax=ax)
    assert ax.get_xlim()[1] >= 3


def test_what_has_no_eigenvalues_is_refused() -> None:
    """Matrices that are not square or not finite, layers without recurrent weights."""
    with pytest.raises(ValueError, match=r"must be square, of shape \(H, H\), got \(1, 2\)"):
        plots.eigenvalues([[1.0, 2.0]])
    with pytest.raises(ValueError, match="must be finite"):
        plots.eigenvalues([[np.nan]])
    with pytest.raises(TypeError, match="must have recurrent weights, got Linear"):
        plots.eigenvalues(rnnx.Linear(1, 2))


def test_a_forecast_takes_names_alone() -> None:
    """Three arrays in a row are easily swapped."""
    with pytest.raises(TypeError, match="positional"):
        plots.forecast([1, 2], [3], [3])  # type: ignore[misc]


def test_a_forecast_begins_where_the_past_ends() -> None:
    """Lines are the numbers given; what came is joined to the past; the time ahead is shaded."""
    ax = plots.forecast(
        past=[1, 2, 3, 4], truth=[5, 6], predicted=[5.5, 5.9], baseline=[4, 4],
        baseline_label="last value", ylabel="demand (MW)",
    )  # fmt: skip
    found = lines(ax)
    assert list(found) == legend(ax) == ["past", "truth", "last value", "forecast"]
    np.testing.assert_array_equal(found["past"], [[0, 1, 2, 3], [1, 2, 3, 4]])
    np.testing.assert_array_equal(found["truth"], [[3, 4, 5], [4, 5, 6]])
    np.testing.assert_array_equal(found["last value"], [[4, 5], [4, 4]])
    np.testing.assert_array_equal(found["forecast"], [[4, 5], [5.5, 5.9]])
    (shade,) = ax.patches
    assert shade.get_extents().transformed(ax.transData.inverted()).intervalx == pytest.approx(
        [3, 5]
    )
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time step", "demand (MW)")


def test_a_forecast_with_its_interval() -> None:
    """A band from the lower to the upper ends, over the steps ahead; swapped ends are refused."""
    given: dict[str, list[int]] = {"past": [1, 2, 3], "predicted": [4, 5]}
    ax = plots.forecast(**given, interval=([3, 3], [5, 7]), interval_label="90 %")
    (band,) = [c for c in ax.collections if c.get_label() == "90 %"]
    points = band.get_paths()[0].vertices
    assert points[:, 0].min() == 3
    assert points[:, 1].min() == 3
    assert points[:, 1].max() == 7
    with pytest.raises(ValueError, match=r"interval must be \(lower, upper\)"):
        plots.forecast(**given, interval=([5, 7], [3, 3]))
    with pytest.raises(ValueError, match="interval"):
        plots.forecast(**given, interval=([1], [2]))
    with pytest.raises(ValueError, match=r"interval must be \(lower, upper\), got 3 of them"):
        plots.forecast(**given, interval=([3, 3], [4, 5], [5, 7]))


def test_a_season_makes_the_baseline() -> None:
    """The last season again and again, beyond its length, too."""
    ax = plots.forecast(past=[9, 9, 1, 2, 3], predicted=np.zeros(7), season=3)
    found = lines(ax)
    assert list(found) == ["past", "seasonal naive, 3 steps", "forecast"]
    np.testing.assert_array_equal(found["seasonal naive, 3 steps"][1], [1, 2, 3, 1, 2, 3, 1])


def test_time_may_be_numbers_or_dates() -> None:
    """NumPy's dates and Python's; their tick labels do not touch."""
    days = np.arange("2024-02-27", "2024-03-03", dtype="datetime64[D]")
    for time in (days, [date(2024, 2, 27), *days.astype(object)[1:]]):
        ax = plots.forecast(past=[1, 2, 3], truth=[4, 5], predicted=[4, 5], time=time)
        found = lines(ax)
        np.testing.assert_array_equal(date2num(found["forecast"][0]), date2num(days[3:]))
        assert ax.get_xlabel() == "time"
        ax.figure.canvas.draw()
        boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
        for left, right in pairwise(boxes):
            assert left.x1 < right.x0
    ax = plots.forecast(past=[1, 2], predicted=[3], time=[0.5, 1.0, 1.5], xlabel="time (h)")
    np.testing.assert_array_equal(lines(ax)["past"][0], [0.5, 1.0])
    assert ax.get_xlabel() == "time (h)"


def test_wrong_forecasts_are_refused() -> None:
    """Shapes, two baselines, a season that never was, times of another length or kind."""
    with pytest.raises(ValueError, match=r"truth must have shape \(1,\), got \(2,\)"):
        plots.forecast(past=[1, 2], truth=[1, 2], predicted=[1])
    with pytest.raises(ValueError, match=r"baseline must have shape \(1,\), got \(2,\)"):
        plots.forecast(past=[1, 2], predicted=[1], baseline=[1, 2])
    with pytest.raises(ValueError, match=r"past must have shape \(n,\)"):
        plots.forecast(past=[], predicted=[1])
    with pytest.raises(ValueError, match="baseline or season, got both"):
        plots.forecast(past=[1, 2], predicted=[1], baseline=[1], season=1)
    with pytest.raises(ValueError, match="season must be at most the length of past, 2, got 3"):
        plots.forecast(past=[1, 2], predicted=[1], season=3)
    for time in ([1, 2], np.zeros(2, dtype="datetime64[D]")):
        with pytest.raises(ValueError, match=r"time must have shape \(3,\), got \(2,\)"):
            plots.forecast(past=[1, 2], predicted=[1], time=time)
    with pytest.raises(TypeError, match="time: expected an array of real numbers"):
        plots.forecast(past=[1, 2], predicted=[1], time=["a", "b", "c"])
    assert not pyplot.get_fignums()


def test_the_list_of_backends_for_files_is_matplotlibs() -> None:
    """Every backend of Matplotlib's own that opens no window is in it."""
    registry = pytest.importorskip("matplotlib.backends.registry")  # since Matplotlib 3.9
    builtin = registry.backend_registry.list_builtin(registry.BackendFilter.NON_INTERACTIVE)
    assert set(builtin) == FILES_ONLY
    assert mpl.get_backend().lower() in FILES_ONLY
