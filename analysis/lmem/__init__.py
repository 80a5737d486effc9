"""Linear mixed-effects models without R: fit, test, compare.

>>> from carps_like.analysis import lmem
>>> model = lmem.fit("loss ~ optimizer + (1|task) + (1|task:optimizer)", frame)  # doctest: +SKIP
>>> model.contrasts("optimizer")                                                # doctest: +SKIP
"""

from carps_like.analysis.lmem.hypotheses import compare
from carps_like.analysis.lmem.model import MixedModel, fit

__all__ = ["MixedModel", "compare", "fit"]
