DROP INDEX suppression_time;
