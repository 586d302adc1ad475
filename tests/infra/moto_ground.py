"""How moto is asked for what a stack stands on: network, queues, buckets, tables, keys and names."""

from typing import Any

from tests.infra.moto_cloud import REGION, SUFFIX, Cloud, Made, Maker, Values, fill, one


def make_vpc(cloud: Cloud, _name: str, inputs: Values) -> Made:
    made = cloud.do("ec2", "CreateVpc", {"CidrBlock": inputs["cidrBlock"]})["Vpc"]["VpcId"]
    for switch in ("enableDnsSupport", "enableDnsHostnames"):
        setting = {"Value": inputs[switch]}
        cloud.do("ec2", "ModifyVpcAttribute", {"VpcId": made, switch[0].upper() + switch[1:]: setting})
    return made, {"arn": f"arn:aws:ec2:{REGION}:{cloud.account}:vpc/{made}", "cidrBlock": inputs["cidrBlock"]}


def make_default_security_group(cloud: Cloud, _name: str, inputs: Values) -> Made:
    wanted = [{"Name": "vpc-id", "Values": [inputs["vpcId"]]}, {"Name": "group-name", "Values": ["default"]}]
    (group,) = cloud.do("ec2", "DescribeSecurityGroups", {"Filters": wanted})["SecurityGroups"]
    shut(cloud, group)
    return group["GroupId"], {}


def make_security_group(cloud: Cloud, name: str, inputs: Values) -> Made:
    made, outputs = one("ec2", "CreateSecurityGroup", "<GroupId>", named="name", renamed={"name": "GroupName"})(
        cloud, name, inputs | {"tags": None}
    )
    (group,) = cloud.do("ec2", "DescribeSecurityGroups", {"GroupIds": [made]})["SecurityGroups"]
    shut(cloud, group)
    return made, outputs


def shut(cloud: Cloud, group: Values) -> None:
    """Takes away the rules that AWS gives a group, as the provider does."""
    for operation, rules in (("Ingress", "IpPermissions"), ("Egress", "IpPermissionsEgress")):
        if group[rules]:
            cloud.do(
                "ec2",
                f"RevokeSecurityGroup{operation}",
                {"GroupId": group["GroupId"], "IpPermissions": group[rules]},
            )


def rule_maker(direction: str) -> Maker:
    def make(cloud: Cloud, _name: str, inputs: Values) -> Made:
        note = {"Description": inputs["description"]}
        permission: Values = {"IpProtocol": inputs["ipProtocol"]}
        if "fromPort" in inputs:
            permission |= {"FromPort": int(inputs["fromPort"]), "ToPort": int(inputs["toPort"])}
        if "cidrIpv4" in inputs:
            permission["IpRanges"] = [{"CidrIp": inputs["cidrIpv4"], **note}]
        if "referencedSecurityGroupId" in inputs:
            permission["UserIdGroupPairs"] = [{"GroupId": inputs["referencedSecurityGroupId"], **note}]
        if "prefixListId" in inputs:
            permission["PrefixListIds"] = [{"PrefixListId": inputs["prefixListId"], **note}]
        parameters = {"GroupId": inputs["securityGroupId"], "IpPermissions": [permission]}
        answer = cloud.do("ec2", f"AuthorizeSecurityGroup{direction}", parameters)
        return answer["SecurityGroupRules"][0]["SecurityGroupRuleId"], {}

    return make


def make_route_table(cloud: Cloud, _name: str, inputs: Values) -> Made:
    made = cloud.do("ec2", "CreateRouteTable", {"VpcId": inputs["vpcId"]})["RouteTable"]["RouteTableId"]
    for route in inputs.get("routes", []):
        shape = cloud.shape("ec2", "CreateRoute")
        given = {**route, "destinationCidrBlock": route["cidrBlock"], "routeTableId": made}
        cloud.do("ec2", "CreateRoute", fill(shape, given))
    return made, {}


def make_internet_gateway(cloud: Cloud, _name: str, inputs: Values) -> Made:
    made = cloud.do("ec2", "CreateInternetGateway", {})["InternetGateway"]["InternetGatewayId"]
    cloud.do("ec2", "AttachInternetGateway", {"InternetGatewayId": made, "VpcId": inputs["vpcId"]})
    return made, {}


def make_flow_log(cloud: Cloud, _name: str, inputs: Values) -> Made:
    parameters = {
        "ResourceIds": [inputs["vpcId"]],
        "ResourceType": "VPC",
        "TrafficType": inputs["trafficType"],
        "LogDestinationType": inputs["logDestinationType"],
        "LogDestination": inputs["logDestination"],
        "DeliverLogsPermissionArn": inputs["iamRoleArn"],
    }
    answer = cloud.do("ec2", "CreateFlowLogs", parameters)
    if answer["Unsuccessful"]:
        raise ValueError(answer["Unsuccessful"])
    return answer["FlowLogIds"][0], {}


