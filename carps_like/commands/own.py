"""``--config-dir``: the user's own variants and modules, for commands other than ``run``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping
from pathlib import Path

from carps_like.registry import variants
from carps_like.variants import Variant


def add_config_dir(parser: ArgumentParser) -> None:
    """The option, as ``run`` has it."""
    parser.add_argument(
        "--config-dir", metavar="FOLDER", help="as for run: where your variants and modules lie"
    )


def module_folders(config_dir: str | None) -> list[str]:
    """Where modules of the user's own are looked for."""
    here = str(Path.cwd())
    return [here] if config_dir is None else [here, str(Path(config_dir).expanduser().resolve())]


def look_in(folders: Iterable[str]) -> None:
    """Let this process import from there too, after all that is installed."""
    sys.path.extend(folder for folder in folders if folder not in sys.path)


def known_variants(config_dir: str | None) -> Mapping[str, Variant]:
    """All that ``optimizer=`` takes: with a folder those in it as well, composed as for a run.

    Raises:
        BadRequest: there is no such folder, or a file in it does not compose.
        BadValue: one has no ``_target_``.
    """
    if config_dir is None:
        return variants()
    from carps_like.compose import Composer

    composer, found = Composer(config_dir), dict(variants())
    look_in(module_folders(config_dir))
    for file in sorted((Path(config_dir).expanduser() / "optimizer").glob("*.yaml")):
        data = composer.compose([f"optimizer={file.stem}"])["optimizer"]
        found[file.stem] = Variant.of(data, file.stem)
    return found
