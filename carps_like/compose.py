"""Hydra composes; the sweep is ours: every option is composed once, the product is the plan.

Hydra's own ``-m`` composes each job twice, keeps every result in memory, hides failures until the
end, and is content with a glob that matches nothing (70 ms a job: two hours for 100,000 runs).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra import initialize_config_module
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, OverrideType
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from carps_like.errors import (
    BadRequest,
    CarpsLikeError,
    MissingData,
    MissingLibrary,
    UnknownName,
    did_you_mean,
)
from carps_like.registry import describe_task, task_names, variants
from carps_like.study import check_study, read_study, study_names, study_seeds, subset_names
from carps_like.variants import RESERVED

SCHEME = "carps-like"
GROUPS = ("optimizer", "task", "study", "executor")
_extra_dirs: list[str] = []  # --config-dir, for the search path plugin


class RegistrySource(ConfigSource):
    """Serves the catalogue as config groups: ``task/<name>`` is generated, no file per task.

    Optimizer variants that other packages bring by entry point are served the same way.
    """

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider=provider, path=path)

    @staticmethod
    def scheme() -> str:
        return SCHEME

    def load_config(self, config_path: str) -> ConfigResult:
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        data: dict[str, Any]
        if group == "task" and _is_task(name):
            data = {"name": name}
        elif group == "optimizer" and name in variants():
            data = variants()[name].data
        else:
            raise ConfigLoadError(f"Config not found : {config_path}")
        return ConfigResult(
            config=OmegaConf.create(data),
            path=f"{self.scheme()}://{self.path}",
            provider=self.provider,
            header={"package": None},
        )

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", "task", "optimizer")

    def is_config(self, config_path: str) -> bool:
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        return (group == "task" and _is_task(name)) or (group == "optimizer" and name in variants())

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path == "":
            return [] if results_filter == ObjectType.CONFIG else ["optimizer", "task"]
        if results_filter == ObjectType.GROUP:
            return []
        return sorted(task_names() if config_path == "task" else variants())


def _is_task(name: str) -> bool:
    try:
        describe_task(name)
    except (MissingData, MissingLibrary):
        return True
    except CarpsLikeError:
        return False
    return True


class RegistrySearchPath(SearchPathPlugin):
    """Adds the catalogue, and the user's ``--config-dir``, to where Hydra looks."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in _extra_dirs:
            search_path.append("command-line", f"file://{folder}")
        search_path.append("carps-like", f"{SCHEME}://catalogue")


def register() -> None:
    """Make the catalogue known to Hydra; a plugin package would be hidden in editable installs."""
    for plugin in (RegistrySource, RegistrySearchPath):
        Plugins.instance().register(plugin)


@dataclass
class Request:
    """What a command line asks for, split into what is fixed and what is swept."""

    fixed: list[str] = field(default_factory=list)
    axes: dict[str, list[str]] = field(default_factory=dict)
    study: Mapping[str, Any] = field(default_factory=dict)


