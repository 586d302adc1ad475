from dataclasses import replace
from pathlib import Path

import pytest

from infra.checks import DATABASE_MEMORY
from infra.graph import Graph, Node
from infra.plan import prices as price_file
from infra.plan.cost.bill import Bill, bill, further_million
from infra.plan.cost.table import FREE, PRICED
from infra.plan.prices import PriceError, Prices
from infra.project import ROOT
from tests.infra.samples import sample


@pytest.fixture(scope="module")
def prices() -> Prices:
    return price_file.read()


@pytest.fixture(scope="module")
def prod_bill(sample_prod: Graph, prices: Prices) -> Bill:
    return bill(sample_prod, prices)


def quantities(found: Bill, price: str) -> dict[str, tuple[float, float]]:
    return {
        line.urn.rpartition("::")[2].removeprefix("smtp-proxy-prod-"): (
            round(line.baseline_quantity, 3),
            round(line.full_quantity, 3),
        )
        for line in found.lines
        if line.price == price
    }


@pytest.mark.requirement("NFR-4")
def test_the_sample_costs_less_than_it_may(prod_bill: Bill) -> None:
    assert prod_bill.unpriced == ()
    assert 350 < prod_bill.baseline < 600
    assert 900 < prod_bill.full < 1200


@pytest.mark.requirement("NFR-4")
def test_the_stacks_cost_less_than_they_may(stack: Graph, prices: Prices) -> None:
    found = bill(stack, prices)
    assert found.unpriced == ()
    assert 100 < found.baseline < 600
    assert 300 < found.full < 1200


def test_fargate_is_paid_by_size_and_number(prod_bill: Bill) -> None:
    # 2 of at most 20 relays of half a vCPU, 1 of 10 workers of the same, 2 of 10 and 2 of 2 of a quarter; 730 hours.
    assert quantities(prod_bill, "fargate.arm64.vcpu") == {
        "relay": (730, 7300),
        "worker": (365, 3650),
        "api": (365, 1825),
        "console": (365, 365),
    }
    assert quantities(prod_bill, "fargate.arm64.memory") == {
        "relay": (1460, 14600),
        "worker": (730, 7300),
        "api": (730, 3650),
        "console": (730, 730),
    }


def test_what_is_forgotten_is_counted(prod_bill: Bill) -> None:
    three_zones = (3 * 730, 3 * 730)
    assert quantities(prod_bill, "network.address") == {
        "balancers-nlb": three_zones,
        "balancers-alb": three_zones,
        "network-0": (730, 730),
    }
    # Sent to the queue, received from it, sent to SES: 20 GB by 1.37 by 3, and logs: 1.5 GB, 7 tasks by 0.4 GB.
    assert quantities(prod_bill, "network.nat-data") == {"network-0": (86.5, 853.8)}
    assert quantities(prod_bill, "network.cross-zone") == {
        "balancers-nlb": (13.333, 133.333),
        "database": (6.667, 66.667),
        "network-0": (57.667, 569.2),
    }
    # Of the cluster 8, of each of four services 11, of each of their families 6.
    assert quantities(prod_bill, "metrics.custom") == {
        "services": (76, 76),
        "relay": (40, 50),
        "worker": (60, 90),
        "api": (15, 20),
        "console": (15, 20),
    }
    assert quantities(prod_bill, "logs.ingest") == {
        "relay": (2.15, 15.9),
        "worker": (2.15, 15.9),
        "services": (0.63, 3.78),
        "network": (0.95, 8.1),
    }
    assert quantities(prod_bill, "alarm.fine") == {"alarms-errors": (2, 2)}
    assert quantities(prod_bill, "alarm.standard") == {"alarms-depth": (1, 1)}
    assert quantities(prod_bill, "dashboard.month") == {"alarms": (1, 1)}
    assert quantities(prod_bill, "key.month") == {"mail": (1, 1)}
    assert quantities(prod_bill, "secret.month") == {"bodies-tls": (1, 1)}
    assert quantities(prod_bill, "zone.month") == {"mailing": (1, 1)}
    assert quantities(prod_bill, "images.storage") == dict.fromkeys(
        ["services-relay", "services-worker", "services-web"], (3, 3)
    )


