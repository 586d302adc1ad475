"""How moto is asked for what runs, what it leans on and how it is reached."""

from tests.infra.moto_cloud import REGION, SUFFIX, Cloud, Made, Values, one
from tests.infra.moto_ground import as_text


def make_balancer(cloud: Cloud, name: str, inputs: Values) -> Made:
    kind = inputs["loadBalancerType"]
    parameters: Values = {
        "Name": inputs.get("name", name + SUFFIX),
        "Type": kind,
        "Scheme": "internal" if inputs["internal"] else "internet-facing",
        "SecurityGroups": inputs["securityGroups"],
        "Subnets": inputs["subnets"],
    }
    (made,) = cloud.do("elbv2", "CreateLoadBalancer", parameters)["LoadBalancers"]
    attributes = {"deletion_protection.enabled": as_text(inputs["enableDeletionProtection"])}
    if "accessLogs" in inputs:
        logs = inputs["accessLogs"]
        attributes |= {"access_logs.s3.enabled": as_text(logs["enabled"]), "access_logs.s3.bucket": logs["bucket"]}
    if kind == "application":
        attributes["routing.http.drop_invalid_header_fields.enabled"] = as_text(inputs["dropInvalidHeaderFields"])
        attributes["idle_timeout.timeout_seconds"] = as_text(inputs["idleTimeout"])
    pairs = [{"Key": key, "Value": value} for key, value in attributes.items()]
    arn = made["LoadBalancerArn"]
    cloud.do("elbv2", "ModifyLoadBalancerAttributes", {"LoadBalancerArn": arn, "Attributes": pairs})
    return arn, {
        "arn": arn,
        "arnSuffix": arn.partition("loadbalancer/")[2],
        "dnsName": made["DNSName"],
        "zoneId": made["CanonicalHostedZoneId"],
    }


def make_target_group(cloud: Cloud, name: str, inputs: Values) -> Made:
    check = inputs["healthCheck"]
    parameters = {
        "Name": inputs.get("name", name + SUFFIX),
        "Protocol": inputs["protocol"],
        "Port": int(inputs["port"]),
        "VpcId": inputs["vpcId"],
        "TargetType": inputs["targetType"],
        "HealthCheckProtocol": check["protocol"],
        "HealthCheckPort": check["port"],
        "HealthCheckPath": check["path"],
        "HealthCheckIntervalSeconds": int(check["interval"]),
        "HealthCheckTimeoutSeconds": int(check["timeout"]),
        "HealthyThresholdCount": int(check["healthyThreshold"]),
        "UnhealthyThresholdCount": int(check["unhealthyThreshold"]),
        "Matcher": {"HttpCode": check["matcher"]},
    }
    (made,) = cloud.do("elbv2", "CreateTargetGroup", parameters)["TargetGroups"]
    arn = made["TargetGroupArn"]
    attributes = {"deregistration_delay.timeout_seconds": as_text(inputs["deregistrationDelay"])}
    for key, attribute in (
        ("preserveClientIp", "preserve_client_ip.enabled"),
        ("connectionTermination", "deregistration_delay.connection_termination.enabled"),
        ("proxyProtocolV2", "proxy_protocol_v2.enabled"),
    ):
        if key in inputs:
            attributes[attribute] = as_text(inputs[key])
    pairs = [{"Key": key, "Value": value} for key, value in attributes.items()]
    cloud.do("elbv2", "ModifyTargetGroupAttributes", {"TargetGroupArn": arn, "Attributes": pairs})
    return arn, {"arn": arn, "arnSuffix": arn.rpartition(":")[2], "name": made["TargetGroupName"]}


def make_listener(cloud: Cloud, name: str, inputs: Values) -> Made:
    certificates = [{"CertificateArn": inputs["certificateArn"]}] if "certificateArn" in inputs else []
    make = one(
        "elbv2",
        "CreateListener",
        "<Listeners[0].ListenerArn>",
        renamed={"defaultActions": "DefaultActions"},
        arn="<Listeners[0].ListenerArn>",
    )
    given = {**inputs, "certificates": certificates} if certificates else inputs
    given["defaultActions"] = [action_of(action) for action in inputs["defaultActions"]]
    return make(cloud, name, given)


