"""The fields of a YAML file, read so that a small file stays small."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipt.storage import read_user_text

if TYPE_CHECKING:
    from yaml import Node

MOST_BYTES = 2**20  # of a file of fields, and of what it stands for with its aliases put in


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds.

    Raises ValueError that begins with the file, with the line where there is one: for a syntax
    error, a field that stands twice, and aliases that make much of little.
    """
    import yaml

    text = read_user_text(path, MOST_BYTES)
    loader = yaml.SafeLoader("")
    # A syntax error has a line, what is no text at all has none. A value that is none of its kind
    # (a date of a 13th month) raises whatever its reader does.
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        _check_size(root)
        _check_keys(root)
        return loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"{path}: line {line}: not valid YAML ({error.problem})") from error
    except RecursionError as error:
        raise ValueError(f"{path}: not valid YAML (nested too deeply)") from error
    except Exception as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: not valid YAML ({first_line:.200})") from error
    finally:
        loader.dispose()


def _check_size(root: "Node") -> None:
    """Raise ValueError where aliases stand for more than a file could hold."""
    sizes: dict[int, int] = {}
    if _size(root, sizes) > MOST_BYTES:
        raise ValueError("its aliases stand for too much; write the values out")


def _size(node: "Node", sizes: dict[int, int]) -> int:
    """Return how many characters and values a node stands for, each alias counted again.

    sizes: of the nodes met before, so that each is visited once.
    """
    known = sizes.get(id(node))
    if known is not None:
        return known
    # Met again before it is known, it is a part of itself: without end.
    sizes[id(node)] = MOST_BYTES + 1
    size = 1
    if isinstance(node.value, str):
        size += len(node.value)
    else:
        for part in node.value:
            # A mapping's parts are pairs.
            for child in part if isinstance(part, tuple) else (part,):
                size += _size(child, sizes)
    sizes[id(node)] = size
    return size


def _check_keys(root: "Node") -> None:
    """Raise an error of YAML where a field stands twice: the first would be lost."""
    from yaml import MappingNode
    from yaml.constructor import ConstructorError

    if not isinstance(root, MappingNode):
        return
    met = set()
    for key, _ in root.value:
        name = str(key.value)
        if name in met:
            problem = f"the field {name!r:.60} stands twice"
            raise ConstructorError(None, None, problem, key.start_mark)
        met.add(name)