def test_a_database_in_two_zones_costs_twice_and_grows(prod_bill: Bill) -> None:
    assert quantities(prod_bill, "database.db.t4g.medium") == {"database": (1460, 1460)}
    assert quantities(prod_bill, "database.storage") == {"database": (100, 400)}
    assert quantities(prod_bill, "cache.cache.t4g.small") == {"cache": (2190, 2190)}


def test_backups_are_free_up_to_the_storage(tmp_path: Path, prices: Prices) -> None:
    found = bill(sample(tmp_path, "prod", {"databaseBackupDays": 35}), prices)
    # 50 GB by (0.5 + 35 days by 0.05) are 112.5 GB, of which 50 are free.
    assert quantities(found, "database.backup") == {"database": (62.5, 250)}


def test_an_endpoint_takes_traffic_past_nat(tmp_path: Path, prices: Prices) -> None:
    found = bill(sample(tmp_path, "prod", {"interfaceEndpoints": ["sqs"]}), prices)
    assert quantities(found, "network.endpoint") == {"network-sqs": (2190, 2190)}
    assert quantities(found, "network.endpoint-data") == {"network-sqs": (54.8, 548)}
    assert quantities(found, "network.nat-data") == {"network-0": (31.7, 305.8)}


def test_public_addresses_replace_nat(tmp_path: Path, prices: Prices) -> None:
    found = bill(sample(tmp_path, "prod", {"egress": "public-ip"}), prices)
    assert quantities(found, "network.nat") == {}
    assert quantities(found, "network.address")["relay"] == (2 * 730, 20 * 730)


def test_a_regional_gateway_is_in_every_zone(tmp_path: Path, prices: Prices) -> None:
    found = bill(sample(tmp_path, "prod", {"egress": "nat-regional"}), prices)
    assert quantities(found, "network.nat") == {"network": (2190, 2190)}
    assert quantities(found, "network.address")["network"] == (2190, 2190)
    assert "network" not in quantities(found, "network.cross-zone")


def test_workers_above_the_first_are_cheaper_on_spot(tmp_path: Path, prices: Prices) -> None:
    found = bill(sample(tmp_path, "prod", {"spotWorkers": True}), prices)
    # Of nine above the base a quarter is on Fargate: 1 + 2.25, and 6.75 by 0.35.
    assert quantities(found, "fargate.arm64.vcpu")["worker"] == (365, round(365 * (3.25 + 6.75 * 0.35), 3))


def test_the_other_processor_has_prices_of_its_own(tmp_path: Path, prices: Prices) -> None:
    found = bill(sample(tmp_path, "prod", {"architecture": "x86_64"}), prices)
    assert quantities(found, "fargate.arm64.vcpu") == {}
    assert quantities(found, "fargate.x86_64.vcpu")["relay"] == (730, 7300)


def test_a_serverless_cache(tmp_path: Path, prices: Prices) -> None:
    found = bill(sample(tmp_path, "prod", {"cacheMode": "serverless"}), prices)
    assert quantities(found, "cache.serverless-storage") == {"cache": (73, 365)}
    assert quantities(found, "cache.serverless-units") == {"cache": (20, 200)}


def test_a_web_firewall(tmp_path: Path, prices: Prices) -> None:
    found = bill(sample(tmp_path, "prod", {"waf": True}), prices)
    assert quantities(found, "firewall.acl") == {"balancers": (1, 1)}
    assert quantities(found, "firewall.requests") == {"balancers": (1, 10)}


def test_a_scheduled_task_is_paid_for_its_runs(sample_prod: Graph, prices: Prices) -> None:
    service = sample_prod.one("aws:ecs/service:Service", "smtp-proxy-prod-worker")
    task = {"target": service.references["taskDefinition"]}
    schedule = replace(service, type="aws:scheduler/schedule:Schedule", references=task)
    found = bill(_with(sample_prod, service, schedule), prices)
    # 60 runs of five minutes on half a vCPU.
    assert quantities(found, "fargate.arm64.vcpu")["worker"] == (2.5, 2.5)
    assert "worker" not in quantities(found, "metrics.custom")


def test_flow_logs_in_a_bucket_cost_half(sample_prod: Graph, prices: Prices) -> None:
    log = sample_prod.one("aws:ec2/flowLog:FlowLog", "smtp-proxy-prod-network")
    bucket = replace(log, inputs={**log.inputs, "logDestinationType": "s3"})
    found = bill(_with(sample_prod, log, bucket), prices)
    assert quantities(found, "logs.flow-to-bucket") == {"network": (0.95, 8.1)}
    assert "network" not in quantities(found, "logs.ingest")