def make_queue(cloud: Cloud, name: str, inputs: Values) -> Made:
    attributes = {
        "MaximumMessageSize": "maxMessageSize",
        "MessageRetentionPeriod": "messageRetentionSeconds",
        "ReceiveMessageWaitTimeSeconds": "receiveWaitTimeSeconds",
        "VisibilityTimeout": "visibilityTimeoutSeconds",
        "KmsMasterKeyId": "kmsMasterKeyId",
        "SqsManagedSseEnabled": "sqsManagedSseEnabled",
        "RedrivePolicy": "redrivePolicy",
    }
    given = {ours: as_text(inputs[theirs]) for ours, theirs in attributes.items() if theirs in inputs}
    physical = inputs.get("name", name + SUFFIX)
    url = cloud.do("sqs", "CreateQueue", {"QueueName": physical, "Attributes": given})["QueueUrl"]
    found = cloud.do("sqs", "GetQueueAttributes", {"QueueUrl": url, "AttributeNames": ["QueueArn"]})
    return url, {"url": url, "arn": found["Attributes"]["QueueArn"], "name": physical}


def make_queue_policy(cloud: Cloud, _name: str, inputs: Values) -> Made:
    parameters = {"QueueUrl": inputs["queueUrl"], "Attributes": {"Policy": inputs["policy"]}}
    cloud.do("sqs", "SetQueueAttributes", parameters)
    return inputs["queueUrl"], {}


def as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) else str(value)


def make_bucket(cloud: Cloud, name: str, _inputs: Values) -> Made:
    made = name + SUFFIX
    cloud.do("s3", "CreateBucket", {"Bucket": made})
    return made, {"bucket": made, "arn": f"arn:aws:s3:::{made}", "bucketDomainName": f"{made}.s3.amazonaws.com"}


def of_bucket(operation: str, member: str) -> Maker:
    """Returns how a part of a bucket's configuration is set, which AWS keeps in an object of its own."""

    def make(cloud: Cloud, _name: str, inputs: Values) -> Made:
        shape = cloud.shape("s3", operation).members[member]
        given = {"rules": [inputs["rule"]]} if "rule" in inputs else inputs.get("versioningConfiguration", inputs)
        cloud.do("s3", operation, {"Bucket": inputs["bucket"], member: fill(shape, given)})
        return inputs["bucket"], {}

    return make


def make_bucket_logging(cloud: Cloud, _name: str, inputs: Values) -> Made:
    told = {"TargetBucket": inputs["targetBucket"], "TargetPrefix": inputs["targetPrefix"]}
    cloud.do("s3", "PutBucketLogging", {"Bucket": inputs["bucket"], "BucketLoggingStatus": {"LoggingEnabled": told}})
    return inputs["bucket"], {}


def make_bucket_notification(cloud: Cloud, _name: str, inputs: Values) -> Made:
    queues = [
        {
            "QueueArn": queue["queueArn"],
            "Events": queue["events"],
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": queue.get("filterPrefix", "")}]}},
        }
        for queue in inputs["queues"]
    ]
    configuration = {"QueueConfigurations": queues}
    cloud.do(
        "s3",
        "PutBucketNotificationConfiguration",
        {"Bucket": inputs["bucket"], "NotificationConfiguration": configuration},
    )
    return inputs["bucket"], {}


def make_table(cloud: Cloud, name: str, inputs: Values) -> Made:
    physical = inputs.get("name", name + SUFFIX)
    parameters: Values = {
        "TableName": physical,
        "BillingMode": inputs["billingMode"],
        "AttributeDefinitions": [
            {"AttributeName": one["name"], "AttributeType": one["type"]} for one in inputs["attributes"]
        ],
        "KeySchema": [{"AttributeName": inputs["hashKey"], "KeyType": "HASH"}],
        "DeletionProtectionEnabled": inputs["deletionProtectionEnabled"],
    }
    sealed = inputs["serverSideEncryption"]
    if sealed["enabled"]:
        own = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": sealed["kmsKeyArn"]}
        parameters["SSESpecification"] = own
    arn = cloud.do("dynamodb", "CreateTable", parameters)["TableDescription"]["TableArn"]
    ttl = {"Enabled": inputs["ttl"]["enabled"], "AttributeName": inputs["ttl"]["attributeName"]}
    cloud.do("dynamodb", "UpdateTimeToLive", {"TableName": physical, "TimeToLiveSpecification": ttl})
    recovery = {"PointInTimeRecoveryEnabled": inputs["pointInTimeRecovery"]["enabled"]}
    backups = {"TableName": physical, "PointInTimeRecoverySpecification": recovery}
    cloud.do("dynamodb", "UpdateContinuousBackups", backups)
    return physical, {"arn": arn, "name": physical}


def make_log_group(cloud: Cloud, name: str, inputs: Values) -> Made:
    made, outputs = one(
        "logs",
        "CreateLogGroup",
        "<name>",
        named="name",
        renamed={"name": "logGroupName"},
        arn=f"arn:aws:logs:{REGION}:<account>:log-group:<name>",
    )(cloud, name, inputs)
    days = {"logGroupName": made, "retentionInDays": int(inputs["retentionInDays"])}
    cloud.do("logs", "PutRetentionPolicy", days)
    return made, outputs


