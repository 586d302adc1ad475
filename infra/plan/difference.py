"""What changed since a saved plan: resources, cost, permissions, flows."""

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, cast

from infra.values import is_list, mapping, parsed

_MISSING: Final = object()
_NEEDED: Final = {"stack", "nodes", "cost", "permissions", "flows", "findings"}
_COMPARED: Final = ("inputs", "protect", "ignore_changes", "provider", "depends_on")


class SavedPlanError(Exception):
    """The file of `--against` is no saved plan."""


def saved(path: Path) -> Mapping[str, Any]:
    """Returns a plan that `--json` wrote."""
    try:
        found: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SavedPlanError(f"{path} cannot be read: {error}; write one with --json") from error
    plan = mapping(found)
    if not plan.keys() >= _NEEDED:
        raise SavedPlanError(f"{path} is no plan; write one with --json")
    return plan


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yields what is new, gone and other, in the words of a review."""
    if old["stack"] != new["stack"]:
        yield f"the saved plan is of {old['stack']}, this one of {new['stack']}"
    yield from _resources(old, new)
    yield from _cost(old["cost"], new["cost"])
    yield from _listed("permissions", map(_permission, old["permissions"]), map(_permission, new["permissions"]))
    yield from _listed("network flows", map(_flow, old["flows"]), map(_flow, new["flows"]))
    yield from _listed("findings", map(_finding, old["findings"]), map(_finding, new["findings"]))


def changes(old: object, new: object, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yields the paths at which two values differ; documents in JSON are compared inside."""
    old, new = _opened(old), _opened(new)
    if is_list(old) and is_list(new):
        for number, was, now in _pairs(old, new):
            yield from changes(was, now, f"{path}[{number}]")
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        before, after = mapping(cast("object", old)), mapping(cast("object", new))
        for key in sorted({*before, *after}):
            yield from changes(before.get(key, _MISSING), after.get(key, _MISSING), f"{path}.{key}" if path else key)
    elif old != new or (old is _MISSING) != (new is _MISSING):
        yield path, old, new


def _resources(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    before = {node["urn"]: node for node in old["nodes"]}
    after = {node["urn"]: node for node in new["nodes"]}
    both = before.keys() & after.keys()
    changed = {urn: list(_changed(before[urn], after[urn])) for urn in sorted(both)}
    changed = {urn: found for urn, found in changed.items() if found}
    added, removed = sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys())
    yield f"resources: {len(added)} added, {len(removed)} removed, {len(changed)} changed"
    yield from (f"  + {_named(after[urn])}" for urn in added)
    yield from (f"  - {_named(before[urn])}" for urn in removed)
    for urn, found in changed.items():
        yield f"  ~ {_named(after[urn])}"
        yield from (f"      {path}: {_shown(was)} -> {_shown(now)}" for path, was, now in found)


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for part in _COMPARED:
        for path, was, now in changes(_part(old, part), _part(new, part)):
            yield path if part == "inputs" else f"({part}){path}", was, now


def _part(node: Mapping[str, Any], part: str) -> Any:
    found = node.get(part)
    # A URN is the whole way to a resource; its name is the end of it.
    return [urn.rpartition("::")[2] for urn in found] if part == "depends_on" and found else found


def _cost(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for load, words in (("baseline", "cost a month"), ("full", "at full scale")):
        yield f"{words}: ${old[load]:,.2f} -> ${new[load]:,.2f} ({new[load] - old[load]:+,.2f})"
    if old["prices"] != new["prices"]:
        yield f"  prices are of {new['prices']['date']}, the saved plan's of {old['prices']['date']}"


def _listed(title: str, old: Iterator[str], new: Iterator[str]) -> Iterator[str]:
    before, after = set(old), set(new)
    yield f"{title}: {len(after - before)} added, {len(before - after)} removed"
    yield from (f"  + {text}" for text in sorted(after - before))
    yield from (f"  - {text}" for text in sorted(before - after))


def _permission(one: Mapping[str, Any]) -> str:
    condition = f" if {one['conditions']}" if one["conditions"] else ""
    what = f"{', '.join(one['actions'])} on {', '.join(one['resources'])}"
    return f"{one['role']}: {one['effect']} {what}{condition}"


def _flow(one: Mapping[str, Any]) -> str:
    note = f" [closed: {one['note']}]" if one["note"] else ""
    return f"{one['source']} -> {one['target']} {one['ports']}{note}"


def _finding(one: Mapping[str, Any]) -> str:
    return f"{one['severity']} {one['rule']}: {one['name']}: {one['message']}"


def _named(node: Mapping[str, Any]) -> str:
    return f"{node['type']} {node['name']}"


def _opened(value: object) -> object:
    """Returns what a text in JSON says; other values as they are."""
    if isinstance(value, str) and value[:1] in {"{", "["}:
        return value if (found := parsed(value)) is None else found
    return value


def _pairs(old: Sequence[Any], new: Sequence[Any]) -> Iterator[tuple[int, Any, Any]]:
    """Yields what differs in two lists side by side, with its place; an item more or less moves no other."""
    texts = [[json.dumps(item, sort_keys=True) for item in items] for items in (old, new)]
    for what, start, end, begin, stop in SequenceMatcher(None, *texts, autojunk=False).get_opcodes():
        if what == "equal":
            continue
        both = zip_longest(old[start:end], new[begin:stop], fillvalue=_MISSING)
        place = begin if what == "insert" else start
        yield from ((place + number, was, now) for number, (was, now) in enumerate(both))


def _shown(value: Any) -> str:
    return "(none)" if value is _MISSING else json.dumps(value, sort_keys=True)
