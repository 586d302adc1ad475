"""The product's code as a graph of functions: who may call whom, found from names and annotations, without running it.

What the types of a call's receiver cannot be told from is left out. The tests ask for every call to AWS to be reached,
so what is overlooked is noticed.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
# What hands on its argument, or what that gives when it is entered.
_PASSES = {"enter", "enter_async_context", "aclosing", "wait_for"}
_WRAPPERS = {"AsyncIterator", "Iterator", "AsyncGenerator", "Awaitable", "Annotated", "Final", "type", "Callable"}


@dataclass
class Module:
    """A module: what its names stand for, and the texts among its constants."""

    name: str
    tree: ast.Module
    names: dict[str, str] = field(default_factory=dict[str, str])
    texts: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                self.names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        for node in self.tree.body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                self.names[node.name] = f"{self.name}.{node.name}"
            match node:
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str() as text))
                    | ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str() as text))
                ):
                    self.texts[name] = text
                case _:
                    pass


@dataclass(frozen=True)
class Unit:
    """A function, or what a module does when it is imported."""

    name: str
    module: Module
    owner: str
    node: ast.AST

    def body(self) -> Iterator[ast.AST]:
        """All that is written in it; of a module, without its functions and classes."""
        if not isinstance(self.node, ast.Module):
            yield from ast.walk(self.node)
            return
        for statement in self.node.body:
            if not isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from ast.walk(statement)


class Code:
    """The modules below some folders of a checkout."""

    def __init__(self, root: Path, rooms: tuple[str, ...]) -> None:
        self.modules: dict[str, Module] = {}
        self.classes: dict[str, tuple[Module, ast.ClassDef]] = {}
        self.units: dict[str, Unit] = {}
        self._edges: dict[str, frozenset[str]] = {}
        for path in sorted(path for room in rooms for path in (root / room).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            self._read(Module(name, ast.parse(path.read_text())))

    def _read(self, module: Module) -> None:
        self.modules[module.name] = module
        self.units[module.name] = Unit(module.name, module, "", module.tree)
        for node in module.tree.body:
            name = f"{module.name}.{getattr(node, 'name', '')}"
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.units[name] = Unit(name, module, "", node)
            elif isinstance(node, ast.ClassDef):
                self.classes[name] = (module, node)
                for method in node.body:
                    if isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef)):
                        whole = f"{name}.{method.name}"
                        self.units[whole] = Unit(whole, module, name, method)

    def reached(self, roots: set[str], modules: set[str]) -> set[str]:
        """Returns the units of the modules that may run once the roots do."""
        found, ahead = set[str](), list(roots)
        while ahead:
            name = ahead.pop()
            if name not in found and name in self.units and self.units[name].module.name in modules:
                found.add(name)
                ahead += self.edges(self.units[name])
        return found

    def edges(self, unit: Unit) -> frozenset[str]:
        """Returns what a unit names: functions, methods, and what is run when a class is instantiated."""
        if unit.name not in self._edges:
            self._edges[unit.name] = frozenset(self._named(unit))
        return self._edges[unit.name]

    def _named(self, unit: Unit) -> Iterator[str]:
        scope = Scope(self, unit)
        for node in unit.body():
            if isinstance(node, ast.Name) and node.id in unit.module.names:
                target = unit.module.names[node.id]
                yield target
                yield from (f"{target}.{method}" for method in self._called_by_others(target))
            elif isinstance(node, ast.Attribute):
                yield from self._attribute(scope, node)

    def _called_by_others(self, name: str) -> Iterator[str]:
        """Yields the methods that run without being named: special ones, and of a library's class all."""
        if name in self.classes:
            module, node = self.classes[name]
            foreign = any(self.annotated(module, base, name) not in self.classes for base in node.bases)
            for each in node.body:
                if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)) and (foreign or each.name[:2] == "__"):
                    yield each.name

    def _attribute(self, scope: "Scope", node: ast.Attribute) -> Iterator[str]:
        if isinstance(node.value, ast.Name):
            module = scope.unit.module.names.get(node.value.id, "")
            if module in self.modules:
                yield f"{module}.{node.attr}"
        for owner in self.family(scope.type_of(node.value)):
            yield f"{owner}.{node.attr}"

    def family(self, name: str) -> Iterator[str]:
        """Yields a class, what it inherits from, and of a protocol what keeps it."""
        if name not in self.classes:
            return
        yield name
        module, node = self.classes[name]
        bases = [self.annotated(module, base, name) for base in node.bases]
        for base in bases:
            yield from self.family(base)
        if any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases):
            wanted = {each.name for each in node.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))}
            for other, (_, kept) in self.classes.items():
                methods = {each.name for each in kept.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))}
                if other != name and wanted <= methods:
                    yield other

    def annotated(self, module: Module, node: ast.expr | None, owner: str) -> str:
        """Returns the class of ours that an annotation names first, or nothing."""
        found = ""
        match node:
            case ast.Constant(value=str() as text):
                found = self.annotated(module, ast.parse(text, mode="eval").body, owner)
            case ast.Name(id="Self"):
                found = owner
            case ast.Name(id=name):
                found = module.names.get(name, "")
            case ast.Attribute(value=ast.Name(id=name), attr=attribute):
                found = f"{module.names.get(name, '')}.{attribute}"
            case ast.BinOp(left=left, right=right):
                found = self._ours(self.annotated(module, left, owner)) or self.annotated(module, right, owner)
            case ast.Subscript(value=ast.Name(id=name), slice=inner) if name in _WRAPPERS:
                first = inner.elts[-1 if name == "Callable" else 0] if isinstance(inner, ast.Tuple) else inner
                found = self.annotated(module, first, owner)
            case _:
                pass
        return found

    def _ours(self, name: str) -> str:
        return name if name in self.classes else ""

    def member(self, owner: str, name: str) -> str:
        """Returns the class of an attribute, or of what a method gives."""
        for each in self.family(owner):
            module, node = self.classes[each]
            for statement in node.body:
                match statement:
                    case ast.AnnAssign(target=ast.Name(id=found), annotation=annotation) if found == name:
                        return self.annotated(module, annotation, each)
                    case ast.FunctionDef(name=found) | ast.AsyncFunctionDef(name=found) if found == name:
                        return self.annotated(module, statement.returns, each)
                    case _:
                        pass
            if found := self._assigned(each, name):
                return found
        return ""

    def _assigned(self, owner: str, name: str) -> str:
        made = self.units.get(f"{owner}.__init__")
        for node in made.body() if made else ():
            match node:
                case ast.Assign(targets=[ast.Attribute(attr=found)], value=value) if made and found == name:
                    return Scope(self, made).type_of(value)
                case ast.AnnAssign(target=ast.Attribute(attr=found), annotation=said) if made and found == name:
                    return self.annotated(made.module, said, owner)
                case _:
                    pass
        return ""


