#!/usr/bin/env python3
"""Writes highwater/README.md from the comments of values.yaml, after it has checked these values by values.schema.json."""

import json
import pathlib
import re

import jsonschema
import yaml

chart = pathlib.Path(__file__).parent / "highwater"
HEAD = """# The Helm chart of Highwater

```sh
helm install highwater deploy/helm/highwater --set settings.KAFKA_BROKERS=kafka:9092 --set image.repository=REGISTRY/highwater
helm test highwater
```

[docs/operating/kubernetes.md](../../../docs/operating/kubernetes.md) explains how it runs. Every setting of
[settings.md](../../../docs/operating/settings.md) goes into `settings`; one that names a file goes into `secretFiles`:

```yaml
settings:
  KAFKA_BROKERS: broker-1:9093,broker-2:9093
  KAFKA_SECURITY_PROTOCOL: SASL_SSL
  KAFKA_SASL_MECHANISM: SCRAM-SHA-512
  KAFKA_SASL_USERNAME: highwater
secretFiles:
  KAFKA_SASL_PASSWORD_FILE: { secret: kafka, key: password }
activity:
  secretFiles:
    STORE_URL_FILE: { secret: postgres, key: url }
```

## Values

| Value | Default | |
|---|---|---|
"""


def leaf(values, path):
    for key in path:
        values = values[key]
    return values


def shown(value):
    return "" if value in ("", {}, []) else f"`{json.dumps(value).strip(chr(34))}`"


def rows(text):
    """A row for each value that has a comment above it."""
    values = yaml.safe_load(text)
    path, comment = [], []
    for line in text.splitlines():
        if found := re.match(r" *# (.*)", line):
            comment.append(found[1])
        elif found := re.match(r"( *)(\w+):", line):
            path[len(found[1]) // 2 :] = [found[2]]
            if comment:
                yield f"| `{'.'.join(path)}` | {shown(leaf(values, path))} | {' '.join(comment)} |"
            elif not line.endswith(":") and len(path) < 3:
                raise SystemExit(f"values.yaml: {'.'.join(path)} has no comment")
            comment = []
        else:
            comment = []


text = (chart / "values.yaml").read_text(encoding="utf-8")
jsonschema.validate(yaml.safe_load(text), json.loads((chart / "values.schema.json").read_text(encoding="utf-8")))
(chart / "README.md").write_text(HEAD + "\n".join(rows(text)) + "\n", encoding="utf-8")
