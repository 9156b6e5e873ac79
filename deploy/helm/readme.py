#!/usr/bin/env python3
"""Writes what the chart takes from elsewhere: highwater/README.md from the comments of values.yaml, and
highwater/files/rules.yml from ops/prometheus/rules.yml, since a chart can only read its own files."""

import pathlib
import re

import yaml

here = pathlib.Path(__file__).parent
chart = here / "highwater"
HEAD = """# The Helm chart of Highwater

```sh
helm install highwater deploy/helm/highwater --set settings.KAFKA_BROKERS=kafka:9092 --set image.repository=REGISTRY/highwater
helm test highwater
```

The activity service is a StatefulSet whose pods keep their place in the consumer group, so that a rolling restart moves no
partition; the user and order services are Deployments. Pods fulfil the restricted pod security standard. Every setting of
[settings.md](../../../docs/operating/settings.md) goes into `settings`. A setting that names a file goes into `secretFiles`, and
the chart mounts the Secret:

```yaml
settings:
  KAFKA_BROKERS: broker-1:9093,broker-2:9093
  KAFKA_SECURITY_PROTOCOL: SASL_SSL
  KAFKA_SASL_MECHANISM: SCRAM-SHA-512
  KAFKA_SASL_USERNAME: highwater
secretFiles:
  KAFKA_SASL_PASSWORD_FILE: { secret: kafka, key: password }
  STORE_URL_FILE: { secret: postgres, key: url }
```

A pod that ends is not ready for `drainSeconds` and serves on, so that endpoints and balancers learn of it first. Its grace period
is longer than `shutdownSeconds`, so Kubernetes never kills it in the middle.

## Values

| Value | Default | |
|---|---|---|
"""


def rows(text):
    path, comment = [], []
    for line in text.splitlines():
        if not line.strip():
            comment = []
            continue
        if found := re.match(r"( *)# (.*)", line):
            comment.append(found[2])
            continue
        found = re.match(r"( *)(\w+):(.*)", line)
        if not found:
            continue
        depth = len(found[1]) // 2
        path[depth:] = [found[2]]
        if comment:
            value = yaml.safe_load(text)
            for key in path:
                value = value[key]
            shown = "" if value in ("", {}, []) else f"`{yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix(chr(10)).removesuffix('...').strip()}`"
            yield f"| `{'.'.join(path)}` | {shown} | {' '.join(comment)} |"
        comment = []


text = (chart / "values.yaml").read_text(encoding="utf-8")
(chart / "README.md").write_text(HEAD + "\n".join(rows(text)) + "\n", encoding="utf-8")
rules = (here / "../../ops/prometheus/rules.yml").resolve().read_text(encoding="utf-8")
(chart / "files/rules.yml").write_text(rules, encoding="utf-8")