def test_an_alarm_on_alarms_and_a_snapshot(sample_prod: Graph, prices: Prices) -> None:
    alarm = sample_prod.one("aws:cloudwatch/metricAlarm:MetricAlarm", "smtp-proxy-prod-alarms-depth")
    composite = replace(alarm, type="aws:cloudwatch/compositeAlarm:CompositeAlarm")
    cache = sample_prod.one("aws:elasticache/replicationGroup:ReplicationGroup", "smtp-proxy-prod-cache")
    kept = replace(cache, inputs={**cache.inputs, "snapshotRetentionLimit": 2.0})
    found = bill(_with(_with(sample_prod, alarm, composite), cache, kept), prices)
    assert quantities(found, "alarm.composite") == {"alarms-depth": (1, 1)}
    assert quantities(found, "cache.snapshot") == {"cache": (0.2, 1)}


def test_enhanced_insights_have_a_price_of_their_own(sample_prod: Graph, prices: Prices) -> None:
    cluster = sample_prod.one("aws:ecs/cluster:Cluster", "smtp-proxy-prod-services")
    enhanced = [{"name": "containerInsights", "value": "enhanced"}]
    found = bill(_with(sample_prod, cluster, replace(cluster, inputs={"settings": enhanced})), prices)
    assert quantities(found, "metrics.enhanced") == {"services": (76, 76)}


def test_every_price_and_assumption_is_used(prices: Prices) -> None:
    code = "".join(path.read_text() for path in (ROOT / "infra" / "plan" / "cost").glob("*.py"))
    by_size = ("database.db.", "cache.cache.", "fargate.")
    assert [name for name in prices.prices if f'"{name}"' not in code and not name.startswith(by_size)] == []
    by_room = ("metrics_",)
    assert [name for name in prices.assumptions if f'"{name}"' not in code and not name.startswith(by_room)] == []


def test_one_more_million_mails(sample_prod: Graph, prices: Prices) -> None:
    assert 8 < further_million(sample_prod, prices) < 15


def test_a_type_that_nobody_priced_is_told(sample_prod: Graph, prices: Prices) -> None:
    queue = sample_prod.one("aws:sqs/queue:Queue", "smtp-proxy-prod-delivery")
    strange = _with(sample_prod, queue, replace(queue, type="aws:mq/broker:Broker"))
    assert bill(strange, prices).unpriced == (
        "aws:mq/broker:Broker (smtp-proxy-prod-delivery): neither priced nor listed as free",
    )


def test_a_size_that_has_no_price_is_told(sample_prod: Graph, prices: Prices) -> None:
    cache = sample_prod.one("aws:elasticache/replicationGroup:ReplicationGroup", "smtp-proxy-prod-cache")
    strange = _with(sample_prod, cache, replace(cache, inputs={**cache.inputs, "nodeType": "cache.x9.huge"}))
    assert bill(strange, prices).unpriced == (
        (
            "aws:elasticache/replicationGroup:ReplicationGroup (smtp-proxy-prod-cache): "
            "prices.toml has no price 'cache.cache.x9.huge'"
        ),
    )


def _with(graph: Graph, old: Node, new: Node) -> Graph:
    return replace(graph, nodes=tuple(new if node is old else node for node in graph.nodes))


def test_nothing_is_both_priced_and_free() -> None:
    assert PRICED.keys() & FREE.keys() == set()


def test_every_price_names_its_source_and_date(prices: Prices) -> None:
    assert [name for name, price in prices.prices.items() if price.source not in prices.sources] == []
    assert [name for name, price in prices.prices.items() if not price.date.startswith("20")] == []
    assert [name for name, price in prices.prices.items() if price.dollars <= 0] == []


def test_every_database_class_that_may_be_chosen_has_a_price(prices: Prices) -> None:
    assert [name for name in DATABASE_MEMORY if f"database.{name}" not in prices.prices] == []


def test_a_missing_price_or_assumption_is_named(prices: Prices) -> None:
    with pytest.raises(PriceError, match=r"prices\.toml has no price 'moon\.rocket'"):
        prices.price("moon.rocket")
    with pytest.raises(PriceError, match=r"prices\.toml has no assumption 'moons'"):
        prices.assumed("moons", "full")
