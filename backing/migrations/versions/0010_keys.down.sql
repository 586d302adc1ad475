DROP TABLE audit_log;
DROP TABLE api_submission;
DROP TABLE api_key;
