"""Who can reach what from outside (QG-5)."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Final

from infra.policy import kinds
from infra.policy.documents import allowed, condition_keys
from infra.policy.model import Resource, Rule, World, unless, unless_in
from infra.values import principals

# What the world may open: submission in both ways, the web, and its redirect.
PUBLIC_PORTS: Final = frozenset({80, 443, 465, 587})
_BLOCKS: Final = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
# Conditions that tie "everybody" to somebody.
_NARROWING: Final = frozenset(
    {
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:sourceorgid",
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principalorgid",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "kms:calleraccount",
    }
)


def _from_outside(rule: Resource) -> bool:
    return any(_is_public(rule.get(key)) for key in ("cidrIpv4", "cidrIpv6"))


def _is_public(network: object) -> bool:
    try:
        return network is not None and not ip_network(str(network)).is_private
    except ValueError:
        return False


def _open_port(rule: Resource, _world: World) -> Iterator[str]:
    if not _from_outside(rule):
        return
    protocol, first, last = rule.get("ipProtocol"), rule.get("fromPort"), rule.get("toPort")
    if protocol != "tcp" or first != last or first not in PUBLIC_PORTS:
        yield f"{protocol} {first} to {last}"


def _direct(service: Resource, world: World) -> Iterator[str]:
    """A task with a public address is as open as its groups are."""
    if service.get("networkConfiguration", "assignPublicIp") is not True:
        return
    for group in world.pointed(service, "networkConfiguration", kinds.GROUP):
        for rule in world.pointing(kinds.INGRESS, "securityGroupId", group):
            if _from_outside(rule):
                yield f"{group.name} lets {rule.get('cidrIpv4') or rule.get('cidrIpv6')} in"


def _public_statements(policy: Resource, _world: World) -> Iterator[str]:
    for statement in allowed(policy):
        if "*" in principals(statement, "AWS") and not _NARROWING & set(condition_keys(statement)):
            yield str(statement.get("Sid") or statement.get("Action"))


def _bucket_closed(bucket: Resource, world: World) -> bool:
    blocks = world.pointing(kinds.BUCKET_BLOCK, "bucket", bucket)
    return any(all(block.get(key) is True for key in _BLOCKS) for block in blocks)


def _owner_only(bucket: Resource, world: World) -> bool:
    controls = world.pointing(kinds.BUCKET_OWNERSHIP, "bucket", bucket)
    return any(control.get("rule", "objectOwnership") == "BucketOwnerEnforced" for control in controls)


def _default_closed(vpc: Resource, world: World) -> bool:
    groups = world.pointing(kinds.DEFAULT_GROUP, "vpcId", vpc)
    return any(not group.get("ingress") and not group.get("egress") for group in groups)


def _drops_malformed(balancer: Resource) -> bool:
    return balancer.get("loadBalancerType") == "network" or balancer.get("dropInvalidHeaderFields") is True


RULES: Final = (
    Rule(
        name="group-open-port",
        severity="high",
        kinds=(kinds.INGRESS,),
        message="the internet may reach a port that is none of 80, 443, 465 and 587",
        remedy="Name one of these ports, or a security group or private network as the source.",
        check=_open_port,
    ),
    Rule(
        name="group-inline-rules",
        severity="medium",
        kinds=(kinds.GROUP,),
        message="the group has rules of its own, which fight with rules that are resources",
        remedy="Declare SecurityGroupIngressRule and SecurityGroupEgressRule.",
        check=unless(lambda group: not group.get("ingress") and not group.get("egress")),
    ),
    Rule(
        name="group-egress-everything",
        severity="medium",
        kinds=(kinds.EGRESS,),
        message="everything may leave, by every protocol",
        remedy="Name the protocol and port, as in tcp 443.",
        check=unless(lambda rule: rule.get("ipProtocol") != "-1"),
    ),
    Rule(
        name="group-rule-described",
        severity="low",
        kinds=(kinds.INGRESS, kinds.EGRESS),
        message="nobody says what the rule is for",
        remedy="Set description.",
        check=unless(lambda rule: rule.get("description")),
    ),
    Rule(
        name="group-default-closed",
        severity="medium",
        kinds=(kinds.VPC,),
        message="the VPC's default security group lets its members reach each other and the internet",
        remedy="Declare a DefaultSecurityGroup of the VPC without rules.",
        check=unless_in(_default_closed),
        whole=True,
    ),
    Rule(
        name="subnet-no-public-addresses",
        severity="medium",
        kinds=("aws:ec2/subnet:Subnet",),
        message="whatever starts in the subnet gets a public address",
        remedy="Leave map_public_ip_on_launch off; a service asks for an address itself.",
        check=unless(lambda subnet: subnet.get("mapPublicIpOnLaunch") is not True),
    ),
    Rule(
        name="database-private",
        severity="high",
        kinds=(kinds.DATABASE,),
        message="the database may have a public address",
        remedy="Set publicly_accessible=False.",
        check=unless(lambda one: one.get("publiclyAccessible") is False),
    ),
    Rule(
        name="service-not-direct",
        severity="high",
        kinds=(kinds.SERVICE,),
        message="tasks have public addresses and let the internet in past the load balancer",
        remedy="Let only the load balancer's group in, or set assign_public_ip=False.",
        check=_direct,
        whole=True,
    ),
    Rule(
        name="policy-public",
        severity="high",
        kinds=kinds.RESOURCE_POLICIES,
        message="the policy allows everybody",
        remedy="Name the principal, or tie the statement with aws:SourceAccount or aws:SourceArn.",
        check=_public_statements,
    ),
    Rule(
        name="bucket-closed",
        severity="high",
        kinds=(kinds.BUCKET,),
        message="the bucket could be made public",
        remedy="Add a BucketPublicAccessBlock with all four blocks.",
        check=unless_in(_bucket_closed),
        whole=True,
    ),
    Rule(
        name="bucket-without-acls",
        severity="medium",
        kinds=(kinds.BUCKET,),
        message="objects of the bucket may have owners and ACLs of their own",
        remedy='Add BucketOwnershipControls with object_ownership="BucketOwnerEnforced".',
        check=unless_in(_owner_only),
        whole=True,
    ),
    Rule(
        name="balancer-drops-malformed",
        severity="medium",
        kinds=(kinds.LOAD_BALANCER,),
        message="the load balancer passes malformed headers on",
        remedy="Set drop_invalid_header_fields=True.",
        check=unless(_drops_malformed),
    ),
)
