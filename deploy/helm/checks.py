#!/usr/bin/env python3
"""Checks what no schema says about rendered manifests: checks.py DIRECTORY. Each file is one rendering of the chart: its first line
has the values that differ from values.yaml, and a name with full in front says that ci/all-values.yaml is among them. Each object
that the values ask for must be there and no other. Selectors, ports and names must lead to what is there, pods must fulfil the
restricted pod security standard, and a pod's variables must be settings of the program that its files and its grace period fit."""

import pathlib
import re
import sys

import yaml

here = pathlib.Path(__file__).parent
KNOWN = set(re.findall(r"^\| `(\w+)`", (here / "../../docs/operating/settings.md").resolve().read_text(encoding="utf-8"), re.M))
OTHERS = {"SHARE"}  # of ci/all-values.yaml
VALUES = yaml.safe_load((here / "highwater/values.yaml").read_text(encoding="utf-8"))
PATHS = {"startupProbe": "/health", "livenessProbe": "/health", "readinessProbe": "/ready"}


def must(condition, what):
    if not condition:
        raise SystemExit(f"{current}: {what}")


def seconds(text):
    return int(text.removesuffix("s"))


def value(path):
    """What the rendering has there."""
    if path in given:
        return yaml.safe_load(given[path])
    found = VALUES
    for key in path.split("."):
        found = found[key]
    return found


def wanted(name):
    """The kind and the name of each object of a release, whose name that is."""
    for service in ("activity", *(service for service in ("users", "orders") if value(f"{service}.enabled"))):
        activity = service == "activity"
        yield from (("Service", f"{name}-{service}"), ("Service", f"{name}-{service}-pods"), ("Pod", f"{name}-{service}-test"))
        yield "StatefulSet" if activity and value("activity.staticMembership") else "Deployment", f"{name}-{service}"
        for switch, kind in (
            ("podDisruptionBudget", "PodDisruptionBudget"), ("serviceMonitor", "ServiceMonitor"), ("networkPolicy", "NetworkPolicy"),
        ):
            if value(f"{switch}.enabled"):
                yield kind, f"{name}-{service}"
        if activity and value("keda.enabled"):
            yield "ScaledObject", f"{name}-{service}"
        elif value("autoscaling.enabled"):
            yield "HorizontalPodAutoscaler", f"{name}-{service}"
    for switch, kind, other in (
        ("serviceAccount.create", "ServiceAccount", value("serviceAccount.name") or name), ("ingress.enabled", "Ingress", name),
        ("prometheusRule.enabled", "PrometheusRule", name), ("migrate.enabled", "Job", f"{name}-migrate"),
    ):
        if value(switch):
            yield kind, other


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
    image = value("image.digest")
    must(not image or container["image"] == f"{value('image.repository')}@{image}", f"{name}: runs {container['image']}")
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


