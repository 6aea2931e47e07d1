"""A flag for each setting of each tuner: `--tuner lora --rank 4` is `--tuner lora:rank=4`.

The settings are the fields of the dataclasses in `TUNERS`. They are read from the files of
`ipt/tuners` without running these, which import torch: help and mistakes come at once.
"""

import ast
from collections.abc import Mapping
from dataclasses import Field, field, fields, make_dataclass, replace
from functools import cache, reduce
from importlib.resources import files
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args, get_origin

from cyclopts import Parameter

from ipt.cli.help import FLAG_GROUPS, TUNER
from ipt.config import (
    MsfConfig,
    TuneConfig,
    WorkConfig,
    flag,
    setting,
    settings_text,
    split_tuner,
)

# What a setting may be, or its parts.
KINDS = {"int": int, "float": float, "str": str, "bool": bool}
Settings = dict[str, Field[Any]]


@cache
def settings_of_tuners() -> dict[str, Settings]:
    """Return the settings of each tuner, by their names, in the order of `TUNERS`."""
    folder = files("ipt") / "tuners"
    classes: dict[str, ast.ClassDef] = {}
    for path in folder.iterdir():
        if path.name.endswith(".py"):
            tree = ast.parse(path.read_text(encoding="utf8"))
            classes |= {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}

    found = {}
    entries = ast.parse((folder / "__init__.py").read_text(encoding="utf8"))
    for kind in _listed(entries):
        name, settings = _declarations(kind, classes)
        found[name] = settings
    return found


def _listed(tree: ast.Module) -> list[str]:
    """Return the names of the classes that `TUNERS` lists."""
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "TUNERS":
            return [ast.unparse(value) for value in cast(ast.Dict, node.value).values]
    raise LookupError("TUNERS is not declared in ipt/tuners/__init__.py")


def _declarations(kind: str, classes: Mapping[str, ast.ClassDef]) -> tuple[str, Settings]:
    """Return the name and the settings that a class declares, with those of its bases."""
    node = classes[kind]
    name = ""
    settings: Settings = {}
    for base in node.bases:
        if ast.unparse(base) in classes:
            settings |= _declarations(ast.unparse(base), classes)[1]
    for item in node.body:
        if not isinstance(item, ast.AnnAssign):
            continue
        target = ast.unparse(item.target)
        if target == "name" and item.value is not None:
            name = ast.literal_eval(item.value)
        elif isinstance(item.value, ast.Call):
            given = [ast.literal_eval(value) for value in item.value.args]
            named = {word.arg: ast.literal_eval(word.value) for word in item.value.keywords}
            declared = setting(*given, **cast(Any, named))
            declared.name = target
            declared.type = _type_of(item.annotation)
            settings[target] = declared
    return name, settings


def _type_of(node: ast.expr) -> Any:
    """Return the type of a setting: int, float, str, bool, a tuple of one of them, or a Literal."""
    if not isinstance(node, ast.Subscript):
        return KINDS[ast.unparse(node)]
    if ast.unparse(node.value) == "Literal":
        return Literal[ast.literal_eval(node.slice)]
    part: Any = _type_of(cast(ast.Tuple, node.slice).elts[0])
    return tuple[part, ...]


def flag_name(tuner: str, name: str) -> str:
    """Return what the flag of a setting is called, as a field.

    With the tuner's name before it where a stage has a setting of the name: MSF has an alpha too.
    """
    for stage in (WorkConfig, TuneConfig, MsfConfig):
        if name in {field.name for field in fields(stage)}:
            return f"{tuner}_{name}".replace("-", "_")
    return name


def _flags() -> type:
    """Return a dataclass with a field for each flag, None where it is not given."""
    shared: dict[str, dict[str, Field[Any]]] = {}
    for tuner, settings in settings_of_tuners().items():
        for name, declared in settings.items():
            shared.setdefault(flag_name(tuner, name), {})[tuner] = declared
    declarations = []
    for name, by_tuner in shared.items():
        parameter = Parameter(help=_help(by_tuner), group=FLAG_GROUPS[TUNER])
        kind: Any = _kind(by_tuner)
        declarations.append((name, Annotated[kind, parameter], field(default=None)))
    return make_dataclass(
        "TunerFlags",
        declarations,
        # Of the module `types` otherwise, whose classes the parser takes for Python's own.
        namespace={"__module__": __name__},
        frozen=True,
        kw_only=True,
    )


def _kind(by_tuner: Mapping[str, Field[Any]]) -> Any:
    """Return the kind of a flag's value: what any of its tuners takes."""
    kinds = list(dict.fromkeys(declared.type for declared in by_tuner.values()))
    if all(get_origin(kind) is Literal for kind in kinds):
        choices: list[str] = []
        for kind in kinds:
            choices += get_args(kind)
        return Literal[tuple(dict.fromkeys(choices))]
    return reduce(or_, kinds)


def _help(by_tuner: Mapping[str, Field[Any]]) -> str:
    """Return which tuners have a setting, what it is there, and its default."""
    tuners: dict[str, list[str]] = {}
    for tuner, declared in by_tuner.items():
        default = settings_text({"": declared.default}).removeprefix("=").strip()
        text = declared.metadata["help"]
        if default:
            text = f"{text} [default: {default}]"
        tuners.setdefault(text, []).append(tuner)
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in tuners.items())


if TYPE_CHECKING:
    TunerFlags = Any
else:
    # What a verb takes: its fields are flags without a prefix.
    TunerFlags = Annotated[_flags(), Parameter(name="*")]
# None of them given.
NO_FLAGS: Any = get_args(TunerFlags)[0]()


def with_tuner(work: WorkConfig, flags: Any) -> WorkConfig:
    """Return the work with the settings that flags name in the text of `--tuner`.

    Raises ValueError, naming the flag, for one that the tuner does not have, and for one that the
    text says as well.
    """
    given = {}
    for declared in fields(flags):
        value = getattr(flags, declared.name)
        if value is not None:
            given[declared.name] = value
    if not given:
        return work
    tuners = settings_of_tuners()
    name, said = split_tuner(work.tuner)
    if name not in tuners:
        raise ValueError(f"--tuner must be one of {', '.join(tuners)}, found {name!r}")
    own = {flag_name(name, field): field for field in tuners[name]}
    settings = {}
    for key, value in given.items():
        if key not in own:
            raise ValueError(_not_of(key, name, list(own)))
        if own[key] in said:
            raise ValueError(
                f"--{flag(key)} and --tuner {work.tuner} both say {own[key]}; give it once"
            )
        settings[own[key]] = value
    described = work.tuner.removeprefix(name).strip(":,")
    both = ",".join(filter(None, [described, settings_text(settings)]))
    return replace(work, tuner=f"{name}:{both}")


def _not_of(key: str, name: str, own: list[str]) -> str:
    """Return that a tuner has no such flag, which it has, and which tuners have this one."""
    others = []
    for tuner, settings in settings_of_tuners().items():
        if key in {flag_name(tuner, field) for field in settings}:
            others.append(tuner)
    listed = ", ".join(f"--{flag(field)}" for field in own) or "none"
    return (
        f"--{flag(key)} is no setting of --tuner {name}, which has {listed}; "
        f"tuners with --{flag(key)}: {', '.join(others)}"
    )
