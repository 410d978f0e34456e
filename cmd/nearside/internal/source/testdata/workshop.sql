-- A bicycle workshop: the source of workshop.db, which SQLite's own shell made of it:
--   sqlite3 workshop.db < workshop.sql
PRAGMA page_size = 1024;
CREATE TABLE customer (
  customer_id INTEGER PRIMARY KEY,
  name        NVARCHAR(60) NOT NULL,
  city        NVARCHAR(40),
  since       DATE NOT NULL
);
CREATE TABLE repair (
  repair_id   INTEGER NOT NULL CONSTRAINT pk_repair PRIMARY KEY,
  customer_id INTEGER NOT NULL REFERENCES customer,
  received    DATETIME NOT NULL,
  returned    DATETIME,
  bicycle     NVARCHAR(60) NOT NULL,
  total       NUMERIC(10,2) NOT NULL
);
CREATE TABLE part (
  repair_id INTEGER NOT NULL REFERENCES repair,
  line      SMALLINT NOT NULL,
  label     VARCHAR(40) NOT NULL,
  amount    INTEGER NOT NULL DEFAULT 1,
  price     NUMERIC(10,2) NOT NULL,
  PRIMARY KEY (repair_id, line)
) WITHOUT ROWID;
CREATE INDEX repair_of_customer ON repair (customer_id, received);
CREATE VIEW bill AS
  SELECT r.repair_id, c.name, count(*) AS lines, sum(p.amount * p.price) AS parts, r.total
  FROM repair r JOIN customer c USING (customer_id) JOIN part p USING (repair_id)
  GROUP BY r.repair_id;
INSERT INTO customer VALUES
  (1, 'Käthe Brandt', 'Münster', '2019-04-02'), (2, 'Oluwaseun Adeyemi', 'Lagos', '2020-11-17'), (3, 'Siobhán O''Neill', NULL, '2021-06-30');
INSERT INTO repair VALUES
  (1, 1, '2024-03-04 09:15:00', '2024-03-06 17:40:00', 'touring bicycle, green', 86.5),
  (2, 3, '2024-03-05 11:00:00', '2024-03-05 11:25:00', 'child''s bicycle, 20"', 12),
  (3, 1, '2024-09-21 16:05:30', NULL, 'cargo bicycle', 149.95),
  (4, 2, '2024-10-01 08:00:00', '2024-10-02 12:00:00', 'road bicycle', 31.98);
INSERT INTO part VALUES
  (1, 1, 'chain', 1, 24.5), (1, 2, 'brake pad', 4, 8), (2, 1, 'inner tube', 1, 6.5),
  (3, 1, 'rear wheel', 1, 99.95), (4, 1, 'bar tape', 2, 7.99);