class Composer:
    """Composes configurations from ``configs/`` and a user's own config folder."""

    def __init__(self, config_dir: str | None = None, config_name: str = "run") -> None:
        register()
        GlobalHydra.instance().clear()
        _extra_dirs[:] = []
        if config_dir is not None:
            folder = Path(config_dir).expanduser().resolve()
            if not folder.is_dir():
                raise BadRequest(f"--config-dir {config_dir!r} is not a folder")
            _extra_dirs.append(str(folder))
        initialize_config_module("carps_like.configs", version_base="1.3", job_name="carps-like")
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        self._hydra, self._config_name = hydra, config_name
        self._parser = OverridesParser.create(config_loader=hydra.config_loader)

    def compose(self, overrides: Sequence[str]) -> dict[str, Any]:
        """One composed configuration as plain data.

        Raises:
            BadRequest: Hydra refuses an override; the message is one line.
        """
        try:
            config = self._hydra.compose_config(
                config_name=self._config_name,
                overrides=list(overrides),
                run_mode=RunMode.RUN,
                from_shell=False,
                with_log_configuration=False,
            )
            choices = config.hydra.runtime.choices
            _drop_hydra(config)
            data = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        except (HydraException, OmegaConfBaseException) as error:
            raise BadRequest(self._explain(error, overrides)) from None
        except yaml.YAMLError as error:
            raise BadRequest(
                f"a configuration is not YAML: {' '.join(str(error).split())}"
            ) from None
        assert isinstance(data, dict)
        for group in ("optimizer", "task"):
            chosen = data.get(group)
            if isinstance(chosen, list):
                raise BadRequest(f"{group}/{choices[group]}.yaml must hold names with values")
            if isinstance(chosen, dict) and not chosen.get("name"):
                chosen["name"] = str(choices[group])
        return {str(k): v for k, v in data.items()}

    def _explain(self, error: Exception, overrides: Sequence[str]) -> str:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        text = lines[0] if lines else type(error).__name__
        wrong = re.match(r"Could not (?:override|append to config\. .*) '([^']+)'", text)
        if wrong:
            return self._unknown_field(wrong.group(1), overrides)
        at = getattr(error, "full_key", None)
        return f"{text}, at {at}" if at and str(at) not in text else text

    def _unknown_field(self, path: str, overrides: Sequence[str]) -> str:
        """One line that names the first part of ``path`` that does not exist."""
        chosen = dict(o.split("=", 1) for o in overrides if o.split("=")[0] in GROUPS)
        owner = chosen.get(path.partition(".")[0])
        said = f"unknown field {path!r}" + (f" of {owner!r}" if owner else "")
        try:
            node: Any = self._hydra.compose_config(
                config_name=self._config_name,
                overrides=[f"{group}={name}" for group, name in chosen.items()],
                run_mode=RunMode.RUN,
                from_shell=False,
                with_log_configuration=False,
            )
        except HydraException:
            return said
        parts = path.split(".")
        for part in parts[:-1]:
            if not isinstance(node, DictConfig) or part not in node:
                break
            node, parts = node[part], parts[1:]
        known = [str(k) for k in node if k != "hydra"] if isinstance(node, DictConfig) else []
        known = [k for k in known if k not in RESERVED]
        otherwise = f"there are {', '.join(known)}" if known else "it has none" if owner else ""
        return f"{said}{did_you_mean(parts[0], known, otherwise)}"

    # --- command lines ---

    def request(self, overrides: Sequence[str], *, multirun: bool) -> Request:
        """Read a command line's overrides; every name in it is looked up.

        Raises:
            BadRequest: not an override, a sweep without ``-m``, a glob that matches nothing.
            UnknownName: an optimizer, task or study that does not exist.
        """
        parsed = [self._parse(override) for override in overrides]
        request = Request()
        for override in parsed:
            self._add(request, override, multirun)
        return request

    def _parse(self, override: str) -> Override:
        try:
            return self._parser.parse_overrides([override])[0]
        except HydraException as error:
            reason = str(error).splitlines()[0]
            raise BadRequest(f"cannot read the override {override!r}: {reason}") from None

    def _add(self, request: Request, override: Override, multirun: bool) -> None:
        key, line = override.key_or_group, override.input_line or ""
        if override.type not in (OverrideType.CHANGE, OverrideType.ADD, OverrideType.FORCE_ADD):
            request.fixed.append(line)
            return
        if key == "study" and str(override.value()).endswith((".yaml", ".yml")):
            request.study = read_study(Path(str(override.value())))
            return
        if override.is_sweep_override():
            if not multirun:
                raise BadRequest(f"{line!r} asks for several values: add -m")
            values = self._values(override, line)
        else:
            values = [str(override.value())] if key in GROUPS else []
        subsets = key == "task" and any(value.startswith("@") for value in values)
        if subsets:
            values = [n for v in values for n in (subset_names(v[1:]) if v[0] == "@" else (v,))]
        if key in GROUPS:
            for value in values:
                self._check_name(key, value)
        if override.is_sweep_override() or subsets:
            prefix = "+" if override.type is OverrideType.ADD else ""
            request.axes[prefix + key] = list(dict.fromkeys(values))
        elif key == "study" and override.value() is not None:
            request.fixed.append(line)
            request.study = check_study(self.compose([line])["study"] or {}, str(override.value()))
        else:
            request.fixed.append(line)

    def _values(self, override: Override, line: str) -> list[str]:
        if not override.is_discrete_sweep():
            raise BadRequest(f"{line!r} is not a finite list of values")
        try:
            values = list(override.sweep_string_iterator())
        except HydraException as error:
            raise BadRequest(str(error).splitlines()[0]) from None
        if not values:
            what = "glob" if isinstance(override.value(), Glob) else "sweep"
            raise BadRequest(f"the {what} {line!r} matches nothing")
        return values

    def _check_name(self, group: str, name: str) -> None:
        if name in ("None", "null"):
            return
        loader = self._hydra.config_loader
        if group == "task" and _is_task(name):
            return
        if any(source.is_config(f"{group}/{name}") for source in loader.get_sources()):
            return  # listing a group to see whether one is in it takes 49,000 tasks
        if group == "task":
            describe_task(name)  # its error knows which names are near
        known = loader.get_group_options(group, results_filter=ObjectType.CONFIG)
        raise UnknownName(group, name, known, f"there are {', '.join(map(str, known[:20]))}")

    # --- the product ---

    def expand(self, request: Request) -> Iterator[dict[str, Any]]:
        """Every configuration that a request asks for, as plain data; any order of the axes."""
        axes = {k: v for k, v in request.axes.items() if k not in ("task", "seed", "optimizer")}
        optimizers = request.axes.get("optimizer") or self._from_study(request, "optimizer")
        tasks = request.axes.get("task") or self._from_study(request, "task")
        seeds = self._seeds(request)
        own = any(re.match(r"\+*~?task\.", o) for o in [*request.fixed, *axes])
        chosen_executor = _executor_choice(request)
        for line in chosen_executor:
            self._check_name("executor", line.partition("=")[2])
        fixed = [*request.fixed, *chosen_executor]
        plain = [t for t in tasks if t is not None and _is_task(t)] if not own else []
        rest = [t for t in tasks if t not in set(plain)]
        for choice in itertools.product(optimizers, *axes.values()):
            varied = [f"{k}={v}" for k, v in zip(axes, choice[1:], strict=True)]
            if choice[0] is not None:
                varied.append(f"optimizer={choice[0]}")
            for first, names in [(t, [t]) for t in rest] + ([(plain[0], plain)] if plain else []):
                chosen = [] if first is None else [f"task={first}"]
                overrides = [*fixed, *varied, *chosen]
                base = _with_study(self.compose(overrides), request.study, overrides)
                for name in names:
                    task = base.get("task") if name == first else {"name": name}
                    for seed in seeds if seeds is not None else [base["seed"]]:
                        yield {**base, "task": task, "seed": seed}

    def _from_study(self, request: Request, group: str) -> list[str | None]:
        """The study's own list, unless the command line chooses."""
        if not request.study or any(o.startswith(f"{group}=") for o in request.fixed):
            return [None]
        names = study_names(request.study, group, lambda: self._options(group))
        for name in names:
            self._check_name(group, name)
        return list(names)

    def _options(self, group: str) -> list[str]:
        options: list[str] = self._hydra.config_loader.get_group_options(group, ObjectType.CONFIG)
        return options

    def _seeds(self, request: Request) -> list[int] | None:
        swept = request.axes.get("seed")
        if swept is not None:
            return study_seeds(swept)
        if any(o.startswith("seed=") for o in request.fixed) or "seeds" not in request.study:
            return None
        return study_seeds(request.study["seeds"])


def _executor_choice(request: Request) -> list[str]:
    """``executor=NAME`` as the study says, unless the command line chooses."""
    chosen = request.study.get("executor")
    name = chosen.get("name") if isinstance(chosen, Mapping) else chosen
    if name is None or any(o.startswith("executor=") for o in request.fixed):
        return []
    return [f"executor={name}"]


def _with_study(
    data: dict[str, Any], study: Mapping[str, Any], overrides: Sequence[str]
) -> dict[str, Any]:
    """``data`` with the study's values where the command line gives none of its own."""
    explicit = {o.lstrip("+").partition("=")[0] for o in overrides}
    for section in ("budget", "simulate", "limits", "executor"):
        given = study.get(section) or {}
        for key, value in given.items() if isinstance(given, Mapping) else ():
            if f"{section}.{key}" not in explicit and (section, key) != ("executor", "name"):
                data[section][key] = value
    for key in ("name", "on_failure", "workers"):
        if key in study and key not in explicit:
            data[key] = study[key]
    return data


def _drop_hydra(config: DictConfig) -> None:
    OmegaConf.set_struct(config, False)
    config.pop("hydra")
