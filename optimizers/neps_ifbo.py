"""ifBO (Rakotoarison et al., 2024) as NePS has it: freeze-thaw by a network trained in advance.

The network, FT-PFN, is a file that ifBO would download when it is built. Here it is named by
``surrogate_path``, and nothing is downloaded. It is loaded as PyTorch loads whole modules, by
unpickling: name none but ifBO's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from carps_like.description import TaskDescription
from carps_like.errors import BadValue, MissingData
from carps_like.interface import Capabilities
from carps_like.optimizers.neps import _Neps
from carps_like.trial import Result, Trial


class IfBO(_Neps):
    """Each trial goes on with a configuration for one ``step_size`` of the fidelity, or begins a
    new one. FT-PFN takes at most 10 hyperparameters, and objectives in [0, 1], to which the range
    that the task declares is scaled. Asked before it is told, it would ask for the same step again.
    """

    capabilities = Capabilities(
        fidelity="needs",
        ranges=True,
        max_dimension=10,
        noise=True,
        parallel=False,
        global_seeds=True,
        learns=300,  # steps, of which a full evaluation may take dozens
    )
    files: ClassVar[Mapping[str, str]] = {
        "surrogate_path": "the folder in which ifBO's network lies in .model; where there is "
        "internet, `python -m ifbo.download --path PATH/.model` of its environment fetches it"
    }

    def __init__(self, task: TaskDescription, seed: int, **options: Any) -> None:
        from ifbo.download import FILENAME, WEIGHTS_FINAL_NAME

        version = options.get("surrogate_version", "0.0.1")
        try:
            names = FILENAME(version), WEIGHTS_FINAL_NAME(version)
        except KeyError:
            raise BadValue(f"ifBO knows no surrogate_version {version!r}") from None
        for name in names:  # it downloads both when the first is not there
            file = Path(options["surrogate_path"]) / ".model" / name
            if not file.is_file():
                raise MissingData(f"surrogate_path: {file} is missing; ifBO needs it")
        fidelity, step = task.fidelity, options.get("step_size", 1)
        assert fidelity is not None
        if isinstance(step, bool) or not isinstance(step, int | float) or step <= 0:
            raise BadValue(f"step_size must be a number above 0, not {step!r}")
        if step > fidelity.upper - fidelity.lower:
            bounds = f"[{fidelity.lower:g}, {fidelity.upper:g}]"
            raise BadValue(
                f"step_size: NePS takes steps of {step}, more than the range of {fidelity.name}, "
                f"{bounds}; set a smaller one"
            )
        declared = [task.objectives[0].lower, task.objectives[0].upper]
        ends = [task.objectives[0].inside(end) for end in declared if end is not None]
        self._low, self._high = min(ends), max(ends)
        super().__init__(task, seed, "ifbo", **options)
        network = self._neps.optimizer.ftpfn
        network.get_pi = _one_each(network.get_pi)
        network.get_mean_performance = _one_each(network.get_mean_performance)

    def tell(self, trial: Trial, result: Result) -> None:
        share = (result.values[0] - self._low) / (self._high - self._low)
        super().tell(trial, replace(result, values=(min(1.0, max(0.0, share)),)))


def _one_each(predict: Callable[..., Any]) -> Callable[..., Any]:
    """NePS 0.17 squeezes the prediction of a single row to a number, and fails over it."""
    return lambda *args, **named: predict(*args, **named).reshape(-1)
