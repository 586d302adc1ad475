"""Names of the AWS objects of the local stack."""

# AWS SDKs call the region's endpoint; the emulator keeps the objects of each region apart.
REGION = "eu-central-1"
ACCOUNT = "000000000000"
QUEUE = "smtp-proxy-delivery"
DEAD_LETTERS = "smtp-proxy-delivery-dlq"
MAX_RECEIVES = 5
BUCKET = "smtp-proxy-bodies"
CREDENTIAL_KEY = "smtp-proxy/credential-key"
PROVIDER_KEY = "alias/smtp-proxy"
