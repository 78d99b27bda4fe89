"""tekton.py MODELS < TASK: reads a task as JSON, by the types of Tekton's own Python package, whose
sources are in the directory MODELS: every key has to be one of its type, every value of the type that its
key has, and what is required has to be there. Prints what is of Kubernetes' types, which are others' to
check, and exits with 1 when something is wrong.

The sources are read and not run, so that the packages which they import need not be there.
"""

import ast
import json
import pathlib
import re
import sys

PLAIN = {"str": str, "bool": bool, "int": int}


def types(models):
    """All types by their names: key to type, and the keys that are required."""
    found = {}
    for path in pathlib.Path(models).glob("*.py"):
        text = path.read_text()
        required = set(re.findall(r"Invalid value for `(\w+)`, must not be `None`", text))
        for node in ast.parse(text).body:
            if not isinstance(node, ast.ClassDef):
                continue
            maps = {
                part.targets[0].id: ast.literal_eval(part.value)
                for part in node.body
                if isinstance(part, ast.Assign) and part.targets[0].id in ("openapi_types", "attribute_map")
            }
            keys = maps["attribute_map"]
            kinds = {keys[name]: kind for name, kind in maps["openapi_types"].items()}
            found[node.name] = kinds, {keys[name] for name in required}
    return found


def check(known, value, kind, where):
    """Yields what is wrong with a value, and what is not ours to check."""
    listed = re.fullmatch(r"list\[(.*)\]", kind)
    if listed:
        if not isinstance(value, list):
            yield "wrong", f"{where} is no list"
            return
        for number, entry in enumerate(value):
            yield from check(known, entry, listed[1], f"{where}[{number}]")
    elif kind in PLAIN:
        if not isinstance(value, PLAIN[kind]):
            yield "wrong", f"{where} is not of the type {kind}"
    elif kind == "V1beta1ArrayOrString":
        # A type that has a form of its own in JSON.
        words = value if isinstance(value, list) else [value]
        if not all(isinstance(word, str) for word in words):
            yield "wrong", f"{where} is neither a text nor a list of texts"
    elif kind in known:
        kinds, required = known[kind]
        for key in sorted(required - value.keys()):
            yield "wrong", f"{where} has no {key}"
        for key, entry in value.items():
            if key in kinds:
                yield from check(known, entry, kinds[key], f"{where}.{key}")
            else:
                yield "wrong", f"{where} has {key}, which {kind} does not know"
    else:
        yield "elsewhere", f"{where} {kind}"


outcome = list(check(types(sys.argv[1]), json.load(sys.stdin), "V1beta1Task", "task"))
for what, text in outcome:
    print(text)
sys.exit(any(what == "wrong" for what, text in outcome))
