#!/usr/bin/env python3
"""Makes JSON Schemas for kubeconform: schemas.py DIRECTORY SWAGGER CRD... Objects take no unknown fields."""

import json
import pathlib
import sys

import yaml

target, swagger, *crds = sys.argv[1:]
target = pathlib.Path(target)
target.mkdir(parents=True, exist_ok=True)


def strict(schema):
    """A copy that refuses unknown fields, and whose references lead into definitions.json."""
    if isinstance(schema, list):
        return [strict(member) for member in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {key: strict(value) for key, value in schema.items()}
    if isinstance(copy.get("properties"), dict) and "additionalProperties" not in copy and not schema.get("x-kubernetes-preserve-unknown-fields"):
        copy["additionalProperties"] = False
    if copy.get("format") == "int-or-string" or copy.get("x-kubernetes-int-or-string"):
        copy.pop("type", None)
        copy.pop("anyOf", None)
    if isinstance(copy.get("$ref"), str):
        copy["$ref"] = copy["$ref"].replace("#/definitions/", "definitions.json#/")
    return copy


def write(kind, suffix, schema):
    (target / f"{kind.lower()}{suffix}.json").write_text(json.dumps(schema), encoding="utf-8")


definitions = json.loads(pathlib.Path(swagger).read_text(encoding="utf-8"))["definitions"]
(target / "definitions.json").write_text(json.dumps({name: strict(schema) for name, schema in definitions.items()}), encoding="utf-8")
for name, schema in definitions.items():
    for kind in schema.get("x-kubernetes-group-version-kind", []):
        group = kind["group"].split(".")[0]
        suffix = f"-{group}-{kind['version']}" if group else f"-{kind['version']}"
        write(kind["kind"], suffix, {"$ref": f"definitions.json#/{name}"})
for crd in crds:
    document = yaml.safe_load(pathlib.Path(crd).read_text(encoding="utf-8"))["spec"]
    for version in document["versions"]:
        schema = strict(version["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        write(document["names"]["kind"], f"-{document['group'].split('.')[0]}-{version['name']}", schema)
