"""A DNS server that answers what is in a Route 53 zone, so that an ACME server sees what the renewer wrote."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.conftest import REGION


@dataclass
class Zone:
    """A zone that is served.

    Attributes:
        id: of the zone.
        server: address of the DNS server.
        aliases: CNAMEs, as another zone would have them.
        broken: names that the server fails at.
        lies: answers of TXT, in the stead of what is in the zone.
    """

    client: Any
    id: str
    server: str = ""
    aliases: dict[str, str] = field(default_factory=dict)
    lies: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def texts(self) -> dict[str, list[str]]:
        found = self.client.list_resource_record_sets(HostedZoneId=self.id)["ResourceRecordSets"]
        return {
            record["Name"].removesuffix(".").replace("\\052", "*"): [one["Value"] for one in record["ResourceRecords"]]
            for record in found
            if record["Type"] == "TXT"
        }

    def answer(self, question: dns.message.Message) -> dns.message.Message:
        reply = dns.message.make_response(question)
        reply.flags |= dns.flags.RA | dns.flags.AA
        asked = question.question[0]
        name, kind = asked.name.to_text().removesuffix(".").lower(), asked.rdtype
        self.asked.append(f"{dns.rdatatype.to_text(kind)} {name}")
        if name in self.broken:
            reply.set_rcode(dns.rcode.SERVFAIL)
        for _ in range(1 if kind == dns.rdatatype.CNAME else 10):
            if name in self.aliases:
                reply.answer.append(dns.rrset.from_text(f"{name}.", 0, "IN", "CNAME", f"{self.aliases[name]}."))
                name = self.aliases[name]
        if kind == dns.rdatatype.TXT:
            values = [f'"{self.lies[name]}"'] if name in self.lies else self.texts().get(name, [])
            if values:
                reply.answer.append(dns.rrset.from_text(name + ".", 0, "IN", "TXT", *values))
        if kind == dns.rdatatype.A:
            reply.answer.append(dns.rrset.from_text(name + ".", 0, "IN", "A", "127.0.0.1"))
        return reply


@contextmanager
def served_zone(moto_url: str, name: str) -> Iterator[Zone]:
    """Make a zone, and serve it."""
    client = boto3.client("route53", endpoint_url=moto_url, region_name=REGION)
    made = client.create_hosted_zone(Name=name, CallerReference=name)["HostedZone"]["Id"]
    zone = Zone(client, made.removeprefix("/hostedzone/"))

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, socket = self.request
            socket.sendto(zone.answer(dns.message.from_wire(data)).to_wire(), self.client_address)

    with socketserver.ThreadingUDPServer(("127.0.0.1", 0), Handler) as server:
        zone.server = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield zone
        server.shutdown()
        thread.join()
