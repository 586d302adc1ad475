import pytest

from infra import dns
from infra.graph import Graph
from tests.infra import contract
from tests.infra.programs import declare

BODY = """
from infra.dns import ACM_ISSUER, Alias, AliasArgs, Certificate, CertificateArgs, Zone, ZoneArgs
zone = Zone("smtp-proxy-prod", ZoneArgs(zone="mail.example.com", zone_id=ZONE), opts)
certificate = Certificate("smtp-proxy-prod-web", CertificateArgs(host=settings.names.web_host, zone_id=zone.zone_id),
    opts)
web = Alias("smtp-proxy-prod-web", AliasArgs(host=settings.names.web_host, zone_id=zone.zone_id, target_name="web.elb",
    target_zone_id="elb-zone", issuer=ACM_ISSUER), opts)
smtp = Alias("smtp-proxy-prod-relay", AliasArgs(host=settings.names.smtp_host, zone_id=zone.zone_id,
    target_name="smtp.elb", target_zone_id="nlb-zone"), opts)
pulumi.export("zone", [zone.zone_id, zone.name_servers])
pulumi.export("certificate", certificate.arn)
pulumi.export("hosts", [web.host, smtp.host])
"""
CHANGES = {"zone": "mail.example.com", "smtpHost": "smtp.mail.example.com", "webHost": "console.mail.example.com"}
RECORD = "aws:route53/record:Record"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return declare(tmp_path_factory.mktemp("dns"), BODY.replace("ZONE", '""'), CHANGES)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return declare(tmp_path_factory.mktemp("dns"), BODY.replace("ZONE", '"Z0123456789"'), CHANGES)


@pytest.mark.parametrize("check", contract.ALL, ids=lambda check: check.__name__)
def test_contract(made: Graph, check: contract.Check) -> None:
    assert check(made) == []


def test_a_zone_of_the_stacks_own_is_not_deleted_with_records_in_it(made: Graph) -> None:
    (zone,) = made.of_type("aws:route53/zone:Zone")
    assert (zone.inputs["name"], zone.inputs["forceDestroy"]) == ("mail.example.com", False)
    assert made.exports["zone"] == [
        "${smtp-proxy-prod.zone_id}",
        [f"${{smtp-proxy-prod.name_server_{number}}}" for number in range(4)],
    ]


def test_a_zone_that_exists_is_used_as_it_is(given: Graph) -> None:
    assert given.of_type("aws:route53/zone:Zone") == []
    assert given.exports["zone"] == ["Z0123456789", []]
    assert {node.inputs["zoneId"] for node in given.of_type(RECORD)} == {"Z0123456789"}


@pytest.mark.requirement("QG-5")
@pytest.mark.requirement("SC-7.1")
def test_a_certificate_is_proved_by_a_record_and_known_once_issued(made: Graph) -> None:
    name = "smtp-proxy-prod-web"
    assert made.one("aws:acm/certificate:Certificate", name).inputs == {
        "domainName": "console.mail.example.com",
        "validationMethod": "DNS",
    }
    assert made.one(RECORD, f"{name}-validation").inputs == {
        "zoneId": "${smtp-proxy-prod.zone_id}",
        "name": f"${{{name}.record_name}}",
        "type": "CNAME",
        "records": [f"${{{name}.record_value}}"],
        "ttl": 300,
        "allowOverwrite": True,
    }
    validation = made.one("aws:acm/certificateValidation:CertificateValidation", name)
    arn = f"arn:aws:acm:${{region}}:${{account}}:${{{name}.arn}}"
    assert validation.inputs == {"certificateArn": arn, "validationRecordFqdns": [f"${{{name}-validation.fqdn}}"]}
    assert made.exports["certificate"] == arn


@pytest.mark.parametrize(
    ("name", "host", "target", "zone"),
    [
        ("web", "console.mail.example.com", "web.elb", "elb-zone"),
        ("relay", "smtp.mail.example.com", "smtp.elb", "nlb-zone"),
    ],
)
def test_a_host_is_its_balancer(made: Graph, name: str, host: str, target: str, zone: str) -> None:
    assert made.one(RECORD, f"smtp-proxy-prod-{name}").inputs == {
        "zoneId": "${smtp-proxy-prod.zone_id}",
        "name": host,
        "type": "A",
        "aliases": [{"name": target, "zoneId": zone, "evaluateTargetHealth": True}],
    }


@pytest.mark.requirement("QG-5")
def test_only_the_named_issuer_may_sign_and_without_one_there_is_no_record(made: Graph) -> None:
    (caa,) = [node for node in made.of_type(RECORD) if node.inputs["type"] == "CAA"]
    assert caa.inputs == {
        "zoneId": "${smtp-proxy-prod.zone_id}",
        "name": "console.mail.example.com",
        "type": "CAA",
        "records": ['0 issue "amazon.com"', '0 issuewild ";"'],
        "ttl": 300,
    }


def test_the_name_is_known_with_the_record(made: Graph) -> None:
    assert made.exports["hosts"] == ["${smtp-proxy-prod-web.fqdn}", "${smtp-proxy-prod-relay.fqdn}"]


@pytest.mark.parametrize(
    ("directory", "issuer"),
    [
        ("https://acme-v02.api.letsencrypt.org/directory", "letsencrypt.org"),
        ("https://acme-staging-v02.api.letsencrypt.org/directory", "letsencrypt.org"),
        ("https://acme.example.com/letsencrypt.org", None),
        ("", None),
    ],
)
def test_only_issuers_that_are_known_are_named(directory: str, issuer: str | None) -> None:
    assert dns.issuer(directory) == issuer
