"""A plausible whole stack of raw resources: what the plan and the policies are tried on."""

import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws as aws
from pulumi import Output, ResourceOptions

from infra import config
from infra.settings import ServiceSettings
from tests.infra.sample_ground import DIGEST, OWN, ROOMS, Ground, deny_plain, document, trust


def deploy() -> None:
    settings = config.load()
    provider = aws.Provider("aws", region=settings.region, default_tags={"tags": settings.tags})
    Sample(settings, ResourceOptions(providers=[provider], protect=settings.protect)).declare()


class Sample(Ground):
    """Declares each part in the order things depend on each other."""

    def declare(self) -> None:
        self._keys()
        self._network()
        self._firewall()
        self._queues()
        self._storage()
        self._database()
        self._cache()
        self._watch()
        self._balancers()
        self._services()
        self._names()
        pulumi.export("delivery_queue_url", self.queue.url)

    def _watch(self) -> None:
        name, child = self._group("alarms")
        self.topic = aws.sns.Topic(name, kms_master_key_id=self.key.arn, opts=child)
        aws.sns.TopicPolicy(
            name,
            arn=self.topic.arn,
            policy=document(
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "cloudwatch.amazonaws.com"},
                    "Action": "sns:Publish",
                    "Resource": self.topic.arn,
                    "Condition": OWN,
                },
                deny_plain("sns:Publish", self.topic.arn),
            ),
            opts=child,
        )
        for number, address in enumerate(self.settings.watch.emails):
            aws.sns.TopicSubscription(
                f"{name}-{number}", topic=self.topic.arn, protocol="email", endpoint=address, opts=child
            )
        self._alarms(name, child)
        aws.cloudwatch.Dashboard(name, dashboard_name=name, dashboard_body=json.dumps({"widgets": []}), opts=child)
        aws.budgets.Budget(
            name, budget_type="COST", limit_amount="600", limit_unit="USD", time_unit="MONTHLY", opts=child
        )

    def _alarms(self, name: str, opts: ResourceOptions) -> None:
        aws.cloudwatch.MetricAlarm(
            f"{name}-depth",
            namespace="AWS/SQS",
            metric_name="ApproximateNumberOfMessagesVisible",
            dimensions={"QueueName": self.queue.name},
            statistic="Maximum",
            comparison_operator="GreaterThanThreshold",
            threshold=50_000,
            period=60,
            evaluation_periods=2,
            treat_missing_data="notBreaching",
            alarm_description="mail waits",
            alarm_actions=[self.topic.arn],
            opts=opts,
        )
        queries: list[aws.cloudwatch.MetricAlarmMetricQueryArgsDict] = [
            {
                "id": metric,
                "metric": {"namespace": "SmtpProxy", "metric_name": metric, "period": 10, "stat": "Sum"},
            }
            for metric in ("errors", "requests")
        ]
        aws.cloudwatch.MetricAlarm(
            f"{name}-errors",
            comparison_operator="GreaterThanThreshold",
            threshold=5,
            evaluation_periods=3,
            datapoints_to_alarm=2,
            metric_queries=[
                *queries,
                {"id": "rate", "expression": "100*errors/requests", "label": "errors, %", "return_data": True},
            ],
            treat_missing_data="notBreaching",
            alarm_actions=[self.topic.arn],
            opts=opts,
        )

    def _balancers(self) -> None:
        name, child = self._group("balancers")
        nlb = aws.lb.LoadBalancer(
            f"{name}-nlb",
            load_balancer_type="network",
            enable_cross_zone_load_balancing=True,
            enable_deletion_protection=self.production,
            security_groups=[self.groups["nlb"].id],
            subnet_mappings=[{"subnet_id": subnet.id} for subnet in self.public],
            opts=child,
        )
        alb = aws.lb.LoadBalancer(
            f"{name}-alb",
            load_balancer_type="application",
            drop_invalid_header_fields=True,
            enable_deletion_protection=self.production,
            access_logs={"bucket": self.bucket.bucket, "enabled": True},
            security_groups=[self.groups["alb"].id],
            subnets=[subnet.id for subnet in self.public],
            opts=child,
        )
        for role, port, protocol in (("relay", 2587, "TCP"), ("api", 8080, "HTTPS"), ("console", 8080, "HTTPS")):
            self.targets[role] = aws.lb.TargetGroup(
                f"{name}-{role}",
                port=port,
                protocol=protocol,
                target_type="ip",
                vpc_id=self.vpc.id,
                health_check={"protocol": "HTTP", "path": "/readyz", "port": "8081"},
                opts=child,
            )
        aws.lb.Listener(
            f"{name}-smtp",
            load_balancer_arn=nlb.arn,
            port=587,
            protocol="TCP",
            default_actions=[{"type": "forward", "target_group_arn": self.targets["relay"].arn}],
            opts=child,
        )
        aws.lb.Listener(
            f"{name}-http",
            load_balancer_arn=alb.arn,
            port=80,
            protocol="HTTP",
            default_actions=[
                {"type": "redirect", "redirect": {"port": "443", "protocol": "HTTPS", "status_code": "HTTP_301"}}
            ],
            opts=child,
        )
        aws.lb.Listener(
            f"{name}-https",
            load_balancer_arn=alb.arn,
            port=443,
            protocol="HTTPS",
            ssl_policy="ELBSecurityPolicy-TLS13-1-2-Res-2021-06",
            certificate_arn=aws.acm.Certificate(name, domain_name="console.example.com", opts=child).arn,
            default_actions=[{"type": "forward", "target_group_arn": self.targets["console"].arn}],
            opts=child,
        )
        if self.settings.waf:
            aws.wafv2.WebAcl(
                name,
                scope="REGIONAL",
                default_action={"allow": {}},
                visibility_config={
                    "cloudwatch_metrics_enabled": True,
                    "metric_name": "web",
                    "sampled_requests_enabled": False,
                },
                rules=[],
                opts=child,
            )

    def _services(self) -> None:
        name, child = self._group("services")
        insights = "enabled" if self.settings.watch.insights else "disabled"
        self.cluster = aws.ecs.Cluster(name, settings=[{"name": "containerInsights", "value": insights}], opts=child)
        for room in ("relay", "worker", "web"):
            repository = aws.ecr.Repository(
                f"{name}-{room}",
                image_tag_mutability="IMMUTABLE",
                image_scanning_configuration={"scan_on_push": True},
                opts=child,
            )
            aws.ecr.LifecyclePolicy(f"{name}-{room}", repository=repository.name, policy="{}", opts=child)
        execution = aws.iam.Role(name, assume_role_policy=trust("ecs-tasks.amazonaws.com"), opts=child)
        aws.iam.RolePolicyAttachment(
            name,
            role=execution.name,
            policy_arn="arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy",
            opts=child,
        )
        for service in self.settings.services.values():
            self._service(service, execution.arn)

    def _service(self, service: ServiceSettings, execution_arn: Output[str]) -> None:
        name, child = self._group(service.name)
        log = aws.cloudwatch.LogGroup(name, retention_in_days=self.settings.watch.log_days, opts=child)
        role = self._role(name, "ecs-tasks.amazonaws.com", ["sqs:SendMessage"], [self.queue.arn], child)
        task = aws.ecs.TaskDefinition(
            name,
            family=name,
            cpu=str(service.cpu),
            memory=str(service.memory),
            network_mode="awsvpc",
            requires_compatibilities=["FARGATE"],
            runtime_platform={"cpu_architecture": self.settings.release.architecture.upper()},
            execution_role_arn=execution_arn,
            task_role_arn=role.arn,
            container_definitions=Output.json_dumps([self._container(service.name, log)]),
            opts=child,
        )
        network = self.settings.network
        spot = service.name == "worker" and self.settings.release.spot_workers
        running = aws.ecs.Service(
            name,
            cluster=self.cluster.arn,
            task_definition=task.arn,
            desired_count=service.tasks,
            launch_type=None if spot else "FARGATE",
            capacity_provider_strategies=[
                {"capacity_provider": "FARGATE", "base": 1, "weight": 1},
                {"capacity_provider": "FARGATE_SPOT", "weight": 3},
            ]
            if spot
            else None,
            network_configuration={
                "subnets": [subnet.id for subnet in self.private],
                "security_groups": [self.groups[service.name].id],
                "assign_public_ip": network.egress == "public-ip",
            },
            health_check_grace_period_seconds=60,
            load_balancers=[
                {
                    "target_group_arn": self.targets[service.name].arn,
                    "container_name": service.name,
                    "container_port": 8080,
                }
            ]
            if service.name in self.targets
            else None,
            enable_execute_command=self.settings.release.exec,
            deployment_circuit_breaker={"enable": True, "rollback": True},
            opts=child,
        )
        aws.appautoscaling.Target(
            name,
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=Output.concat("service/", self.cluster.name, "/", running.name),
            min_capacity=service.tasks,
            max_capacity=service.max_tasks,
            opts=child,
        )

    def _container(self, name: str, log: aws.cloudwatch.LogGroup) -> Mapping[str, Any]:
        return {
            "name": name,
            "image": f"registry.example.com/{ROOMS[name]}@{DIGEST}",
            "user": "10001",
            "readonlyRootFilesystem": not self.settings.release.exec,
            "stopTimeout": 120,
            "linuxParameters": {"initProcessEnabled": True},
            "healthCheck": {"command": ["CMD", "python", "-m", "relay.healthcheck"]},
            "environment": [
                {"name": "DELIVERY_QUEUE_URL", "value": self.queue.url},
                {"name": "RELAY_TLS_SECRET_NAME", "value": "tls"},
                {"name": "CERTIFICATE_SECRET", "value": self.key.arn},
            ],
            "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": log.name}},
        }

    def _names(self) -> None:
        name, child = self._group("mailing")
        aws.route53.Zone(name, name=self.settings.names.zone, opts=child)
        aws.sesv2.ConfigurationSet(
            name, configuration_set_name=name, delivery_options={"tls_policy": "REQUIRE"}, opts=child
        )
        aws.codedeploy.DeploymentGroup(
            name,
            app_name=aws.codedeploy.Application(name, compute_platform="ECS", opts=child).name,
            deployment_group_name=name,
            service_role_arn="arn:aws:iam::123456789012:role/deploy",
            auto_rollback_configuration={"enabled": True, "events": ["DEPLOYMENT_FAILURE"]},
            opts=child,
        )
