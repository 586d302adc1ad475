"""Names: the zone, the certificate of a name, and where it points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

_RECORD_SECONDS: Final = 300
ACM_ISSUER: Final = "amazon.com"
# Who signs for an ACME directory, by its host, in the words of a CAA record (RFC 8659, 4.2).
_ISSUERS: Final[Mapping[str, str]] = {
    "acme-staging-v02.api.letsencrypt.org": "letsencrypt.org",
    "acme-v02.api.letsencrypt.org": "letsencrypt.org",
}


def issuer(directory: str) -> str | None:
    """Returns the issuer behind an ACME directory; None where it is not known, and then no CAA record is safe."""
    return _ISSUERS.get(urlsplit(directory).hostname or "")


@dataclass(frozen=True, kw_only=True)
class ZoneArgs:
    """A DNS zone; with an id Route 53 has it already."""

    zone: str
    zone_id: str = ""


class Zone(pulumi.ComponentResource):
    """Declares the zone, or stands for one that exists. It never writes to the parent zone, which has to delegate."""

    zone_id: Output[str]
    name_servers: Output[Sequence[str]]
    """What the parent zone has to name; empty for a zone that existed before."""

    def __init__(self, name: str, args: ZoneArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:dns:Zone", name, None, opts)

        if args.zone_id:
            self.zone_id, self.name_servers = Output.from_input(args.zone_id), Output.from_input([])
        else:
            # Deleting a zone that still has records of somebody else fails, and that is right.
            zone = aws.route53.Zone(name, name=args.zone, force_destroy=False, opts=ResourceOptions(parent=self))
            self.zone_id, self.name_servers = zone.zone_id, zone.name_servers
        self.register_outputs({"zone_id": self.zone_id, "name_servers": self.name_servers})


@dataclass(frozen=True, kw_only=True)
class CertificateArgs:
    """One host in a zone."""

    host: str
    zone_id: Input[str]


class Certificate(pulumi.ComponentResource):
    """Declares a certificate of ACM for one host and the record that proves it; ACM renews it as long as that stands.

    The relay's certificate is not one of these: ACM does not hand out keys, and the relay ends TLS itself.
    """

    arn: Output[str]
    """Known once the certificate is issued, so a listener made with it works at once."""

    def __init__(self, name: str, args: CertificateArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:dns:Certificate", name, None, opts)
        child = ResourceOptions(parent=self)

        certificate = aws.acm.Certificate(name, domain_name=args.host, validation_method="DNS", opts=child)
        # One host means one record, so the number of resources is known before ACM answers.
        proof = certificate.domain_validation_options[0]
        record = aws.route53.Record(
            f"{name}-validation",
            zone_id=args.zone_id,
            name=proof.resource_record_name,
            type=proof.resource_record_type,
            records=[proof.resource_record_value],
            ttl=_RECORD_SECONDS,
            # ACM asks the same record of every certificate for this name, such as the one that replaces this.
            allow_overwrite=True,
            opts=child,
        )
        validation = aws.acm.CertificateValidation(
            name, certificate_arn=certificate.arn, validation_record_fqdns=[record.fqdn], opts=child
        )

        self.arn = validation.certificate_arn
        self.register_outputs({"arn": self.arn})


@dataclass(frozen=True, kw_only=True)
class AliasArgs:
    """A host, the balancer it stands for, and who may sign certificates for it; nobody named means everybody may."""

    host: str
    zone_id: Input[str]
    target_name: Input[str]
    target_zone_id: Input[str]
    issuer: str | None = None


class Alias(pulumi.ComponentResource):
    """Declares the records of one host: its address and, with an issuer, the CAA record (RFC 8659)."""

    host: Output[str]

    def __init__(self, name: str, args: AliasArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:dns:Alias", name, None, opts)
        child = ResourceOptions(parent=self)

        address = aws.route53.Record(
            name,
            zone_id=args.zone_id,
            name=args.host,
            type="A",
            aliases=[
                {"name": args.target_name, "zone_id": args.target_zone_id, "evaluate_target_health": True},
            ],
            opts=child,
        )
        if args.issuer:
            aws.route53.Record(
                f"{name}-caa",
                zone_id=args.zone_id,
                name=args.host,
                type="CAA",
                records=[f'0 issue "{args.issuer}"', '0 issuewild ";"'],
                ttl=_RECORD_SECONDS,
                opts=child,
            )

        self.host = address.fqdn
        self.register_outputs({"host": self.host})
