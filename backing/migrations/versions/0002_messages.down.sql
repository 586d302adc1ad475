DROP TABLE attempt;
DROP TABLE recipient;
DROP TABLE delivery;
DROP TABLE submission;
DROP TABLE message;