def action_of(action: Values) -> Values:
    configured = {key + "Config": value for key, value in action.items() if key in {"redirect", "fixedResponse"}}
    forward = {"forwardConfig": forward_of(action["forward"])} if "forward" in action else {}
    return {**action, **configured, **forward}


def forward_of(forward: Values) -> Values:
    groups = [{"targetGroupArn": one["arn"], "weight": one.get("weight", 1)} for one in forward["targetGroups"]]
    return {"targetGroups": groups}


def make_listener_rule(cloud: Cloud, name: str, inputs: Values) -> Made:
    conditions = [{"field": "path-pattern", "pathPatternConfig": one["pathPattern"]} for one in inputs["conditions"]]
    make = one("elbv2", "CreateRule", "<Rules[0].RuleArn>", arn="<Rules[0].RuleArn>")
    actions = [action_of(action) for action in inputs["actions"]]
    return make(cloud, name, {**inputs, "conditions": conditions, "actions": actions})


def make_database(cloud: Cloud, name: str, inputs: Values) -> Made:
    make = one(
        "rds",
        "CreateDBInstance",
        "<DBInstance.DbiResourceId>",
        renamed={
            "identifier": "DBInstanceIdentifier",
            "instanceClass": "DBInstanceClass",
            "username": "MasterUsername",
            "parameterGroupName": "DBParameterGroupName",
            "dbSubnetGroupName": "DBSubnetGroupName",
            "iamDatabaseAuthenticationEnabled": "EnableIAMDatabaseAuthentication",
            "backupWindow": "PreferredBackupWindow",
            "maintenanceWindow": "PreferredMaintenanceWindow",
            "performanceInsightsEnabled": "EnablePerformanceInsights",
            "enabledCloudwatchLogsExports": "EnableCloudwatchLogsExports",
        },
        arn="<DBInstance.DBInstanceArn>",
        resourceId="<DBInstance.DbiResourceId>",
        identifier="<DBInstance.DBInstanceIdentifier>",
        address="<DBInstance.Endpoint.Address>",
    )
    made, outputs = make(cloud, name, inputs)
    found = cloud.do("rds", "DescribeDBInstances", {"DBInstanceIdentifier": inputs["identifier"]})["DBInstances"][0]
    secret = found.get("MasterUserSecret", {}).get(
        "SecretArn", f"arn:aws:secretsmanager:{REGION}:{cloud.account}:secret:rds"
    )
    return made, {**outputs, "masterUserSecrets": [{"secretArn": secret, "secretStatus": "active"}]}


def make_parameter_group(cloud: Cloud, name: str, inputs: Values) -> Made:
    make = one(
        "rds",
        "CreateDBParameterGroup",
        "<name>",
        named="name",
        renamed={"name": "DBParameterGroupName", "family": "DBParameterGroupFamily"},
    )
    made, outputs = make(cloud, name, inputs)
    parameters = [
        {"ParameterName": one["name"], "ParameterValue": one["value"], "ApplyMethod": one["applyMethod"]}
        for one in inputs["parameters"]
    ]
    cloud.do("rds", "ModifyDBParameterGroup", {"DBParameterGroupName": made, "Parameters": parameters})
    return made, outputs


def make_identity(cloud: Cloud, name: str, inputs: Values) -> Made:
    made, _ = one("sesv2", "CreateEmailIdentity", "<emailIdentity>")(cloud, name, inputs)
    found = cloud.do("sesv2", "GetEmailIdentity", {"EmailIdentity": made})
    tokens = found.get("DkimAttributes", {}).get("Tokens") or ["one", "two", "three"]
    arn = f"arn:aws:ses:{REGION}:{cloud.account}:identity/{made}"
    return made, {"arn": arn, "dkimSigningAttributes": {"tokens": tokens}}


def make_topic(cloud: Cloud, name: str, inputs: Values) -> Made:
    physical = inputs.get("name", name + SUFFIX)
    attributes = {"KmsMasterKeyId": inputs["kmsMasterKeyId"]}
    arn = cloud.do("sns", "CreateTopic", {"Name": physical, "Attributes": attributes})["TopicArn"]
    return arn, {"arn": arn, "name": physical}


def make_topic_policy(cloud: Cloud, _name: str, inputs: Values) -> Made:
    attribute = {"AttributeName": "Policy", "AttributeValue": inputs["policy"]}
    cloud.do("sns", "SetTopicAttributes", {"TopicArn": inputs["arn"], **attribute})
    return inputs["arn"], {}


