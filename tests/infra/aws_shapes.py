"""AWS's API models as a schema: enumerations, ranges and lengths, found by matching names. No network."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, cast

import botocore.session

from infra.graph import Node

OPERATIONS = {
    "aws:acm/certificate:Certificate": ("acm", "RequestCertificate"),
    "aws:appautoscaling/policy:Policy": ("application-autoscaling", "PutScalingPolicy"),
    "aws:appautoscaling/scheduledAction:ScheduledAction": ("application-autoscaling", "PutScheduledAction"),
    "aws:appautoscaling/target:Target": ("application-autoscaling", "RegisterScalableTarget"),
    "aws:budgets/budget:Budget": ("budgets", "CreateBudget"),
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": ("cloudwatch", "PutCompositeAlarm"),
    "aws:cloudwatch/dashboard:Dashboard": ("cloudwatch", "PutDashboard"),
    "aws:cloudwatch/eventRule:EventRule": ("events", "PutRule"),
    "aws:cloudwatch/eventTarget:EventTarget": ("events", "PutTargets"),
    "aws:cloudwatch/logGroup:LogGroup": ("logs", "PutRetentionPolicy"),
    "aws:cloudwatch/metricAlarm:MetricAlarm": ("cloudwatch", "PutMetricAlarm"),
    "aws:codedeploy/application:Application": ("codedeploy", "CreateApplication"),
    "aws:codedeploy/deploymentConfig:DeploymentConfig": ("codedeploy", "CreateDeploymentConfig"),
    "aws:codedeploy/deploymentGroup:DeploymentGroup": ("codedeploy", "CreateDeploymentGroup"),
    "aws:dynamodb/table:Table": ("dynamodb", "CreateTable"),
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": ("ec2", "CreateSecurityGroup"),
    "aws:ec2/eip:Eip": ("ec2", "AllocateAddress"),
    "aws:ec2/flowLog:FlowLog": ("ec2", "CreateFlowLogs"),
    "aws:ec2/internetGateway:InternetGateway": ("ec2", "CreateInternetGateway"),
    "aws:ec2/natGateway:NatGateway": ("ec2", "CreateNatGateway"),
    "aws:ec2/route:Route": ("ec2", "CreateRoute"),
    "aws:ec2/routeTable:RouteTable": ("ec2", "CreateRouteTable"),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": ("ec2", "AssociateRouteTable"),
    "aws:ec2/securityGroup:SecurityGroup": ("ec2", "CreateSecurityGroup"),
    "aws:ec2/subnet:Subnet": ("ec2", "CreateSubnet"),
    "aws:ec2/vpc:Vpc": ("ec2", "CreateVpc"),
    "aws:ec2/vpcEndpoint:VpcEndpoint": ("ec2", "CreateVpcEndpoint"),
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": ("ecr", "PutLifecyclePolicy"),
    "aws:ecr/repository:Repository": ("ecr", "CreateRepository"),
    "aws:ecs/cluster:Cluster": ("ecs", "CreateCluster"),
    "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders": ("ecs", "PutClusterCapacityProviders"),
    "aws:ecs/service:Service": ("ecs", "CreateService"),
    "aws:ecs/taskDefinition:TaskDefinition": ("ecs", "RegisterTaskDefinition"),
    "aws:elasticache/parameterGroup:ParameterGroup": ("elasticache", "CreateCacheParameterGroup"),
    "aws:elasticache/replicationGroup:ReplicationGroup": ("elasticache", "CreateReplicationGroup"),
    "aws:elasticache/serverlessCache:ServerlessCache": ("elasticache", "CreateServerlessCache"),
    "aws:elasticache/subnetGroup:SubnetGroup": ("elasticache", "CreateCacheSubnetGroup"),
    "aws:elasticache/user:User": ("elasticache", "CreateUser"),
    "aws:elasticache/userGroup:UserGroup": ("elasticache", "CreateUserGroup"),
    "aws:iam/role:Role": ("iam", "CreateRole"),
    "aws:iam/rolePolicy:RolePolicy": ("iam", "PutRolePolicy"),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": ("iam", "AttachRolePolicy"),
    "aws:kms/alias:Alias": ("kms", "CreateAlias"),
    "aws:kms/key:Key": ("kms", "CreateKey"),
    "aws:kms/keyPolicy:KeyPolicy": ("kms", "PutKeyPolicy"),
    "aws:lb/listener:Listener": ("elbv2", "CreateListener"),
    "aws:lb/listenerRule:ListenerRule": ("elbv2", "CreateRule"),
    "aws:lb/loadBalancer:LoadBalancer": ("elbv2", "CreateLoadBalancer"),
    "aws:lb/targetGroup:TargetGroup": ("elbv2", "CreateTargetGroup"),
    "aws:rds/instance:Instance": ("rds", "CreateDBInstance"),
    "aws:rds/parameterGroup:ParameterGroup": ("rds", "CreateDBParameterGroup"),
    "aws:rds/subnetGroup:SubnetGroup": ("rds", "CreateDBSubnetGroup"),
    "aws:route53/record:Record": ("route53", "ChangeResourceRecordSets"),
    "aws:route53/zone:Zone": ("route53", "CreateHostedZone"),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": ("s3", "PutBucketLifecycleConfiguration"),
    "aws:s3/bucketLogging:BucketLogging": ("s3", "PutBucketLogging"),
    "aws:s3/bucketNotification:BucketNotification": ("s3", "PutBucketNotificationConfiguration"),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": ("s3", "PutBucketOwnershipControls"),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": ("s3", "PutPublicAccessBlock"),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": (
        "s3",
        "PutBucketEncryption",
    ),
    "aws:s3/bucketVersioning:BucketVersioning": ("s3", "PutBucketVersioning"),
    "aws:scheduler/schedule:Schedule": ("scheduler", "CreateSchedule"),
    "aws:secretsmanager/secret:Secret": ("secretsmanager", "CreateSecret"),
    "aws:secretsmanager/secretPolicy:SecretPolicy": ("secretsmanager", "PutResourcePolicy"),
    "aws:servicediscovery/privateDnsNamespace:PrivateDnsNamespace": ("servicediscovery", "CreatePrivateDnsNamespace"),
    "aws:servicediscovery/service:Service": ("servicediscovery", "CreateService"),
    "aws:ses/activeReceiptRuleSet:ActiveReceiptRuleSet": ("ses", "SetActiveReceiptRuleSet"),
    "aws:ses/receiptRule:ReceiptRule": ("ses", "CreateReceiptRule"),
    "aws:ses/receiptRuleSet:ReceiptRuleSet": ("ses", "CreateReceiptRuleSet"),
    "aws:sesv2/configurationSet:ConfigurationSet": ("sesv2", "CreateConfigurationSet"),
    "aws:sesv2/configurationSetEventDestination:ConfigurationSetEventDestination": (
        "sesv2",
        "CreateConfigurationSetEventDestination",
    ),
    "aws:sesv2/emailIdentity:EmailIdentity": ("sesv2", "CreateEmailIdentity"),
    "aws:sesv2/emailIdentityMailFromAttributes:EmailIdentityMailFromAttributes": (
        "sesv2",
        "PutEmailIdentityMailFromAttributes",
    ),
    "aws:sns/topicSubscription:TopicSubscription": ("sns", "Subscribe"),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": ("ec2", "AuthorizeSecurityGroupEgress"),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": ("ec2", "AuthorizeSecurityGroupIngress"),
    "aws:wafv2/webAcl:WebAcl": ("wafv2", "CreateWebACL"),
    "aws:wafv2/webAclAssociation:WebAclAssociation": ("wafv2", "AssociateWebACL"),
    "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration": ("wafv2", "PutLoggingConfiguration"),
}
# Their operations take a map of texts, or nothing worth checking; test_queues and test_storage hold their limits.
WITHOUT_MODEL = {
    "aws:acm/certificateValidation:CertificateValidation",  # Pulumi's own: it waits
    "aws:route53/record:Record",  # a batch of changes in AWS; test_dns compares whole records
    "aws:s3/bucket:Bucket",
    "aws:s3/bucketPolicy:BucketPolicy",
    "aws:sns/topic:Topic",
    "aws:sns/topicPolicy:TopicPolicy",
    "aws:sqs/queue:Queue",
    "aws:sqs/queuePolicy:QueuePolicy",
    "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy",
}


def problems(node: Node) -> list[str]:
    if node.type not in OPERATIONS:
        return [] if node.type in WITHOUT_MODEL else [f"{node.type}: name its operation in aws_shapes"]
    service, operation = OPERATIONS[node.type]
    return list(_structure(_input(service, operation), node.inputs, node.name))


@cache
def _input(service: str, operation: str) -> Any:
    return botocore.session.get_session().get_service_model(service).operation_model(operation).input_shape


def _structure(shape: Any, value: Mapping[str, Any], path: str) -> Iterator[str]:
    members = {_plain(name): member for name, member in shape.members.items()}
    wrapped = [member for member in shape.members.values() if member.type_name == "structure"]
    members = {_plain(name): m for outer in wrapped for name, m in outer.members.items()} | members
    for key, item in value.items():
        if _plain(key) in members:
            yield from _check(members[_plain(key)], item, f"{path}.{key}")


def _check(shape: Any, value: Any, path: str) -> Iterator[str]:
    if shape.type_name in {"list", "structure"}:
        # The provider takes container definitions as a text, and blocks that there may be one of as lists.
        found = json.loads(value) if isinstance(value, str) and value.startswith("[") else value
        inner = shape.member if shape.type_name == "list" else shape
        items: list[Any] = cast("list[Any]", found) if isinstance(found, list) else [found]
        for item in items:
            yield from _item(inner, item, path) if inner.type_name == "structure" else _check(inner, item, path)
    elif not isinstance(value, (bool, dict)):
        yield from _plain_value(shape, value, path)


def _item(shape: Any, value: Any, path: str) -> Iterator[str]:
    # The provider takes a text where AWS takes an object of one text, such as the name of an alarm.
    alone = dict.fromkeys(list(shape.members)[:1], value) if isinstance(value, str) else value
    yield from _structure(shape, alone, path)


def _plain_value(shape: Any, value: Any, path: str) -> Iterator[str]:
    if getattr(shape, "enum", None) and value not in shape.enum:
        yield f"{path}: {value!r} is not one of {shape.enum}"
    elif "${" not in str(value):
        size = len(value) if isinstance(value, str) else value
        low, high = shape.metadata.get("min", size), shape.metadata.get("max", size)
        if not low <= size <= high:
            yield f"{path}: {value!r} is not within {low} to {high}"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower()).removesuffix("s")
