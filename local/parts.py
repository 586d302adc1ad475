"""The parts of the stack and what each needs: a table, no I/O. A new door is one entry in DOORS."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from signal import SIGINT

from local import names, settings
from local.health import Banner, Http, Postgres, Probe
from local.places import Places
from local.ports import LOOPBACK
from local.postgres import DATABASE, USER, Cluster
from local.process import Stop

BACKING_PORTS = {"postgres": 54329, "valkey": 63799, "aws": 45660, "sink": 2525}


@dataclass(frozen=True, slots=True)
class Door:
    """A process of the product: a command, environment variables, ports and health paths.

    Attributes:
        ports: environment variable that names a port -> its usual number.
        variables: what the door itself calls a port whose name would be another door's, too.
        health_port: usual port of /livez and /readyz.
        sources: folders of its code; empty means its own and those of the shared rooms.
        settings: defaults that suit one machine; the .env may override them.
    """

    name: str
    health_port: int
    module: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ("migrations", "valkey", "provisioning", "sink", "certificates")

    def wanted_ports(self) -> dict[str, int]:
        """Name every port for the whole stack."""
        return {**self.ports, f"{self.name}-health": self.health_port}


_WEB = {"WEB_HOST": LOOPBACK, "WEB_GRACE_SECONDS": "0", "WEB_DRAIN_SECONDS": "25"}
DOORS = (
    Door(
        "relay",
        ports={"RELAY_STARTTLS_PORT": 2587, "RELAY_TLS_PORT": 2465},
        health_port=8081,
        # Nothing balances load here, so there is nobody to wait for before the listeners close.
        settings={
            "RELAY_HOST": LOOPBACK,
            "RELAY_HOSTNAME": "localhost",
            "RELAY_GRACE_SECONDS": "0",
            "RELAY_IDLE_DRAIN_SECONDS": "0",
            "RELAY_DRAIN_SECONDS": "25",
            # All clients are of this machine, and together they are not one client.
            "RELAY_EXEMPT_NETWORKS": "127.0.0.0/8,::1",
        },
    ),
    # A poll that is under way is waited for when it stops.
    Door("worker", health_port=8082, settings={"WORKER_DRAIN_SECONDS": "25", "WORKER_POLL_SECONDS": "2"}),
    Door(
        "api",
        module="web.api",
        ports={"API_PORT": 8080},
        variables={"API_PORT": "WEB_PORT"},
        health_port=8083,
        sources=("web", "backing", "mail"),
        settings=_WEB,
    ),
    Door(
        "console",
        module="web.console",
        ports={"CONSOLE_PORT": 8090},
        variables={"CONSOLE_PORT": "WEB_PORT"},
        health_port=8084,
        sources=("web", "backing", "mail"),
        # There is no TLS between a browser and a console of the same machine.
        settings={**_WEB, "CONSOLE_SECURE_COOKIES": "false"},
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One thing that is started: a service that stays, or a step that ends.

    Attributes:
        probe: how it is asked; None for a step, which is done when it has ended with 0.
        environment: what it is told beside the little that all children inherit.
        dotenv: whether the .env is laid over that.
        watches: folders whose changed sources restart it under --reload.
    """

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    probe: Probe | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    dotenv: bool = False
    ports: tuple[int, ...] = ()
    stop: Stop = field(default_factory=Stop)
    deadline: float = 60.0
    watches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the table is made from."""

    places: Places
    ports: Mapping[str, int]
    cluster: Cluster
    valkey: str
    fast: bool = False
    rsa: bool = False
    hosts: tuple[str, ...] = ()


def wanted_ports(doors: Iterable[Door]) -> dict[str, int]:
    """Return every port of the stack with its usual number."""
    return BACKING_PORTS | {name: port for door in doors for name, port in door.wanted_ports().items()}


def product_environment(ground: Ground) -> dict[str, str]:
    """Return what every process of the product is told here; no secret is among it."""
    places, endpoint = ground.places, f"http://{LOOPBACK}:{ground.ports['aws']}"
    return {
        "AWS_REGION": names.REGION,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_SHARED_CREDENTIALS_FILE": str(places.aws_credentials),
        "AWS_EC2_METADATA_DISABLED": "true",
        "QUEUE_URL": f"{endpoint}/{names.ACCOUNT}/{names.QUEUE}",
        "DEAD_LETTER_QUEUE_URL": f"{endpoint}/{names.ACCOUNT}/{names.DEAD_LETTERS}",
        "BODY_BUCKET": names.BUCKET,
        "CACHE_URL": f"redis://{LOOPBACK}:{ground.ports['valkey']}",
        "CREDENTIAL_KEY_SECRET": names.CREDENTIAL_KEY,
        "PROVIDER_KEY": names.PROVIDER_KEY,
        "DATABASE_URL": f"postgresql://{USER}@{LOOPBACK}:{ground.ports['postgres']}/{DATABASE}",
        "PGPASSFILE": str(places.pgpass),
        "HEALTH_HOST": LOOPBACK,
        # A webhook may go to a receiver on this machine, and mail to a provider here.
        "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "PROVIDER_ALLOWED_NETWORKS": "127.0.0.0/8 ::1",
        "RELAY_CERTIFICATE_FILE": str(places.certificates / "server.pem"),
        "RELAY_PRIVATE_KEY_FILE": str(places.certificates / "server.key"),
        "CERTIFICATE_RECORD_FILES": str(places.certificates / "server.json"),
    }


def table(ground: Ground, doors: Iterable[Door] = DOORS) -> tuple[Part, ...]:
    """Return all parts, each after what it needs."""
    return (*_storage(ground), *_mail(ground), *(_door(door, ground) for door in doors))


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (settings.python(), "-m", name, *arguments)


def _storage(ground: Ground) -> tuple[Part, ...]:
    ports, cluster, state = ground.ports, ground.cluster, ground.places.state
    product = product_environment(ground)
    return (
        Part(name="initdb", command=_module("local.postgres", str(state), *(["--fast"] if ground.fast else []))),
        Part(
            name="postgres",
            command=cluster.server(ports["postgres"], fast=ground.fast),
            needs=("initdb",),
            probe=Postgres(ports["postgres"], USER, DATABASE),
            ports=(ports["postgres"],),
            # SIGTERM would wait until every client has gone.
            stop=Stop(SIGINT, 10),
        ),
        Part(
            name="valkey",
            command=_valkey(ground),
            probe=Banner(ports["valkey"], b"+PONG", say=b"PING\r\n"),
            ports=(ports["valkey"],),
        ),
        Part(
            name="aws",
            command=(str(settings.ROOT / ".local/emulator/bin/python"), "-m", "local.emulator", str(ports["aws"])),
            environment={
                "PERSIST_STATE": "1",
                "STATE_DIR": str(state / "aws"),
                "S3_PERSIST": "1",
                "S3_DATA_DIR": str(state / "aws/s3"),
                "IOT_MTLS_ENABLED": "0",
                "SFTP_ENABLED": "0",
                "MINISTACK_REGION": names.REGION,
                "MINISTACK_WORKER_THREADS": "8",
            },
            probe=Http(ports["aws"], ("/_ministack/health",)),
            stop=Stop(seconds=30),
            ports=(ports["aws"],),
        ),
        Part(
            name="provisioning",
            command=_module("local.aws", str(state)),
            needs=("aws",),
            environment=product,
            dotenv=True,
        ),
        Part(
            name="migrations",
            command=_module("backing", "migrate", "up"),
            needs=("postgres",),
            environment=product,
            dotenv=True,
        ),
    )


def _valkey(ground: Ground) -> tuple[str, ...]:
    return (
        *(ground.valkey, "--bind", LOOPBACK, "--port", str(ground.ports["valkey"])),
        *("--dir", str(ground.places.state / "valkey"), "--save", "", "--appendonly", "no" if ground.fast else "yes"),
    )


def _mail(ground: Ground) -> tuple[Part, ...]:
    port = ground.ports["sink"]
    return (
        Part(
            name="certificates",
            command=_module(
                "local.certificates", str(ground.places.certificates), *ground.hosts, *(["--rsa"] if ground.rsa else [])
            ),
        ),
        Part(
            name="sink",
            command=_module("local.sink", str(ground.places.mail), str(port)),
            probe=Banner(port, b"220 ", goodbye=b"QUIT\r\n"),
            ports=(port,),
        ),
        Part(
            name="account",
            command=_module("local.tenant", str(ground.places.state), str(port)),
            needs=("migrations", "provisioning"),
            environment=product_environment(ground),
            dotenv=True,
        ),
    )


def _door(door: Door, ground: Ground) -> Part:
    health = ground.ports[f"{door.name}-health"]
    own = {door.variables.get(name, name): str(ground.ports[name]) for name in door.ports}
    return Part(
        name=door.name,
        command=_module(door.module or door.name),
        needs=door.needs,
        probe=Http(health, ("/livez", "/readyz")),
        environment={**product_environment(ground), **door.settings, **own, "HEALTH_PORT": str(health)},
        dotenv=True,
        ports=(*(ground.ports[name] for name in door.ports), health),
        stop=Stop(seconds=30),
        watches=door.sources or (door.name, "backing", "mail"),
    )


def selected(parts: tuple[Part, ...], names: Iterable[str]) -> tuple[Part, ...]:
    """Keep the named parts and all that they need."""
    by_name = {part.name: part for part in parts}
    wanted, ahead = set[str](), list(names)
    while ahead:
        name = ahead.pop()
        if name not in wanted:
            wanted.add(name)
            ahead.extend(by_name[name].needs)
    return tuple(part for part in parts if part.name in wanted)