def make_secret(cloud: Cloud, name: str, inputs: Values) -> Made:
    make = one("secretsmanager", "CreateSecret", "<ARN>", named="name", arn="<ARN>")
    return make(cloud, name, {key: value for key, value in inputs.items() if key != "tags"})


def make_ecs_service(cloud: Cloud, name: str, inputs: Values) -> Made:
    network = inputs["networkConfiguration"]
    given = {
        **inputs,
        "networkConfiguration": {
            "awsvpcConfiguration": {
                **network,
                "assignPublicIp": "ENABLED" if network["assignPublicIp"] else "DISABLED",
            }
        },
    }
    rollout: Values = dict(inputs.get("deploymentConfiguration", {}))
    for ours, theirs in (
        ("alarms", "alarms"),
        ("deploymentCircuitBreaker", "deploymentCircuitBreaker"),
        ("deploymentMaximumPercent", "maximumPercent"),
        ("deploymentMinimumHealthyPercent", "minimumHealthyPercent"),
    ):
        if ours in inputs:
            rollout[theirs] = inputs[ours]
    if rollout:
        given["deploymentConfiguration"] = rollout
    make = one(
        "ecs",
        "CreateService",
        "<service.serviceArn>",
        named="name",
        renamed={"name": "serviceName"},
        arn="<service.serviceArn>",
    )
    return make(cloud, name, given)


def make_schedule(cloud: Cloud, name: str, inputs: Values) -> Made:
    target = inputs["target"]
    parameters = target["ecsParameters"]
    network = parameters["networkConfiguration"]
    address = "ENABLED" if network["assignPublicIp"] else "DISABLED"
    told = {**parameters, "networkConfiguration": {"awsvpcConfiguration": {**network, "assignPublicIp": address}}}
    make = one("scheduler", "CreateSchedule", "default/<name>", named="name", arn="<ScheduleArn>")
    return make(cloud, name, {**inputs, "target": {**target, "ecsParameters": told}})


def make_deployment_group(cloud: Cloud, name: str, inputs: Values) -> Made:
    make = one(
        "codedeploy",
        "CreateDeploymentGroup",
        "<deploymentGroupId>",
        renamed={"appName": "applicationName"},
    )
    alarms = inputs.get("alarmConfiguration")
    given = dict(inputs)
    if alarms:
        given["alarmConfiguration"] = {**alarms, "alarms": [{"name": one} for one in alarms["alarms"]]}
    given["ecsServices"] = inputs["ecsService"]
    pair = inputs["loadBalancerInfo"]["targetGroupPairInfo"]
    given["loadBalancerInfo"] = {"targetGroupPairInfoList": [pair]}
    return make(cloud, name, given)


def make_namespace(cloud: Cloud, name: str, inputs: Values) -> Made:
    given = {"Name": inputs["name"], "Vpc": inputs["vpc"], "CreatorRequestId": name}
    operation = cloud.do("servicediscovery", "CreatePrivateDnsNamespace", given)["OperationId"]
    made = cloud.do("servicediscovery", "GetOperation", {"OperationId": operation})["Operation"]["Targets"]["NAMESPACE"]
    return made, {"arn": f"arn:aws:servicediscovery:{REGION}:{cloud.account}:namespace/{made}"}


def make_receipt_rule(cloud: Cloud, _name: str, inputs: Values) -> Made:
    actions: list[Values] = []
    for action in inputs.get("s3Actions", []):
        told = {
            "BucketName": action["bucketName"],
            "ObjectKeyPrefix": action.get("objectKeyPrefix"),
            "KmsKeyArn": action.get("kmsKeyArn"),
            # Not the role: moto looks for its ARN among ids.
        }
        actions.append({"S3Action": {key: value for key, value in told.items() if value}})
    rule = {
        "Name": inputs["name"],
        "Enabled": inputs["enabled"],
        "TlsPolicy": inputs["tlsPolicy"],
        "ScanEnabled": inputs["scanEnabled"],
        "Recipients": inputs["recipients"],
        "Actions": actions,
    }
    cloud.do("ses", "CreateReceiptRule", {"RuleSetName": inputs["ruleSetName"], "Rule": rule})
    return inputs["name"], {}