class Scope:
    """What the names in a function stand for."""

    def __init__(self, code: Code, unit: Unit) -> None:
        self.code = code
        self.unit = unit
        self._asking = set[str]()

    @cached_property
    def _values(self) -> Mapping[str, ast.expr]:
        found: dict[str, ast.expr] = {}
        for node in self.unit.body():
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    found.setdefault(name, value)
                case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                    for target, value in zip(names, values, strict=False):
                        if isinstance(target, ast.Name):
                            found.setdefault(target.id, value)
                case ast.NamedExpr(target=ast.Name(id=name), value=value):
                    found.setdefault(name, value)
                case ast.withitem(context_expr=value, optional_vars=ast.Name(id=name)):
                    found.setdefault(name, value)
                case _:
                    pass
        return found

    @cached_property
    def _said(self) -> Mapping[str, ast.expr]:
        found: dict[str, ast.expr] = {}
        for node in self.unit.body():
            match node:
                case ast.arg(arg=name, annotation=ast.expr() as annotation):
                    found[name] = annotation
                case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                    found[name] = annotation
                case _:
                    pass
        return found

    def type_of(self, node: ast.expr | None) -> str:
        """Returns the class of ours that an expression is an object of, or nothing."""
        found = ""
        match node:
            case ast.Name(id="self" | "cls"):
                found = self.unit.owner
            case ast.Name(id=name):
                found = self._name(name)
            case ast.Attribute(value=value, attr=name):
                found = self.code.member(self.type_of(value), name)
            case ast.Await(value=value):
                found = self.type_of(value)
            case ast.IfExp(body=one, orelse=other):
                found = self.type_of(one) or self.type_of(other)
            case ast.BoolOp(values=values):
                found = next((each for each in map(self.type_of, values) if each), "")
            case ast.Call():
                found = self._call(node)
            case _:
                pass
        return found

    def _name(self, name: str) -> str:
        if name in self._said:
            return self.code.annotated(self.unit.module, self._said[name], self.unit.owner)
        if name in self._values and name not in self._asking:
            self._asking.add(name)
            found = self.type_of(self._values[name])
            self._asking.discard(name)
            return found
        named = self.unit.module.names.get(name, "")
        return named if named in self.code.classes else ""

    def _call(self, node: ast.Call) -> str:
        match node.func:
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in _PASSES and node.args:
                return self.type_of(node.args[0])
            case ast.Name(id=name):
                named = self.unit.module.names.get(name, "")
                if named in self.code.classes:
                    return named
                function = self.code.units.get(named)
                if function and isinstance(function.node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    return self.code.annotated(function.module, function.node.returns, "")
                return ""
            case ast.Attribute(value=value, attr=name):
                return self.code.member(self.type_of(value), name)
            case _:
                return ""
