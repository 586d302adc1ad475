"""Any SMTP server as a provider."""

from worker.providers.smtp.provider import SmtpProvider

__all__ = ["SmtpProvider"]
