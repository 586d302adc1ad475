"""Calls as the providers document them, about one message of ours."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from mail.events.tags import MESSAGE_TAG, RECIPIENT_TAG

MESSAGE = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
AT = datetime(2026, 11, 24, 12, 0, 5, 123000, tzinfo=UTC)
ISO = "2026-11-24T12:00:05.123Z"
SES_ID = "010701935c8f0a1b-3c1f7c52-6a0e-4c11-9a53-0b8f5e6d7c8a-000000"
TAGS = {MESSAGE_TAG: str(MESSAGE), RECIPIENT_TAG: "0"}


def ses(kind: str, *recipients: str, tags: dict[str, str] | None = None, **facts: Any) -> dict[str, Any]:
    """An event of SES; `facts` is the object that its kind has, under its name."""
    values = {"ses:configuration-set": "main", "ses:operation": "SendEmail"} | (TAGS if tags is None else tags)
    return {
        "eventType": kind,
        "mail": {
            "timestamp": "2026-11-24T12:00:00.000Z",
            "source": "Shop <a@shop.example>",
            "sendingAccountId": "123456789012",
            "messageId": SES_ID,
            "destination": list(recipients or ("b@far.example",)),
            "headersTruncated": False,
            "headers": [{"name": "Subject", "value": "hello"}],
            "commonHeaders": {"subject": "hello"},
            "tags": {name: [value] for name, value in values.items()},
        },
        **facts,
    }


def ses_bounce(kind: str = "Permanent", subtype: str = "NoEmail", **recipient: Any) -> dict[str, Any]:
    told = {
        "emailAddress": "b@far.example",
        "action": "failed",
        "status": "5.1.1",
        "diagnosticCode": "smtp; 550 5.1.1 user unknown",
        **recipient,
    }
    bounce = {
        "feedbackId": "010701935c8f-0000",
        "bounceType": kind,
        "bounceSubType": subtype,
        "bouncedRecipients": [{name: value for name, value in told.items() if value is not None}],
        "timestamp": ISO,
        "reportingMTA": "dsn; mta.example",
    }
    return ses("Bounce", bounce=bounce)


def ses_delivery(*recipients: str, **more: Any) -> dict[str, Any]:
    delivery = {
        "timestamp": ISO,
        "processingTimeMillis": 5123,
        "recipients": list(recipients or ("b@far.example",)),
        "smtpResponse": "250 2.6.0 Message received",
        "reportingMTA": "mta.example",
    }
    return ses("Delivery", *recipients, delivery=delivery, **more)


def ses_complaint(**facts: Any) -> dict[str, Any]:
    complaint = {
        "complainedRecipients": [{"emailAddress": "b@far.example"}],
        "timestamp": ISO,
        "feedbackId": "010701935c8f-0001",
        "complaintSubType": None,
        "complaintFeedbackType": "abuse",
        **facts,
    }
    return ses("Complaint", complaint=complaint)


def sns(event: dict[str, Any] | str) -> dict[str, Any]:
    """What SNS makes of it."""
    return {
        "Type": "Notification",
        "MessageId": "0f2b6b8c-3a0f-5f7e-9d0f-30e1a2b3c4d5",
        "TopicArn": "arn:aws:sns:eu-central-1:123456789012:ses-events",
        "Subject": "Amazon SES Email Event Notification",
        "Message": event if isinstance(event, str) else json.dumps(event),
        "Timestamp": "2026-11-24T12:00:06.000Z",
        "SignatureVersion": "2",
        "Signature": "c2lnbmF0dXJl",
        "SigningCertURL": "https://sns.eu-central-1.amazonaws.com/"
        "SimpleNotificationService-0123456789abcdef0123456789abcdef.pem",
        "UnsubscribeURL": "https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe",
    }


def event_bridge(event: dict[str, Any]) -> dict[str, Any]:
    """What EventBridge makes of it."""
    return {
        "version": "0",
        "id": "12345678-1234-1234-1234-123456789012",
        "detail-type": "Email Event",
        "source": "aws.ses",
        "account": "123456789012",
        "time": "2026-11-24T12:00:06Z",
        "region": "eu-central-1",
        "resources": [],
        "detail": event,
    }


def mailgun(event: str, status: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    told = {
        "id": "CCXMjJ7nQi2N3BPigGOdgQ",
        "event": event,
        "timestamp": AT.timestamp(),
        "log-level": "info",
        "recipient": "b@far.example",
        "recipient-domain": "far.example",
        "message": {"headers": {"message-id": "1@shop.example", "subject": "hello"}, "size": 341},
        "delivery-status": status or {},
        "user-variables": TAGS,
        **data,
    }
    return {"signature": {"timestamp": "1764000000", "token": "t" * 50, "signature": "0" * 64}, "event-data": told}


def sendgrid(event: str, **data: Any) -> dict[str, Any]:
    return {
        "email": "b@far.example",
        "timestamp": int(AT.timestamp()),
        "smtp-id": "<1@shop.example>",
        "event": event,
        "category": "hello",
        "sg_event_id": f"ZGVsaXZlcmVk{event}",
        "sg_message_id": "14c5d75ce93.recvd-5d4b9d8f7c-abcde-1-66.0",
        **TAGS,
        **data,
    }


def postmark(record: str, **data: Any) -> dict[str, Any]:
    return {
        "RecordType": record,
        "ServerID": 23,
        "MessageStream": "outbound",
        "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483",
        "Recipient": "b@far.example",
        "Tag": "hello",
        "Metadata": TAGS,
        **data,
    }


def postmark_bounce(kind: str, details: str = "smtp;550 5.1.1 user unknown", **data: Any) -> dict[str, Any]:
    told = {
        "ID": 692560173,
        "Type": kind,
        "TypeCode": 1,
        "Email": "b@far.example",
        "Description": "The server was unable to deliver your message.",
        "Details": details,
        "BouncedAt": "2026-11-24T13:00:05.1230000+01:00",
        "Inactive": True,
    }
    return postmark("Bounce", **told, **data)


def body(call: object) -> bytes:
    return json.dumps(call).encode()