def check_service(name, kind, template, values, account):
    """A pod that is part of a service."""
    spec = template["spec"]
    (container,) = spec["containers"]
    wait = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    must(wait == value("preStopSeconds"), f"{name}: waits {wait} s before SIGTERM")
    must(spec["serviceAccountName"] == account, f"{name}: has the account {spec['serviceAccountName']}")
    spread = {rule["topologyKey"] for rule in spec.get("topologySpreadConstraints", [])}
    must(spread == ({"kubernetes.io/hostname", "topology.kubernetes.io/zone"} if value("topologySpread.enabled") else set()), f"{name}: spreads over {spread}")
    for rule in spec.get("topologySpreadConstraints", []):
        selected = rule["labelSelector"]["matchLabels"].items()
        must(selected and selected <= template["metadata"]["labels"].items(), f"{name}: is spread by other pods")
    must(spec["terminationGracePeriodSeconds"] > wait + seconds(values["SHUTDOWN_TIMEOUT"]), f"{name}: is killed before it has stopped")
    must(2 * seconds(values["DRAIN_DELAY"]) <= seconds(values["SHUTDOWN_TIMEOUT"]), f"{name}: its drain is too long")
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    must(ports["ops"] == int(values["OPS_PORT"]), f"{name}: probes ask another port than OPS_PORT")
    for probe, path in PATHS.items():
        must(container[probe]["httpGet"] == {"path": path, "port": "ops"}, f"{name}: {probe} asks {container[probe]['httpGet']}")
    must(spec["enableServiceLinks"] is False, f"{name}: gets Kubernetes' variables")
    member = [variable for variable in container["env"] if variable["name"] == "KAFKA_GROUP_INSTANCE_ID"]
    of_name = {"name": "KAFKA_GROUP_INSTANCE_ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    must(member == ([of_name] if kind == "StatefulSet" else []), f"{name}: a {kind} is the member {member}")
    activity = template["metadata"]["labels"]["app.kubernetes.io/component"] == "activity"
    must((values.get("GROUP_ON_STOP") == "leave") == (activity and kind == "Deployment"), f"{name}: leaves the group or not")
    must(values.get("STORE_MIGRATE") == "no" or not (activity and value("migrate.enabled")), f"{name}: changes the schema, too")
    if not full:
        return
    must(values["STORE_MAX_EVENTS"] == ("3000000" if activity else "2000000"), f"{name}: a number is another one")
    (url,) = [s["secret"]["name"] for s in spec["volumes"][0]["projected"]["sources"] if s["secret"]["items"][0]["path"] == "STORE_URL_FILE"]
    must(url == ("postgres" if activity else "secret"), f"{name}: has the file of another service")
    must(values["STORE_MIGRATE"] == "no" and values["SHARE"] == "0.5", f"{name}: a setting is another text")


def check_test(name, container, objects):
    """A pod of `helm test`."""
    command, *options = container["args"]
    asked = dict(zip(options[::2], options[1::2]))
    must(command == "healthcheck" and asked.keys() == {"--host", "--port"}, f"{name}: runs {container['args']}")
    must(asked["--host"] == name.removesuffix("-test"), f"{name}: asks {asked['--host']}")
    ports = [str(port["port"]) for port in objects["Service", asked["--host"]]["spec"]["ports"] if port["name"] == "http"]
    must(ports == [asked["--port"]], f"{name}: asks the port {asked['--port']}, not {ports}")


def check(documents):
    objects = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    must(len(objects) == len(documents), "two objects have one name")
    release = documents[0]["metadata"]["labels"]["app.kubernetes.io/instance"]
    name = f"{release}-highwater"[:43].rstrip("-")
    must(objects.keys() == set(wanted(name)), f"{objects.keys() ^ set(wanted(name))} are missing, or too many")
    account = value("serviceAccount.name") or (name if value("serviceAccount.create") else "default")
    workloads = {key: document for key, document in objects.items() if key[0] in ("StatefulSet", "Deployment")}
    templates = {key: document["spec"]["template"] for key, document in objects.items() if key[0] in ("StatefulSet", "Deployment", "Job")}
    templates |= {key: document for key, document in objects.items() if key[0] == "Pod"}
    for (kind, name), template in templates.items():
        values = check_pod(name, template)
        if kind in ("StatefulSet", "Deployment"):
            check_service(name, kind, template, values, account)
        if kind == "Pod":
            check_test(name, template["spec"]["containers"][0], objects)

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
        job = f"highwater/events/{name}"  # helm.sh has that namespace
        if kind == "ServiceMonitor":
            must(spec["endpoints"][0]["relabelings"] == [{"targetLabel": "job", "replacement": job}], f"{name}: makes another job than {job}")
            must(spec["endpoints"][0]["path"] == "/metrics", f"{name}: scrapes another path")
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
        if kind == "ScaledObject":
            query = spec["triggers"][0]["metadata"]["query"]
            must(query == f'sum(highwater_consumer_lag{{job="{job}"}})', f"{name}: asks for {query}")
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
    text = current.read_text(encoding="utf-8")
    given = dict(pair.split("=", 1) for pair in text.splitlines()[0].removeprefix("#").split())
    full = current.name.startswith("full")
    check([document for document in yaml.load_all(text, loader) if document])
if not files:
    raise SystemExit("no manifests")
print(f"{len(files)} renderings are whole")
