"""A stack as moto has it, and what tests ask of it."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from infra.flows import INTERNET
from infra.graph import Graph
from tests.infra.moto_cloud import Builder, Cloud, Values


@dataclass(frozen=True)
class Stack:
    """A stack as the program declares it and as AWS has it."""

    name: str
    cloud: Cloud
    graph: Graph
    built: Builder

    def ask(self, service: str, operation: str, **parameters: Any) -> Values:
        return self.cloud.do(service, operation, parameters)

    def made(self, kind: str, name: str) -> Values:
        return self.built.made[kind, f"smtp-proxy-{self.name}{name}"]

    def all(self, kind: str) -> dict[str, Values]:
        head = f"smtp-proxy-{self.name}"
        return {name.removeprefix(head): made for (of, name), made in self.built.made.items() if of == kind}


@dataclass(frozen=True)
class Told:
    """What the tasks of a stack are told, by family."""

    stack: Stack

    def of(self, role: str) -> dict[str, str]:
        family = f"smtp-proxy-{self.stack.name}-{role}"
        task = self.stack.ask("ecs", "DescribeTaskDefinition", taskDefinition=family)["taskDefinition"]
        return {one["name"]: one["value"] for one in task["containerDefinitions"][0]["environment"]}


@contextmanager
def in_plaintext(told: Told) -> Generator[None]:
    """moto speaks no TLS, and that is what the bucket's policy refuses."""
    bucket = told.of("relay")["BODY_BUCKET"]
    policy = told.stack.ask("s3", "GetBucketPolicy", Bucket=bucket)["Policy"]
    told.stack.ask("s3", "DeleteBucketPolicy", Bucket=bucket)
    yield
    told.stack.ask("s3", "PutBucketPolicy", Bucket=bucket, Policy=policy)


def network_of(name: str) -> str:
    return "0.0.0.0/0" if name == INTERNET else name


def opened(stack: Stack, names: dict[str, str], side: str) -> set[tuple[str, str, int]]:
    found: set[tuple[str, str, int]] = set()
    vpc = [{"Name": "vpc-id", "Values": [stack.made("aws:ec2/vpc:Vpc", "-network")["id"]]}]
    for group in stack.ask("ec2", "DescribeSecurityGroups", Filters=vpc)["SecurityGroups"]:
        for rule in group[side]:
            assert rule["FromPort"] == rule["ToPort"]
            others = [names[one["GroupId"]] for one in rule["UserIdGroupPairs"]]
            others += [one["CidrIp"] for one in rule["IpRanges"]] + [
                one["PrefixListId"] for one in rule["PrefixListIds"]
            ]
            # The VPC's default group, which is in no table, would fail here if it let anybody in.
            found |= {(names[group["GroupId"]], other, rule["FromPort"]) for other in others}
    return found


def refuses_plaintext(policy: str) -> bool:
    return any(
        one["Effect"] == "Deny" and one.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
        for one in json.loads(policy)["Statement"]
    )


def texts_at(stack: Stack, zone: str, name: str) -> list[str]:
    records = stack.ask("route53", "ListResourceRecordSets", HostedZoneId=zone)["ResourceRecordSets"]
    found = [one for one in records if one["Name"] == f"{name}." and one["Type"] == "TXT"]
    return [value["Value"] for one in found for value in one["ResourceRecords"]]
