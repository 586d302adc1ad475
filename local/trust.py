"""How to have each system trust the development authority; nothing is changed here, a person decides."""

from pathlib import Path
from typing import Final

# What is to be run where, as its makers document it; {ca} is the file.
_WAYS: Final = (
    ("One command", "smtp-client send --ca {ca} ..."),
    ("Python, OpenSSL, curl", "export SSL_CERT_FILE={ca}"),
    (
        "Debian, Ubuntu, Alpine",
        "sudo cp {ca} /usr/local/share/ca-certificates/smtp-proxy-dev.crt && sudo update-ca-certificates",
    ),
    (
        "Fedora, RHEL, Amazon Linux",
        "sudo cp {ca} /etc/pki/ca-trust/source/anchors/smtp-proxy-dev.pem && sudo update-ca-trust",
    ),
    ("Arch Linux", "sudo trust anchor --store {ca}"),
    (
        "macOS",
        "sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {ca}",
    ),
    ("Windows", "certutil -addstore -user Root {ca}"),
    ("Java", "keytool -importcert -cacerts -alias smtp-proxy-dev -file {ca}"),
    ("Node.js", "export NODE_EXTRA_CA_CERTS={ca}"),
)


def ways(ca: Path) -> str:
    """Write down how to trust it.

    Args:
        ca: PEM file of the authority.
    """
    width = max(len(system) for system, _ in _WAYS)
    lines = [f"  {system:<{width}}  {command.format(ca=ca)}" for system, command in _WAYS]
    return "\n".join(
        [
            f"The development authority is {ca}.",
            "Its key lies beside it: whoever can read that can pretend to be any host to a system that trusts it.",
            "Trust it on your own machine only, and as narrowly as will do:",
            "",
            *lines,
        ]
    )