def make_event_target(cloud: Cloud, name: str, inputs: Values) -> Made:
    target: Values = {"Id": name[-64:], "Arn": inputs["arn"]}
    if "inputTransformer" in inputs:
        told = inputs["inputTransformer"]
        target["InputTransformer"] = {
            "InputPathsMap": told.get("inputPaths", {}),
            "InputTemplate": told["inputTemplate"],
        }
    answer = cloud.do("events", "PutTargets", {"Rule": inputs["rule"], "Targets": [target]})
    if answer["FailedEntryCount"]:
        raise ValueError(answer["FailedEntries"])
    return target["Id"], {}


def make_budget(cloud: Cloud, name: str, inputs: Values) -> Made:
    budget = {
        "BudgetName": name + SUFFIX,
        "BudgetType": inputs["budgetType"],
        "TimeUnit": inputs["timeUnit"],
        "BudgetLimit": {"Amount": inputs["limitAmount"], "Unit": inputs["limitUnit"]},
        "CostFilters": {one["name"]: one["values"] for one in inputs.get("costFilters", [])},
    }
    told = [
        {
            "Notification": {
                "NotificationType": one["notificationType"],
                "ComparisonOperator": one["comparisonOperator"],
                "Threshold": one["threshold"],
                "ThresholdType": one["thresholdType"],
            },
            "Subscribers": [
                {"SubscriptionType": "SNS", "Address": topic} for topic in one.get("subscriberSnsTopicArns", [])
            ],
        }
        for one in inputs["notifications"]
    ]
    cloud.do(
        "budgets",
        "CreateBudget",
        {"AccountId": cloud.account, "Budget": budget, "NotificationsWithSubscribers": told},
    )
    return f"{cloud.account}:{budget['BudgetName']}", {}


def make_key(cloud: Cloud, _name: str, inputs: Values) -> Made:
    made = cloud.do("kms", "CreateKey", {"Description": inputs["description"]})["KeyMetadata"]
    if inputs["enableKeyRotation"]:
        cloud.do("kms", "EnableKeyRotation", {"KeyId": made["KeyId"]})
    return made["KeyId"], {"arn": made["Arn"], "keyId": made["KeyId"]}


def make_key_policy(cloud: Cloud, _name: str, inputs: Values) -> Made:
    policy = {"KeyId": inputs["keyId"], "PolicyName": "default", "Policy": inputs["policy"]}
    cloud.do("kms", "PutKeyPolicy", policy)
    return inputs["keyId"], {}


def make_alias(cloud: Cloud, _name: str, inputs: Values) -> Made:
    cloud.do("kms", "CreateAlias", {"AliasName": inputs["name"], "TargetKeyId": inputs["targetKeyId"]})
    arn = f"arn:aws:kms:{REGION}:{cloud.account}:{inputs['name']}"
    return inputs["name"], {"arn": arn}


def make_record(cloud: Cloud, _name: str, inputs: Values) -> Made:
    found: Values = {"Name": inputs["name"], "Type": inputs["type"]}
    if "aliases" in inputs:
        (alias,) = inputs["aliases"]
        found["AliasTarget"] = {
            "HostedZoneId": alias["zoneId"],
            "DNSName": alias["name"],
            "EvaluateTargetHealth": alias["evaluateTargetHealth"],
        }
    else:
        found |= {
            "TTL": int(inputs["ttl"]),
            "ResourceRecords": [{"Value": quoted(found["Type"], one)} for one in inputs["records"]],
        }
    batch = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": found}]}
    cloud.do("route53", "ChangeResourceRecordSets", {"HostedZoneId": inputs["zoneId"], "ChangeBatch": batch})
    return f"{inputs['zoneId']}_{inputs['name']}_{inputs['type']}", {"fqdn": inputs["name"]}


def quoted(kind: str, text: str) -> str:
    # The provider puts texts in quotes, which Route 53 asks for.
    return f'"{text}"' if kind == "TXT" and not text.startswith('"') else text


def make_zone(cloud: Cloud, name: str, inputs: Values) -> Made:
    answer = cloud.do("route53", "CreateHostedZone", {"Name": inputs["name"], "CallerReference": name})
    made = answer["HostedZone"]["Id"].removeprefix("/hostedzone/")
    servers = answer["DelegationSet"]["NameServers"]
    return made, {"zoneId": made, "nameServers": servers, "arn": f"arn:aws:route53:::hostedzone/{made}"}


def make_certificate(cloud: Cloud, _name: str, inputs: Values) -> Made:
    arn = cloud.do("acm", "RequestCertificate", fill(cloud.shape("acm", "RequestCertificate"), inputs))[
        "CertificateArn"
    ]
    found = cloud.do("acm", "DescribeCertificate", {"CertificateArn": arn})["Certificate"]
    options = [
        {
            "domainName": one["DomainName"],
            "resourceRecordName": one["ResourceRecord"]["Name"],
            "resourceRecordType": one["ResourceRecord"]["Type"],
            "resourceRecordValue": one["ResourceRecord"]["Value"],
        }
        for one in found["DomainValidationOptions"]
    ]
    return arn, {"arn": arn, "domainValidationOptions": options}
