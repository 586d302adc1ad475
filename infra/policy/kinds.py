"""The type tokens that rules speak of."""

from typing import Final

ACTION_ALARM: Final = "aws:cloudwatch/metricAlarm:MetricAlarm"
BUCKET: Final = "aws:s3/bucket:Bucket"
BUCKET_BLOCK: Final = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
BUCKET_ENCRYPTION: Final = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
BUCKET_LIFECYCLE: Final = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
BUCKET_OWNERSHIP: Final = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
BUCKET_POLICY: Final = "aws:s3/bucketPolicy:BucketPolicy"
CACHE: Final = "aws:elasticache/replicationGroup:ReplicationGroup"
CLUSTER: Final = "aws:ecs/cluster:Cluster"
CONFIGURATION_SET: Final = "aws:sesv2/configurationSet:ConfigurationSet"
DASHBOARD: Final = "aws:cloudwatch/dashboard:Dashboard"
DATABASE: Final = "aws:rds/instance:Instance"
DEFAULT_GROUP: Final = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
DEPLOYMENT_GROUP: Final = "aws:codedeploy/deploymentGroup:DeploymentGroup"
EGRESS: Final = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
FLOW_LOG: Final = "aws:ec2/flowLog:FlowLog"
GROUP: Final = "aws:ec2/securityGroup:SecurityGroup"
IAM_POLICY: Final = "aws:iam/policy:Policy"
IAM_USERS: Final = ("aws:iam/user:User", "aws:iam/accessKey:AccessKey", "aws:iam/userLoginProfile:UserLoginProfile")
INGRESS: Final = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
KEY: Final = "aws:kms/key:Key"
KEY_POLICY: Final = "aws:kms/keyPolicy:KeyPolicy"
LISTENER: Final = "aws:lb/listener:Listener"
LOAD_BALANCER: Final = "aws:lb/loadBalancer:LoadBalancer"
LOG_GROUP: Final = "aws:cloudwatch/logGroup:LogGroup"
PARAMETERS: Final = "aws:rds/parameterGroup:ParameterGroup"
POLICY_ATTACHMENT: Final = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
PROVIDER: Final = "pulumi:providers:aws"
QUEUE: Final = "aws:sqs/queue:Queue"
QUEUE_POLICY: Final = "aws:sqs/queuePolicy:QueuePolicy"
REDRIVE_ALLOW: Final = "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy"
REPOSITORY: Final = "aws:ecr/repository:Repository"
REPOSITORY_LIFECYCLE: Final = "aws:ecr/lifecyclePolicy:LifecyclePolicy"
REPOSITORY_POLICY: Final = "aws:ecr/repositoryPolicy:RepositoryPolicy"
ROLE: Final = "aws:iam/role:Role"
ROLE_POLICY: Final = "aws:iam/rolePolicy:RolePolicy"
SECRET: Final = "aws:secretsmanager/secret:Secret"  # noqa: S105 - a type token
SECRET_POLICY: Final = "aws:secretsmanager/secretPolicy:SecretPolicy"  # noqa: S105 - a type token
SERVICE: Final = "aws:ecs/service:Service"
SUBSCRIPTION: Final = "aws:sns/topicSubscription:TopicSubscription"
TABLE: Final = "aws:dynamodb/table:Table"
TARGET_GROUP: Final = "aws:lb/targetGroup:TargetGroup"
TASK: Final = "aws:ecs/taskDefinition:TaskDefinition"
TOPIC: Final = "aws:sns/topic:Topic"
TOPIC_POLICY: Final = "aws:sns/topicPolicy:TopicPolicy"
VPC: Final = "aws:ec2/vpc:Vpc"
WEB_ACL: Final = "aws:wafv2/webAcl:WebAcl"
ZONE: Final = "aws:route53/zone:Zone"

RESOURCE_POLICIES: Final = (
    BUCKET_POLICY,
    KEY_POLICY,
    QUEUE_POLICY,
    REPOSITORY_POLICY,
    SECRET_POLICY,
    TOPIC_POLICY,
)
HOLDS_DATA: Final = (BUCKET, DATABASE, KEY, QUEUE, SECRET, TABLE, ZONE)
