#!/usr/bin/env python3
"""Checks what no schema says about rendered manifests: checks.py DIRECTORY. Each file is one rendering of the chart with
ci/all-values.yaml. Selectors, ports and names must lead to what is there, pods must fulfil the restricted pod security standard,
and a pod's variables must be settings of the program that its files and its grace period fit."""

import pathlib
import re
import sys

import yaml

here = pathlib.Path(__file__).parent
KNOWN = set(re.findall(r"^\| `(\w+)`", (here / "../../docs/operating/settings.md").resolve().read_text(encoding="utf-8"), re.M))
OTHERS = {"SHARE"}  # of ci/all-values.yaml


def must(condition, what):
    if not condition:
        raise SystemExit(f"{current}: {what}")


def seconds(text):
    return int(text.removesuffix("s"))


def check_pod(name, template):
    """A pod of any kind."""
    spec = template["spec"]
    (container,) = spec["containers"]
    must(spec["securityContext"]["runAsNonRoot"] is True, f"{name}: may run as root")
    must(spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, f"{name}: has no seccomp profile")
    must(not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), f"{name}: uses the host's namespaces")
    must(spec["automountServiceAccountToken"] is False, f"{name}: has a token for the API")
    security = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    must(container["securityContext"] == security, f"{name}: {container['securityContext']}")
    must("memory" in container["resources"]["limits"], f"{name}: has no limit of memory")
    variables = [variable["name"] for variable in container.get("env", [])]
    must(len(variables) == len(set(variables)), f"{name}: a variable is there twice: {variables}")
    must(set(variables) <= KNOWN | OTHERS, f"{name}: no settings: {set(variables) - KNOWN - OTHERS}")
    values = {variable["name"]: variable.get("value") for variable in container.get("env", [])}
    for variable in container.get("env", []):
        must("valueFrom" in variable or isinstance(variable["value"], str), f"{name}: is no text: {variable}")
    must(("HTTPS_CERTIFICATE" in values) == ("HTTPS_KEY" in values), f"{name}: a certificate without its key")
    named = {value for value in values.values() if value and value.startswith("/etc/highwater/")}
    mounted = {
        f"{mount['mountPath']}/{item['path']}"
        for mount in container.get("volumeMounts", [])
        for volume in spec["volumes"]
        if volume["name"] == mount["name"]
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
    }
    must(named == mounted, f"{name}: files {named ^ mounted} are named or mounted, not both")
    return values


def check_service(name, kind, template, values):
    """A pod that is part of a service."""
    spec = template["spec"]
    (container,) = spec["containers"]
    wait = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    must(spec["terminationGracePeriodSeconds"] > wait + seconds(values["SHUTDOWN_TIMEOUT"]), f"{name}: is killed before it has stopped")
    must(2 * seconds(values["DRAIN_DELAY"]) <= seconds(values["SHUTDOWN_TIMEOUT"]), f"{name}: its drain is too long")
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    must(ports["ops"] == int(values["OPS_PORT"]), f"{name}: probes ask another port than OPS_PORT")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        must(container[probe]["httpGet"]["port"] == "ops", f"{name}: {probe} is not on the port for that")
    must(spec["enableServiceLinks"] is False, f"{name}: gets Kubernetes' variables")
    must(("KAFKA_GROUP_INSTANCE_ID" in values) == (kind == "StatefulSet"), f"{name}: a {kind} is a static member or not")
    activity = template["metadata"]["labels"]["app.kubernetes.io/component"] == "activity"
    must((values.get("GROUP_ON_STOP") == "leave") == (activity and kind == "Deployment"), f"{name}: leaves the group or not")
    must(values["STORE_MAX_EVENTS"] == ("3000000" if activity else "2000000"), f"{name}: a number is another one")
    (url,) = [s["secret"]["name"] for s in spec["volumes"][0]["projected"]["sources"] if s["secret"]["items"][0]["path"] == "STORE_URL_FILE"]
    must(url == ("postgres" if activity else "secret"), f"{name}: has the file of another service")
    must(values["STORE_MIGRATE"] == "no" and values["SHARE"] == "0.5", f"{name}: a setting is another text")


def check(documents):
    objects = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    must(len(objects) == len(documents), "two objects have one name")
    workloads = {key: document for key, document in objects.items() if key[0] in ("StatefulSet", "Deployment")}
    templates = {key: document["spec"]["template"] for key, document in objects.items() if key[0] in ("StatefulSet", "Deployment", "Job")}
    templates |= {key: document for key, document in objects.items() if key[0] == "Pod"}
    for (kind, name), template in templates.items():
        values = check_pod(name, template)
        if kind in ("StatefulSet", "Deployment"):
            check_service(name, kind, template, values)

    def selected(labels):
        return [key for key, template in templates.items() if labels.items() <= template["metadata"]["labels"].items()]

    for (kind, name), document in objects.items():
        # With a StatefulSet's or a Deployment's hash, it is the value of a label.
        must(len(name) <= (52 if kind in ("StatefulSet", "Deployment") else 63), f"{name}: is too long")
        spec = document.get("spec", {})
        if kind in ("StatefulSet", "Deployment", "PodDisruptionBudget", "NetworkPolicy", "Service"):
            labels = spec["selector"] if kind == "Service" else spec.get("selector", spec.get("podSelector"))["matchLabels"]
            must(labels.keys() == {f"app.kubernetes.io/{key}" for key in ("name", "instance", "component")}, f"{kind} {name}: {labels} change")
            found = selected(labels)
            must(len(found) == 1 and found[0] in workloads, f"{kind} {name} selects {found}")
        if kind == "Service":
            names = {port["name"] for port in templates[found[0]]["spec"]["containers"][0]["ports"]}
            must(all(port["targetPort"] in names for port in spec["ports"]), f"{name}: leads to a port that is none")
        if kind == "StatefulSet":
            must(objects["Service", spec["serviceName"]]["spec"]["clusterIP"] == "None", f"{name}: its Service is not headless")
        if kind == "ServiceMonitor":
            services = [
                port["name"]
                for (other, _), service in objects.items()
                if other == "Service" and spec["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
                for port in service["spec"]["ports"]
            ]
            must(spec["endpoints"][0]["port"] == "ops" and services.count("ops") == 1, f"{name}: scrapes one of {services}")
        if kind in ("HorizontalPodAutoscaler", "ScaledObject"):
            target = workloads[spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"]]
            must("replicas" not in target["spec"], f"{name}: an upgrade would undo what it scaled")
            must(not (kind == "ScaledObject" and ("HorizontalPodAutoscaler", name) in objects), f"{name}: is scaled twice")
        if kind == "Ingress":
            for path in spec["rules"][0]["http"]["paths"]:
                service = path["backend"]["service"]
                ports = objects["Service", service["name"]]["spec"]["ports"]
                must(service["port"]["name"] in [port["name"] for port in ports], f"{name}: leads to a port that is none")
        if kind == "PrometheusRule":
            must(any("alert" in rule for group in spec["groups"] for rule in group["rules"]), f"{name}: has no alert")


loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
files = sorted(pathlib.Path(sys.argv[1]).glob("*.yaml"))
for current in files:
    check([document for document in yaml.load_all(current.read_text(encoding="utf-8"), loader) if document])
if not files:
    raise SystemExit("no manifests")
print(f"{len(files)} renderings are whole")
