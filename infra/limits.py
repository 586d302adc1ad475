"""What AWS and this program allow a single value of the configuration to be."""

import re

import pulumi_aws as aws

from infra import checks
from infra.reader import Choice, Pattern, Range

STACK = re.compile(r"(?!.*--)[a-z]([a-z0-9-]{0,14}[a-z0-9])?")

REGION = Choice(frozenset(region.value for region in aws.Region), "the AWS regions of this pulumi-aws", "us-east-1")
ACCOUNT = Pattern(re.compile(r"(\d{12})?"), "AWS accounts have 12 digits", "123456789012")
KEY_DELETION = Range(7, 30, "KMS allows {} to {} days", 30)
# A job waits up to 14 days on the queue and as a dead letter, and its body has to be there on the last one.
BODY_RETENTION = Range(15, 3_650, "a job can wait 14 days for its body, so {} to {} days are allowed", 30)

VISIBILITY = Range(0, 43_200, "SQS allows {} to {} seconds", 120)
RETENTION = Range(1, 14, "SQS keeps a message {} to {} days", 14)
RECEIVES = Range(1, 1_000, "SQS allows {} to {}", 5)

LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
NAME = re.compile(rf"(?=.{{4,253}}$)({LABEL}\.)+[a-z]{{2,63}}")
HOST = Pattern(NAME, "a DNS name has lower-case labels of letters, digits and hyphens", "smtp.example.com")
HOST_OR_NONE = Pattern(re.compile(f"({NAME.pattern})?"), HOST.why, HOST.example)
ZONE = Pattern(NAME, "a DNS zone has lower-case labels of letters, digits and hyphens", "mail.example.com")
ZONE_ID = Pattern(re.compile(r"(Z[A-Z0-9]{1,31})?"), "Route 53's ids are Z and capitals or digits", "Z0123456789ABC")
ADDRESS = re.compile(r"[^\s@]{1,64}@[^\s@]{1,255}")
ADDRESS_OR_NONE = Pattern(re.compile(f"({ADDRESS.pattern})?"), "it is no mail address", "postmaster@example.com")
DIRECTORY = Pattern(
    re.compile(r"https://\S{1,200}"), "it has to be an https:// URL", "https://acme.example.com/directory"
)

ZONE_LETTER = re.compile(r"[a-f]")
EGRESS = Choice(
    frozenset({"nat-single", "nat-per-zone", "nat-regional", "public-ip"}),
    "nat-single, nat-per-zone, nat-regional, public-ip",
    "nat-single",
)
ENDPOINT = re.compile(r"[a-z0-9][a-z0-9.-]{1,60}")

DATABASE_CLASS = Choice(checks.DATABASE_MEMORY.keys(), "the instance classes this program knows", "db.t4g.medium")
STORAGE = Range(20, 65_536, "RDS allows {} to {} GiB of gp3", 50)
BACKUP = Range(1, 35, "RDS keeps backups {} to {} days", 7)
CONNECTIONS = Range(20, 5_000, "this program allows {} to {}", 400)
CACHE_MODE = Choice(frozenset({"cluster", "serverless"}), "cluster, serverless", "cluster")
NODE = Pattern(re.compile(r"cache\.[a-z0-9]+\.[a-z0-9]+"), "node types look like cache.t4g.small", "cache.t4g.small")
REPLICAS = Range(1, 5, "a shard has {} to {} replicas here; one is needed to survive a node", 2)

CPU = Range(256, 16_384, "Fargate allows {} to {} units", 512)
MEMORY = Range(512, 122_880, "Fargate allows {} to {} MiB", 1_024)
TASKS = Range(1, 500, "a service has {} to {} tasks here", 2)
POOL = Range(1, 100, "a pool has {} to {} connections", 4)

ARCHITECTURE = Choice(frozenset({"arm64", "x86_64"}), "arm64, x86_64", "arm64")
DIGEST = re.compile(r"[a-z0-9][a-z0-9._/:-]{0,254}@sha256:[0-9a-f]{64}")
APP = re.compile(r"[a-z][a-z0-9-]{0,39}")
LOG_DAYS_ALLOWED = (
    1,
    3,
    5,
    7,
    14,
    30,
    60,
    90,
    120,
    150,
    180,
    365,
    400,
    545,
    731,
    1096,
    1827,
    2192,
    2557,
    2922,
    3288,
    3653,
)
LOG_DAYS = Choice(
    frozenset(map(str, LOG_DAYS_ALLOWED)),
    f"the days CloudWatch Logs allows: {', '.join(map(str, LOG_DAYS_ALLOWED))}",
    "30",
)
BUDGET = Range(1, 1_000_000, "a budget has {} to {} dollars", 600)

# AWS: 50 tags a resource, keys of 128 and values of 256 characters of this set, "aws:" is its own prefix.
OWN_TAGS = ("Project", "Stack", "ManagedBy")
TAGS_LIMIT = 50 - len(OWN_TAGS)
TAG_KEY = re.compile(r"(?!aws:)[\w .:/=+@-]{1,128}", re.IGNORECASE)
TAG_VALUE = re.compile(r"[\w .:/=+@-]{0,256}")

PEAK = {"service", "schedule", "timezone", "tasks"}
SCHEDULE = re.compile(r"(cron|rate|at)\([^()]+\)")
